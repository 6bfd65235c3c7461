"""A reverse proxy as small as can be: it serves another server under a path, and passes streams on as they come."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_HOP = {"connection", "keep-alive", "transfer-encoding"}


@contextlib.contextmanager
def proxied(url: str, prefix: str, port: int = 0) -> Iterator[str]:
    """Serve what is at `url` under a path of another port, and return its address there; the end cuts what is open."""
    target = urlsplit(url)
    open_ones: set[http.client.HTTPConnection] = set()

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            if not self.path.startswith(f"{prefix}/"):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
            upstream = http.client.HTTPConnection(target.hostname or "", target.port or 80)
            open_ones.add(upstream)
            try:
                headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
                upstream.request(self.command, self.path.removeprefix(prefix), body, headers)
                answer = upstream.getresponse()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _HOP:
                        self.send_header(name, value)
                self.end_headers()
                while piece := answer.read1(65536):
                    self.wfile.write(piece)
                    self.wfile.flush()
            except (OSError, http.client.HTTPException):
                pass  # the browser or the server has left
            finally:
                open_ones.discard(upstream)
                upstream.close()

        do_GET = do_POST = do_PATCH = do_DELETE = handle_one

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}{prefix}"
        finally:
            server.shutdown()
            thread.join()
            for upstream in list(open_ones):
                if upstream.sock is not None:
                    with contextlib.suppress(OSError):
                        upstream.sock.shutdown(socket.SHUT_RDWR)

"""The page's files, and the address at which a one-time token becomes a cookie."""

from __future__ import annotations

import html
from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from bgsim.service.access import cookie_header

if TYPE_CHECKING:
    from bgsim.service.core import Service

_BASE = '<base href="/">'
"""What the page has in the place of the address that it is served at."""


def page_routes(service: Service) -> list[BaseRoute]:
    """Return the routes of the page."""
    folder = files("bgsim.service") / "page"

    def index(request: Request) -> Response:
        prefix = request.scope["bgsim.prefix"]
        one_time = request.query_params.get("token")
        if one_time is not None:
            token = service.access.redeem(one_time)
            response: Response = RedirectResponse(f"{prefix}/", 303)
            if token is not None:
                secure = request.url.scheme == "https"
                response.headers["Set-Cookie"] = cookie_header(request.headers, token, f"{prefix}/", is_secure=secure)
            response.headers["Cache-Control"] = "no-store"
            return response
        text = (folder / "index.html").read_text("utf-8")
        text = text.replace(_BASE, f'<base href="{html.escape(prefix)}/">')
        return Response(text, headers={"Cache-Control": "no-cache"}, media_type="text/html")

    static = StaticFiles(directory=str(folder), check_dir=False)
    return [Route("/", index, methods=["GET"]), Mount("/page", static)]

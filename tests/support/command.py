"""The ``bgsim`` command, run in this process."""

from __future__ import annotations

import contextlib
import io
import signal

import pytest

from bgsim.ui.cli import main


def run_main(*arguments: str, encoding: str = "utf-8") -> tuple[int, str, str]:
    """Run the command line; return its exit code, and what it has written to standard output and standard error.

    It takes over the signals of its process, so the handlers of before are put back.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding, errors="strict", write_through=True) for _ in range(2))
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main(arguments)
    finally:
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
    texts = [stream.buffer.getvalue().decode(encoding) for stream in (out, err)]
    return int(ended.value.code or 0), *texts

"""``-v``: the log records of bgsim on standard error."""

from __future__ import annotations

import logging

import click

from bgsim.ui.streams import remark

_ROOT = "bgsim"


class _Remarks(logging.Handler):
    """Writes each record as a remark, above what is drawn there."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        remark(f"{level}{record.getMessage()}")


def _be_verbose(context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    """Show what is logged from now on, until the command has ended."""
    if value and not context.resilient_parsing:
        logger, handler = logging.getLogger(_ROOT), _Remarks()
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)

        def back() -> None:
            logger.removeHandler(handler)
            logger.setLevel(level)

        context.find_root().call_on_close(back)
    return value


verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_be_verbose,
    help="Tell on standard error what is compiled, found in the store, stored and removed.",
)

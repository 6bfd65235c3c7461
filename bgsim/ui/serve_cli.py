"""``bgsim serve``: an engine and its page behind HTTP, until a signal ends it."""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from typing import Any

import click

from bgsim.config import EngineConfig
from bgsim.engine import Engine
from bgsim.threads.locks import Latch
from bgsim.ui.counts import Count
from bgsim.ui.interrupts import STOPPING, exit_code
from bgsim.ui.stores import default_store
from bgsim.ui.streams import FilePath, remark, say

_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--host", {"help": "Address to listen at; another than this machine's own needs tokens."}),
    ("--port", {"type": click.IntRange(0, 65535), "help": "Port; 0 takes a free one.  [default: 8517]"}),
    ("--prefix", {"help": "Path under which a proxy serves it, such as /bgsim."}),
    ("--allow-host", {"multiple": True, "help": "A name in the Host header that is served; * serves all."}),
    ("--allow-origin", {"multiple": True, "help": "A site whose pages may call the API."}),
    ("--simulation", {"multiple": True, "metavar": "MODULE:NAME", "help": "One of yours that is served."}),
    ("--drain", {"type": click.FloatRange(0), "help": "Seconds that SIGTERM lets jobs run on.  [default: 30]"}),
    ("--webhook-secret", {"help": "Signs webhooks that come without a secret: whsec_ and Base64."}),
    ("--allow-private-webhooks", {"is_flag": True, "default": None, "help": "Webhooks may go to private networks."}),
    ("--workers", {"type": Count(), "help": "Threads that compute; by default one a core."}),
)

WORKER_NICE = 10
"""So that requests are answered soon while all cores compute; `worker_nice` in the settings file overrides it."""

SWITCH_S = 0.0005
"""How long a thread keeps the GIL if others want it: a simulation in plain Python holds it, and a request needs it a
dozen times. Python's own 5 ms would add up to more than a tenth of a second."""

_SETTINGS = {"allow_host": "hosts", "allow_origin": "origins", "simulation": "simulations", "drain": "drain_s"}
"""Options whose setting has another name."""


def _with_options(command: Any) -> Any:
    for name, more in reversed(_OPTIONS):
        variable = f"BGSIM_{name.removeprefix('--').replace('-', '_').upper()}"
        text = f"{more.pop('help')}  [env: {variable}]"
        command = click.option(name, envvar=variable, help=text, **more)(command)
    return command


@click.command()
@click.argument("store", required=False, type=FilePath(), envvar="BGSIM_STORE")
@click.option(
    "--config", type=FilePath(), envvar="BGSIM_CONFIG", help="A TOML file with more settings.  [env: BGSIM_CONFIG]"
)
@click.option(
    "--log-level", default="warning", envvar="BGSIM_LOG_LEVEL", type=click.Choice(["debug", "info", "warning"])
)
@_with_options
def serve(store: Path | None, config: Path | None, log_level: str, workers: int | None, **options: Any) -> None:
    """Serve the API and the page for the results in STORE; by default those of `bgsim run`.

    SIGTERM lets the jobs end for a while; Ctrl-C stops at once. What has not ended then goes on at the next start.
    """
    from bgsim.service import serve as serve_engine  # noqa: PLC0415 - an extra
    from bgsim.service.names import Simulations  # noqa: PLC0415
    from bgsim.service.settings import ServiceSettings, read_settings  # noqa: PLC0415

    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    given, of_engine = read_settings(config) if config is not None else ({}, {})
    given |= {_SETTINGS.get(name, name): value for name, value in options.items() if value not in (None, ())}
    settings = ServiceSettings.of(given)
    Simulations(settings)  # imports those that are given, so that what a crash has interrupted can go on
    threads = {"workers": workers} if workers is not None else {}
    engine_config = EngineConfig.of(None, {"recover": True, "worker_nice": WORKER_NICE, **of_engine, **threads})
    sys.setswitchinterval(SWITCH_S)
    with STOPPING:
        engine = Engine(store or default_store(), config=engine_config)
        try:
            service = serve_engine(engine, **given)
            try:
                say(service.page_url)
                remark(f"serving {engine.store.location}; Ctrl-C ends it")
                Latch().wait()  # nobody sets it: a signal ends the wait, raised as KeyboardInterrupt
            except KeyboardInterrupt:
                if exit_code() == 128 + signal.SIGTERM:
                    remark(f"SIGTERM: jobs have {settings.drain_s:g} s to end")
                    service.drain(settings.drain_s)
            finally:
                service.close()
        finally:
            left = engine.close(timeout_s=0.0)
    if left:
        remark(
            f"{len(left)} {'job has' if len(left) == 1 else 'jobs have'} not ended, and will go on at the next start"
        )

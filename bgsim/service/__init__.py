"""An engine behind HTTP, in its own process: it needs the packages of the extra ``service``.

::

    service = bgsim.service.serve(engine)   # in a thread; it returns at once
    print(service.page_url)
    service.close()

    app = bgsim.service.app(engine)         # to be mounted in an ASGI application

``bgsim serve runs.db`` does the same from the command line. ``docs/how-to/service.md`` shows the API,
tokens, and how it is deployed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bgsim.errors import MissingExtraError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from bgsim.engine import Engine
    from bgsim.service.server import RunningService

__all__ = ["app", "serve"]


def __dir__() -> list[str]:
    return __all__


def serve(engine: Engine, **settings: Any) -> RunningService:
    """Serve an engine over HTTP, in threads of this process.

    Parameters
    ----------
    engine : Engine
        It is not closed with the service; close the service first.
    **settings
        Attributes of `bgsim.service.settings.ServiceSettings`, such as ``port=0`` for a free port.

    Returns
    -------
    RunningService
        With `url`, `page_url`, `token` and `close`.

    Raises
    ------
    InvalidInputError
        If a setting is not allowed, the port is taken, or others could reach a store without tokens.
    MissingExtraError
        Without the packages of the extra ``service``.
    """
    _check_packages()
    from bgsim.service.server import RunningService  # noqa: PLC0415 - an extra
    from bgsim.service.settings import ServiceSettings  # noqa: PLC0415

    return RunningService(engine, ServiceSettings.of(settings))


def app(engine: Engine, **settings: Any) -> ASGIApp:
    """Return an ASGI application that serves an engine, to be mounted in another or run by a server.

    Its threads begin at once. They end with ``app.service.close()``, or with the lifespan of the application.

    Parameters
    ----------
    engine : Engine
    **settings
        As for `serve`; host and port are the server's.
    """
    _check_packages()
    from bgsim.service.app import make_app  # noqa: PLC0415 - an extra
    from bgsim.service.core import Service  # noqa: PLC0415
    from bgsim.service.settings import ServiceSettings  # noqa: PLC0415

    service = Service(engine, ServiceSettings.of(settings))
    service.begin()
    return make_app(service)


def _check_packages() -> None:
    try:
        import msgspec  # noqa: F401, PLC0415 - an extra
        import prometheus_client  # noqa: F401, PLC0415
        import starlette  # noqa: F401, PLC0415
        import uvicorn  # noqa: F401, PLC0415
    except ImportError as error:
        raise MissingExtraError(
            f"the service needs {error.name}: pip install msgspec prometheus-client starlette uvicorn"
        ) from error

"""The settings of the service, and the file that may hold them.

Each option of ``bgsim serve`` is one of `ServiceSettings`; the TOML file has more: limits of roles, what simulations
declare, the engine's own settings, and webhooks for every job.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from bgsim.checks import check_integer, check_number, check_text, refused
from bgsim.errors import InvalidInputError, brief, nearest
from bgsim.retry import Retry
from bgsim.service.access import ROLES

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""Names by which this machine reaches itself."""


@dataclass(frozen=True, slots=True)
class RoleLimits:
    """What one token of a role may ask for.

    Attributes
    ----------
    max_replicates : int
        Of a job.
    max_result_bytes : int
        Of a job's result, also of what one request downloads.
    max_open_jobs : int
        That have not ended.
    requests_per_minute : int
    """

    max_replicates: int = 1_000_000_000
    max_result_bytes: int = 2**30
    max_open_jobs: int = 500
    requests_per_minute: int = 6000

    def __post_init__(self) -> None:
        for each in fields(self):
            check_integer(each.name, getattr(self, each.name))


@dataclass(frozen=True, slots=True)
class SimulationOverrides:
    """What the service has in the place of what a simulation declares; None leaves that."""

    priority: str | None = None
    timeout_s: float | None = None
    group: str | None = None
    retry: Retry | None = None


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Settings of the service; each is also a keyword of `bgsim.service.serve` and `bgsim.service.app`.

    Attributes
    ----------
    host : str
        The address that it listens at. Another than this machine's own needs tokens in the store.
    port : int
        0 takes a free one.
    prefix : str
        The path under which a proxy serves it, such as ``/bgsim``.
    hosts : sequence of str
        Names in the ``Host`` header that are served, besides this machine's own and `host`; ``*`` serves all.
    origins : sequence of str
        Sites whose pages may call the API, such as ``https://example.org``; none by default.
    max_body_bytes : int
    roles : mapping of str to RoleLimits
    simulations : sequence of str
        ``module:name`` of each that it serves besides the built-in ones.
    built_in : bool
        Whether it serves the built-in ones.
    overrides : mapping of str to SimulationOverrides
        By the simulation's name.
    drain_s : float
        How long SIGTERM lets jobs run on; what has not ended then goes on when the next service starts.
    history_s : float
        How long it remembers how a job ended.
    history_jobs : int
        How many ended jobs it remembers.
    webhooks : sequence of mapping
        ``url``, ``secret`` and ``events`` of those that are told of every job.
    webhook_secret : str
        Signs those that come without a secret; ``whsec_`` and Base64.
    allow_private_webhooks : bool
        Whether they may go to addresses of private networks and of this machine.
    """

    host: str = "127.0.0.1"
    port: int = 8517
    prefix: str = ""
    hosts: Sequence[str] = ()
    origins: Sequence[str] = ()
    max_body_bytes: int = 2**20
    roles: Mapping[str, RoleLimits] = field(default_factory=dict)
    simulations: Sequence[str] = ()
    built_in: bool = True
    overrides: Mapping[str, SimulationOverrides] = field(default_factory=dict)
    drain_s: float = 30.0
    history_s: float = 7 * 86_400.0
    history_jobs: int = 100_000
    webhooks: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    webhook_secret: str = field(default="", repr=False)
    allow_private_webhooks: bool = False

    def __post_init__(self) -> None:
        check_text("host", self.host, empty=False)
        check_integer("port", self.port, least=0, most=65535)
        prefix = check_text("prefix", self.prefix).rstrip("/")
        if prefix and not (prefix.startswith("/") and prefix.isascii() and prefix.isprintable() and " " not in prefix):
            raise refused("prefix", self.prefix, "empty, or a path with a leading slash, such as /bgsim")
        object.__setattr__(self, "prefix", prefix)
        for name in ("hosts", "origins", "simulations"):
            object.__setattr__(self, name, _texts(name, getattr(self, name)))
        for name in ("max_body_bytes", "history_jobs"):
            check_integer(name, getattr(self, name))
        for name in ("drain_s", "history_s"):
            check_number(name, getattr(self, name), "a number of seconds, 0 or more", finite=False)
        for role in self.roles:
            if role not in ROLES:
                raise refused("roles", role, f"one of {', '.join(ROLES)}{nearest(role, ROLES)}")

    def limits_of(self, role: str) -> RoleLimits:
        """Return the limits of a role."""
        return self.roles.get(role, RoleLimits())

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host in ("127.0.0.1", "::1", "localhost")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> ServiceSettings:
        """Return settings.

        Raises
        ------
        InvalidInputError
            If there is no such setting, naming the nearest, or a value is not allowed.
        """
        _check_names("the service", settings, cls)
        return cls(**settings)


def read_settings(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a TOML file says: settings of the service, and of the engine.

    Its tables are ``[service]``, ``[engine]``, ``[roles.NAME]``, ``[simulations.NAME]`` with ``[...retry]``, and
    ``[[webhooks]]``.

    Raises
    ------
    InvalidInputError
        Naming the entry.
    """
    try:
        with path.open("rb") as file:
            found = tomllib.load(file)
    except OSError as error:
        raise InvalidInputError(
            f"config: {path} cannot be read: {error.strerror}", field="config", value=str(path)
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInputError(f"config: {path} is no TOML: {error}", field="config", value=str(path)) from error
    tables = ("service", "engine", "roles", "simulations", "webhooks")
    for name, value in found.items():
        if name not in tables:
            raise InvalidInputError(
                f"{path.name} has no table {name!r}{nearest(name, tables)} (there are {', '.join(tables)})",
                field=name,
                value=value,
            )
    service = _table("service", found)
    _check_names("[service]", service, ServiceSettings)
    if "roles" in found:
        service["roles"] = {
            role: _made(f"roles.{role}", RoleLimits, table) for role, table in _table("roles", found).items()
        }
    if "simulations" in found:
        service["overrides"] = {name: _overrides(name, table) for name, table in _table("simulations", found).items()}
    if "webhooks" in found:
        service["webhooks"] = found["webhooks"]
    return service, _table("engine", found)


def _table(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    table = found.get(name, {})
    if not isinstance(table, dict):
        raise refused(name, table, "a table")
    return dict(table)


def _made(name: str, kind: type[Any], table: object) -> Any:
    if not isinstance(table, dict):
        raise refused(name, table, "a table")
    _check_names(f"[{name}]", table, kind)
    return kind(**table)


def _overrides(name: str, table: object) -> SimulationOverrides:
    if isinstance(table, dict) and "retry" in table:
        retry = table["retry"]
        table = {**table, "retry": _made(f"simulations.{name}.retry", Retry, retry)}
    found: SimulationOverrides = _made(f"simulations.{name}", SimulationOverrides, table)
    return found


def _check_names(where: str, given: Mapping[str, Any], kind: type[Any]) -> None:
    known = [each.name for each in fields(kind)]
    for name, value in given.items():
        if name not in known:
            raise InvalidInputError(
                f"{where} has no setting {name!r}{nearest(name, known)} (there are {', '.join(known)})",
                field=name,
                value=value,
            )


def _texts(name: str, given: object) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence) or not all(isinstance(one, str) for one in given):
        raise InvalidInputError(f"{name} must be a list of texts; got {brief(given)}", field=name, value=given)
    return tuple(given)

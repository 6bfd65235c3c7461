"""Where numbers come from: what a dataset carries with it, as attributes that every file format can hold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bgsim import __version__
from bgsim.parameters.encoding import to_jsonable
from bgsim.parameters.fields import brief
from bgsim.parameters.parameter_class import fields_of

if TYPE_CHECKING:
    from bgsim.environment import Versions
    from bgsim.simulation import Simulation

_MOST_JSON = 1000
"""Characters of one parameter; a longer one is described instead."""


def provenance(
    simulation: Simulation,
    fingerprint: str,
    seed: int,
    replicates: int,
    parameters: Mapping[str, Any],
    versions: Iterable[Versions],
) -> dict[str, Any]:
    """Return what computed the numbers, as texts and integers.

    Parameters
    ----------
    simulation : Simulation
    fingerprint : str
    seed, replicates : int
    parameters : mapping
        Those that all numbers have in common.
    versions : iterable of Versions
        Of each result.
    """
    texts = {text or "unknown versions" for of_each in versions for _, _, text in of_each}
    return {
        "simulation": simulation.name,
        "fingerprint": fingerprint,
        "version": simulation.version,
        "parameters": json.dumps({name: _jsonable(value) for name, value in parameters.items()}),
        "seed": seed if seed < 2**63 else str(seed),
        "replicates": replicates,
        "bgsim": __version__,
        "computed_with": "; ".join(sorted(texts)),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def described(simulation: Simulation) -> dict[str, dict[str, str]]:
    """Return the ``units`` and the ``long_name`` of each parameter, as far as its field declares them."""
    if simulation.parameters_class is None:
        return {}
    found = {}
    for field in fields_of(simulation.parameters_class):
        attributes = {"units": field.limits.unit, "long_name": field.limits.doc}
        found[field.name] = {name: text for name, text in attributes.items() if text}
    return found


def _jsonable(value: Any) -> Any:
    found = to_jsonable(value)
    return found if len(json.dumps(found)) <= _MOST_JSON else brief(value)

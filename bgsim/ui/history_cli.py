"""``bgsim store jobs``: what a service was asked for, and how it ended."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from bgsim.checks import check_word
from bgsim.parameters.nesting import read_json
from bgsim.storage.history import JobQuery, JobRow
from bgsim.storage.times import ago
from bgsim.tables import Table
from bgsim.ui.counts import Count
from bgsim.ui.stores import opened_store, store_option
from bgsim.ui.streams import say_json, show

_STATES = ("open", "completed", "failed", "cancelled")


@click.command("jobs")
@click.option("--state", "states", multiple=True, metavar="STATE", help=f"{', '.join(_STATES)}; may be given again.")
@click.option("--simulation", metavar="NAME", help="Of this simulation alone; the last part of its name will do.")
@click.option("--tag", metavar="TAG", help="With this tag alone.")
@click.option("--tenant", metavar="NAME", help="Of this tenant alone.")
@click.option("-n", "--limit", type=Count(), default=20, show_default=True, help="The newest so many.")
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def store_jobs(
    states: tuple[str, ...],
    simulation: str | None,
    tag: str | None,
    tenant: str | None,
    limit: int,
    store: Path | None,
    as_json: bool,
) -> None:
    """List the jobs that services were asked for, the newest first; open ones have not ended."""
    for state in states:
        check_word("state", state, _STATES)
    meant = tuple("" if state == "open" else state for state in states)
    with opened_store(store) as opened:
        rows = opened.history.jobs(JobQuery(tenant, meant, simulation, tag, limit=limit))
    if as_json:
        say_json([_as_json(row) for row in rows])
        return
    headings = ("job", "simulation", "replicates", "state", "submitted", "tenant", "tags", "error")
    cells = [
        (
            row.id,
            row.simulation.rpartition(".")[2],
            row.replicates,
            row.state or "open",
            ago(row.submitted_at),
            row.tenant,
            " ".join(_read(row.tags, [])),
            row.error.partition("\n")[0],
        )
        for row in rows
    ]
    show(Table(headings, cells, most=None).trimmed(), listing=True)


def _as_json(row: JobRow) -> dict[str, Any]:
    """Return a job without what signs its messages."""
    found = {**dataclasses.asdict(row), "state": row.state or "open"}
    for name, instead in (("parameters", None), ("options", {}), ("tags", []), ("webhook", {})):
        found[name] = _read(found[name], instead)
    found["webhook"] = found["webhook"].get("url")
    return found


def _read(text: str, instead: Any) -> Any:
    """Return what a text holds; something else if that is damaged, or of another kind."""
    try:
        found = read_json(text)
    except (ValueError, TypeError):
        return instead
    return found if instead is None or isinstance(found, type(instead)) else instead

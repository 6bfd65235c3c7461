"""``bgsim store``: show, compare, export and clean up stored results.

Standard output carries data only, as text or, with ``--json``, as JSON.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np

from bgsim.analysis.comparison import Comparison
from bgsim.checks import is_number, normal_name
from bgsim.errors import ForeignFileError
from bgsim.parameters.fields import brief, parsed
from bgsim.storage import ResultStore, StoredResult
from bgsim.storage.limits import MOST_BYTES
from bgsim.storage.listing import results_table
from bgsim.storage.slots import SlotPair
from bgsim.storage.sqlite.entries import ForeignEntriesError
from bgsim.tables import Table
from bgsim.ui.counts import Count
from bgsim.ui.history_cli import store_jobs
from bgsim.ui.interrupts import STOPPING
from bgsim.ui.output_files import check_output, force_option, replacing
from bgsim.ui.stores import default_store, json_option, opened_store, store_option
from bgsim.ui.streams import FilePath, cell, say, say_json, show
from bgsim.ui.terminal import slots_table

_F = TypeVar("_F", bound=Callable[..., Any])

_EXIT_DAMAGED = 1

EXPORTED = (".npz", ".csv", ".parquet")


def _options(command: _F) -> _F:
    """Add the options of all commands in this module."""
    return store_option(json_option(command))


@click.group("store")
@click.pass_context
def store_group(context: click.Context) -> None:
    """Show, compare, export and clean up stored results."""
    context.with_resource(STOPPING)  # or a file that is written would stay half done


@store_group.command("ls")
@click.option("--simulation", metavar="NAME", help="Of this simulation alone; the last part of its name will do.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="With this parameter; KEY=LOW..HIGH is a range, KEY=LOW.. one without an end. May be given many times.",
)
@click.option("--seed", type=Count(), help="With this seed alone.")
@click.option("--since", metavar="TIME", help='First stored since then: "2026-10-01", "3 h", "2 days".')
@click.option("-n", "--limit", type=Count(), help="The newest so many.")
@_options
def store_ls(
    simulation: str | None,
    settings: tuple[str, ...],
    seed: int | None,
    since: str | None,
    limit: int | None,
    store: Path | None,
    as_json: bool,
) -> None:
    """List the results, the newest first, with the parameters that differ and how long ago each was stored."""
    values = _conditions(settings)
    with opened_store(store) as opened:
        results = opened.find(simulation, values, seed=seed, since=since, limit=limit)
    if as_json:
        say_json([result.as_json() for result in results])
        return
    show(results_table(results, most=None), listing=True)


def _conditions(settings: tuple[str, ...]) -> dict[str, Any]:
    """Return what parameters have to be: values, and pairs for ranges."""
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = normal_name(name)
        if not equals:
            raise click.UsageError(f"--set takes KEY=VALUE or KEY=LOW..HIGH; got {setting!r}")
        if name in found:
            raise click.UsageError(f"--set gives {name} twice")
        bounds = _bounds(text)
        if bounds is not None and None not in bounds and bounds[0] > bounds[1]:
            raise click.UsageError(f"--set takes KEY=LOW..HIGH with LOW at most HIGH; got {setting!r}")
        found[name] = parsed(text) if bounds is None else bounds
    return found


def _bounds(text: str) -> tuple[Any, Any] | None:
    """Return the ends of a range, None for one that is open; None if a text is no range."""
    low, dots, high = text.partition("..")
    ends = [parsed(end) if end else None for end in (low, high)]
    if not dots or ends == [None, None] or not all(end is None or is_number(end) for end in ends):
        return None
    return ends[0], ends[1]


@store_group.command("show")
@click.argument("hash_prefix", metavar="HASH")
@_options
def store_show(hash_prefix: str, store: Path | None, as_json: bool) -> None:
    """Show the inputs and the summary of one result, named by the first digits of its hash."""
    with opened_store(store) as opened:
        result = opened.get(opened.resolve(hash_prefix))
    assert result is not None
    if as_json:
        say_json(result.as_json())
        return
    about: list[tuple[str, Any]] = []
    for name, value in result.as_json().items():
        if name == "versions":
            about += [(name, f"{a:,} to {a + count - 1:,}: {text or 'unknown'}") for a, count, text in result.versions]
        elif name not in ("summary", "parameters"):
            about.append((name, cell(value)))
    show(Table((), about, most=None))
    show(Table((), [(name, brief(value)) for name, value in result.parameters.items()], "\nparameters", most=None))
    say()
    show(_summary_table(result))


@store_group.command("slots")
@_options
def store_slots(store: Path | None, as_json: bool) -> None:
    """Show each workspace's primary (newest) and secondary slot."""
    with opened_store(store) as opened:
        if as_json:
            say_json({name: _slots_json(opened.slots(name)) for name in opened.workspaces()})
        else:
            show(slots_table(opened), listing=True)


@store_group.command("compare")
@click.argument("workspace", required=False)
@click.option("--confidence", type=float, default=0.95, show_default=True)
@_options
def store_compare(workspace: str | None, confidence: float, store: Path | None, as_json: bool) -> None:
    """Compare a workspace's two slots: the parameters that differ, and the outputs' differences.

    Runs with the same seed share their random numbers, so their replicates are compared in pairs.
    """
    with opened_store(store) as opened:
        found = opened.compare(_workspace(opened, workspace), confidence=confidence)
    if as_json:
        say_json(_comparison_json(found))
        return
    a, b = found.primary, found.secondary
    say(f"primary {cell(a.hash[:12])} less secondary {cell(b.hash[:12])}\n")
    rows = [(name, f"{brief(left)} instead of {brief(right)}") for name, (left, right) in found.parameters.items()]
    show(Table((), rows, most=None))
    show(_comparison_table(found))


@store_group.command("export")
@click.argument("hash_prefix", metavar="HASH")
@click.argument("path", type=FilePath())
@force_option
@_options
def store_export(hash_prefix: str, path: Path, force: bool, store: Path | None, as_json: bool) -> None:
    """Write a result to PATH, which ends in .npz, .csv or .parquet."""
    with opened_store(store) as opened:
        result_hash = opened.resolve(hash_prefix)
        check_output(path, EXPORTED, force=force, option="PATH")
        with replacing(path) as part:
            opened.export(result_hash, part)
    if as_json:
        say_json({"hash": result_hash, "path": str(path), "bytes": path.stat().st_size})


@store_group.command("import")
@click.argument("path", type=FilePath())
@_options
def store_import(path: Path, store: Path | None, as_json: bool) -> None:
    """Import an exported .npz file, or all of another store."""
    with opened_store(store) as opened:
        hashes = opened.import_(path)
    print_lines(hashes, as_json)


@store_group.command("rm")
@click.argument("hash_prefixes", metavar="HASH...", nargs=-1, required=True)
@_options
def store_rm(hash_prefixes: tuple[str, ...], store: Path | None, as_json: bool) -> None:
    """Delete results, from their slots too."""
    with opened_store(store) as opened:
        hashes = list(dict.fromkeys(opened.resolve(prefix) for prefix in hash_prefixes))
        for result_hash in hashes:
            opened.delete(result_hash)
    print_lines(hashes, as_json)


@store_group.command("clean")
@click.option("--max-bytes", type=Count(0, MOST_BYTES), help="Keep at most this many bytes, and the results in slots.")
@click.option("--max-age-days", type=click.FloatRange(min=0), help="Keep results used within this many days.")
@_options
def store_clean(max_bytes: int | None, max_age_days: float | None, store: Path | None, as_json: bool) -> None:
    """Delete results over the limits of age and size, but none in a slot, and shrink the file."""
    with opened_store(store) as opened:
        if max_bytes is not None:
            opened.max_storage_bytes = max(1, max_bytes)  # either keeps the slots alone
        if max_age_days is not None:
            opened.max_age_s = max_age_days * 24 * 3600
        report = opened.cleanup()
    if as_json:
        say_json(dataclasses.asdict(report))
    else:
        for reason in report.reasons:
            say(reason)
        say(
            f"{len(report.removed)} results of {report.removed_bytes:,} bytes removed; the file is "
            f"{report.file_bytes:,} bytes smaller"
        )


@store_group.command("check")
@click.option("--repair", is_flag=True, help="Delete damaged results and keep the rest.")
@_options
def store_check(repair: bool, store: Path | None, as_json: bool) -> None:
    """Read all results and compare checksums; exit with 1 if there is damage that was not repaired."""
    repaired = _repair_unopened(store) if repair else None
    with opened_store(store) as opened:
        report = opened.check(repair=repair)
    if repaired is not None:
        report = dataclasses.replace(report, repaired=(repaired, *report.repaired))
    if as_json:
        say_json({**dataclasses.asdict(report), "ok": report.ok})
    else:
        for text in (*report.problems, *report.repaired):
            say(cell(text, most=200))
        say(f"{report.results:,} results with {report.blocks:,} blocks read: {_verdict(report.ok)}")
    if not (report.ok or report.repaired):
        sys.exit(_EXIT_DAMAGED)


def _repair_unopened(path: Path | None) -> str | None:
    """Repair a file that cannot be opened as a store; return a sentence that says so, None if it can."""
    path = path or default_store()
    try:
        with opened_store(path):
            return None
    except (ForeignFileError, ForeignEntriesError):
        from bgsim.storage.sqlite.salvage import repair  # noqa: PLC0415 - rarely needed

        if (repaired := repair(path)) is None:
            raise
        return repaired


def _verdict(ok: bool) -> str:
    return "all is well" if ok else "something is wrong"


def _workspace(store: ResultStore, name: str | None) -> str:
    """Return the workspace of this name, or of its last part, or the only one."""
    names, name = store.workspaces(), name if name is None else normal_name(name)
    found = [w for w in names if name in (None, w) or w.rpartition(".")[2] == name]
    if len(found) != 1:
        raise click.UsageError(
            f"{'name one' if name is None else f'no workspace {name!r}' if not found else 'be more precise'}; "
            f"there are {', '.join(names) or 'none'}"
        )
    return found[0]


def _summary_table(result: StoredResult) -> Table:
    headings = ("output", "dtype", "mean", "sd", "minimum", "maximum")
    rows = [(name, s.dtype, s.mean, s.sd, s.minimum, s.maximum) for name, s in result.summary.items()]
    return Table(headings, rows, most=None)


def _comparison_table(found: Comparison) -> Table:
    rows: list[tuple[Any, ...]] = []
    for name, d in found.outputs.items():
        if np.ndim(d.mean):
            rows.append((name, f"an array of {np.shape(d.mean)} each", *[""] * 4))
            continue
        note = ("paired" if d.paired else "independent") + (", not zero" if d.significant else "")
        rows.append((name, d.mean, d.low, d.high, d.replicates, note))
    return Table(("output", "difference", "low", "high", "replicates", ""), rows, most=None)


def _comparison_json(found: Comparison) -> dict[str, Any]:
    def values(result: StoredResult) -> dict[str, Any]:
        content: dict[str, Any] = result.as_json()["parameters"]
        return content

    a, b = values(found.primary), values(found.secondary)
    return {
        "primary": found.primary.hash,
        "secondary": found.secondary.hash,
        "confidence": found.confidence,
        "parameters": {name: [a.get(name), b.get(name)] for name in found.parameters},
        "outputs": {
            name: {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in dataclasses.asdict(d).items()}
            for name, d in found.outputs.items()
        },
    }


def _slots_json(pair: SlotPair) -> dict[str, Any]:
    return {
        name: None if slot is None else dataclasses.asdict(slot)
        for name, slot in (("primary", pair.primary), ("secondary", pair.secondary))
    }


def print_lines(lines: Iterable[str], as_json: bool) -> None:
    """Print lines, or a list of them."""
    if as_json:
        say_json(list(lines))
    else:
        for line in lines:
            say(line)


store_group.add_command(store_jobs)

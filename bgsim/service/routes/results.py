"""Results over HTTP: columns in four formats, summaries also while a job runs, logs, and the replay of a replicate."""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from bgsim.analysis.summary import QUANTILES, check_quantiles
from bgsim.checks import one_of, refused
from bgsim.kernels.outputs import flat_columns
from bgsim.result import SimulationResult
from bgsim.service.problems import ProblemError
from bgsim.service.replays import WAITED_S, replayed
from bgsim.service.routes.jobs import find_job
from bgsim.service.routing import Answer, Call, Later, Routes
from bgsim.service.stops import StoppingView, stopping_view
from bgsim.service.views import plain, total_of, view_of
from bgsim.storage.npz import write_arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bgsim.storage.history import JobRow
    from bgsim.summaries.of_columns import AnyResult

routes = Routes()

JSON, CSV, NPY, NPZ = "application/json", "text/csv", "application/x-npy", "application/x-npz"
FORMATS = (JSON, CSV, NPY, NPZ)

_ROWS_AT_ONCE = 10_000
"""Of a column, in one piece of what is streamed."""

_SUMMARISED = 1_000_000
"""Rows of a running job over which quantiles are taken; of more, means alone."""

_FOR_EVER = "private, max-age=31536000, immutable"


class ResultQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which part of a result is sent."""

    columns: str = ""
    first: Annotated[int, Meta(ge=0)] = 0
    count: Annotated[int, Meta(ge=1)] | None = None
    partial: bool = False


class ResultView(msgspec.Struct):
    """Columns of a result: a list of values each, replicates first."""

    replicates: int
    first: int
    count: int
    columns: dict[str, list[Any]]


class SummaryQuery(msgspec.Struct, forbid_unknown_fields=True):
    """What a summary has besides: quantiles from 0 to 1, separated by commas, and a histogram."""

    quantiles: str = ""
    histogram: str = ""
    bins: Annotated[int, Meta(ge=2, le=512)] = 64


class HistogramView(msgspec.Struct):
    """How many replicates lie between one edge and the next."""

    output: str
    edges: list[float]
    counts: list[int]


class SummaryView(msgspec.Struct):
    """Statistics of each output over the replicates that are finished."""

    replicates: int
    total_replicates: int
    state: str
    outputs: dict[str, dict[str, Any]]
    histogram: HistogramView | None = None
    stopping: StoppingView | None = None


class LogsView(msgspec.Struct):
    """What a job has logged."""

    records: list[dict[str, Any]]


class ReplayView(msgspec.Struct):
    """One replicate, run again in plain Python."""

    replicate: int
    values: Any


def result_of(call: Call, row: JobRow, *, partial: bool = False) -> AnyResult:
    """Return the result of a job, or what is finished of it; the row is of this moment.

    Raises
    ------
    ProblemError
        409 if it has none, or not yet; 410 if the store has it no more.
    """
    job = call.service.recorder.in_memory(row.id)
    if not row.state:
        if partial and job is not None:
            return job.partial()
        state = "with another process" if job is None else job.state.value
        how = "" if job is None else ", or with ?partial=true for what is finished"
        raise ProblemError(409, f"{row.id} is {state}; ask again when it has ended{how}", headers={"Retry-After": "1"})
    if row.state != "completed" and not partial:
        raise ProblemError(409, f"{row.id} is {row.state}, so it has no result; ?partial=true gives what was finished")
    if not row.replicates_completed:
        raise ProblemError(409, f"{row.id} is {row.state}, and no replicate of it was finished")
    if job is not None:
        return job.result() if row.state == "completed" else job.partial()
    return _stored(call, row)


def _stored(call: Call, row: JobRow) -> AnyResult:
    store, wanted = call.service.engine.store, row.replicates_completed
    found = store.get(row.result_hash) if row.result_hash else None
    if found is None or (row.state == "completed" and found.replicates < wanted):
        raise ProblemError(410, f"the store no longer has the result of {row.id}; submit it again")
    simulation = call.service.simulations.known(row.simulation)
    result = store.load_result(found, simulation, replicates=min(found.replicates, wanted))
    if row.state == "completed" and result.replicates < wanted:  # a summary, whose tallies end elsewhere by now
        raise ProblemError(410, f"the store has a summary of {result.replicates:,} replicates; submit {row.id} again")
    return result


def _is_partial(call: Call, row: JobRow) -> bool:
    return call.query.partial and row.state != "completed"


@routes.get(
    "/jobs/{id}/result", "read", query=ResultQuery, answer=ResultView, statuses=(304, 404, 406, 409, 410, 422),
    media_types=FORMATS,
)  # fmt: skip
def show_result(call: Call) -> Answer:
    """Download the columns of a result.

    As JSON, CSV, `.npy` (one column) or `.npz`, by `Accept`. `columns` names some, separated by commas; `first` and
    `count` choose replicates. A result never changes, so it may be kept for ever.
    """
    row, _ = find_job(call)
    partial = _is_partial(call, row)
    kind = _format(call.headers.get("accept", ""))
    tag = f'"{row.result_hash}-{row.replicates}-{_part(call.query)}-{kind.rpartition("/")[2]}"'
    if row.result_hash and not partial and tag in call.headers.get("if-none-match", ""):
        return Answer(None, 304, {"ETag": tag, "Cache-Control": _FOR_EVER})
    result = result_of(call, row, partial=partial)
    if not isinstance(result, SimulationResult):
        raise ProblemError(409, f"{row.id} keeps a summary, and has no rows; ask for /jobs/{row.id}/summary")
    columns = _chosen(result, call.query.columns)
    last = (
        result.replicates if call.query.count is None else min(result.replicates, call.query.first + call.query.count)
    )
    part = {name: column[call.query.first : last] for name, column in columns.items()}
    _check_size(call, part)
    headers = {"Cache-Control": "no-store" if partial else _FOR_EVER, "Vary": "Accept"}
    if row.result_hash and not partial:
        headers["ETag"] = tag
    if kind != JSON:
        headers["Content-Disposition"] = (
            f'attachment; filename="{ascii(row.id)[1:-1]}.{kind.rpartition("/")[2].removeprefix("x-")}"'
        )
    return Answer(_encoded(kind, part, call.query.first, result.replicates), 200, headers, kind)


def _part(query: ResultQuery) -> str:
    return f"{zlib.crc32(query.columns.encode()):08x}-{query.first}-{query.count}"


def _format(accept: str) -> str:
    """Return the format that a header asks for.

    Raises
    ------
    ProblemError
        406, naming those that there are.
    """
    wanted = [part.partition(";")[0].strip().lower() for part in accept.split(",") if part.strip()]
    for kind in wanted or ["*/*"]:
        if kind in ("*/*", "application/*"):
            return JSON
        if kind == "text/*":
            return CSV
        if kind in FORMATS:
            return kind
    raise ProblemError(406, f"a result is sent as {', '.join(FORMATS)}; Accept says {accept}")


def _chosen(result: SimulationResult, names: str) -> Mapping[str, NDArray[Any]]:
    if not names:
        return dict(result)
    found = {}
    for name in filter(None, map(str.strip, names.split(","))):
        if name not in result:
            raise refused("columns", name, one_of(tuple(result), name))
        found[name] = result[name]
    return found


def _check_size(call: Call, part: Mapping[str, NDArray[Any]]) -> None:
    size, most = (
        sum(c.nbytes for c in part.values()),
        call.service.settings.limits_of(call.caller.role).max_result_bytes,
    )
    if size > most:
        raise refused(
            "count", call.query.count, f"so that at most {most:,} bytes are sent, which these {size:,} are not"
        )


def _encoded(kind: str, part: Mapping[str, NDArray[Any]], first: int, replicates: int) -> bytes | Iterator[bytes]:
    if kind == JSON:
        return _json(part, first, replicates)
    if kind == CSV:
        return _csv(part, first)
    file = io.BytesIO()
    if kind == NPY:
        if len(part) != 1:
            raise refused("columns", ",".join(part), "the name of one column, for application/x-npy")
        np.lib.format.write_array(file, np.ascontiguousarray(next(iter(part.values()))), allow_pickle=False)
    else:
        write_arrays(file, part)
    return file.getvalue()


def _json(part: Mapping[str, NDArray[Any]], first: int, replicates: int) -> Iterator[bytes]:
    count = len(next(iter(part.values()))) if part else 0
    yield f'{{"replicates":{replicates},"first":{first},"count":{count},"columns":{{'.encode()
    for number, (name, column) in enumerate(part.items()):
        yield (b"," if number else b"") + msgspec.json.encode(name) + b":["
        for start in range(0, count, _ROWS_AT_ONCE):
            values = msgspec.json.encode(_values(column[start : start + _ROWS_AT_ONCE]))
            yield (b"," if start else b"") + values[1:-1]
        yield b"]"
    yield b"}}"


def _values(column: NDArray[Any]) -> Any:
    """Return values as JSON has them; null stands for what is no finite number."""
    return column.tolist() if column.dtype.kind in "biuf" else plain(column)


def _csv(part: Mapping[str, NDArray[Any]], first: int) -> Iterator[bytes]:
    flat = flat_columns(part)
    count = len(next(iter(flat.values()))) if flat else 0
    for start in range(-1, count, _ROWS_AT_ONCE):
        text = io.StringIO()
        writer = csv.writer(text)
        if start < 0:
            writer.writerow(["replicate", *flat])
        begin = max(0, start)
        end = start + _ROWS_AT_ONCE
        rows = zip(*(column[begin:end].tolist() for column in flat.values()), strict=True)
        writer.writerows((first + begin + number, *row) for number, row in enumerate(rows))
        yield text.getvalue().encode("utf-8", "backslashreplace")


# ---- summaries -----------------------------------------------------------------------------------------


@routes.get("/jobs/{id}/summary", "read", query=SummaryQuery, answer=SummaryView, statuses=(404, 409, 410, 422))
def show_summary(call: Call) -> Answer:
    """Show statistics of each output, also of the finished replicates of a job that runs."""
    row, running = find_job(call)
    result = result_of(call, row, partial=row.state != "completed")
    wanted = _quantiles(call.query.quantiles)
    if running is not None and isinstance(result, SimulationResult) and result.replicates > _SUMMARISED:
        outputs = _means(running, result)
    else:
        summary = result.summary(wanted) if result.replicates else {}
        outputs = {name: _statistics(each) for name, each in summary.items()}
    histogram = _histogram(call, result, running)
    view = view_of(row, running, call.prefix, whole=False)
    stopping = stopping_view(call.service.engine.store, row, result)
    return Answer(SummaryView(result.replicates, view.total_replicates, view.state, outputs, histogram, stopping))


def _quantiles(text: str) -> tuple[float, ...]:
    """Return the quantiles that a query names, by default those of a summary."""
    try:
        return check_quantiles([float(part) for part in text.split(",") if part.strip()]) or QUANTILES
    except ValueError as error:
        raise refused("quantiles", text, "numbers from 0 to 1, separated by commas") from error


def _statistics(each: Any) -> dict[str, Any]:
    names = ("count", "valid", "mean", "sd", "standard_error", "minimum", "maximum")
    found = {name: plain(getattr(each, name)) for name in names}
    return found | {"quantiles": {f"{q:g}": plain(value) for q, value in each.quantiles.items()}}


def _means(job: Any, result: SimulationResult) -> dict[str, dict[str, Any]]:
    found = {}
    for output in result.simulation.outputs:
        if output.dtype.kind in "biufc":
            each = job.estimate(output.name)
            names = ("count", "valid", "mean", "standard_error")
            found[output.name] = {name: plain(getattr(each, name)) for name in names}
    return found


def _histogram(call: Call, result: AnyResult, job: Any) -> HistogramView | None:
    name = call.query.histogram
    if not name:
        return None
    outputs = [output.name for output in result.simulation.outputs if output.is_real_number]
    if name not in outputs:
        raise refused("histogram", name, one_of(outputs, name) if outputs else "left out: no output is one real number")
    if not result.replicates:
        return HistogramView(name, [], [])
    if job is not None:
        found = job.histogram(name, call.query.bins)
        return HistogramView(name, np.asarray(found.edges, float).tolist(), np.asarray(found.counts).tolist())
    if not isinstance(result, SimulationResult):
        counted = result.histogram(name, call.query.bins)
        return HistogramView(name, counted.edges.tolist(), counted.counts.tolist())
    values = result[name][np.isfinite(result[name])]
    counts, edges = np.histogram(values, call.query.bins) if len(values) else (np.zeros(0, int), np.zeros(0))
    return HistogramView(name, edges.tolist(), counts.tolist())


# ---- logs and replays ------------------------------------------------------------------------------------


@routes.get("/jobs/{id}/logs", "read", answer=LogsView, statuses=(404, 410))
def show_logs(call: Call) -> Answer:
    """Show what a simulation in plain Python has logged; kept for the time that the engine remembers a job."""
    row, _ = find_job(call)
    records = [
        {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for record in call.service.engine.logs(row.id)
    ]
    return Answer(LogsView(records))


@routes.get("/jobs/{id}/replicates/{index}", "read", answer=ReplayView, statuses=(404, 409, 410, 422))
def show_replicate(call: Call) -> Later:
    """Replay one replicate, in plain Python with its own stream."""
    row, _ = find_job(call)
    text = call.path["index"]
    index = int(text) if text.isdecimal() and len(text) < 20 else -1
    if not 0 <= index < total_of(row):
        raise refused("index", text, f"from 0 to {total_of(row) - 1:,}")
    simulation = call.service.simulations.known(row.simulation)
    if simulation is None:
        raise ProblemError(409, f"{row.simulation} is not served here, so it cannot be replayed")
    future = call.service.replays.replay(simulation, row, index)
    return Later(future.add_done_callback, WAITED_S, lambda: Answer(ReplayView(index, replayed(future, index))))

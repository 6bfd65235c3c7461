"""Cards: a job, a sweep or an engine as the last line of a notebook's cell, moving while it runs.

A card is a source (`sources`), whose state is a plain dict (`job_state`, `sweep_state`, `engine_state`) and whose HTML
is made of that (`render`). It is shown in a front (`fronts`): a widget, or HTML that is displayed again. One thread
(`updater`) brings all cards up to date. `bgsim.tables.HasCard` has the methods that notebooks look for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bgsim.checks import refused
from bgsim.engine import Engine
from bgsim.errors import MissingExtraError
from bgsim.job import Job
from bgsim.jobs.batch import Batch
from bgsim.ui.notebook.default import engine as default_engine
from bgsim.ui.notebook.explorer import Explorer, ExplorerSource
from bgsim.ui.notebook.fronts import Display, HtmlFront, WidgetFront, bundle
from bgsim.ui.notebook.render import card as html_of
from bgsim.ui.notebook.shell import CELL_ENDS, kernel_shell
from bgsim.ui.notebook.sources import BatchSource, EngineSource, JobSource, Source
from bgsim.ui.notebook.updater import UPDATER, Card

engine = default_engine

__all__ = ["Explorer", "display", "engine", "explore", "widget"]


if TYPE_CHECKING:
    from collections.abc import Mapping

    from bgsim.simulation import Simulation


def display(what: Any) -> None:
    """Show something as a card in the cell that runs; notebooks call it for the last line of a cell.

    Parameters
    ----------
    what : Job, Batch, Engine or Explorer

    Raises
    ------
    NotImplementedError
        Outside of a notebook: then IPython prints the `repr`.
    """
    shell = kernel_shell()
    if shell is None:
        raise NotImplementedError
    card = Card(_source(what), UPDATER.add)
    card.begin(_front(card, repr(what)))
    CELL_ENDS.add(card, shell)
    UPDATER.add(card)


def widget(what: Any) -> Any:
    """Return the widget of a card, to be put into others: of ipywidgets, Panel, Solara or marimo.

    Parameters
    ----------
    what : Job, Batch, Engine or Explorer

    Returns
    -------
    anywidget.AnyWidget

    Raises
    ------
    MissingExtraError
        Without anywidget.
    """
    card = Card(_source(what), UPDATER.add)
    made = _widget(card)
    if made is None:
        raise MissingExtraError("anywidget is not installed: pip install anywidget")
    card.begin(WidgetFront(made, None, repr(what)))
    UPDATER.add(card)
    return made


def explore(
    simulation: Simulation | str,
    parameters: Mapping[str, Any] | None = None,
    *,
    replicates: int = 20_000,
    seed: int = 0,
    engine: Engine | None = None,
    **ranges: Any,
) -> Explorer:
    """Return sliders over a simulation's parameters, as the last line of a cell: the newest values win.

    Moving a slider submits a job with priority ``high``, which supersedes the one before. Estimate and histogram of the
    newest fill in while it runs. All share the seed, so what differs is due to the parameters. What was computed
    before comes from the store.

    Parameters
    ----------
    simulation : Simulation or str
    parameters : mapping, optional
        Those that stay as they are.
    replicates, seed : int
        Of each job.
    engine : Engine, optional
        It is not kept. By default `bgsim.notebook.engine`.
    **ranges
        A slider a parameter: ``strike=(80, 120)`` or ``strike=(80, 120, 5)`` with a step. Two integers make a slider of
        integers. Any other value stays as it is.

    Raises
    ------
    ParameterError, InvalidInputError
        If there is no such parameter, a range is none, or the simulation does not take the values.

    Examples
    --------
    >>> explorer = explore("bgsim.models.options.asian_call", strike=(80.0, 120.0), steps=(12, 252), replicates=1000)
    >>> explorer.set(strike=95.0)
    >>> explorer.job.result().replicates
    1000
    """
    chosen = default_engine() if engine is None else engine
    return Explorer(simulation, chosen, parameters or {}, replicates=replicates, seed=seed, ranges=ranges)


def marimo(what: Any) -> Any:
    """Return what marimo shows: the widget, or HTML without anywidget."""
    try:
        return widget(what)
    except MissingExtraError:
        return _Html(bundle(_source(what).state(0.0, ""), repr(what))["text/html"])


class _Html:
    """HTML that marimo shows as it is."""

    def __init__(self, text: str) -> None:
        self._text = text

    def _mime_(self) -> tuple[str, str]:
        return "text/html", self._text


def _front(card: Card, text: str) -> HtmlFront | WidgetFront:
    made = None if card.ended else _widget(card)
    return HtmlFront(Display(), text) if made is None else WidgetFront(made, Display(), text)


def _widget(card: Card) -> Any:
    """Return a widget, or None without anywidget."""
    try:
        from bgsim.ui.notebook.card_widget import CardWidget  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    return CardWidget(html_of(card.first), card.receive)


def _source(what: Any) -> Source:
    if isinstance(what, Job):
        return JobSource(what)
    if isinstance(what, Batch):
        return BatchSource(what)
    if isinstance(what, Engine):
        return EngineSource(what)
    if isinstance(what, Explorer):
        return ExplorerSource(what)
    raise refused("what", what, "a job, a batch, a sweep, an engine or an explorer")

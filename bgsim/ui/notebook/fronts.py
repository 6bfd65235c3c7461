"""Where cards are shown: a widget where the front end is connected to the kernel, else HTML that is displayed again.

Both leave the last state as HTML in the notebook, under the id of the first display.
"""

from __future__ import annotations

import contextvars
import time
from typing import TYPE_CHECKING, Any

from bgsim.ui.notebook.render import card, page

if TYPE_CHECKING:
    from bgsim.ui.notebook.card_widget import CardWidget

WIDGET = "application/vnd.jupyter.widget-view+json"


class Display:
    """One display of a cell, which can be replaced.

    ipykernel routes a message by the cell that a thread works for, and keeps that in context variables: a thread of
    our own has none. So the context of the cell is kept.
    """

    def __init__(self) -> None:
        self._id: str | None = None
        self._context = contextvars.copy_context()

    def show(self, bundle: dict[str, Any]) -> None:
        """Show it for the first time."""
        from IPython.display import display  # noqa: PLC0415 - whoever calls it has IPython

        handle = display(bundle, raw=True, display_id=True)
        self._id = handle.display_id if handle is not None else None

    def replace(self, bundle: dict[str, Any]) -> None:
        """Show something else in its place."""
        from IPython.display import update_display  # noqa: PLC0415

        if self._id is not None:
            self._context.run(update_display, bundle, raw=True, display_id=self._id)

    def save(self, bundle: dict[str, Any]) -> None:
        """Do the same, and once more as part of the cell that runs in this thread: nbconvert takes no other."""
        from IPython.display import update_display  # noqa: PLC0415

        self.replace(bundle)
        if self._id is not None:
            update_display(bundle, raw=True, display_id=self._id)


class HtmlFront:
    """HTML that is displayed again and again."""

    interval_s = 0.5

    def __init__(self, display: Display, text: str) -> None:
        self._display = display
        self._text = text

    def begin(self, state: dict[str, Any]) -> None:
        """Show the first state."""
        self._display.show(bundle(state, self._text))

    def show(self, state: dict[str, Any]) -> None:
        """Show a state in place of the one before."""
        self._display.replace(bundle(state, self._text))

    def end(self, state: dict[str, Any]) -> None:
        """Do nothing: it has been shown."""

    def save(self, state: dict[str, Any]) -> None:
        """Show it as part of the cell that ends."""
        self._display.save(bundle(state, self._text))


class WidgetFront:
    """A widget; where it has a display, HTML takes its place at the end, and stays.

    Parameters
    ----------
    widget : CardWidget
    display : Display, optional
        Not in marimo, which shows the widget itself.
    text : str
        For where there is neither.
    """

    interval_s = 0.1

    def __init__(self, widget: CardWidget, display: Display | None, text: str) -> None:
        self._widget = widget
        self._display = display
        self._text = text
        self._context = contextvars.copy_context()

    def begin(self, state: dict[str, Any]) -> None:
        """Show the first state."""
        if self._display is not None:
            self._display.show(self._bundle(state))

    def show(self, state: dict[str, Any]) -> None:
        """Show a state in place of the one before."""
        self._context.run(self._widget.put, card(state))

    def end(self, state: dict[str, Any]) -> None:
        """Put HTML in the widget's place."""
        if self._display is not None:
            self._display.replace(bundle(state, self._text))

    def save(self, state: dict[str, Any]) -> None:
        """Bring up to date what is saved."""
        if self._display is not None:
            self._display.save(self._bundle(state))

    def _bundle(self, state: dict[str, Any]) -> dict[str, Any]:
        html = bundle(state, self._text)
        return html if state["ended"] else {WIDGET: self._widget.view(), **html}


def bundle(state: dict[str, Any], text: str) -> dict[str, Any]:
    """Return a state as what IPython displays without a widget."""
    return {"text/html": page(state, as_of=time.strftime("%H:%M:%S")), "text/plain": text}

"""The widget of all cards: it has the card's HTML, and hands on what its buttons, sliders and views say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from bgsim.ui.notebook.render import FOLDER, style

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class CardWidget(anywidget.AnyWidget):  # type: ignore[misc] # which mypy does not read
    """One card in the front end.

    Parameters
    ----------
    html : str
    receive : callable
        Called with what the front end says, in the thread in which that arrives.
    """

    _esm = (FOLDER / "card.js").read_text(encoding="utf-8")
    _css = style()
    html = traitlets.Unicode("").tag(sync=True)

    def __init__(self, html: str, receive: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__(html=html)
        self._receive = receive
        self.on_msg(self._got)
        self._let_the_front_end_choose()

    def _got(self, _widget: object, content: Any, _buffers: object) -> None:
        if isinstance(content, dict):
            self._receive(content)

    def put(self, html: str) -> None:
        """Send the front end other HTML; any thread may call."""
        self.html = html
        self._let_the_front_end_choose()

    def send_state(self, key: Any = None) -> None:
        """Send the front end what has changed; of the HTML, without a look at all other traits."""
        if key == "html":
            self._send({"method": "update", "state": {"html": self.html}, "buffer_paths": []})
        else:
            super().send_state(key)

    def _let_the_front_end_choose(self) -> None:
        """Have the kernel take what a button says where the front end sends it: in a subshell, beside a busy cell.

        ipykernel 7 takes what is said to a widget for an answer, and hands it to the shell that spoke last.
        """
        getattr(self.comm, "__dict__", {}).pop("_reply_subshell_id", None)

    def view(self) -> dict[str, Any]:
        """Return what a notebook displays to have a view of it."""
        return {"version_major": 2, "version_minor": 0, "model_id": self.model_id}

"""The HTML of a card, made of its state: the same in a widget, in a display that is updated, and in a saved notebook.

All texts are escaped. Without the style sheet, as where a notebook is not trusted, what is left reads as lines of text.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from bgsim.tables import escaped

FOLDER = Path(__file__).parent

_ACTIONS = {
    "pause": ("Pause", "Hold the job; nothing is lost"),
    "resume": ("Resume", "Let the job go on"),
    "cancel": ("Cancel", "Stop the job; finished replicates are kept"),
    "cancelling": ("Cancel", ""),
}


@cache
def style() -> str:
    """Return the style sheet of the cards."""
    return (FOLDER / "card.css").read_text(encoding="utf-8")


def page(state: dict[str, Any], as_of: str = "") -> str:
    """Return a card that needs no widget, with its style and without buttons.

    Parameters
    ----------
    state : dict
    as_of : str
        The time by the clock; said where things go on and the card does not.
    """
    rest = {"job": "; the job goes on.", "batch": "; the jobs go on."}.get(state["kind"], ".")
    remarks = [state["note"], f"State of {as_of}{rest}" if as_of and not state["ended"] else ""]
    still = {**state, "actions": [], "moves": False, "note": " ".join(filter(None, remarks))}
    return f"<div><style>{style()}</style>{card(still)}</div>"


def card(state: dict[str, Any]) -> str:
    """Return a card."""
    body = {"job": _job, "batch": _batch, "engine": _engine, "explore": _explore}[state["kind"]](state)
    note = _line("note", state["note"]) if state["note"] else ""
    return f'<div class="bgsim-card bgsim-{state["kind"]} is-{state["colour"]}">{body}{note}</div>'


def _job(state: dict[str, Any]) -> str:
    error = _line("error", state["error"]) if state["error"] else ""
    return _head(state) + _line("about", state["about"]) + _bar(state) + _numbers(state) + _results(state) + error


def _explore(state: dict[str, Any]) -> str:
    shown = _slider if state["moves"] else _setting
    sliders = "".join([shown(slider) for slider in state["sliders"]])
    error = _line("error", state["error"]) if state["error"] else ""
    return f'{_head(state)}<div class="sliders">{sliders}</div>{_bar(state)}{_numbers(state)}{_results(state)}{error}'


def _batch(state: dict[str, Any]) -> str:
    return _head(state) + _line("about", state["about"]) + _bar(state) + _numbers(state) + _map(state["map"])


def _engine(state: dict[str, Any]) -> str:
    rows = "".join([_row(row) for row in state["rows"]])
    more = _line("more", f"and {state['more']:,} more that wait") if state["more"] else ""
    empty = "" if rows else _line("more", "no jobs yet")
    return _head(state) + _line("about", state["about"]) + f'<div class="rows">{rows}</div>{more}{empty}'


def _head(state: dict[str, Any]) -> str:
    buttons = "".join([_button(action) for action in state["actions"]])
    detail = f' <span class="detail">{escaped(state["detail"])}</span>' if state["detail"] else ""
    return (
        f'<div class="head"><b class="name">{escaped(state["name"])}</b> '
        f'<span class="word">{escaped(state["word"])}</span>{detail}<span class="buttons">{buttons}</span></div>'
    )


def _button(action: str) -> str:
    label, title = _ACTIONS[action]
    off = " disabled" if action == "cancelling" else ""
    return f'<button type="button" data-do="{action}" title="{escaped(title)}"{off}>{label}</button>'


def _line(kind: str, text: str) -> str:
    return f'<div class="{kind}" title="{escaped(text)}">{escaped(text)}</div>'


def _bar(state: dict[str, Any]) -> str:
    moving = " moving" if state["moving"] else ""
    percent = f"{100 * state['fraction']:.1f}%"
    return (
        f'<div class="bar{moving}" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{100 * state["fraction"]:.0f}"><div class="fill" style="width:{percent}"></div></div>'
    )


def _numbers(state: dict[str, Any]) -> str:
    share = f"{100 * state['fraction']:.1f} %"
    return (
        f'<div class="numbers"><span class="share">{share}</span> <span class="count">{escaped(state["count"])}</span> '
        f'<span class="rate">{escaped(state["rate"])}</span> <span class="left">{escaped(state["left"])}</span></div>'
    )


def _results(state: dict[str, Any]) -> str:
    outputs = "".join([_output(name, text) for name, text in state["outputs"]])
    if not outputs:
        return ""
    return f'<div class="results"><div class="outputs">{outputs}</div>{_histogram(state["histogram"])}</div>'


def _output(name: str, text: str) -> str:
    return (
        f'<div class="output"><span class="key">{escaped(name)}</span> <span class="value">{escaped(text)}</span></div>'
    )


def _histogram(state: dict[str, Any] | None) -> str:
    if state is None:
        return ""
    bars = "".join([f'<i style="height:{height}%"></i>' for height in state["heights"]])
    return (
        f'<div class="histogram" title="histogram of {escaped(state["name"])} so far"><div class="bins">{bars}</div>'
        f'<div class="ends"><span>{escaped(state["low"])}</span> <span>{escaped(state["high"])}</span></div></div>'
    )


def _map(state: dict[str, Any]) -> str:
    cells = "".join(
        [
            f'<i class="c-{kind}{f" v{level}" if level >= 0 else ""}" title="{escaped(title)}"></i>'
            for kind, level, title in state["cells"]
        ]
    )
    wide = " fine" if state["columns"] > 40 else ""
    axes = state["axes"]
    down = _axis("down", axes[0]) if len(axes) == 2 else ""
    across = _axis("across", axes[-1]) if axes else ""
    scale = ""
    if state["low"]:
        steps = "".join([f'<i class="v{level}"></i>' for level in range(16)])
        scale = (
            f'<div class="scale"><span>{escaped(state["output"])}</span> <span>{escaped(state["low"])}</span>'
            f'<span class="steps">{steps}</span><span>{escaped(state["high"])}</span></div>'
        )
    return (
        f'<div class="map{wide}">{down}<div class="cells" style="grid-template-columns:repeat({state["columns"]},1fr)">'
        f"{cells}</div>{across}</div>{scale or _line('scale', ' ')}"
    )


def _axis(side: str, axis: dict[str, Any]) -> str:
    first, name, last = (escaped(axis[key]) for key in ("first", "name", "last"))
    return f'<div class="axis {side}"><span>{first}</span> <span class="key">{name}</span> <span>{last}</span></div>'


def _row(row: dict[str, Any]) -> str:
    title = escaped(": ".join(filter(None, (row["id"], row["error"]))))
    return (
        f'<div class="row is-{row["colour"]}" title="{title}"><span class="name">{escaped(row["name"])}'
        f' <span class="key">{escaped(row["number"])}</span></span> <span class="count">{row["count"]}</span> '
        f'<span class="bar"><span class="fill" style="width:{100 * row["fraction"]:.1f}%"></span></span> '
        f'<span class="word">{escaped(row["word"])}</span> <span class="left">{escaped(row["time"])}</span></div>'
    )


def _setting(state: dict[str, Any]) -> str:
    return _output(state["name"], state["text"])


def _slider(state: dict[str, Any]) -> str:
    name = escaped(state["name"])
    return (
        f'<label class="slider"><span class="key">{name}</span><input type="range" data-set="{name}" '
        f'min="{state["low"]}" max="{state["high"]}" step="{state["step"]}" value="{state["value"]}">'
        f'<span class="value">{escaped(state["text"])}</span></label>'
    )

"""What the fuzz tests in `tests/fuzz/` share: how many examples they try, and odd values to try.

`BGSIM_FUZZ_EXAMPLES` is the number of examples of all of them together: 2,000 by default, 100,000 by hand.
"""

from __future__ import annotations

import copy
import datetime as dt
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("BGSIM_FUZZ_EXAMPLES", "2000"))

SLOWEST = dt.timedelta(seconds=30)
"""An example that takes longer fails: it would, for a user, have no end."""


def fuzz(percent: int) -> settings:
    """Give a test its part of the examples; by hand they are new ones each time."""
    return settings(
        max_examples=max(1, EXAMPLES * percent // 100),
        deadline=SLOWEST,
        derandomize="BGSIM_FUZZ_EXAMPLES" not in os.environ and "BGSIM_EXPLORE" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )


LONG = "9" * 5_000
MARKS = [pytest.mark.filterwarnings("ignore:Generating overly large repr"), pytest.mark.timeout(0)]
"""The marks of a module of fuzz tests: examples may be long, and many; each has an end of its own."""

ODD_NUMBERS = st.sampled_from(
    [0, -0.0, -1, 0.5, 1e300, -1e300, 5e-324, float("inf"), float("-inf"), float("nan"), 2**31, 2**53, 2**63, 10**30, 10**400]
)  # fmt: skip
ODD_TEXTS = st.one_of(
    st.sampled_from(["", " ", "\0", "\ud800", "\udcff", "\x1b[2J", "é", "٣d٦", "٣", "1e999", "NaN", "9" * 5000, "1" * 300 + "d6",
                     " " * 900, "[" * 900, "../..", "__class__", "{}", "%s%n", "A" * 10_000]),
    st.text(max_size=20),
)  # fmt: skip
ODD_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ODD_NUMBERS | ODD_TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ODD_TEXTS, inner, max_size=4),
    max_leaves=8,
)


@st.composite
def changed(draw: st.DrawFn, original: Any, values: st.SearchStrategy[Any] = ODD_VALUES) -> Any:
    """Return plain data with one to three of its nodes replaced, taken out, doubled, or put elsewhere."""
    data = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, 3))):
        holder, key = None, None
        node = data
        while isinstance(node, dict | list) and node and (holder is None or draw(st.integers(0, 3))):
            holder, key = node, draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
            node = node[key]
        if holder is None:
            return draw(values)
        match draw(st.sampled_from(["replace", "replace", "delete", "double", "many", "move"])):
            case "replace":
                holder[key] = draw(values)
            case "delete":
                del holder[key]
            case "double" if isinstance(holder, list):
                holder.append(copy.deepcopy(node))
            case "many" if isinstance(holder, list):
                holder += [node] * draw(st.sampled_from([10, 100, 1100]))
            case "move" | "many" | "double" if isinstance(holder, dict):
                holder[draw(ODD_TEXTS | st.sampled_from(sorted(holder)))] = copy.deepcopy(node)
            case _:
                holder[key] = [node]
    return data


@st.composite
def torn(draw: st.DrawFn, text: str) -> bytes:
    """Return a text with a piece of it lost, repeated or replaced by what is no text of its kind."""
    content = text.encode("utf-8", "surrogatepass")
    for _ in range(draw(st.integers(1, 2))):
        start = draw(st.integers(0, len(content)))
        end = min(start + draw(st.sampled_from([0, 1, 2, 10, 1000])), len(content))
        piece = draw(
            st.binary(max_size=6)
            | st.sampled_from(
                [b"", content[start:end] * 3, b"\0", b"\xff", b"\xef\xbb\xbf", b'"', b"[" * 500, b"{" * 500, b"<"]
            )
            | st.sampled_from(
                [
                    LONG.encode(),
                    b"0x" + LONG.encode(),
                    b"1_" * 3000 + b"1",
                    b"a." * 3000,
                    b"<!DOCTYPE a>",
                    b"&lt;",
                    b"#",
                ]
            )
        )
        content = content[:start] + piece + content[end:]
    return content

"""Summaries in a store's file, and what a summary is compared with before it is used."""

from __future__ import annotations

from store_helpers import columns, key, summary

from bgsim.kernels.outputs import read_outputs, unlike_declared

DECLARED = read_outputs("model", {"value": "f8", "count": "i8", "won": "?", "path": ("f4", 3)})
PAIRS = [("value", "count")]


def test_a_summary_is_compared_with_the_outputs_and_pairs_that_are_declared() -> None:
    """With no rows in its place, and no summary in the place of rows."""
    found = summary(key(1), 100, 200)
    assert unlike_declared(DECLARED, {}, found, PAIRS) == ""
    assert unlike_declared(DECLARED, {}, columns(key(1), 200)) == ""
    for declared, given, pairs, why in (
        (DECLARED, found, [], "'value*count', and the declared outputs 'value', 'count', 'won', 'path'"),
        (DECLARED, found, [("value", "won")], "and the declared outputs 'value', 'count', 'won', 'path', 'value*won'"),
        (DECLARED, columns(key(1), 200), [], "column 'value' has no summary"),
        (DECLARED[:1], {"value": found["value"]}, None, "column 'value' has no rows"),
        (DECLARED[3:], {"path": found["value"]}, [], "of 'float64' (), and declared as 'float32' (3,)"),
        (DECLARED[:2], {"value": found["value"], "count": summary(key(1), 100)["count"]}, [], "100 and 200 rows"),
    ):
        assert why in unlike_declared(declared, {}, given, pairs)

"""Runs of rows that were computed with one NumPy and numba, against a list with a text for each row."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgsim import environment
from bgsim.environment import as_json, extended, first_rows, from_json, joined, mixture

OLD, NEW = "numpy 2.3.0, numba 0.61.0", "numpy 2.4.6, numba 0.68.1"

texts = st.sampled_from([OLD, NEW, ""])
runs = st.lists(st.tuples(st.integers(0, 4), texts), max_size=6)


def rows_of(versions) -> list[str]:
    """Return the text of each row, having checked that the runs follow each other and neighbours differ."""
    rows: list[str] = []
    for first, count, text in versions:
        assert first == len(rows)
        assert count > 0
        assert not rows or rows[-1] != text
        rows += [text] * count
    return rows


@given(runs, st.integers(1, 30), st.integers(0, 5), texts)
def test_runs_are_what_the_rows_say(given_runs, wanted, more, text) -> None:
    rows = [each for count, each in given_runs for _ in range(count)]
    versions = joined(given_runs)
    assert rows_of(versions) == rows
    assert rows_of(first_rows(versions, wanted)) == (rows + [""] * wanted)[:wanted]
    if len(rows) + more:
        assert rows_of(extended(versions, len(rows) + more, text)) == rows + [text] * more
    assert from_json(as_json(versions)) == versions


@pytest.mark.parametrize(
    "wrong", [7, [{}], [{"first": 0, "count": "many", "versions": ""}], [{"count": 0, "versions": ""}], ["ab"]]
)
def test_what_is_no_list_of_runs_is_refused(wrong) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        from_json(wrong)


def test_the_text_names_what_is_installed_and_imports_nothing(monkeypatch) -> None:
    environment.environment.cache_clear()
    assert environment.environment() == f"numpy {np.__version__}, numba {numba.__version__}"
    code = "import sys\nfrom bgsim.environment import environment\nenvironment()\nprint('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"

    def version(package: str) -> str:
        if package == "numba":
            raise importlib.metadata.PackageNotFoundError(package)
        return "9.9"

    environment.environment.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(importlib.metadata, "version", version)
        assert environment.environment() == "numpy 9.9"
    environment.environment.cache_clear()


def test_only_a_mixture_is_worth_a_sentence() -> None:
    assert mixture(()) == mixture(((0, 5, OLD),)) == ""
    assert mixture(((0, 1000, OLD), (1000, 1000, NEW))) == (
        "rows 0 to 999 were computed with numpy 2.3.0, numba 0.61.0; rows 1,000 to 1,999 with numpy 2.4.6, numba 0.68.1"
    )
    assert mixture(((0, 1, ""), (1, 1, NEW))) == (
        "row 0 was computed with unknown versions of NumPy and numba; row 1 with numpy 2.4.6, numba 0.68.1"
    )

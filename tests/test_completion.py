"""What IPython completes: the outputs of a result, and public names alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from IPython.core.completer import IPCompleter, provisionalcompleter
from kernels import Walk, walk

import bgsim

Complete = Callable[[str], list[str]]


@pytest.fixture(params=[True, False], ids=["jedi", "no jedi"])
def complete(request: pytest.FixtureRequest) -> Iterator[Complete]:
    result = bgsim.run(walk, Walk(steps=3), replicates=5)
    names = {"bgsim": bgsim, "result": result, "summary": result.summary(), "parameters": result.parameters}
    completer = IPCompleter(namespace=names, global_namespace={})
    completer.use_jedi = request.param

    def completed(text: str) -> list[str]:
        with provisionalcompleter():
            return [found.text.strip(".\"'") for found in completer.completions(text, len(text))]

    yield completed


def test_keys_are_outputs_and_parameters(complete: Complete) -> None:
    assert complete('result["') == ["end", "high", "path", "ups"]
    assert complete("result['p") == ["path"]
    assert complete('summary["') == ["end", "high", "path", "ups"]
    assert complete('parameters["st') == ["steps"]


def test_the_package_shows_its_public_names_alone(complete: Complete) -> None:
    found = [name for name in complete("bgsim.") if not name.startswith("_")]
    assert sorted(found) == sorted(
        [
            *bgsim.__all__,
            "backends",
            "errors",
            "logs",
            "models",
            "notebook",
            "progress",
            "registry",
            "service",
            "storage",
        ]
    )


@pytest.mark.parametrize("module", ["backends", "errors", "progress", "registry", "storage"])
def test_so_do_its_public_modules(complete: Complete, module: str) -> None:
    found = complete(f"bgsim.{module}.")
    assert found
    public = getattr(bgsim, module)
    assert sorted(found) == sorted(dir(public))
    assert not {"annotations", "Any", "TYPE_CHECKING", "threading", "sys"} & set(found)


def test_every_error_of_the_tree_is_shown() -> None:
    drawn = [line.split() for line in (bgsim.errors.__doc__ or "").splitlines() if "── " in line]
    names = [next(word for word in words if word[0].isalpha()) for words in drawn]
    assert set(names) <= set(dir(bgsim.errors))

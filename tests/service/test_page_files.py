"""The files of the service's page: what is vendored, what the strict policy asks for, and what Python has, too."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from bgsim.job_status import TRANSITIONS
from bgsim.priority import Priority

PAGE = Path(__file__).parents[2] / "bgsim" / "service" / "page"
VENDOR = PAGE / "vendor"
MODULES = [path for path in sorted(PAGE.rglob("*.js")) if path.parent != VENDOR]
LICENCES = {
    "htm-preact.js": ["htm.LICENSE.txt", "preact.LICENSE.txt"],
    "uPlot.js": ["uPlot.LICENSE.txt"],
    "uPlot.css": ["uPlot.LICENSE.txt"],
}
TRIED = {"encode", "gridValues", "instant", "running"}  # what tests/browser calls by itself
VIEWS = ("overview", "jobs", "job", "new_job", "sweeps", "slots", "dead_letters", "schedules", "health", "sign_in")


def test_what_is_vendored_is_what_was_published() -> None:
    lines = [line.split() for line in (VENDOR / "checksums.txt").read_text().splitlines() if not line.startswith("#")]
    listed = {name: digest for digest, name in lines}
    files = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.iterdir()
        if path.name != "checksums.txt"
    }
    assert files == listed


def test_what_is_vendored_has_its_licence() -> None:
    code = {path.name for path in VENDOR.iterdir() if path.suffix in {".js", ".css"}}
    assert code == set(LICENCES)
    for names in LICENCES.values():
        for name in names:
            assert re.search("MIT License|Apache License", (VENDOR / name).read_text())


def test_the_document_has_nothing_inline_and_names_files_that_are_there() -> None:
    text = (PAGE / "index.html").read_text()
    assert text.count('<base href="/">') == 1  # the server puts its prefix there
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
    assert all(not body.strip() for body in re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL))
    named = re.findall(r'(?:src|href)="(page/[^"]+)"', text)
    assert len(named) == 6
    assert all((PAGE.parent / name).is_file() for name in named)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PAGE)))
def test_a_module_draws_by_text_nodes_and_asks_relative_addresses(path: Path) -> None:
    text = path.read_text()
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser", text
    )
    assert not re.search(r"""['"`]/(v1|page)\b|https?://""", text)
    assert len(text.splitlines()) <= 400


def imports_of(path: Path) -> list[tuple[Path, dict[str, str]]]:
    """Return which files a module imports, and the names there with those that it calls them."""
    found = re.findall(r'^import \{(.*?)\} from "(.*?)";$', path.read_text(), re.MULTILINE)
    return [
        (
            (path.parent / source).resolve(),
            {there: own or there for there, own in re.findall(r"(\w+)(?: as (\w+))?", names)},
        )
        for names, source in found
    ]


def exports_of(path: Path) -> set[str]:
    return set(re.findall(r"^export (?:const|let|(?:async )?function\*?|class) (\w+)", path.read_text(), re.MULTILINE))


def test_modules_import_what_is_there_and_use_it_and_export_what_others_import() -> None:
    wanted: dict[Path, set[str]] = {path: set() for path in MODULES}
    for path in MODULES:
        text = path.read_text()
        rest = text.rpartition("\nimport ")[2].partition("\n")[2] if "\nimport " in text else text
        for source, names in imports_of(path):
            assert source.is_file(), f"{path.name} imports {source}"
            assert all(re.search(rf"\b{own}\b", rest) for own in names.values()), f"{path.name} uses not all of {names}"
            if source.parent != VENDOR:
                wanted[source] |= set(names)
    assert {path.stem: names - exports_of(path) for path, names in wanted.items() if names - exports_of(path)} == {}
    more = {name for path, names in wanted.items() for name in exports_of(path) - names}
    assert more == TRIED
    assert {path.stem for path, names in wanted.items() if not names} == {"main", "theme"}  # the document has these
    assert {path.stem for path in (PAGE / "views").iterdir()} == set(VIEWS)


def test_the_page_has_the_transitions_and_priorities_that_python_has() -> None:
    body = re.search(r"export const TRANSITIONS = \{(.*?)\n\};", (PAGE / "states.js").read_text(), re.DOTALL)
    assert body is not None
    found = {state: set(re.findall(r"\w+", after)) for state, after in re.findall(r"(\w+): \[(.*?)\]", body[1])}
    assert found == {before.value: {state.value for state in after} for before, after in TRANSITIONS.items()}
    words = re.search(r"export const PRIORITIES = \[(.*?)\]", (PAGE / "job_form.js").read_text())
    assert words is not None
    assert set(re.findall(r"\w+", words[1])) == {priority.name.lower() for priority in Priority}

"""The documentation as `make docs` builds it: whole, with no broken link, and readable without a network."""

from __future__ import annotations

import html.parser
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import ROOT

import bgsim

DOCS = ROOT / "docs"
AT_THE_TOP = sorted(ROOT.glob("*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site strictly: a link or an anchor that leads nowhere, or a page that the navigation lacks, is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def pages(site: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(site.rglob("index.html")):
        yield str(path.relative_to(site)), path.read_text(encoding="utf-8")


def of_page(path: Path) -> str:
    """Return where the site has a page of `docs`."""
    name = path.relative_to(DOCS).with_suffix("")
    return str(name.parent / "index.html" if name.name == "index" else name / "index.html")


class Loads(html.parser.HTMLParser):
    """Collects what a browser fetches by itself when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        names = {"src", "srcset", "poster", "data"}
        if tag == "link" and given.get("rel") not in {"canonical", "prev", "next"}:
            names.add("href")
        self.found += [value for name, value in given.items() if name in names and value]


def test_no_page_loads_anything_from_a_network(site: Path) -> None:
    for name, text in pages(site):
        loads = Loads()
        loads.feed(text)
        assert [url for url in loads.found if re.match(r"(\w+:)?//", url)] == [], name
        assert re.findall(r"url\(['\"]?(?:https?:)?//[^)]*|@import[^;]*//[^;]*", text) == [], name
    for path in [*site.rglob("*.css"), *site.rglob("*.svg")]:
        assert (
            re.findall(r"url\(['\"]?(?:https?:)?//[^)]*|@import[^;]*//|href=\"https?:", path.read_text("utf-8")) == []
        )


def test_every_page_is_in_the_navigation(site: Path) -> None:
    """The tabs and the lists beside the pages lead to every page, from the first one on."""
    linked: set[str] = set()
    for name, text in pages(site):
        for navigation in re.findall(r"<nav.*?</nav>", text, flags=re.DOTALL):
            for target in re.findall(r'href="([^"#]*)"', navigation):
                there = (site / name).parent.joinpath(target).resolve()
                linked.add(str((there / "index.html" if there.suffix == "" else there).relative_to(site)))
    assert {of_page(path) for path in DOCS.rglob("*.md")} - linked == set()
    assert {of_page(path) for path in DOCS.rglob("*.ipynb")} - linked == set()


def test_the_reference_has_a_heading_for_every_name(site: Path) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (site / "reference").rglob("index.html"))
    headings = set(re.findall(r'<h\d id="([\w.]+)" class="doc doc-heading">', text))
    assert len(headings) > 400
    public = {name: getattr(bgsim, name) for name in bgsim.__all__}
    homes = {f"{getattr(value, '__module__', '')}.{name}" for name, value in public.items() if callable(value)}
    assert {home for home in homes if home.startswith("bgsim.")} - headings == set()
    for method in ("submit", "sweep", "submit_many", "schedule", "subscribe", "retry", "close"):
        assert f"bgsim.engine.Engine.{method}" in headings  # inherited ones, too
    assert "replicates" in re.sub(r"<[^>]+>", "", text[text.index('id="bgsim.engine.Engine.submit"') :][:9000])


def test_the_tutorial_is_shown_as_it_was_run(site: Path) -> None:
    text = (site / "tutorial" / "1_an_epidemic" / "index.html").read_text(encoding="utf-8")
    assert 'class="bgsim-card' in text
    assert "200 of 200 points" in text
    assert "xr-wrap" not in text  # what xarray shows is unreadable under the site's styles: its text is shown
    assert "&lt;xarray.Dataset&gt;" in re.sub(r"</?span[^>]*>", "", text)
    pictures = re.findall(r'<img[^>]* src="([^"]+)"', text)
    assert len(pictures) == 3
    for picture in pictures:
        assert (site / "tutorial" / "1_an_epidemic" / picture).resolve().is_file()


def test_the_gallery_has_every_picture_and_the_script_that_makes_it(site: Path) -> None:
    gallery = (DOCS / "gallery.md").read_text(encoding="utf-8")
    pictures = {path.name for path in (DOCS / "images").iterdir()}
    assert {name for name in pictures if f"(images/{name})" not in gallery} == set()
    shown = (site / "gallery" / "index.html").read_text(encoding="utf-8")
    scripts = re.findall(r"\]\((?:\.\./)?((?:\w+/)*\w+\.py)\)", gallery)
    assert len(scripts) >= 8
    for script in scripts:
        name = script if "/" in script else f"docs/{script}"
        assert f'href="../files/{name}/"' in shown
        built = (site / "files" / name / "index.html").read_text(encoding="utf-8")
        first = (ROOT / name).read_text(encoding="utf-8").splitlines()[0].strip('"').partition(":")[0]
        assert first.partition("`")[0] in built


@pytest.mark.parametrize("path", AT_THE_TOP, ids=lambda path: path.name)
def test_links_from_the_front_page_of_the_repository_lead_somewhere(site: Path, path: Path) -> None:
    for link in LINK.findall(path.read_text(encoding="utf-8")):
        if link.startswith(("http:", "https:", "mailto:", "#")):
            continue
        target, _, anchor = link.partition("#")
        assert (ROOT / target).exists(), link
        if anchor and target.startswith("docs/"):
            built = site / of_page(ROOT / target)
            assert f'id="{anchor}"' in built.read_text(encoding="utf-8"), link


def test_the_page_on_installing_has_every_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    ours = {"test", "ui-test", "lint", "bench", "examples", "docs", "dist"}
    listed = re.findall(r"^\| [^|]* \| `([\w-]+)` \|", (DOCS / "install.md").read_text("utf-8"), flags=re.MULTILINE)
    assert set(listed) == extras.keys() - ours

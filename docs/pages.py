"""Pages that mkdocs does not make by itself: notebooks, and files of the repository that pages link to.

mkdocs calls the functions by their names. On a code host the same links lead to the notebook and to the file.
"""

from __future__ import annotations

import base64
import inspect
import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, InclusionLevel

import bgsim

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(\[[^\]]*\]\()([^)\s#:]+)(#[^)\s]*)?(?=\))")
LANGUAGES = {".py": "python", ".toml": "toml", ".json": "json", ".js": "javascript", ".yaml": "yaml", ".sh": "sh"}
NAMES = "<!-- the names of bgsim -->"
ALIASES = {
    "Control": "The type of a simulation's third argument.",
    "Rng": "The type of a simulation's second argument: NumPy's `Generator`.",
}
"""What is said of public types that are another package's."""
HIDDEN = "---\nsearch:\n  exclude: true\n---\n\n"


def on_files(files: Any, config: Any) -> Any:
    """Add a page for each notebook, and for each file outside of the documentation that a page links to."""
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        files.remove(notebook)
        for name, content in converted(notebook).items():
            files.append(File.generated(config, name, content=content))
    for page in files.documentation_pages():
        for _, target, _ in LINK.findall(page.content_string):
            name = of_repository(page.src_uri, target)
            if name and files.get_file_from_path(shown_at(name)) is None:
                shown = File.generated(
                    config, shown_at(name), content=as_page(name), inclusion=InclusionLevel.NOT_IN_NAV
                )
                files.append(shown)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links to notebooks and to files of the repository into links to their pages."""
    if page.parent is None:  # a tab of its own: there is nothing to list beside it
        page.meta.setdefault("hide", ["navigation"])

    def moved(link: re.Match[str]) -> str:
        start, target, anchor = link.groups()
        name = of_repository(page.file.src_uri, target)
        if name:
            target = posixpath.relpath(shown_at(name), posixpath.dirname(page.file.src_uri) or ".")
        return start + re.sub(r"\.ipynb$", ".md", target) + (anchor or "")

    if NAMES in markdown:
        markdown = markdown.replace(NAMES, names_of_bgsim())
    return LINK.sub(moved, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Drop the mark that begins a block in docstrings, which Markdown does not know."""
    return re.sub(r"::</p>(?=\s*<div class=\"[\w-]*\s*highlight)", ":</p>", html.replace("<p>::</p>", ""))


def names_of_bgsim() -> str:
    """Return a heading for each public name of the package, with the first line of its docstring and a link to it."""
    homes = {
        identifier.rpartition(".")[2]: identifier
        for page in sorted((ROOT / "docs" / "reference").glob("*.md"))
        for identifier in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }
    parts = []
    for name in sorted(bgsim.__all__, key=str.lower):
        found = getattr(bgsim, name)
        identifier = homes.get(name) or f"{found.__module__}.{name}"  # a warning stands with its module
        says = ALIASES.get(name) or (inspect.getdoc(found) or "").partition("\n")[0]
        parts.append(f"### {name}\n\n{says} [Signature and details][{identifier}]")
    return "\n\n".join(parts)


def of_repository(page: str, target: str) -> str | None:
    """Return the file that a link leads to, if the site does not have it: code, or outside of the documentation."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), target))
    is_elsewhere = not path.startswith(("docs/", "..")) or path.endswith(".py")
    return path if is_elsewhere and (ROOT / path).is_file() else None


def shown_at(name: str) -> str:
    """Return the name of the page that shows a file."""
    return f"files/{name}.md"


def as_page(name: str) -> str:
    """Return a page that shows a file."""
    path = ROOT / name
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return HIDDEN + text
    return f"{HIDDEN}# `{name}`\n\n````{LANGUAGES.get(path.suffix, 'text')}\n{text.rstrip()}\n````\n"


# ---- notebooks ---------------------------------------------------------------------------------------


def converted(notebook: File) -> dict[str, str | bytes]:
    """Return the page of a notebook, and its pictures."""
    source = Path(str(notebook.abs_src_path))
    files: dict[str, str | bytes] = {}
    parts = []
    for number, cell in enumerate(json.loads(source.read_text(encoding="utf-8"))["cells"]):
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            continue
        parts.append(f"```python\n{text}\n```")
        for place, output in enumerate(cell["outputs"]):
            picture = f"{source.stem}_{number}_{place}.png"
            data = output.get("data", {})
            if "image/png" in data:
                files[posixpath.join(posixpath.dirname(notebook.src_uri), picture)] = base64.b64decode(
                    data["image/png"]
                )
            parts.append(shown(output, picture))
    return {notebook.src_uri.removesuffix(".ipynb") + ".md": "\n\n".join(parts) + "\n", **files}


def shown(output: dict[str, Any], picture: str) -> str:
    """Return the richest form of an output of a cell that a page can show."""
    data = output.get("data", {})
    if "image/png" in data:
        return f"![A figure]({picture})"
    html = re.sub(r"\n\s*\n", "\n", "".join(data.get("text/html", "")))  # a blank line would end the block
    is_foreign = "bgsim-card" not in html and re.search(r"class=['\"]", html)  # its classes meet the site's own styles
    if html and not is_foreign:
        return f'<div class="notebook-output">{html}</div>'
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"```text\n{text.rstrip()}\n```"

"""Write `docs/reference/service-api.md` from the OpenAPI document: ``python docs/api.py``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from bgsim.service.app import ROUTES
from bgsim.service.openapi import document

PAGE = Path(__file__).parent / "reference" / "service-api.md"

HEAD = """# HTTP API

This page is for programs that talk to a service: each route, what it takes and what it answers.

All paths begin with `/v1`. Made from the OpenAPI document, which a service has at `/v1/openapi.json`, by
`python docs/api.py`. [Serve others over HTTP](../how-to/service.md) shows how it is used.
"""


def page() -> str:
    """Return the page."""
    found = msgspec.to_builtins(document(ROUTES))
    schemas = found["components"]["schemas"]
    lines = [HEAD]
    for tag in dict.fromkeys(operation["tags"][0] for _, _, operation in operations(found)):
        lines.append(f"## {tag.replace('-', ' ').capitalize()}\n")
        for method, path, operation in operations(found):
            if operation["tags"][0] == tag:
                lines += described(method, path, operation, schemas)
    return "\n".join(lines).rstrip() + "\n"


def operations(found: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield method, path and operation of each route."""
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def described(method: str, path: str, operation: Any, schemas: Any) -> Iterator[str]:
    """Yield the lines about one route."""
    yield f"### `{method} {path}`\n"
    verb = operation.get("x-verb")
    who = f"Needs the verb *{verb}*." if verb else "Anybody may."
    yield f"{operation['summary']}. {operation.get('description', '')}".strip() + f" {who}\n"
    query = [p for p in operation.get("parameters", ()) if p["in"] != "path"]
    body = operation.get("requestBody")
    rows = [(p["name"], kind(p["schema"]), p["in"]) for p in query]
    if body is not None:
        reference = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        schema = schemas[reference]
        needed = schema.get("required", [])
        rows += [
            (name, kind(each), "body, needed" if name in needed else "body")
            for name, each in schema["properties"].items()
        ]
    if rows:
        yield "| | | in |"
        yield "|---|---|---|"
        yield from (f"| `{name}` | {what} | {where} |" for name, what, where in rows)
        yield ""
    statuses = ", ".join(sorted(operation["responses"]))
    yield f"Answers {statuses}.\n"


def kind(schema: Any) -> str:
    """Return a schema in a few words."""
    if "anyOf" in schema:
        return " or ".join(kind(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"] if word is not None)
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    words = schema.get("type", "any value")
    if words == "array":
        return f"list of {kind(schema['items'])}"
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "maxLength": "at most", "maxItems": "at most"}
    return " ".join([str(words), *(f"{sign} {schema[name]}" for name, sign in bounds.items() if name in schema)])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

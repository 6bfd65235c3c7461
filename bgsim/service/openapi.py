"""The OpenAPI document, made from the declarations of the routes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec

from bgsim import __version__
from bgsim.service.problems import MEDIA_TYPE, ProblemDocument
from bgsim.service.routing import Route

_REFERENCE = "#/components/schemas/{name}"

_ALWAYS = (400, 401, 403, 413, 421, 429, 500)
"""Statuses that every route of a caller may answer with."""


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of some routes, as plain values."""
    found = list(routes)
    kinds = [kind for route in found for kind in (route.body, route.answer) if kind is not None]
    _, schemas = msgspec.json.schema_components([*dict.fromkeys(kinds), ProblemDocument], ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for route in found:
        paths.setdefault(re.sub(r":\w+}", "}", route.path), {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bgsim",
            "version": __version__,
            "summary": "Simulations in the background: reproducible, cancellable, with progress, and stored.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/v1"}],
        "security": [{"bearer": []}, {"cookie": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A token that `bgsim token new` made"},
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "bgsim_session_8517",
                    "description": "Of the page; its name ends with the port",
                },
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{route.method.lower()}_{re.sub(r'[^a-z0-9]+', '_', route.path).strip('_')}",
        "summary": route.summary,
        "tags": [route.path.split("/")[1]],
        "responses": _responses(route),
    }
    if route.description:
        operation["description"] = route.description
    parameters = [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        needed = any(field.required for field in msgspec.structs.fields(route.body))
        operation["requestBody"] = {
            "required": needed,
            "content": {"application/json": {"schema": _schema(route.body)}},
        }
    if route.verb is None:
        operation["security"] = []
    else:
        operation["x-verb"] = route.verb
    return operation


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in route.names
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, schema in _properties(route.query).items():
        found.append({"name": name, "in": "query", "required": False, "schema": schema})
    if route.takes_parameters:
        found.append({
            "name": "parameter",
            "in": "query",
            "required": False,
            "description": "What parameters have to be: `parameter.strike=100`",
            "style": "form",
            "explode": True,
            "schema": {"type": "object", "properties": {}, "additionalProperties": False},
        })  # fmt: skip
    return found


def _header_parameters(route: Route) -> list[dict[str, Any]]:
    if (route.method, route.path) != ("POST", "/jobs"):
        return []
    key = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
    wait = {"type": "string", "pattern": "^wait=[0-9]{1,2}$"}
    return [
        {"name": "Idempotency-Key", "in": "header", "required": False, "schema": key},
        {"name": "Prefer", "in": "header", "required": False, "schema": wait},
    ]


def _properties(query: type | None) -> dict[str, Any]:
    if query is None:
        return {}
    _, components = msgspec.json.schema_components([query], ref_template=_REFERENCE)
    found: dict[str, Any] = components[query.__name__]["properties"]
    return found


def _responses(route: Route) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(route.status).phrase}
    if route.answer is not None:
        answer["content"] = {
            kind: {"schema": _schema(route.answer) if kind == "application/json" else {}} for kind in route.media_types
        }
    good = {route.status, *(status for status in route.statuses if status < 300)}
    responses: dict[str, Any] = {str(status): {**answer, "description": HTTPStatus(status).phrase} for status in good}
    always = _ALWAYS if route.verb is not None else (400, 421, 500)
    checked = [422] if route.body is not None or route.query is not None or route.names else []
    typed = [415] if route.body is not None else []
    for status in sorted({*always, 422, *checked, *typed, *route.statuses} - good):
        content = {} if status == 304 else {"content": {MEDIA_TYPE: {"schema": _schema(ProblemDocument)}}}
        responses[str(status)] = {"description": HTTPStatus(status).phrase, **content}
    return responses


def _schema(kind: Any) -> dict[str, Any]:
    (found,), _ = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
    return dict(found)

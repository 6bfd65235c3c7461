"""The OpenAPI document, and whether the service keeps what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from paths import ROOT
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)
from served import Served, served

from bgsim.service.app import ROUTES
from bgsim.service.openapi import document

DOCUMENT = msgspec.to_builtins(document(ROUTES))
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
]


@pytest.fixture(scope="module")
def one() -> Iterator[Served]:
    with served(engine={"max_concurrent_simulations": 1}) as running:
        yield running


@SCHEMA.parametrize()
@settings(max_examples=25, suppress_health_check=list(HealthCheck), deadline=None)
def test_the_service_keeps_what_the_document_says(case: Any, one: Served) -> None:
    if case.path.endswith("/events"):
        return  # test_events.py; a stream does not end
    response = case.call(base_url=f"{one.running.url}/v1", headers={"Authorization": f"Bearer {one.running.token}"})
    case.validate_response(response, checks=CHECKS)


def test_every_route_is_described() -> None:
    described = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert described == {(route.method, route.path.replace(":path}", "}")) for route in ROUTES}
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            assert not operation["summary"].endswith(".")


def test_the_document_is_served_to_anybody(one: Served) -> None:
    with one.client() as anybody:
        assert anybody.get("/v1/openapi.json").json() == DOCUMENT


def test_the_page_of_the_documents_is_made_of_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import api

    assert api.PAGE.read_text("utf-8") == api.page(), "run: python docs/api.py"

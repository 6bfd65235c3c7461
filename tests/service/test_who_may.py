"""Every route against every role and against another tenant: 401, 403 and 404 as due.

The cases are made of the routes themselves, so that none can be forgotten: a new one without a place in `THINGS`, or
with a verb that no role has, fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from served import Served, served, token

from bgsim.service.access import ROLES
from bgsim.service.app import ROUTES
from bgsim.service.routing import Route

ROUTES_WITH_A_VERB = [route for route in ROUTES if route.verb is not None]
UNSAFE = [route for route in ROUTES_WITH_A_VERB if route.method != "GET"]
WITH_NAMES = [route for route in ROUTES_WITH_A_VERB if route.names]

SHARED = {"simulations", "queues"}
"""What is no tenant's: the names of simulations."""

ALL_TENANTS = {"engine"}
"""What concerns all tenants: 403 for one of them."""

BODIES: dict[str, Any] = {"PATCH /jobs/{id}": {"tags": ["x"]}}
"""Where an empty one is refused before the thing is looked for."""


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


def address(route: Route, things: dict[str, str]) -> str:
    """Return a route's address, with the thing of its kind in the place of the name."""
    kind = route.path.split("/")[1]
    path = route.path.replace("{index}", "0")
    return "/v1" + re.sub(r"{\w+(:path)?}", lambda _: things[kind], path)


@pytest.fixture(scope="module")
def one() -> Iterator[Served]:
    with served(with_tokens=True) as running:
        job = running.submit(wait=30)
        running.http.get(f"/v1/jobs/{job['id']}/replicates/0")  # now, or the test that comes first has its thread
        yield running


@pytest.fixture(scope="module")
def clients(one: Served) -> Iterator[dict[tuple[str, str], httpx.Client]]:
    """A client for each role, without a tenant and of two."""
    found = {(role, tenant): one.client(token(one, role, tenant)) for role in ROLES for tenant in ("", "a", "b")}
    yield found
    for client in found.values():
        client.close()


@pytest.fixture
def things(one: Served, clients: dict[tuple[str, str], httpx.Client]) -> dict[str, str]:
    """Something of each kind, of the tenant ``a``, by the first word of its routes."""
    a = clients["admin", "a"]
    job = one.submit(http=a, wait=30, replicates=5)
    for seed in (1, 2):
        one.submit(http=a, wait=30, seed=seed, workspace="w")
    letter = one.submit("fragile", http=a, wait=30, parameters={"fails_at": 1.0})
    sweep = a.post("/v1/sweeps", json={"simulation": "walk", "replicates": 2, "grid": {"steps": [1, 2]}}).json()
    schedule = {"simulation": "walk", "replicates": 2, "cron": "@daily", "name": "nightly"}
    assert a.post("/v1/schedules", json=schedule).status_code in (201, 409)
    return {
        "jobs": job["id"],
        "dead-letters": letter["id"],
        "sweeps": sweep["id"],
        "schedules": "nightly",
        "slots": "w",
        "queues": "one_draw",
        "simulations": "one_draw",
    }


NOTHING = dict.fromkeys(("jobs", "dead-letters", "sweeps", "schedules", "slots", "queues", "simulations"), "none")


def send(client: httpx.Client, route: Route, path: str) -> httpx.Response:
    """Send a request; of a stream the head alone."""
    body = {"json": BODIES.get(named(route), {})} if route.body is not None else {}
    with client.stream(route.method, path, **body) as answer:  # type: ignore[arg-type]
        if "text/event-stream" not in answer.headers.get("content-type", ""):
            answer.read()
        return answer


@pytest.mark.parametrize("route", ROUTES_WITH_A_VERB, ids=named)
def test_nobody_may_without_a_token(one: Served, route: Route) -> None:
    with one.client() as anybody, one.client("bgs_00000000_" + "x" * 43) as unknown:
        for client in (anybody, unknown):
            answer = send(client, route, address(route, NOTHING))
            assert (answer.status_code, answer.headers["www-authenticate"][:6]) == (401, "Bearer")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("route", ROUTES_WITH_A_VERB, ids=named)
def test_a_role_may_what_its_verbs_say(
    one: Served, clients: dict[tuple[str, str], httpx.Client], route: Route, role: str
) -> None:
    """A thing that is not there is 404 to who may, and 403 to who may not, so that neither tells what there is."""
    answer = send(clients[role, ""], route, address(route, NOTHING))
    one.service.draining = False
    one.engine.resume()
    assert (answer.status_code == 403) is (route.verb not in ROLES[role]), answer.status_code
    assert answer.status_code not in (401, 405, 500)
    if route.verb in ROLES[role] and route.names and not route.body:
        assert answer.status_code == 404


@pytest.mark.parametrize("route", WITH_NAMES, ids=named)
def test_what_is_another_tenants_is_not_there(
    clients: dict[tuple[str, str], httpx.Client], things: dict[str, str], route: Route
) -> None:
    path, kind = address(route, things), route.path.split("/")[1]
    other, own = send(clients["admin", "b"], route, path), send(clients["admin", "a"], route, path)
    assert own.status_code != 404, own.text
    assert (other.status_code == 404) is (kind not in SHARED), other.status_code


@pytest.mark.parametrize("route", [route for route in ROUTES if route.path.split("/")[1] in ALL_TENANTS], ids=named)
def test_what_concerns_all_tenants_is_not_for_one(
    one: Served, clients: dict[tuple[str, str], httpx.Client], route: Route
) -> None:
    assert send(clients["admin", "a"], route, address(route, NOTHING)).status_code == 403
    assert not one.engine.paused
    assert not one.service.draining


def test_what_anybody_may_is_to_begin_and_end_a_session() -> None:
    free = {named(route) for route in ROUTES if route.verb is None and route.method != "GET"}
    assert free == {"POST /session", "DELETE /session"}


def test_each_route_that_changes_something_asks_for_more_than_to_read() -> None:
    assert [named(route) for route in UNSAFE if route.verb == "read"] == []
    assert [named(route) for route in ROUTES_WITH_A_VERB if route.verb not in ROLES["admin"]] == []
    assert len(UNSAFE) >= 20


LISTS: dict[str, Any] = {
    "/jobs": "jobs",
    "/dead-letters": "dead_letters",
    "/schedules": "schedules",
    "/slots": "workspaces",
}


@pytest.mark.parametrize("path", LISTS)
def test_a_list_has_the_callers_alone(
    clients: dict[tuple[str, str], httpx.Client], things: dict[str, str], path: str
) -> None:
    assert things
    mine, other = (clients["viewer", tenant].get(f"/v1{path}").json()[LISTS[path]] for tenant in ("a", "b"))
    assert mine
    assert other == []

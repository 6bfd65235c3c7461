"""Slots over HTTP: two results side by side, paired differences, and a tenant's own workspaces."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from served import Served, served, token

from bgsim.service.settings import RoleLimits

WALK = "/v1/slots/kernels.walk"


@pytest.fixture
def one() -> Iterator[Served]:
    with served(with_tokens=True) as running:
        yield running


def test_a_workspace_has_its_newest_result_and_the_one_before(one: Served) -> None:
    for steps in (1, 2, 3):
        one.submit("walk", parameters={"steps": steps}, replicates=50, seed=7, wait=30)
    assert one.http.get("/v1/slots").json() == {"workspaces": ["kernels.walk"]}
    found = one.http.get(WALK).json()
    assert [found[slot]["parameters"]["steps"] for slot in ("primary", "secondary")] == [3, 2]
    assert (found["primary"]["seed"], found["primary"]["replicates"]) == (7, 50)
    assert found["primary"]["summary"]["ups"]["mean"] > found["secondary"]["summary"]["ups"]["mean"]
    swapped = one.http.post(found["links"]["swap"]).json()
    assert [swapped[slot]["parameters"]["steps"] for slot in ("primary", "secondary")] == [2, 3]


def test_differences_are_paired_and_have_intervals_as_in_python(one: Served) -> None:
    for scale in (1.0, 2.0):
        one.submit("walk", parameters={"steps": 4, "scale": scale}, replicates=200, seed=7, wait=30)
    found = one.http.get(f"{WALK}/compare").json()
    expected = one.engine.store.compare("kernels.walk")
    assert found["parameters"] == {"scale": [2.0, 1.0]}
    assert found["confidence"] == 0.95
    end = found["outputs"]["end"]
    assert (end["difference"], end["low"], end["high"]) == pytest.approx(
        [getattr(expected.outputs["end"], name) for name in ("mean", "low", "high")]
    )
    assert (end["paired"], end["replicates"]) == (True, 200)
    assert len(found["outputs"]["path"]["difference"]) == 4
    wider = one.http.get(f"{WALK}/compare", params={"confidence": 0.999}).json()["outputs"]["end"]
    assert wider["high"] > end["high"]
    assert one.http.get(f"{WALK}/compare", params={"confidence": 1}).status_code == 422


def test_large_arrays_are_left_out_and_large_results_not_loaded(one: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in (1, 2):
        one.submit("walk", parameters={"steps": 20_000}, replicates=2, seed=seed, wait=30)
    found = one.http.get(f"{WALK}/compare").json()
    assert (found["left_out"], "end" in found["outputs"]) == (["path"], True)
    small = RoleLimits(max_result_bytes=1000)
    monkeypatch.setattr(type(one.service.settings), "limits_of", lambda *_: small)
    refused = one.http.get(f"{WALK}/compare")
    assert (refused.status_code, "your role" in refused.json()["detail"]) == (422, True)


def test_one_result_is_no_comparison(one: Served) -> None:
    one.submit("walk", wait=30)
    assert one.http.get(WALK).json()["secondary"] is None
    for answer in (one.http.get(f"{WALK}/compare"), one.http.post(f"{WALK}/swap")):
        assert (answer.status_code, "one of two results" in answer.json()["detail"]) == (409, True)
    for path in ("", "/compare"):
        assert one.http.get(f"/v1/slots/none{path}").status_code == 404
    assert "did you mean 'kernels.walk'" in one.http.get("/v1/slots/kernels.wlk").json()["detail"]


def test_a_name_with_slashes_is_a_workspace_too(one: Served) -> None:
    for seed in (1, 2):
        one.submit(seed=seed, workspace="a/b c/d", wait=30)
    found = one.http.get("/v1/slots/a/b c/d").json()
    assert found["workspace"] == "a/b c/d"
    for name in ("self", "compare"):
        assert one.http.get(found["links"][name]).status_code == 200


def test_a_workspace_is_its_tenants_alone(one: Served) -> None:
    """Two tenants that ask for the same have a workspace each, and a result each."""
    with one.client(token(one, "operator", "a")) as a, one.client(token(one, "admin", "b")) as b:
        for http in (a, b):
            for seed in (1, 2):
                assert one.submit(http=http, seed=seed, wait=30)["from_store"] == 0
        assert a.get("/v1/slots").json() == {"workspaces": ["a/kernels.one_draw"]}
        assert one.http.get("/v1/slots").json() == {"workspaces": ["a/kernels.one_draw", "b/kernels.one_draw"]}
        found = {name: a.get(f"/v1/slots/{name}").json() for name in ("kernels.one_draw", "a/kernels.one_draw")}
        assert found["kernels.one_draw"] == found["a/kernels.one_draw"]
        assert (
            found["kernels.one_draw"]["primary"]["hash"]
            != b.get("/v1/slots/kernels.one_draw").json()["primary"]["hash"]
        )
        for path in ("", "/compare"):
            assert a.get(f"/v1/slots/b/kernels.one_draw{path}").status_code == 404
        assert a.post("/v1/slots/b/kernels.one_draw/swap").status_code == 404
        assert a.post("/v1/slots/kernels.one_draw/swap").status_code == 200

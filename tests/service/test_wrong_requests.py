"""Each way in which a request can be wrong has its own status, and a problem document that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from served import Served, served, token

import bgsim
import bgsim.service
from bgsim.errors import InvalidInputError

JOB = {"simulation": "one_draw", "replicates": 10}


@pytest.fixture(scope="module")
def one() -> Iterator[Served]:
    with served(with_tokens=True, max_body_bytes=2000) as running:
        yield running


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "told"),
    [
        ("POST", "/v1/jobs", {"content": b"{"}, 400, "no JSON"),
        ("POST", "/v1/jobs", {"content": b'{"simulation": "\xff"}'}, 400, "no JSON"),
        ("POST", "/v1/jobs", {"content": b"[" * 1900}, 400, "no JSON"),
        ("POST", "/v1/jobs", {"json": [JOB]}, 422, "must be an object"),
        ("POST", "/v1/jobs", {"json": {"replicates": 5}}, 422, "simulation must be given"),
        ("POST", "/v1/jobs", {"json": JOB | {"replicats": 5}}, 422, "did you mean 'replicates'"),
        ("POST", "/v1/jobs", {"json": JOB | {"replicates": 0}}, 422, "an integer of 1 or more; got 0"),
        ("POST", "/v1/jobs", {"json": JOB | {"replicates": 10**12}}, 422, "of the role admin"),
        ("POST", "/v1/jobs", {"json": JOB | {"priority": 1}}, 422, "one of low, normal, high, critical"),
        ("POST", "/v1/jobs", {"json": JOB | {"priority": "hihg"}}, 422, "did you mean 'high'"),
        ("POST", "/v1/jobs", {"json": JOB | {"at": "2026-10-01T10:00:00"}}, 422, "time zone"),
        ("POST", "/v1/jobs", {"json": JOB | {"retry": {"retries": -1}}}, 422, "retry.retries"),
        ("POST", "/v1/jobs", {"json": JOB | {"simulation": "walk", "parameters": {"stps": 1}}}, 422, "'steps'"),
        ("POST", "/v1/jobs", {"json": JOB | {"simulation": "one_drow"}}, 404, "did you mean 'one_draw'"),
        ("POST", "/v1/jobs", {"json": JOB | {"simulation": "os:system"}}, 404, "cannot name a module"),
        ("POST", "/v1/jobs", {"json": JOB | {"tags": ["x" * 101]}}, 422, "tags"),
        ("POST", "/v1/jobs", {"json": JOB | {"webhook": {"url": "http://127.0.0.1/"}}}, 422, "webhook"),
        ("POST", "/v1/jobs", {"json": JOB | {"parameters": {"x": "y" * 2000}}}, 413, "2,000 bytes"),
        ("POST", "/v1/jobs", {"content": b"a=b", "headers": {"Content-Type": "text/plain"}}, 415, "application/json"),
        ("POST", "/v1/jobs", {"json": JOB, "headers": {"Idempotency-Key": "x" * 256}}, 422, "Idempotency-Key"),
        ("POST", "/v1/jobs", {"json": JOB | {"cache": "only", "seed": 99}}, 409, "are stored"),
        ("PUT", "/v1/jobs", {}, 405, "takes GET, POST"),
        ("GET", "/v1/jobs/none", {}, 404, "no job 'none'"),
        ("GET", "/v1/nothing", {}, 404, "begins at /v1"),
        ("GET", "/v1/jobs/", {}, 404, "begins at /v1"),
        ("OPTIONS", "/v1/jobs", {}, 405, "takes GET, POST"),
        ("GET", "/page/%2e%2e/settings.py", {}, 404, "begins at /v1"),
        ("GET", "/v1/jobs?state=runing", {}, 422, "did you mean 'running'"),
        ("GET", "/v1/jobs?stat=running", {}, 422, "did you mean 'state'"),
        ("GET", "/v1/jobs?since=yesterday", {}, 422, "since"),
        ("GET", "/v1/jobs?limit=9999", {}, 422, "limit"),
        ("GET", "/v1/jobs?cursor=x", {}, 422, "cursor"),
        ("GET", "/v1/jobs", {"headers": {"Host": "evil.example"}}, 421, "--allow-host"),
        ("GET", "/v1/jobs", {"headers": {"Authorization": "Bearer bgs_00000000_x"}}, 401, "bgsim token new"),
        ("GET", "/v1/jobs", {"headers": {"Authorization": ""}}, 401, "a token is needed"),
        ("GET", "/v1/simulations/asian_cal", {}, 404, "did you mean 'asian_call'"),
    ],
)  # fmt: skip
def test_it_says_what_to_do(one: Served, method: str, path: str, more: dict[str, Any], status: int, told: str) -> None:
    if "content" in more:
        more = {"headers": {"Content-Type": "application/json"}, **more}
    answer = one.http.request(method, path, **more)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    document = answer.json()
    assert document["status"] == status
    assert told in document["detail"]
    if status == 405:
        assert answer.headers["allow"] == "GET, POST"
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_field_is_pointed_at(one: Served) -> None:
    body = JOB | {"simulation": "walk", "parameters": {"stps": 1}}
    (error,) = one.http.post("/v1/jobs", json=body).json()["errors"]
    assert (error["pointer"], error["nearest"]) == ("#/parameters/stps", "steps")
    (error,) = one.http.post("/v1/jobs", json=JOB | {"priority": "hihg"}).json()["errors"]
    assert (error["pointer"], error["nearest"], error["value"]) == ("#/priority", "high", "'hihg'")
    (error,) = one.http.get("/v1/jobs", params={"state": "x"}).json()["errors"]
    assert (error["parameter"], error["value"]) == ("state", "'x'")


def test_a_role_that_lacks_a_verb_is_refused(one: Served) -> None:
    with one.client(token(one, "viewer")) as viewer:
        assert viewer.get("/v1/jobs").status_code == 200
        answer = viewer.post("/v1/jobs", json=JOB)
        assert (answer.status_code, "takes the role operator or admin" in answer.text) == (403, True)


def test_a_browser_changes_things_from_the_page_alone(one: Served) -> None:
    with one.client() as browser:
        made = browser.post("/v1/session", json={"token": token(one, "operator")})
        cookie = made.headers["set-cookie"]
        assert (made.status_code, "HttpOnly" in cookie, "SameSite=Strict" in cookie) == (204, True, True)
        assert browser.get("/v1/session").json()["verbs"] == ["read", "submit", "control", "schedule"]
        host = one.running.url.partition("://")[2]
        for headers, status in (
            ({}, 403),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Sec-Fetch-Site": "same-site", "Origin": f"http://{host}"}, 403),
            ({"Origin": "http://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Origin": f"http://{host}"}, 202),
            ({"Sec-Fetch-Site": "same-origin"}, 202),
        ):
            answer = browser.post("/v1/jobs", json=JOB, headers=headers)
            assert answer.status_code in (status, status - 2), (headers, answer.text)
        assert browser.delete("/v1/session").status_code == 204
        assert browser.get("/v1/session").status_code == 401
        assert browser.post("/v1/session", json={"token": "bgs_x_y"}).status_code == 401


def test_nothing_shows_a_secret(one: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    text = token(one, "operator")
    secret = "whsec_" + "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
    with one.client(text) as client:
        webhook = {"url": "https://93.184.216.34/hook", "secret": secret, "events": ["job.failed"]}  # gets no message
        job = client.post("/v1/jobs", json=JOB | {"webhook": webhook}).json()
        answers = [client.get(path).text for path in (f"/v1/jobs/{job['id']}", "/v1/jobs", "/v1/session", "/metrics")]
        answers.append(client.post("/v1/jobs", json=JOB | {"webhook": {"url": "ftp://x", "secret": secret}}).text)
        client.get("/", params={"token": "one-time-secret"})
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("bgsim")]  # not the client's
    told = "\n".join([*answers, *logged])
    assert job["webhook"] == "https://93.184.216.34/hook"
    for hidden in (secret, text, text.split("_", 2)[2], "one-time-secret"):
        assert hidden not in told


def test_too_many_requests_and_jobs_are_put_off() -> None:
    from bgsim.service.settings import RoleLimits

    with served(roles={"admin": RoleLimits(requests_per_minute=4, max_open_jobs=1)}) as one:
        first = one.submit("spin", replicates=1)
        answer = one.http.post("/v1/jobs", json=JOB)
        assert (answer.status_code, int(answer.headers["retry-after"]) >= 1) == (429, True)
        assert "1 jobs that have not ended" in answer.text
        one.http.post(f"/v1/jobs/{first['id']}/cancel")
        one.http.get("/v1/jobs")
        answer = one.http.get("/v1/jobs")
        assert (answer.status_code, "requests in a minute" in answer.text) == (429, True)
        assert 1 <= int(answer.headers["retry-after"]) <= 60


def test_a_full_queue_says_when_to_come_back() -> None:
    with served(engine={"max_queue_size": 1, "max_concurrent_simulations": 1}) as one:
        for seed in range(2):
            one.submit("spin", replicates=1, seed=seed, parameters={"iterations": 10**11})
        answer = one.http.post("/v1/jobs", json={"simulation": "spin", "replicates": 1, "seed": 5})
        assert (answer.status_code, int(answer.headers["retry-after"]) >= 1) == (503, True)
        assert len(one.http.get("/v1/jobs").json()["jobs"]) == 2


def test_others_cannot_reach_a_store_without_tokens() -> None:
    with bgsim.Engine() as engine, pytest.raises(InvalidInputError, match="bgsim token new"):
        bgsim.service.serve(engine, host="0.0.0.0", port=0)


def test_a_setting_that_is_none_is_refused() -> None:
    with bgsim.Engine() as engine:
        for settings, told in (
            ({"prot": 1}, "did you mean 'port'"),
            ({"prefix": "x"}, "leading slash"),
            ({"port": 70000}, "port"),
            ({"hosts": "x"}, "a list of texts"),
            ({"roles": {"boss": None}}, "one of viewer, operator, admin"),
        ):
            with pytest.raises(InvalidInputError, match=told):
                bgsim.service.serve(engine, **settings)

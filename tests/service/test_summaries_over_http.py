"""Jobs that keep a summary, which a program submits beside a service: their statistics come over HTTP, and no rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kernels import Walk, walk
from served import Served, served

import bgsim


@pytest.fixture
def one() -> Iterator[Served]:
    with served(with_tokens=True) as running:
        yield running


def test_a_summary_is_shown_and_has_no_rows_to_download(one: Served) -> None:
    job = one.engine.submit(walk, Walk(4), replicates=3000, keep="summary")
    result = job.result()
    one.wait_until_told()
    shown = one.http.get(f"/v1/jobs/{job.id}/summary").json()["outputs"]["end"]
    expected = result.summary()["end"]
    assert (shown["mean"], shown["count"]) == (pytest.approx(expected.mean), 3000)
    refused = one.http.get(f"/v1/jobs/{job.id}/result")
    assert refused.status_code == 409
    assert "keeps a summary, and has no rows" in refused.json()["detail"]


def test_a_stored_summary_that_ends_elsewhere_by_now_is_gone(one: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process has stored more of it, and no tally of that ends where the job did."""
    job = one.engine.submit(walk, Walk(4), replicates=3000, keep="summary")
    job.result()
    one.wait_until_told()
    monkeypatch.setattr(type(one.service.recorder), "in_memory", lambda *_: None)  # as after a restart
    assert one.http.get(f"/v1/jobs/{job.id}/summary").json()["outputs"]["end"]["count"] == 3000
    with bgsim.Engine() as other:
        other.submit(walk, Walk(4), replicates=5000, keep="summary").result()
        columns = other.store.load(job.request.key)
    one.engine.store.store(job.request.key, columns)
    one.engine.store.flush()
    gone = one.http.get(f"/v1/jobs/{job.id}/summary")
    assert (gone.status_code, "has a summary of 2,048 replicates" in gone.json()["detail"]) == (410, True)

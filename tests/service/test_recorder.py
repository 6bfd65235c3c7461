"""The history of the service's jobs: each one that the engine takes, whoever asks for it, to its end."""

from __future__ import annotations

from conftest import HANDSHAKE_S, Gate
from kernels import one_draw
from served import served


def test_no_end_is_missed_when_an_update_comes_before_its_job(hold: Gate) -> None:
    """The recorder waits for its turn with one job's update, and the next job and all its updates come behind."""
    with served() as one:
        one.engine.subscribe(hold.stop_here)
        first = one.engine.submit(one_draw, replicates=1)
        hold.wait_until_reached()
        first.result(HANDSHAKE_S)
        second = one.engine.submit(one_draw, replicates=1, seed=1)
        second.result(HANDSHAKE_S)
        hold.open()
        one.wait_until_told()
        assert one.service.recorder.drain(HANDSHAKE_S)
        assert [one.job(job.id)["state"] for job in (first, second)] == ["completed"] * 2

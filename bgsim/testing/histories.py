"""The tests that the history of every store passes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from bgsim.errors import InvalidInputError
from bgsim.storage.history import KEY_AGE_S, AuditRow, Delivery, JobQuery, JobRow, TokenRow
from bgsim.storage.times import time_text
from bgsim.testing.store_examples import StoreMaker, at_once, example_delivery, example_job

_END = {
    "state": "completed",
    "started_at": time_text(50),
    "ended_at": time_text(60),
    "replicates_completed": 10,
    "from_store": 4,
    "retries": 1,
    "error": "none",
    "store_error": "the disk is full",
    "result_hash": "f" * 32,
}


def _ids(rows: Iterable[JobRow | Delivery | TokenRow]) -> list[str]:
    return [row.id for row in rows]


class HistoryContract(StoreMaker):
    """The tests of jobs, tokens, deliveries and the audit log. Override `make_store`."""

    # ---- jobs ----------------------------------------------------------------------------------------

    def test_a_job_is_there_from_its_submission_to_after_its_end(self, tmp_path: Path) -> None:
        """Its end sets what is of the end, and leaves the rest."""
        with self.opened(tmp_path) as store:
            history, given = store.history, example_job(0, tags='["a"]', webhook='{"url": "https://example.com"}')
            assert history.job("j0") is None
            assert history.add_job(given) is None
            found = history.job("j0")
            assert found == given
            assert (found.request_hash, found.webhook) == ("", '{"url": "https://example.com"}')
            assert history.open_jobs() == [given]
            assert history.change_job("j0", tags='["b"]', cancel_asked=True)
            history.end_job(replace(given, simulation="other", **_END))  # type: ignore[arg-type]
            expected = replace(given, tags='["b"]', cancel_asked=True, **_END)  # type: ignore[arg-type]
            assert history.job("j0") == expected
            assert history.jobs(JobQuery()) == [expected]
            assert history.open_jobs() == []

    def test_large_parameters_come_back_as_they_were(self, tmp_path: Path) -> None:
        """Of one job and of many, added, noted and ended."""
        with self.opened(tmp_path) as store:
            history = store.history
            given = [example_job(n, parameters=f'{{"x": "{"abc" * 1000}", "y": {n}.5}}') for n in range(3)]
            history.add_job(given[0])
            history.note_job(given[1])
            history.end_job(replace(given[2], state="failed", ended_at=time_text(9)))
            store.flush()
            assert [history.job(row.id) for row in given[:2]] == given[:2]
            assert [row.parameters for row in history.jobs(JobQuery())] == [row.parameters for row in given[::-1]]
            assert _ids(history.jobs(JobQuery(parameters={"x": "abc" * 1000, "y": 1.5}))) == ["j1"]

    def test_a_note_of_a_job_that_is_there_changes_nothing(self, tmp_path: Path) -> None:
        """Nor does one that comes after its end; a noted job has no key."""
        with self.opened(tmp_path) as store:
            history = store.history
            given = example_job(0, token="t", idempotency_key="k")
            history.add_job(given)
            history.note_job(example_job(0, simulation="other"))
            assert history.job("j0") == given
            history.end_job(example_job(1, state="failed", ended_at=time_text(3)))
            history.note_job(example_job(1))
            history.note_job(example_job(2, token="t", idempotency_key="other"))
            assert [(row.id, row.state) for row in history.jobs(JobQuery())] == [
                ("j2", ""),
                ("j1", "failed"),
                ("j0", ""),
            ]
            assert history.add_job(example_job(3, token="t", idempotency_key="other")) is None

    def test_an_end_is_seen_at_once_and_told_when_it_is_durable(self, tmp_path: Path) -> None:
        """With what is to be delivered."""
        with self.opened(tmp_path) as store:
            history, told = store.history, list[Exception | None]()
            history.note_job(example_job(0, tags='["a"]'))
            history.end_job(
                example_job(0, state="cancelled", ended_at=time_text(2)), [example_delivery(0)], told.append
            )
            found = history.job("j0")
            assert found is not None
            assert (found.state, found.tags) == ("cancelled", '["a"]')
            store.flush()
            assert told == [None]
            assert history.deliveries() == [example_delivery(0)]

    def test_a_key_is_given_once_a_day_and_token(self, tmp_path: Path) -> None:
        """Its second job is not added, and the first is returned; without a key there is no such bound."""
        with self.opened(tmp_path) as store:
            history = store.history
            first = example_job(0, token="t", idempotency_key="k")
            assert history.add_job(first) is None
            assert history.add_job(example_job(1, token="t", idempotency_key="k")) == first
            assert history.job_by_key("t", "k", time_text(KEY_AGE_S)) == first
            assert history.job_by_key("t", "k", time_text(KEY_AGE_S + 1)) is None
            for token, key in (("other", "k"), ("t", "other"), ("t", "")):
                assert history.job_by_key(token, key, time_text(1)) is None
            assert history.add_job(example_job(2, token="other", idempotency_key="k")) is None
            assert history.add_job(example_job(3, token="t")) is None
            assert history.add_job(example_job(4, token="t")) is None
            late = example_job(5, token="t", idempotency_key="k", submitted_at=time_text(KEY_AGE_S))
            assert history.add_job(late) == first
            later = replace(late, submitted_at=time_text(KEY_AGE_S + 1))
            assert history.add_job(later) is None
            assert history.add_job(replace(later, id="j6")) == later
            found = history.job("j0")
            assert found == replace(first, idempotency_key="")
            history.end_job(replace(first, state="completed", ended_at=time_text(9)))
            assert history.job("j5") == later
            assert history.add_job(replace(later, idempotency_key="")) == later

    def test_of_callers_with_one_key_one_adds(self, tmp_path: Path) -> None:
        """The others get its job."""
        with self.opened(tmp_path) as store:
            rows = [example_job(n, token="t", idempotency_key="k") for n in range(6)]
            found = at_once(*(lambda row=row: store.history.add_job(row) for row in rows))
            (added,) = [row for row, other in zip(rows, found, strict=True) if other is None]
            assert [row for row in found if row is not None] == [added] * 5
            assert store.history.jobs(JobQuery()) == [added]

    def test_jobs_are_found_by_all_that_a_query_names(self, tmp_path: Path) -> None:
        """One thing at a time, and several."""
        with self.opened(tmp_path) as store:
            history = store.history
            more = [
                {"tenant": "lab", "tags": '["a", "b"]', "simulation": "my.walk"},
                {"parameters": '{"x": 1, "name": "\\u00fc", "on": true, "none": null}', "tags": "no list"},
                {"simulation": "your.walk", "state": "failed", "ended_at": time_text(5)},
                {"simulation": "walk", "tags": '["b"]', "parameters": "no object"},
                {"parameters": '{"x": 0.1, "big": 10000000000000000000000, "on": false, "\\u00e9": 1}'},
            ]
            for number, values in enumerate(more):
                history.add_job(example_job(number, **values))
            for expected, given in (
                ("43210", {}),
                ("0", {"tenant": "lab"}),
                ("4321", {"tenant": ""}),
                ("2", {"states": ("failed", "cancelled")}),
                ("43210", {"states": ("", "failed", "")}),
                ("320", {"simulation": "walk"}),
                ("0", {"simulation": "my.walk"}),
                ("30", {"tag": "b"}),
                ("210", {"parameters": {"x": 1.0}}),
                ("1", {"parameters": {"x": 1, "name": "ü"}}),
                ("1", {"parameters": {"on": True}}),
                ("1", {"parameters": {"none": None}}),
                ("4", {"parameters": {"x": 0.1, "big": 1e22, "é": 1}}),
                ("", {"parameters": {"x": "1"}}),
                ("", {"parameters": {'x" or': 1}}),
                ("432", {"since": time_text(2)}),
                ("210", {"until": time_text(2)}),
                ("31", {"ids": {"j1", "j3", "unknown"}}),
                ("", {"ids": ()}),
                ("10", {"before": (time_text(2), "j2")}),
                ("43", {"limit": 2}),
                ("0", {"simulation": "walk", "states": ("",), "tag": "a", "tenant": "lab", "parameters": {"x": 1}}),
            ):
                query = JobQuery(**given)
                assert "".join(_ids(history.jobs(query))).replace("j", "") == expected, given
                if "limit" not in given:
                    assert history.count_jobs(query) == len(expected), given

    def test_jobs_are_tallied(self, tmp_path: Path) -> None:
        """By tenant, simulation and state."""
        with self.opened(tmp_path) as store:
            assert store.history.tally() == {}
            for number, (tenant, simulation, state) in enumerate(
                [("", "m.walk", ""), ("a", "m.walk", "failed"), ("a", "m.walk", "failed"), ("a", "m.call", "completed")]
            ):
                store.history.end_job(example_job(number, tenant=tenant, simulation=simulation, state=state))
            expected = {("", "m.walk", ""): 1, ("a", "m.walk", "failed"): 2, ("a", "m.call", "completed"): 1}
            assert store.history.tally() == expected

    def test_pages_of_jobs_miss_none_and_have_none_twice(self, tmp_path: Path) -> None:
        """Also of those that were submitted at the same moment."""
        with self.opened(tmp_path) as store:
            for number in range(20):
                store.history.note_job(example_job(number, submitted_at=time_text(number // 5), state=""))
            found: list[JobRow] = []
            while page := store.history.jobs(
                JobQuery(limit=3, before=(found[-1].submitted_at, found[-1].id) if found else None)
            ):
                found += page
            assert found == sorted(found, key=lambda row: (row.submitted_at, row.id), reverse=True)
            assert len(set(_ids(found))) == len(found) == 20

    def test_a_cancellation_is_kept_and_other_columns_are_refused(self, tmp_path: Path) -> None:
        """Of many jobs at once; an unknown id is passed over."""
        with self.opened(tmp_path) as store:
            history = store.history
            for number in range(3):
                history.note_job(example_job(number))
            history.ask_cancel(["j0", "j2", "unknown"])
            assert [row.cancel_asked for row in history.open_jobs()] == [True, False, True]
            assert not history.change_job("unknown", tags="[]")
            try:
                history.change_job("j0", state="completed")
            except InvalidInputError:
                return
            raise AssertionError("change_job set the state")

    def test_old_jobs_are_forgotten_and_open_ones_never(self, tmp_path: Path) -> None:
        """By the time of their end, and beyond a number."""
        with self.opened(tmp_path) as store:
            history = store.history
            for number in range(10):
                history.end_job(example_job(number, state="completed", ended_at=time_text(100 - number)))
            history.note_job(example_job(10))
            assert history.forget_jobs(time_text(94), 100) == 3
            assert history.forget_jobs(time_text(94), 4) == 3
            assert _ids(history.jobs(JobQuery())) == ["j10", "j3", "j2", "j1", "j0"]
            assert history.forget_jobs(time_text(1000), 0) == 4
            assert _ids(history.jobs(JobQuery())) == ["j10"]

    # ---- tokens --------------------------------------------------------------------------------------

    def test_tokens_are_kept_and_revoked_once(self, tmp_path: Path) -> None:
        """By their ids."""
        with self.opened(tmp_path) as store:
            history = store.history
            rows = [TokenRow(f"t{n}", "d" * 64, "viewer", "lab", "name", time_text(n), time_text(99)) for n in (0, 1)]
            for row in reversed(rows):
                history.add_token(row)
            assert history.tokens() == rows
            assert history.token("t1") == rows[1]
            assert history.token("unknown") is None
            assert history.revoke_token("t1", time_text(5))
            assert not history.revoke_token("t1", time_text(6))
            assert not history.revoke_token("unknown", time_text(6))
            found = history.token("t1")
            assert found == replace(rows[1], revoked_at=time_text(5))
            assert found.revoked_at == time_text(5)

    # ---- deliveries ----------------------------------------------------------------------------------

    def test_deliveries_are_due_in_their_order_and_taken_once(self, tmp_path: Path) -> None:
        """The first to each address, until an attempt has ended it."""
        with self.opened(tmp_path) as store:
            history = store.history
            rows = [example_delivery(n, due_at=time_text(9 - n), url=f"https://{n}") for n in range(4)]
            late = example_delivery(4, due_at=time_text(7), url="https://3")
            history.end_job(example_job(0, state="completed", ended_at=time_text(1)), [*rows, late])
            assert history.due_deliveries(time_text(8), 10) == rows[:0:-1]
            assert history.due_deliveries(time_text(8), 1) == rows[3:]
            assert history.next_delivery_at(time_text(8)) == time_text(9)
            assert history.next_delivery_at(time_text(9)) is None
            taken = at_once(
                *(lambda: history.claim_delivery(rows[3].id, time_text(6), time_text(20)) for _ in range(4))
            )
            assert sorted(taken) == [False, False, False, True]
            assert not history.claim_delivery("unknown", time_text(6), time_text(20))
            assert _ids(history.due_deliveries(time_text(8), 10)) == _ids([rows[2], late, rows[1]])
            ended = replace(rows[3], attempts=1, due_at=time_text(20), state="delivered", status=204, error="x")
            history.put_delivery(replace(ended, payload="other"))
            assert not history.claim_delivery(rows[3].id, time_text(20), time_text(30))
            assert history.next_delivery_at(time_text(9)) is None

    def test_deliveries_are_listed_and_forgotten(self, tmp_path: Path) -> None:
        """The newest first; also those that could not be delivered for long."""
        with self.opened(tmp_path) as store:
            history = store.history
            rows = [example_delivery(n, state="failed" if n == 3 else "pending") for n in range(4)]
            history.end_job(example_job(0, state="completed", ended_at=time_text(1)), rows)
            assert history.deliveries(state="failed") == rows[3:]
            assert history.deliveries(job="j0") == rows[::-1]
            assert history.deliveries(job="j0", state="pending", limit=1) == rows[2:3]
            assert history.deliveries(job="unknown") == []
            assert history.forget_deliveries(time_text(0)) == 0
            assert history.forget_deliveries(time_text(2)) == 2
            assert history.deliveries() == rows[:1:-1]

    # ---- audit ---------------------------------------------------------------------------------------

    def test_the_audit_log_is_read_the_newest_first_by_pages(self, tmp_path: Path) -> None:
        """Of one tenant, or of all."""
        with self.opened(tmp_path) as store:
            history = store.history
            for number in range(6):
                tenant = "ab"[number % 2]
                history.add_audit(AuditRow(time_text(number), "t", tenant, "admin", "POST /v1/jobs", "j", 202, "d"))
            found = history.audit(None, 100)
            assert [row.at for row in found] == [time_text(number) for number in range(5, -1, -1)]
            assert history.audit(None, 2, found[2].id) == found[3:5]
            assert history.audit("b", 2) == found[0:3:2]
            assert history.forget_audit(time_text(4)) == 4
            assert history.audit(None, 100) == found[:2]

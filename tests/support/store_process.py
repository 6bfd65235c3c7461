"""Another process that uses a store, for the tests: ``python store_process.py write|open|fill|crash|own|claim|mark|add|add-for-ever ...``."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import warnings
from itertools import count, pairwise

from store_helpers import columns, delivery, history_job, key, request, same, summary

from bgsim.storage import Columns, ResultStore


def write(path: str, number: int) -> None:
    """Wait for a line, then extend the shared result in steps of this process, and store results of its own."""
    print("ready", flush=True)
    sys.stdin.readline()
    store = ResultStore(path)
    errors: list[Exception | None] = []
    for step in range(1, 11):
        store.store(key(0), columns(key(0), 50 * step + number), workspace="w", on_stored=errors.append)
        ends = range(50 + number, 50 * step + number + 1, 50)  # no other process's
        store.store(key(1), summary(key(1), *ends), workspace="w", on_stored=errors.append)
        store.store(
            key(100 * (number + 1) + step), columns(key(100 * (number + 1) + step), 20), on_stored=errors.append
        )
        found = store.load(key(0), 10)
        assert found is None or same(found, columns(key(0), 10))
    store.flush()
    store.close()
    assert errors == [None] * 30, errors


def open_damaged(path: str) -> None:
    """Wait for a line, open the file, and say how many warnings there were and what is in it."""
    print("ready", flush=True)
    sys.stdin.readline()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        store = ResultStore(path)
    print(len(caught), len(store.results()), store.check().ok)
    store.close()


def fill(path: str) -> None:
    """Store, with files that may not grow beyond 540 kB, until that fails for good; say what was durable and why."""
    import resource

    durable, failed = {}, []
    store = ResultStore(path)
    store.journal.register("a")
    resource.setrlimit(resource.RLIMIT_FSIZE, (540_000, 540_000))
    for x in range(200):
        of, errors = key(x), []
        store.store(of, columns(of, 300), workspace=f"w{x}", on_stored=errors.append)
        store.journal.add(request(x))
        store.flush()
        if errors[0] is None:
            durable[x] = 300
        else:
            failed.append(str(errors[0]))
    for x, replicates in durable.items():
        assert same(store.load(key(x), replicates), columns(key(x), replicates))
    store.close()
    print(len(durable), *durable, *failed[:1])


def crash(path: str, rounds: int, seed: int) -> None:
    """Repeatedly start a process whose four threads store, kill it, and check that no durable result is lost."""
    warnings.simplefilter("error")  # no file may be taken for damaged
    rng = random.Random(seed)
    summary(key(), 10)  # compiles once for all children
    everything: dict[int, int] = {}
    for number in range(rounds):
        durable: dict[int, int] = {}
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _store_until_killed(path, writer, rng.randrange(10**6), 12 * number)
        os.close(writer)
        with os.fdopen(reader) as reports:
            for _ in range(rng.randrange(1, 25)):
                _note(durable, reports.readline())
            os.kill(child, signal.SIGKILL)
            for line in reports:
                _note(durable, line)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        store = ResultStore(path)
        _check(store, durable)
        store.close()
        everything.update(durable)
    store = ResultStore(path)
    _check(store, everything)
    report = store.check()
    store.close()
    assert report.ok, report.problems
    print(rounds, sum(everything.values()))


def own(path: str, name: str) -> None:
    """Own three requests, of which two have started; say so, and live until the end of the input."""
    journal = ResultStore(path).journal
    journal.register(name)
    for number in range(3):
        journal.add(request(number, name))
    journal.start("r0")
    journal.flush()
    journal.start("r2")
    journal.flush()
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)  # without closing, as if it was killed


def claim(path: str, name: str, most: int = 0) -> None:
    """Wait for a line, claim a number of requests one by one, or all at once, print them, and wait for a line."""
    store = ResultStore(path)
    store.journal.register(name)
    print("ready", flush=True)
    sys.stdin.readline()
    wanted = [[f"r{number}"] for number in range(most)] or [None]
    print(" ".join(request.id for some in wanted for request in store.journal.claim(name, some)), flush=True)
    sys.stdin.readline()
    store.close()


def mark(path: str, most: int) -> None:
    """Wait for a line, then run the times of a schedule that no other process has run; print them."""
    store = ResultStore(path)
    print("ready", flush=True)
    sys.stdin.readline()
    times: list[str | None] = [None, *(f"t{number}" for number in range(most))]
    print(" ".join(now for before, now in pairwise(times) if store.journal.mark_schedule_run("s", now, before)))
    store.close()


def add(path: str, name: str, most: int) -> None:
    """Wait for a line, then add jobs to the history, each with a key that other processes use too; print those added."""
    store = ResultStore(path)
    print("ready", flush=True)
    sys.stdin.readline()
    rows = [history_job(0, id=f"{name}{number}", token="t", idempotency_key=f"k{number}") for number in range(most)]
    found = [store.history.add_job(row) for row in rows]
    print(" ".join(row.id if other is None else f"!{other.id}" for row, other in zip(rows, found, strict=True)))
    store.close()


def add_for_ever(path: str) -> None:
    """Add jobs to the history, and print each when it is durable, until the process is killed."""
    history = ResultStore(path).history
    for number in count():
        assert history.add_job(history_job(number, token="t", idempotency_key=f"k{number}")) is None
        history.note_job(history_job(number, id=f"noted{number}"))
        history.end_job(
            history_job(number, state="completed", ended_at="2026-01-01T00:00:00+00:00"), [delivery(number)]
        )
        print(number, flush=True)


def _made(x: int, replicates: int) -> Columns:
    """Return what is stored of a number: of each twelfth one a summary, whose tallies end at any replicates."""
    if x % 12:
        return Columns(columns(key(x), replicates))
    return summary(key(x), *sorted({1 + replicates // 2, 1 + replicates // 3, replicates}))


def _check(store: ResultStore, durable: dict[int, int]) -> None:
    for x, replicates in durable.items():
        if x % 12:
            assert same(store.load(key(x), replicates), columns(key(x), replicates)), (x, replicates)
            continue
        found = store.load(key(x))
        count = len(found["value"])
        assert count >= replicates, (x, replicates)
        expected = summary(key(x), count)
        assert all(column.tally() == expected[name].tally() for name, column in found.items()), (x, replicates)


def _note(durable: dict[int, int], line: str) -> None:
    if line.endswith("\n"):
        x, replicates = map(int, line.split())
        durable[x] = max(durable.get(x, 0), replicates)


def _store_until_killed(path: str, reports: int, seed: int, first: int) -> None:
    try:
        store = ResultStore(path)

        def work(thread: int) -> None:
            rng = random.Random(seed + thread)
            while True:
                x, replicates = first + rng.randrange(12), rng.randrange(1, 3000)

                def stored(error: Exception | None, x: int = x, replicates: int = replicates) -> None:
                    if error is None:
                        os.write(reports, f"{x} {replicates}\n".encode())
                    else:
                        os._exit(3)

                store.store(key(x), _made(x, replicates), workspace=f"w{thread % 2}", on_stored=stored)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        os._exit(4)


if __name__ == "__main__":
    verbs = {
        "write": write,
        "open": open_damaged,
        "fill": fill,
        "crash": crash,
        "own": own,
        "claim": claim,
        "mark": mark,
        "add": add,
        "add-for-ever": add_for_ever,
    }
    verbs[sys.argv[1]](sys.argv[2], *(int(a) if a.isdigit() else a for a in sys.argv[3:]))

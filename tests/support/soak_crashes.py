"""A soak of two processes on one store, with kills, signals, a full disk, a long reader and a locked file.

``python tests/support/soak_crashes.py FOLDER --seconds 600 --seed 1`` runs it and prints its figures, and what did not
hold. It forks its processes, so that bgsim and numba are imported once; it has one thread, and opens no store itself
while it forks. What the processes do stands in ``soak_process.py``.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import random
import selectors
import signal
import sqlite3
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import soak_process
from engine_process import run_and_exit
from soak_process import CHECKPOINT_S, KEPT, KINDS, LIMIT_BYTES, Process, is_right, key

import bgsim
from bgsim.storage import ResultStore
from bgsim.storage.sqlite.eviction import EMPTY_BYTES

HANG_S = 60.0
"""A thread that is silent for this long hangs."""

LATE_S = 2.0
"""By so much a checkpoint may be late: two cores are shared by all."""

TRANSACTION_BYTES = max(LIMIT_BYTES // 8, 2**19)
"""By this, and by what an empty store takes, the file may be larger than its limit: see docs/explanation/store.md."""

Asked = tuple[str, int, int]
"""Kind, seed and replicates."""


@dataclass
class Child:
    """A process, and what it has told."""

    pid: int
    commands: int
    reports: int
    started: float
    unread: bytes = b""
    ready: bool = False
    full: bool = False
    room_at: float = math.inf  # when its disk is to have room again
    is_closed: bool = False
    alive: dict[str, float] = field(default_factory=dict)  # thread of the load: when it was last heard
    long: dict[str, tuple[int, list[tuple[float, int]]]] = field(default_factory=dict)  # job: seed, when and how far
    pause_s: float = 0.0  # between two checkpoints of it, at least


class Soak:
    """Starts, disturbs and kills the processes, and keeps what they were told."""

    def __init__(self, folder: Path, seconds: float, seed: int) -> None:
        self.path = folder / "runs.db"
        self.log = folder / "runs.db-wal"
        self.seconds = seconds
        self.rng = random.Random(seed)
        self.children: list[Child] = []
        self.helpers: dict[int, str] = {}  # pid: what it does
        self.hindered_until = 0.0  # nothing could be written before
        self.asked: dict[str, Asked] = {}  # told as durable, and not yet known to have ended
        self.unwanted: set[str] = set()  # may be cancelled
        self.excused: set[str] = set()  # were there while the disk was full
        self.ended: set[str] = set()
        self.kept: dict[tuple[str, int], int] = {}  # replicates that were told to be complete
        self.wrong: list[str] = []
        self.counts: Counter[str] = Counter()
        self.lost: list[tuple[int, float]] = []  # replicates and seconds of long jobs, at each kill
        self.waited_s = 0.0
        self.most_bytes, self.most_log_bytes = 0, 0

    # ---- processes -----------------------------------------------------------------------------------

    def start(self) -> None:
        commands, to_child = os.pipe()
        from_child, reports = os.pipe()
        seed = self.rng.randrange(10**9)
        pid = os.fork()
        if pid == 0:
            os.close(to_child)
            os.close(from_child)
            run_and_exit(Process(self.path, seed, commands, reports).run)
        os.close(commands)
        os.close(reports)
        self.children.append(Child(pid, to_child, from_child, time.monotonic()))

    def help(self, what: str, body: Callable[[], object]) -> None:
        pid = os.fork()
        if pid == 0:
            run_and_exit(body)
        self.helpers[pid] = what

    def reap_helpers(self, *, wait: bool) -> None:
        for pid in list(self.helpers):
            found, status = os.waitpid(pid, 0 if wait else os.WNOHANG)
            if found:
                what = self.helpers.pop(pid)
                if what == "lock the file":
                    self.hindered_until = time.monotonic()
                if status:
                    self.wrong.append(f"the process that was to {what} has failed: its error stands above")

    def end(self, child: Child, how: str) -> None:
        """Kill a process, or have it close its engine; then see that what it was told holds."""
        if how == "kill":
            os.kill(child.pid, signal.SIGKILL)
        else:
            os.write(child.commands, b"stop\n")
        self.listen(child, until_end=True)
        _, status = os.waitpid(child.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code != (-signal.SIGKILL if how == "kill" else 0) or (how == "stop" and not child.is_closed):
            self.wrong.append(f"a process that was to {how} ended with {code}")
        os.close(child.commands)
        os.close(child.reports)
        self.children.remove(child)
        self.counts[how] += 1
        self.check(child, was_killed=how == "kill")

    def listen(self, child: Child, *, until_end: bool = False) -> bool:
        """Read what a process has told; return whether it is still there."""
        with selectors.DefaultSelector() as selector:
            selector.register(child.reports, selectors.EVENT_READ)
            while selector.select(HANG_S if until_end else 0.0):
                some = os.read(child.reports, 2**20)
                *lines, child.unread = (child.unread + some).split(b"\n")
                for line in lines:
                    self.note(child, line.decode().split())
                if not some:
                    return False
        if until_end:
            self.report_hang(child)
        return True

    def report_hang(self, child: Child) -> None:
        """Say where its threads are, and kill it."""
        self.wrong.append("a process hangs: its stacks stand above")
        os.kill(child.pid, signal.SIGUSR1)
        time.sleep(2.0)
        os.kill(child.pid, signal.SIGKILL)

    # ---- what they tell ------------------------------------------------------------------------------

    def note(self, child: Child, words: list[str]) -> None:
        verb, *rest = words
        now = time.monotonic()
        if verb == "ready":
            child.ready = True
            child.alive = dict.fromkeys(("main", "other"), now)
        elif verb == "alive":
            child.alive[rest[0]] = now
        elif verb == "asked":
            self.note_asked(child, *rest)
        elif verb == "cancelling":
            self.unwanted.add(rest[0])
        elif verb == "at":
            child.long.setdefault(rest[0], (int(rest[1]), []))[1].append((float(rest[3]), int(rest[2])))
            child.pause_s = max(child.pause_s, float(rest[4]))
        elif verb == "full":
            child.full = True
            self.excused |= self.asked.keys()
        elif verb == "room":
            child.full = False
            self.hindered_until = now
        elif verb in ("completed", "cancelled", "failed"):
            self.note_end(verb, *rest)
        elif verb == "closed":
            child.is_closed = True
        elif verb in ("interrupted", "looked"):
            self.counts[verb] += 1
        elif verb == "refused":
            self.counts["refused as the disk was full"] += 1
            if rest[0] != "True" and not child.full:
                self.wrong.append(f"the store refused although there was room: {' '.join(rest)}")
        else:
            self.wrong.append(" ".join(words))

    def note_asked(self, child: Child, job: str, kind: str, seed: str, replicates: str, waited_s: str) -> None:
        self.counts["asked"] += 1
        self.waited_s = max(self.waited_s, float(waited_s))
        if job not in self.ended:
            self.asked[job] = kind, int(seed), int(replicates)
        if child.full:
            self.excused.add(job)

    def note_end(self, how: str, job: str, kind: str, seed: str, replicates: str, sure: str, hit: str) -> None:
        self.counts[how] += 1
        self.counts["hits"] += hit == "1"
        self.asked.pop(job, None)
        for child in self.children:
            child.long.pop(job, None)
        if sure == "0":
            self.counts["ends on a full disk or in close"] += 1
            return
        self.ended.add(job)
        if how == "completed" and kind in KEPT:
            what = kind, int(seed)
            self.kept[what] = max(self.kept.get(what, 0), int(replicates))

    # ---- what must hold ------------------------------------------------------------------------------

    def check(self, child: Child, *, was_killed: bool) -> None:
        """Compare the file with what was told before it was read.

        What a process was about to do then it has told by then, and is heard next: it may have cancelled a job.
        """
        asked, ended, kept = dict(self.asked), set(self.ended), dict(self.kept)
        with closing(sqlite3.connect(self.path, timeout=HANG_S, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            pending = {job for (job,) in connection.execute("SELECT id FROM requests")}
            letters = {job for (job,) in connection.execute("SELECT id FROM dead_letters")}
            stored = dict(connection.execute("SELECT hash, replicates FROM results").fetchall())
        for other in self.children:
            self.listen(other)
        self.wrong += [f"{job} was told to have ended, and is pending" for job in ended & pending]
        for job, (kind, seed, replicates) in asked.items():
            if job in pending or self.asked.pop(job, None) is None:
                continue  # else it has ended, though nobody may have been told
            held = stored.get(key(kind, seed).hash, 0)
            if held < replicates and job not in self.unwanted | self.excused | letters:
                self.wrong.append(f"{job} ({kind} {seed}) is lost: {held} of {replicates} are stored")
        for (kind, seed), replicates in kept.items():
            if stored.get(key(kind, seed).hash, 0) < replicates:
                self.wrong.append(f"{kind} {seed} was told to be complete with {replicates}, and is not stored")
        if was_killed:
            for seed, points in child.long.values():
                self.check_long(
                    stored.get(key("plod", seed).hash, 0), points, math.inf if child.full else child.pause_s
                )

    def check_long(self, stored: int, points: list[tuple[float, int]], pause_s: float) -> None:
        """See how much of a long job the kill has cost."""
        end, done = points[-1]
        since = next((at for at, replicates in points if replicates > stored), end)
        self.lost.append((max(0, done - stored), end - since))
        free_since = max(points[0][0], self.hindered_until)
        if end - max(since, free_since) > max(CHECKPOINT_S, pause_s) + LATE_S:
            self.wrong.append(f"a kill cost {done - stored} replicates, of {end - since:.1f} s; pause: {pause_s:.1f} s")

    def check_end(self) -> None:
        """Do what is left, and see that all is right and within its bounds."""
        with bgsim.Engine(self.path, workers=3, max_storage_bytes=LIMIT_BYTES, max_queue_size=100_000) as engine:
            for job in engine.recover():
                job.add_done_callback(lambda job: None)
            assert engine.drain(300.0), engine.jobs()
            assert engine.interrupted() == []
            for (kind, seed), replicates in self.kept.items():
                simulation, parameters = KINDS[kind]
                result = engine.submit(simulation, parameters, replicates=replicates, seed=seed, cache="only").result(9)
                assert is_right(result, kind, seed, replicates), (kind, seed, replicates)
            engine.store.flush()
        with closing(ResultStore(self.path, max_storage_bytes=LIMIT_BYTES)) as store:
            store.cleanup()
            report = store.check()
        assert report.ok, report.problems
        names = sorted(path.name for path in self.path.parent.iterdir())
        assert names == [self.path.name], names
        assert self.path.stat().st_size <= LIMIT_BYTES + EMPTY_BYTES, self.path.stat().st_size

    def see_short_log(self) -> None:
        """No reader is left: see the log become short under the load, and that the file was never too large."""
        until = time.monotonic() + 15.0
        while size_of(self.log) > 2 * TRANSACTION_BYTES:
            if time.monotonic() > until:
                self.wrong.append(f"no reader keeps the log, and it has {size_of(self.log):,} bytes")
                break
            self.look()
        if self.most_bytes > LIMIT_BYTES + EMPTY_BYTES + 2 * TRANSACTION_BYTES:
            self.wrong.append(f"the file had {self.most_bytes:,} bytes")

    # ---- the run -------------------------------------------------------------------------------------

    def run(self) -> None:
        """Disturb the processes until the time is over, then end them."""
        for _ in range(2):
            self.start()
        while not all(child.ready for child in self.children) and not self.wrong:
            self.look()
        pace = min(1.0, self.seconds / 120.0)
        until = time.monotonic() + self.seconds
        every = {"kill": (1.5, 5), "signal": (0.05, 0.6), "full": (15, 40), "read": (30, 60), "lock": (15, 30)}
        due = {what: time.monotonic() + self.rng.uniform(0, most) * pace for what, (_, most) in every.items()}
        while time.monotonic() < until and not self.wrong:
            self.look()
            for what, (least, most) in every.items():
                if time.monotonic() >= due[what]:
                    self.disturb(what, pace)
                    slow = 1.0 if what in ("kill", "signal") else pace
                    due[what] = time.monotonic() + self.rng.uniform(least, most) * slow
        self.reap_helpers(wait=True)
        self.see_short_log()
        for child in list(self.children):
            os.write(child.commands, b"room\n")
            self.end(child, "stop" if child.ready else "kill")
        self.help("check the end", self.check_end)
        self.reap_helpers(wait=True)

    def look(self) -> None:
        """Hear the processes for a moment, measure the files, and see that none is silent."""
        with selectors.DefaultSelector() as selector:
            for child in self.children:
                selector.register(child.reports, selectors.EVENT_READ, child)
            heard: list[Child] = [found.data for found, _ in selector.select(0.02)]
        for child in heard:
            if not self.listen(child):
                self.wrong.append("a process has ended by itself")
                self.end(child, "kill")
        now = time.monotonic()
        for child in self.children:
            if now > child.room_at:
                child.room_at = math.inf
                os.write(child.commands, b"room\n")
            if now - min(child.alive.values(), default=child.started) > HANG_S:
                self.report_hang(child)
        self.reap_helpers(wait=False)
        self.most_bytes = max(self.most_bytes, size_of(self.path))
        self.most_log_bytes = max(self.most_log_bytes, size_of(self.log))

    def disturb(self, what: str, pace: float) -> None:
        ready = [child for child in self.children if child.ready]
        now = time.monotonic()
        if what == "read":
            seconds = self.rng.uniform(20, 30) * pace
            self.help("read", lambda: soak_process.hold(self.path, "BEGIN", seconds))
        elif what == "lock":
            self.hindered_until = math.inf
            self.help("lock the file", lambda: soak_process.hold(self.path, "BEGIN IMMEDIATE", 3.0 * pace))
        elif not ready:
            return
        elif what == "kill":
            child = self.rng.choice(ready)
            self.end(child, "kill" if child.full or self.rng.random() < 0.9 else "stop")
            self.start()
            return
        elif what == "signal":
            number = self.rng.choice((signal.SIGTERM, signal.SIGALRM, signal.SIGINT))
            os.kill(self.rng.choice(ready).pid, number)
        elif what == "full":
            child = self.rng.choice(ready)
            os.write(child.commands, b"full\n")
            child.room_at = now + 4.0 * pace
        self.counts[what] += 1

    def summary(self) -> str:
        replicates = [replicates for replicates, _ in self.lost] or [0]
        seconds = [lost for _, lost in self.lost] or [0.0]
        lines = [f"{what}: {count:,}" for what, count in sorted(self.counts.items())]
        lines += [
            f"replicates lost of a long job at a kill: median {statistics.median(replicates):.0f}, most "
            f"{max(replicates)}; in seconds: median {statistics.median(seconds):.2f}, most {max(seconds):.2f}",
            f"longest wait of submit(durable=True): {self.waited_s:.2f} s",
            f"largest file: {self.most_bytes:,} bytes, largest log: {self.most_log_bytes:,} bytes, with a limit of "
            f"{LIMIT_BYTES:,}",
        ]
        return "\n".join(lines)


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description="Disturb two processes on one store, and say what did not hold.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.getLogger("bgsim").setLevel(logging.ERROR)  # a full disk and a long reader are told as warnings
    for kind in KINDS:
        simulation, parameters = KINDS[kind]
        if kind != "plod":
            simulation.warmup(parameters)
    soak = Soak(options.folder, options.seconds, options.seed)
    soak.run()
    print(soak.summary(), flush=True)
    sys.exit("\n".join(soak.wrong[:50]) if soak.wrong else 0)


if __name__ == "__main__":
    main()

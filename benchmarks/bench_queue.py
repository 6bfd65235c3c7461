"""The queue against `queue.PriorityQueue`, a heap under a lock, sortedcontainers, and a heap that is rebuilt.

Only ours shares runs, takes out, changes, delays and limits; the peers do what they can of it. Requests and items are
made before the clock starts. In each round the contenders take turns with a short row of operations; what is measured
is the processor's time, of which others on the machine take none.
"""

from __future__ import annotations

import heapq
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from benchmarks.harness import Case, installed, report
from bgsim.queue_manager import Priority, SimulationQueue, SimulationRequest

SIZES = (10_000, 100_000, 1_000_000)
ROUNDS, ROW = 60, 100
REBUILDS = 5
DUPLICATES, KEYS = 100_000, 100
PRIORITIES = tuple(Priority)


class Ours:
    name = "bgsim"

    def __init__(self) -> None:
        self.queue = SimulationQueue(10**9)
        self.put, self.get, self.done = self.queue.put, self.queue.get, self.queue.done

    def item(self, number: int, priority: Priority) -> SimulationRequest:
        return SimulationRequest(f"r{number}", f"k{number}", 1, priority)

    def cancel(self, number: int) -> None:
        self.queue.cancel(f"r{number}")

    def set_priority(self, number: int, priority: Priority) -> None:
        self.queue.set_priority(f"r{number}", priority)


class Standard:
    """Neither removal nor change."""

    name = "queue.PriorityQueue"

    def __init__(self) -> None:
        self.queue: queue.PriorityQueue[Any] = queue.PriorityQueue()
        self.put, self.get = self.queue.put, self.queue.get

    def item(self, number: int, priority: Priority) -> tuple[int, int, None]:
        return -priority, number, None

    def done(self, _: Any) -> None:
        self.queue.task_done()


class Heap:
    """As bare as can be; to take something out, the reference rebuilds the heap."""

    name = "heapq under a lock"

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, None]] = []
        self._lock = threading.Lock()

    def item(self, number: int, priority: Priority) -> tuple[int, int, None]:
        return -priority, number, None

    def put(self, item: Any) -> None:
        with self._lock:
            heapq.heappush(self._heap, item)

    def get(self) -> Any:
        with self._lock:
            return heapq.heappop(self._heap)

    def done(self, item: Any) -> None:
        """Do nothing: it does not know what has been taken."""

    def cancel(self, number: int) -> None:
        with self._lock:
            self._heap = [item for item in self._heap if item[1] != number]
            heapq.heapify(self._heap)

    def set_priority(self, number: int, priority: Priority) -> None:
        with self._lock:
            self._heap = [item if item[1] != number else (-priority, number, None) for item in self._heap]
            heapq.heapify(self._heap)


class Sorted:
    """A sorted list under a lock, and a dictionary that knows where."""

    name = "sortedcontainers under a lock"

    def __init__(self) -> None:
        from sortedcontainers import SortedList

        self._items = SortedList()
        self._by_number: dict[int, Any] = {}
        self._lock = threading.Lock()

    def item(self, number: int, priority: Priority) -> tuple[int, int]:
        return -priority, number

    def put(self, item: Any) -> None:
        with self._lock:
            self._items.add(item)
            self._by_number[item[1]] = item

    def get(self) -> Any:
        with self._lock:
            item = self._items.pop(0)
            del self._by_number[item[1]]
            return item

    def done(self, item: Any) -> None:
        """Do nothing: it does not know what has been taken."""

    def cancel(self, number: int) -> None:
        with self._lock:
            self._items.remove(self._by_number.pop(number))

    def set_priority(self, number: int, priority: Priority) -> None:
        with self._lock:
            self._items.remove(self._by_number[number])
            item = self._by_number[number] = (-priority, number)
            self._items.add(item)


def filled(size: int) -> list[Any]:
    """Return the contenders, each with so many items pending."""
    found: list[Any] = [Ours(), Standard(), Heap()]
    if installed("sortedcontainers"):
        found.append(Sorted())
    chance = random.Random(0)
    for number in range(size):
        priority = chance.choice(PRIORITIES)
        for contender in found:
            contender.put(contender.item(number, priority))
    return found


def put_and_get(peers: Sequence[Any], size: int) -> dict[str, Case]:
    """Put an urgent or less urgent one and get the first, with so many pending; then say that it is done."""
    chance, numbers = random.Random(1), count(size)
    pairs = [Case(peer.name, lambda: None) for peer in peers]
    cycles = [Case(f"{peer.name}, and done", lambda: None) for peer in peers[:2]]
    for _ in range(ROUNDS):
        row = [(next(numbers), chance.choice(PRIORITIES)) for _ in range(ROW)]
        for peer, case in zip(peers, pairs, strict=True):
            items, taken = [peer.item(*each) for each in row], []
            began = time.thread_time()
            for item in items:
                peer.put(item)
                taken.append(peer.get())
            case.seconds.append((time.thread_time() - began) / ROW)
            for item in taken:
                peer.done(item)
        row = [(next(numbers), chance.choice(PRIORITIES)) for _ in range(ROW)]
        for peer, case in zip(peers, cycles, strict=False):
            items = [peer.item(*each) for each in row]
            began = time.thread_time()
            for item in items:
                peer.put(item)
                peer.done(peer.get())
            case.seconds.append((time.thread_time() - began) / ROW)
    assert len(peers[0].queue) == peers[1].queue.qsize() == size
    report(f"put and get, {size:,} pending", pairs)
    report(f"put, get and done, {size:,} pending", cycles)
    return {case.name: case for case in pairs}


def change(peers: Sequence[Any], size: int, verb: str) -> dict[str, Case]:
    """Cancel random ones of those that were filled in, or change their priority; what is rebuilt, a few times only."""
    able = [peer for peer in peers if hasattr(peer, verb)]
    cases = [Case(f"{peer.name}, rebuilt" if isinstance(peer, Heap) else peer.name, lambda: None) for peer in able]
    chance = random.Random(2)
    for turn in range(ROUNDS):
        for peer, case in zip(able, cases, strict=True):
            rebuilt = isinstance(peer, Heap)
            if rebuilt and turn % (ROUNDS // REBUILDS):
                continue
            pending = chance.sample(range(size), 1 if rebuilt else ROW)
            others = [chance.choice(PRIORITIES) for _ in pending]
            operation: Callable[..., Any] = getattr(peer, verb)
            arguments = [
                (number,) if verb == "cancel" else (number, p) for number, p in zip(pending, others, strict=True)
            ]
            began = time.thread_time()
            for each in arguments:
                operation(*each)
            case.seconds.append((time.thread_time() - began) / len(pending))
            if verb == "cancel":
                for number, priority in zip(pending, others, strict=True):
                    peer.put(peer.item(number, priority))
    assert len(peers[0].queue) == size
    report(f"{verb} of a random one, {size:,} pending", cases)
    return {case.name: case for case in cases}


def storm() -> None:
    """Put 100,000 requests for 100 runs, and take all of them back."""
    chance = random.Random(3)
    keys = [f"k{chance.randrange(KEYS)}" for _ in range(DUPLICATES)]
    cases = [
        Case("bgsim, put", lambda: None),
        Case("bgsim, cancel", lambda: None),
        Case("a dict of lists and a heap under a lock, put", lambda: None),
    ]
    for _ in range(5):
        requests = [SimulationRequest(f"r{number}", key) for number, key in enumerate(keys)]
        ours = SimulationQueue(KEYS)
        began = time.thread_time()
        for request in requests:
            ours.put(request)
        cases[0].seconds.append((time.thread_time() - began) / DUPLICATES)
        assert (len(ours), ours.stats().joined) == (KEYS, DUPLICATES - KEYS)
        began = time.thread_time()
        for request in requests:
            ours.cancel(request.id)
        cases[1].seconds.append((time.thread_time() - began) / DUPLICATES)
        assert len(ours) == 0
        runs: dict[str, list[str]] = {}
        heap: list[tuple[int, int, str]] = []
        lock, numbers = threading.Lock(), count()
        began = time.thread_time()
        for request in requests:
            with lock:
                key = request.key or ""
                if key in runs:
                    runs[key].append(request.id)
                else:
                    runs[key] = [request.id]
                    heapq.heappush(heap, (-request.priority, next(numbers), key))
        cases[2].seconds.append((time.thread_time() - began) / DUPLICATES)
        assert len(heap) == KEYS
    report(f"a storm of {DUPLICATES:,} duplicates of {KEYS} keys", cases)


def target(what: str, ratio: float, bound: float, *, at_least: bool = False) -> None:
    """Print a ratio beside what it should be."""
    met = ratio >= bound if at_least else ratio <= bound
    word = "at least" if at_least else "at most"
    print(f"  {'met   ' if met else 'MISSED'} {what}: {ratio:,.2f} ({word} {bound:,g})")


def main() -> None:
    medians: dict[str, list[float]] = {"put and get": [], "cancel": [], "set_priority": []}
    lines = []
    for size in SIZES:
        pairs = put_and_get(filled(size), size)
        ratio = pairs["bgsim"].median / pairs["queue.PriorityQueue"].median
        lines.append((f"put and get by that of queue.PriorityQueue, {size:,} pending", ratio, 2.0, False))
        medians["put and get"].append(pairs["bgsim"].median)
        peers = filled(size)
        for verb in ("cancel", "set_priority"):
            cases = change(peers, size, verb)
            medians[verb].append(cases["bgsim"].median)
            if size == SIZES[-1]:
                ratio = cases["heapq under a lock, rebuilt"].median / cases["bgsim"].median
                lines.append((f"rebuilding the heap by our {verb}, {size:,} pending", ratio, 1000.0, True))
    storm()
    print("\ntargets, as ratios of medians")
    for line in lines:
        target(*line[:3], at_least=line[3])
    for what, costs in medians.items():
        target(f"{what}: {SIZES[-1]:,} pending by {SIZES[0]:,}", costs[-1] / costs[0], 2.5)


if __name__ == "__main__":
    main()

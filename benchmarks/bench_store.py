"""The store against diskcache, joblib.Memory, sqlitedict, zarr, ``np.savez_compressed`` and blosc2.

Small results by the time of an operation; large ones by that of storing and of loading, with the ratio of raw to stored
size. Ours is durable when it returns (`flush`). The peers promise other things: diskcache and sqlitedict commit, the
others write files without a transaction.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import numpy as np

from benchmarks.harness import Case, compare, installed
from bgsim.parameters.parameter_set import ParameterSet, ResultKey
from bgsim.storage import MemoryStore, ResultStore, Store

SIZES = {"1 kB": (1000, 30), "1 MB": (10**6, 10), "100 MB": (10**8, 3)}
"""Raw bytes, and rounds."""

GROUP = 2000
SIMILAR = 100_000


def key(x: float) -> ResultKey:
    return ResultKey("benchmarks.store", "f" * 32, 0, ParameterSet({"x": x}))


def kinds(size_bytes: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    n = size_bytes // 8
    return {
        "random floats": rng.random(n),
        "smooth floats": np.cumsum(rng.standard_normal(n)),
        "small integers": rng.poisson(4.0, n),
        "booleans": rng.random(size_bytes) < 0.3,
    }


class Ours:
    name = "bgsim"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bgsim.db"
        self.store = ResultStore(self.path, max_storage_bytes=2**40)
        self.size = 0

    def put(self, number: int, values: np.ndarray) -> None:
        self.store.store(key(number), {"a": values})
        self.store.flush()

    def get(self, number: int) -> np.ndarray:
        columns = self.store.load(key(number))
        assert columns is not None
        return columns["a"]

    def stored_bytes(self, number: int) -> int:
        found = self.store.get(key(number).hash)
        assert found is not None
        return found.stored_bytes

    def close(self) -> None:
        self.store.close()


class File:
    """A peer that keeps a file, or a folder, for each array."""

    def __init__(
        self, name: str, folder: Path, put: Callable[[Path, np.ndarray], object], get: Callable[[Path], np.ndarray]
    ) -> None:
        self.name, self._folder, self._put, self._get = name, folder / name.partition(" ")[0], put, get
        self._folder.mkdir()

    def put(self, number: int, values: np.ndarray) -> None:
        self._put(self._folder / str(number), values)

    def get(self, number: int) -> np.ndarray:
        return self._get(self._folder / str(number))

    def stored_bytes(self, number: int) -> int:
        found = list(self._folder.glob(f"{number}*"))
        files = [f for path in found for f in (path.rglob("*") if path.is_dir() else [path])]
        return sum(f.stat().st_size for f in files if f.is_file())

    def close(self) -> None:
        """Do nothing: no file is open."""


def large_peers(folder: Path) -> list[Ours | File]:
    peers: list[Ours | File] = [Ours(folder)]

    def load_npz(path: Path) -> np.ndarray:
        with np.load(f"{path}.npz") as file:
            return file["a"]

    peers.append(File("savez_compressed", folder, lambda p, v: np.savez_compressed(p, a=v), load_npz))
    if installed("joblib"):
        import joblib

        peers.append(File("joblib zlib-3 (as Memory)", folder, lambda p, v: joblib.dump(v, p, compress=3), joblib.load))
    if installed("blosc2"):
        import blosc2

        peers.append(
            File(
                "blosc2 file",
                folder,
                lambda p, v: blosc2.save_array(v, str(p), mode="w"),
                lambda p: blosc2.load_array(str(p)),
            )
        )
    if installed("zarr"):
        import zarr

        def save(path: Path, values: np.ndarray) -> None:
            compressor = zarr.codecs.ZstdCodec(level=1)
            array = zarr.create_array(
                path, shape=values.shape, dtype=values.dtype, chunks=(2**18,), compressors=compressor, overwrite=True
            )
            array[:] = values

        peers.append(File("zarr zstd-1", folder, save, lambda p: zarr.open_array(p, mode="r")[:]))
    return peers


def large(label: str, size_bytes: int, rounds: int) -> None:
    for kind, values in kinds(size_bytes).items():
        folder = Path(tempfile.mkdtemp())
        peers = large_peers(folder)
        numbers = {id(peer): count() for peer in peers}

        def put(peer: Ours | File, numbers: dict = numbers, values: np.ndarray = values) -> None:
            peer.put(next(numbers[id(peer)]), values)

        def get(peer: Ours | File, values: np.ndarray = values) -> None:
            assert np.array_equal(peer.get(0), values)

        puts = [Case(p.name, lambda p=p: put(p)) for p in peers]
        compare(f"store {label} of {kind}", puts, rounds=rounds, warmup=1, unit="ms")
        _print_rates(puts, size_bytes)
        gets = [Case(p.name, lambda p=p: get(p)) for p in peers]
        compare(f"load {label} of {kind}, and compare", gets, rounds=rounds, warmup=1, unit="ms")
        _print_rates(gets, size_bytes)
        ratios = ", ".join(f"{p.name} {values.nbytes / p.stored_bytes(0):.2f}" for p in peers)
        print(f"  raw / stored: {ratios}")
        for peer in peers:
            peer.close()
        shutil.rmtree(folder)


def _print_rates(cases: list[Case], size_bytes: int) -> None:
    print(f"  MB/s: {', '.join(f'{case.name} {size_bytes / 1e6 / case.median:,.4g}' for case in cases)}")


def slots() -> None:
    """Open a file whose two slots hold 8 MB each, load both, then switch between them."""
    folder = Path(tempfile.mkdtemp())
    path, size = folder / "slots.db", 10**6
    values = {number: np.random.default_rng(number).random(size) for number in (1, 2)}
    with closing(ResultStore(path)) as store:
        for number, column in values.items():
            store.store(key(number), {"a": column}, workspace="w")
    opened = [ResultStore(path) for _ in range(13)]

    def from_disk() -> None:
        store = opened.pop()
        with closing(store):
            for number, column in values.items():
                columns = store.load(key(number), size)
                assert columns is not None
                assert columns["a"][-1] == column[-1]

    compare("load both slots of 8 MB from the file", [Case("bgsim", from_disk, 2)], rounds=10, unit="ms")
    with closing(ResultStore(path)) as store:
        keys = [key(1), key(2)]
        switch = Case("bgsim", lambda: [store.load(keys[i % 2], size) for i in range(100)], 100)
        compare("go from one slot of 8 MB to the other", [switch], rounds=100)
    shutil.rmtree(folder)


def small() -> None:
    """Store and load 1 kB: hits from the file, from a slot, and the same of the peers."""
    folder = Path(tempfile.mkdtemp())
    values = np.random.default_rng(0).random(128)
    ours = Ours(folder)
    for number in range(200):
        ours.store.store(key(number), {"a": values})
    ours.store.store(key(1000), {"a": values}, workspace="w")
    ours.store.flush()
    hit, slot = key(100), key(1000)
    gets = [
        Case("bgsim, from the file", lambda: [ours.store.load(hit, 128) for _ in range(100)], 100),
        Case("bgsim, from a slot", lambda: [ours.store.load(slot, 128) for _ in range(100)], 100),
    ]
    fresh = count(10_000)
    puts = [Case("bgsim, durable", lambda: ours.put(next(fresh), values))]
    closers: list[Callable[[], object]] = [ours.close]
    if installed("diskcache"):
        import diskcache

        cache = diskcache.Cache(folder / "diskcache")
        for number in range(200):
            cache.set(str(number), values)
        gets.append(Case("diskcache", lambda: [cache.get("100") for _ in range(100)], 100))
        puts.append(Case("diskcache", lambda: cache.set(str(next(fresh)), values)))
        closers.append(cache.close)
    if installed("sqlitedict"):
        import sqlitedict

        table = sqlitedict.SqliteDict(folder / "sqlitedict.db", autocommit=True)
        for number in range(200):
            table[str(number)] = values
        gets.append(Case("sqlitedict", lambda: [table["100"] for _ in range(10)], 10))
        puts.append(Case("sqlitedict", lambda: (table.__setitem__(str(next(fresh)), values), table.commit())))
        closers.append(table.close)
    if installed("joblib"):
        import joblib

        memory = joblib.Memory(folder / "joblib", verbose=0)
        cached = memory.cache(_identity)
        cached(100, values)
        gets.append(Case("joblib.Memory", lambda: [cached(100, values) for _ in range(10)], 10))
        puts.append(Case("joblib.Memory", lambda: cached(next(fresh), values)))
    compare("hit of 1 kB", gets, rounds=100)
    compare("store 1 kB, one by one", puts, rounds=100)
    _group(ours, values)
    for close in closers:
        close()
    shutil.rmtree(folder)


def _identity(number: int, values: np.ndarray) -> np.ndarray:
    return values


def _group(ours: Ours, values: np.ndarray) -> None:
    """Small results one after the other, durable in the end."""
    rates = []
    for turn in range(5):
        keys = [key(10**6 * (turn + 1) + number) for number in range(GROUP)]
        began = time.perf_counter()
        for each in keys:
            ours.store.store(each, {"a": values})
        ours.store.flush()
        rates.append(GROUP / (time.perf_counter() - began))
        assert all(ours.store.count(each) == 128 for each in keys)
    print(f"\ngroup commit: {np.median(rates):,.0f} results of 1 kB a second (best {max(rates):,.0f})")


def durability() -> None:
    """Show what waiting for the disk costs: a result of 1 kB, until it is durable."""
    folder = Path(tempfile.mkdtemp())
    values, fresh = np.random.default_rng(0).random(128), count()
    stores = {
        "survives kill -9 (default)": ResultStore(folder / "a.db"),
        "survives loss of power": ResultStore(folder / "b.db", survive_power_loss=True),
    }

    def put(store: ResultStore) -> None:
        store.store(key(next(fresh)), {"a": values})
        store.flush()

    compare("store 1 kB, durable", [Case(n, lambda s=s: put(s)) for n, s in stores.items()], rounds=60)
    for store in stores.values():
        store.close()
    shutil.rmtree(folder)


def similar() -> None:
    """Search the most similar of 100,000 results."""
    folder = Path(tempfile.mkdtemp())
    stores = {"file": ResultStore(folder / "a.db", max_storage_bytes=2**40), "memory": MemoryStore(2**40)}
    for store in stores.values():
        for number in range(SIMILAR):
            store.store(key(float(number)), {"a": np.zeros(1)})
        store.flush()

    def search(store: Store) -> None:
        found = store.most_similar({"x": SIMILAR / 2 + 0.4})
        assert found is not None
        assert found[0].parameters["x"] == SIMILAR / 2

    compare("most similar of 100,000", [Case(n, lambda s=s: search(s)) for n, s in stores.items()], rounds=10)
    for store in stores.values():
        store.close()
    shutil.rmtree(folder)


def main() -> None:
    small()
    similar()
    slots()
    durability()
    for label, (size_bytes, rounds) in SIZES.items():
        large(label, size_bytes, rounds)


if __name__ == "__main__":
    main()

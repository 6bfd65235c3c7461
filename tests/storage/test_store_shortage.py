"""A shortage of the moment is no damage: it passes through, and leaves results and file alone."""

from __future__ import annotations

import errno
import gc
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard
from new_process import printed
from store_helpers import columns, key, same, store_now, versioned

from bgsim.errors import DamagedResultError, StoreError
from bgsim.storage import ResultStore
from bgsim.storage.codec import codec
from bgsim.storage.codec.codec import encode_block, parse_dtype
from bgsim.storage.codec.segments import shape_of
from bgsim.storage.sqlite.check import check_file

ERRORS = [
    MemoryError(),
    RecursionError("maximum recursion depth exceeded"),
    OSError(errno.EMFILE, "too many open files"),
    OSError(errno.EIO, "input/output error"),
    sqlite3.OperationalError("database is locked"),
    sqlite3.OperationalError("interrupted"),
    ValueError("raised by a signal handler"),
    TypeError("raised by a signal handler"),
    AttributeError("raised by a signal handler"),
    KeyboardInterrupt(),
]


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "s.db"


@pytest.fixture
def store(path):
    """A store with a result of one block a column, and one of two."""
    opened = ResultStore(path)
    store_now(opened, key(1), 400)
    opened.store(key(2), versioned(key(2), (50, "old")))
    opened.store(key(2), versioned(key(2), (50, "old"), (350, "new")))
    opened.flush()
    yield opened
    opened.close()


def failing_at_each_call(action: Callable[[], object], error: BaseException, *files: str) -> int:
    """Do something again and again, with the error at the first call in these files, the second ...; return how often."""
    failed = 0
    while True:
        left = failed

        def profile(frame, event, _argument) -> None:
            nonlocal left
            if event in ("call", "c_call") and frame.f_code.co_filename.endswith(files):
                left -= 1
                if left < 0:
                    sys.setprofile(None)
                    raise error

        try:
            sys.setprofile(profile)
            action()
        except BaseException as raised:
            assert raised is error or isinstance(raised, StoreError), raised
        finally:
            sys.setprofile(None)
            error.__traceback__ = None
        if left >= 0:
            gc.collect()  # frames, which keep connections open
            return failed
        failed += 1


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: f"{type(e).__name__} {e}".strip())
@pytest.mark.parametrize("x", [1, 2])
def test_an_error_at_any_call_while_a_result_is_loaded_leaves_it_in_the_file(store, path, error, x) -> None:
    wanted = key(x)
    files = ("loading.py", "segments.py", "codec.py", "filters.py", "environment.py", "columns.py")
    assert failing_at_each_call(lambda: store.load(wanted), error, *files) > 10
    assert store.damaged == 0
    assert same(store.load(key(x)), columns(key(x), 400))
    assert [p.name for p in path.parent.iterdir() if "corrupt" in p.name] == []


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: f"{type(e).__name__} {e}".strip())
def test_an_error_at_any_call_while_a_file_is_opened_leaves_it_alone(store, path, error) -> None:
    store.close()

    def open_and_close() -> None:
        ResultStore(path).close()

    assert failing_at_each_call(open_and_close, error, "sqlite/database.py", "sqlite/schema.py") > 30
    assert [p.name for p in path.parent.iterdir() if "corrupt" in p.name] == []
    opened = ResultStore(path)
    assert all(same(opened.load(key(x)), columns(key(x), 400)) for x in (1, 2))
    opened.close()


@pytest.mark.parametrize("error", [e for e in ERRORS if not isinstance(e, KeyboardInterrupt)], ids=repr)
def test_a_check_that_is_cut_short_repairs_nothing(store, path, monkeypatch, error) -> None:
    """The error comes in the writer's thread, and in the caller's."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("bgsim.storage.sqlite.check._check_columns", fail)
    with pytest.raises((type(error), StoreError)):
        store.check(repair=True)
    monkeypatch.undo()
    assert store.check().ok
    assert len(store.results()) == 2
    assert [p.name for p in path.parent.iterdir() if "corrupt" in p.name] == []


def test_what_one_reader_takes_for_damage_is_read_by_the_writer_before_it_goes(store, monkeypatch, caplog) -> None:
    def refuse(*_: object) -> None:
        raise DamagedResultError("as if")

    monkeypatch.setattr("bgsim.storage.sqlite.store.read", refuse)
    assert store.load(key(1)) is None
    monkeypatch.undo()
    assert same(store.load(key(1)), columns(key(1), 400))
    assert store.damaged == 0
    assert "is whole" in caplog.text


def test_a_decompressor_without_memory_has_found_no_damage(monkeypatch) -> None:
    block, data = encode_block(np.arange(3.0))
    assert block.raw_bytes == 24
    for text in ("decompression error: Allocation error : not enough memory", "cannot allocate decompression context"):

        def refuse(*_: object, text: str = text) -> None:
            raise zstandard.ZstdError(text)

        monkeypatch.setattr(codec._local, "decompress", refuse, raising=False)
        with pytest.raises(MemoryError, match="cannot be decompressed"):
            codec.decompress(data, block.raw_bytes)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS")
def test_a_result_that_does_not_fit_the_memory_stays_in_the_file(path) -> None:
    store = ResultStore(path)
    store.store(key(1), {"x": np.zeros(60_000_000)})
    store.close()
    code = f"""
        import resource, bgsim
        from store_helpers import key
        store = bgsim.ResultStore({str(path)!r})
        pages = int(open("/proc/self/statm").read().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + 300 * 2**20,) * 2)
        for attempt in (lambda: store.load(key(1)), lambda: store.check(repair=True)):
            try:
                attempt()
            except MemoryError:
                print("no memory")
        store.close()
    """
    assert printed(code) == "no memory\nno memory\n"
    store = ResultStore(path)
    assert store.count(key(1)) == 60_000_000
    assert store.check().ok
    store.close()


# ---- what a description itself makes wrong -----------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE results SET replicates = 1000000000000000",
        "UPDATE blocks SET count = 1000000000000000, shape = '[1000000000000000]' WHERE first = 50",
        "UPDATE blocks SET shape = '[350, 1000000000000000]' WHERE first = 50",
        "UPDATE blocks SET first = 1000000000000000 WHERE first = 50",
    ],
)
def test_no_room_is_made_for_an_absurd_size(store, path, monkeypatch, change) -> None:
    store.close()
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(f"{change} {'AND' if 'WHERE' in change else 'WHERE'} hash = ?", (key(2).hash,))
    connection.close()
    made = []

    def empty(shape, *rest, empty=np.empty, **more):
        made.append(np.prod(shape, dtype=float))
        return empty(shape, *rest, **more)

    monkeypatch.setattr(np, "empty", empty)
    opened = ResultStore(path)
    assert opened.load(key(2)) is None
    assert opened.damaged == ("UPDATE blocks" in change)  # a result can be counted anew
    assert max(made, default=0) < 10**6
    assert same(opened.load(key(1)), columns(key(1), 400))
    opened.close()


@pytest.mark.parametrize(
    "text", ["[" * 10_000, "[" + "-" * 10_000 + "1]", "[('a', '<f8', " + "(" * 300 + ")" * 300 + ")]"]
)
def test_a_type_that_is_nested_too_deeply_is_damage(text) -> None:
    with pytest.raises(DamagedResultError):
        parse_dtype.__wrapped__(text)


def test_a_type_is_read_by_a_deep_caller_or_not_at_all() -> None:
    """A caller deep in the stack gets a RecursionError, and no word of damage."""

    def deep(levels: int) -> object:
        return deep(levels - 1) if levels else parse_dtype.__wrapped__("[('a', '<f8', (3,)), ('b', '|b1')]")

    found = set()
    for levels in range(sys.getrecursionlimit() - 250, sys.getrecursionlimit()):
        try:
            found.add(str(deep(levels)))
        except RecursionError:
            found.add("too deep")
    assert found == {"[('a', '<f8', (3,)), ('b', '?')]", "too deep"}


@pytest.mark.parametrize(
    "text", ["[]", "[-1]", "[1e3]", "[" * 5000 + "]" * 5000, "[1, [2]]", "[" + "9" * 30 + "]", "3"]
)
def test_a_shape_that_is_never_written_is_damage(text) -> None:
    with pytest.raises(DamagedResultError):
        shape_of(text)


def test_a_database_that_is_busy_is_not_damaged(store, monkeypatch) -> None:
    class Busy:
        def execute(self, *_: object) -> None:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error

    with pytest.raises(sqlite3.OperationalError):
        check_file(Busy())

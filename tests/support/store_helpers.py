"""What the tests of stores share, under short names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bgsim.storage import Store
from bgsim.testing.store_examples import NEW, OLD, store_now
from bgsim.testing.store_examples import equal_columns as same
from bgsim.testing.store_examples import example_columns as columns
from bgsim.testing.store_examples import example_delivery as delivery
from bgsim.testing.store_examples import example_job as history_job
from bgsim.testing.store_examples import example_key as key
from bgsim.testing.store_examples import example_letter as letter
from bgsim.testing.store_examples import example_request as request
from bgsim.testing.store_examples import example_schedule as schedule
from bgsim.testing.store_examples import example_summary as summary
from bgsim.testing.store_examples import versioned_columns as versioned

__all__ = [
    "NEW",
    "OLD",
    "columns",
    "delivery",
    "history_job",
    "key",
    "letter",
    "opened_by",
    "request",
    "same",
    "schedule",
    "store_now",
    "summary",
    "versioned",
]


@contextmanager
def opened_by(kind: Callable[..., Store]) -> Iterator[Callable[..., Store]]:
    """Give a function that opens a store with settings; what it opened is closed in the end."""
    opened: list[Store] = []

    def open_store(**settings: Any) -> Store:
        opened.append(kind(**settings))
        return opened[-1]

    yield open_store
    for store in opened:
        store.close()

"""What the tests of stores share, under short names."""

from bgsim.testing.store_examples import NEW, OLD, store_now
from bgsim.testing.store_examples import equal_columns as same
from bgsim.testing.store_examples import example_columns as columns
from bgsim.testing.store_examples import example_key as key
from bgsim.testing.store_examples import example_letter as letter
from bgsim.testing.store_examples import example_request as request
from bgsim.testing.store_examples import example_schedule as schedule
from bgsim.testing.store_examples import versioned_columns as versioned

__all__ = ["NEW", "OLD", "columns", "key", "letter", "request", "same", "schedule", "store_now", "versioned"]

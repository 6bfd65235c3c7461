"""Times as a store writes them."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from bgsim.storage.times import seconds_of, time_text


@given(st.floats(-6e10, 2.5e11))
@example(1.9999996)  # rounded up to a whole second
@example(-0.0000001)
@example(-62135596800.0)  # the year 1
def test_a_time_is_written_as_the_standard_library_writes_it(seconds: float) -> None:
    """To the microsecond, in the same form, so that texts sort as times."""
    text = time_text(seconds)
    assert text == datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
    assert abs(seconds_of(text) - seconds) < 1e-4

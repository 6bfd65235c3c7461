"""What of the replicates a result keeps."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Keep: TypeAlias = Literal["columns", "summary"]
"""Every replicate's values; or exact sums, counts and quantiles of them."""

KEEPS: tuple[Keep, ...] = get_args(Keep)

"""What one call of `Engine.submit` asks for."""

from bgsim.request.reading import read_request
from bgsim.request.request import (
    CACHE_MODES,
    CacheMode,
    ChangedOptions,
    JobOptions,
    Request,
    make_request,
)

__all__ = [
    "CACHE_MODES", "CacheMode", "ChangedOptions", "JobOptions", "Request", "make_request",
    "read_request",
]  # fmt: skip

"""Webhooks: refused until their outbox is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bgsim.errors import InvalidInputError

if TYPE_CHECKING:
    from bgsim.storage.history import Delivery, History, JobRow


class Sender:
    """Sends what is due."""

    def __init__(self, history: History, *, allow_private: bool) -> None:
        self._history = history
        self._allow_private = allow_private

    def start(self) -> None:
        """Start the thread."""

    def wake(self) -> None:
        """Look for what is due."""

    def close(self) -> None:
        """Stop the thread."""


def check_webhook(value: Mapping[str, Any], *, allow_private: bool) -> dict[str, Any]:
    """Refuse a webhook."""
    raise InvalidInputError("webhooks are not sent yet", field="webhook", value=(dict(value), allow_private))


def deliveries_of(row: JobRow, webhooks: Sequence[Mapping[str, Any]], now: str) -> list[Delivery]:  # noqa: ARG001
    """Return what is to be sent of a job that has ended."""
    return []

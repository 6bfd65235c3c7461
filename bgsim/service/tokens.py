"""Access tokens: made once, shown once, and known by their digests.

A token is a text ``bgs_<id>_<secret>``. The history keeps the id and the secret's SHA-256: the secret has 256 random
bits, so that no slow hash is needed, and the file is of no use to who reads it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time

from bgsim.checks import check_seconds, check_tenant, check_text, check_word
from bgsim.storage.history import History, TokenRow
from bgsim.storage.times import seconds_of, time_text

TOKEN_ROLES = ("viewer", "operator", "admin")
"""The least first."""

_FORM = re.compile(r"bgs_([0-9a-f]{8})_([A-Za-z0-9_-]{43})", re.ASCII)

_NOBODY = TokenRow("", "0" * 64, "", "", "", "")
"""Compared with in the place of a token that is not there."""


def new_token(
    history: History,
    role: str,
    tenant: str = "",
    name: str = "",
    expires_s: float | None = None,
    now: float | None = None,
) -> str:
    """Make a token and return its text, which is nowhere else.

    Parameters
    ----------
    history : History
    role : str
        One of `TOKEN_ROLES`.
    tenant : str
        Whose jobs it sees; empty for all.
    name : str
        For people.
    expires_s : float, optional
        After so many seconds it counts no more.
    now : float, optional
        Seconds since the epoch.

    Raises
    ------
    InvalidInputError
        If an argument is not allowed.
    StoreError
        If the token cannot be stored.
    """
    check_word("role", role, TOKEN_ROLES)
    tenant = tenant and check_tenant(tenant)
    check_text("name", name)
    made_s = time.time() if now is None else now
    expires_at = None if expires_s is None else time_text(made_s + check_seconds("expires_s", expires_s, zero=False))
    while history.token(id := secrets.token_hex(4)) is not None:  # noqa: A001 - a token's
        pass
    secret = secrets.token_urlsafe(32)
    history.add_token(TokenRow(id, _digest(secret), role, tenant, name, time_text(made_s), expires_at))
    return f"bgs_{id}_{secret}"


def verify(history: History, text: str, now: float) -> TokenRow | None:
    """Return the token of a text that counts, else None.

    One that is unknown takes as long as one whose secret is wrong, and the secrets are compared in constant time.

    Parameters
    ----------
    history : History
    text : str
    now : float
        Seconds since the epoch.

    Raises
    ------
    StoreError
        If the store cannot be read.
    """
    parts = _FORM.fullmatch(text)
    if parts is None:
        return None
    row = history.token(parts[1]) or _NOBODY
    is_its_own = hmac.compare_digest(_digest(parts[2]).encode(), row.digest.encode())
    return row if is_its_own and state_of(row, now) == "valid" else None


def state_of(row: TokenRow, now: float) -> str:
    """Return whether a token is ``valid``, ``expired`` or ``revoked``; one whose time cannot be read has expired."""
    if row.revoked_at is not None:
        return "revoked"
    try:
        return "valid" if row.expires_at is None or now < seconds_of(row.expires_at) else "expired"
    except ValueError:  # damage
        return "expired"


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()

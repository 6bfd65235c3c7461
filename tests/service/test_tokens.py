"""Access tokens: what is stored of them, and when they count."""

from __future__ import annotations

import hashlib
import re
from contextlib import closing
from dataclasses import replace

import pytest

from bgsim.errors import InvalidInputError, StoreError
from bgsim.service import tokens
from bgsim.service.tokens import new_token, state_of, verify
from bgsim.storage import MemoryStore, ResultStore
from bgsim.storage.history import TokenRow
from bgsim.storage.times import time_text

DAY_S = 86_400.0


@pytest.fixture
def history():
    return MemoryStore().history


def test_a_token_counts_until_it_expires_or_is_revoked(history) -> None:
    for_ever = new_token(history, "admin", now=0.0)
    for_a_day = new_token(history, "viewer", "lab", "Ada's", DAY_S, now=0.0)
    row = verify(history, for_a_day, DAY_S - 0.001)
    assert (row.role, row.tenant, row.name, row.created_at, row.expires_at) == (
        "viewer", "lab", "Ada's", time_text(0), time_text(DAY_S),
    )  # fmt: skip
    assert verify(history, for_a_day, DAY_S) is None
    assert verify(history, for_ever, 1e9).role == "admin"
    history.revoke_token(for_ever.split("_")[1], time_text(5))
    assert verify(history, for_ever, 1.0) is None
    assert [state_of(row, DAY_S) for row in history.tokens()] == ["revoked", "expired"]


def test_the_file_has_no_secret(tmp_path) -> None:
    path = tmp_path / "s.db"
    with closing(ResultStore(path)) as store:
        texts = [new_token(store.history, role) for role in tokens.TOKEN_ROLES]
        assert all(verify(store.history, text, 0.0) for text in texts)
        rows = store.history.tokens()
    for text, row in zip(texts, rows, strict=True):
        _, _, secret = text.split("_", 2)
        assert re.fullmatch(r"bgs_[0-9a-f]{8}_[\w-]{43}", text)
        assert row.digest == hashlib.sha256(secret.encode()).hexdigest()
        assert secret.encode() not in path.read_bytes()
        assert row.digest not in repr(row)
    assert len({*texts}) == 3


def test_another_text_is_no_token(history) -> None:
    text = new_token(history, "admin", now=0.0)
    other = new_token(history, "admin", now=0.0)
    for wrong in (
        "", "bgs_", text[:-1], f"{text}A", text.upper(), f" {text}", f"{text}\n", text.replace("bgs", "bgt"),
        f"{text[:13]}{other[13:]}", f"{text[:-1]}{'A' if text[-1] != 'A' else 'B'}", f"bgs_00000000_{text[13:]}",
        f"bgs_00000000_{'A' * 43}", text.replace("_", "-"), f"{text[:-1]}ü", f"{text[:-1]}\0", "bgs_%_" + "%" * 43,
        "bgs_' OR 1_" + "A" * 43, f"{text}_{text}", "x" * 10**6,
    ):  # fmt: skip
        assert verify(history, wrong, 0.0) is None, wrong
    assert verify(history, text, 0.0) is not None


def test_an_unknown_token_costs_the_same_steps(history, monkeypatch) -> None:
    """One look into the store, one digest and one comparison in constant time of digests of one length."""
    compared = []
    compare = tokens.hmac.compare_digest
    monkeypatch.setattr(
        tokens.hmac, "compare_digest", lambda a, b: (compared.append((len(a), len(b))), compare(a, b))[1]
    )
    text = new_token(history, "admin", now=0.0)
    for each in (text, f"bgs_00000000_{'A' * 43}", f"{text[:13]}{'A' * 43}"):
        verify(history, each, 0.0)
    assert compared == [(64, 64)] * 3


@pytest.mark.parametrize("odd", [{"expires_at": "never"}, {"digest": "ü"}, {"digest": ""}, {"expires_at": ""}])
def test_a_row_that_another_program_has_changed_opens_nothing(history, odd) -> None:
    secret = "A" * 43
    whole = TokenRow("0" * 8, hashlib.sha256(secret.encode()).hexdigest(), "admin", "", "", time_text(0))
    history.add_token(replace(whole, **odd))
    assert verify(history, f"bgs_00000000_{secret}", 0.0) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"role": "root"}, r"role must be one of viewer, operator, admin.*'root'"),
        ({"role": "Admin"}, "did you mean 'admin'"),
        ({"role": None}, "role"),
        ({"tenant": "a/b"}, "tenant"),
        ({"name": 3}, "name"),
        ({"expires_s": 0}, "expires_s"),
        ({"expires_s": float("nan")}, "expires_s"),
    ],
)
def test_what_is_not_allowed_is_named(history, given, message) -> None:
    with pytest.raises(InvalidInputError, match=message):
        new_token(history, **{"role": "admin", **given})
    assert history.tokens() == []


def test_an_id_that_is_taken_is_not_given_again(history, monkeypatch) -> None:
    ids = iter(["11111111", "11111111", "22222222"])
    monkeypatch.setattr(tokens.secrets, "token_hex", lambda _: next(ids))
    assert [new_token(history, "viewer")[4:12] for _ in range(2)] == ["11111111", "22222222"]
    with pytest.raises(StoreError):
        history.add_token(history.tokens()[0])

"""``bgsim token``: what it prints, and to where."""

from __future__ import annotations

import json
import stat
import time
from contextlib import closing
from pathlib import Path

import pytest
from command import run_main

from bgsim.service.tokens import verify
from bgsim.storage import ResultStore


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "s.db"


def run(path, *arguments: str) -> tuple[str, str]:
    code, out, err = run_main("token", *arguments, "--store", str(path))
    assert code == 0, err
    return out, err


def refused(path, *arguments: str) -> str:
    code, out, err = run_main("token", *arguments, "--store", str(path))
    assert (code, out) == (2, "")
    return err


def test_a_new_token_is_printed_once_and_counts(path) -> None:
    """To standard output alone, so that a script can keep it; the store is made, for others to read it not."""
    text, err = run(path, "new", "--role", "admin", "--tenant", "lab", "--name", "Ada", "--expires", "90d")
    token = text.strip()
    assert "of the admin of lab" in err
    assert token not in err
    with closing(ResultStore(path)) as store:
        row = verify(store.history, token, time.time() + 89 * 86_400)
        assert (row.role, row.tenant, row.name) == ("admin", "lab", "Ada")
        assert verify(store.history, token, time.time() + 91 * 86_400) is None
    listed, _ = run(path, "ls")
    assert token.split("_", 2)[2] not in listed


def test_ls_and_revoke(path) -> None:
    tokens = [run(path, "new", "--name", name, *more)[0].strip() for name, *more in (["a"], ["b", "--expires", "1 h"])]
    ids = [token.split("_")[1] for token in tokens]
    heading, *lines = run(path, "ls")[0].splitlines()
    assert heading.split() == ["token", "role", "tenant", "name", "made", "expires", "state"]
    assert [line.split()[:3] for line in lines] == [[ids[0], "operator", "a"], [ids[1], "operator", "b"]]
    assert [line.split()[-1] for line in lines] == ["valid", "valid"]
    assert run(path, "revoke", tokens[0], ids[0], ids[1]) == (f"{ids[0]}\n{ids[1]}\n", "")
    found = json.loads(run(path, "ls", "--json")[0])
    assert [(row["id"], row["state"], row["expires_at"] is None) for row in found] == [
        (ids[0], "revoked", True),
        (ids[1], "revoked", False),
    ]
    assert "digest" not in found[0]


def test_what_cannot_be_done_is_said(path) -> None:
    assert "there is no store" in refused(path, "ls")
    assert "there is no store" in refused(path, "revoke", "12345678")
    assert "did you mean 'viewer'" in refused(path, "new", "--role", "viewr")
    assert "tenant" in refused(path, "new", "--tenant", "a/b")
    for wrong in ("soon", "90", "-1d", "0d", "", "1e9d", "9999999999d", "1.5.5h"):
        assert '"90 d"' in refused(path, "new", "--expires", wrong)
    run(path, "new")
    with closing(ResultStore(path)) as store:
        (row,) = store.history.tokens()
    assert "there is no token 12345678" in refused(path, "revoke", row.id, "12345678")
    with closing(ResultStore(path)) as store:
        assert store.history.tokens()[0].revoked_at is None


def test_a_store_that_is_made_for_a_token_is_as_private_as_any(path) -> None:
    run(path, "new")
    ResultStore(path.with_name("other.db")).close()
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (path, path.with_name("other.db"))]
    assert modes[0] == modes[1]

"""``bgsim token``: make, list and revoke the tokens of a service."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import click

from bgsim.errors import StoreError
from bgsim.service.tokens import TOKEN_ROLES, new_token, state_of
from bgsim.storage import ResultStore
from bgsim.storage.times import ago, duration_of, now_text
from bgsim.tables import Table
from bgsim.ui.store_cli import print_lines
from bgsim.ui.stores import default_store, json_option, opened_store, store_option
from bgsim.ui.streams import remark, say, say_json, show


@click.group("token")
def token_group() -> None:
    """Make, list and revoke the tokens that a service asks for."""


@token_group.command("new")
@click.option("--role", default="operator", show_default=True, help=f"{', '.join(TOKEN_ROLES)}: each may more.")
@click.option("--tenant", default="", metavar="NAME", help="It sees this tenant's jobs alone; by default those of all.")
@click.option("--name", default="", metavar="TEXT", help="For you, in `bgsim token ls`.")
@click.option("--expires", metavar="TIME", help="After this time it counts no more: 90d, 12h, 30min.  [default: never]")
@store_option
@json_option
def token_new(role: str, tenant: str, name: str, expires: str | None, store: Path | None, as_json: bool) -> None:
    """Make a token, and print it: this once, for the store keeps its digest alone. A missing store is made."""
    expires_s = None if expires is None else duration_of("expires", expires)
    with closing(ResultStore(store or default_store())) as opened:
        text = new_token(opened.history, role, tenant, name, expires_s)
        if as_json:
            say_json({"token": text, "id": _id_of(text), "role": role, "tenant": tenant, "name": name})
        else:
            say(text)
        remark(f"a token of the {role} {f'of {tenant}' if tenant else 'of all tenants'} for {opened.path}; keep it now")


@token_group.command("ls")
@store_option
@json_option
def token_ls(store: Path | None, as_json: bool) -> None:
    """List the tokens, the oldest first; their texts are known to their holders alone."""
    with opened_store(store) as opened:
        rows = [(row, state_of(row, time.time())) for row in opened.history.tokens()]
    if as_json:
        columns = ("id", "role", "tenant", "name", "created_at", "expires_at", "revoked_at")
        say_json([{**{column: getattr(row, column) for column in columns}, "state": state} for row, state in rows])
        return
    headings = ("token", "role", "tenant", "name", "made", "expires", "state")
    cells = [
        (r.id, r.role, r.tenant, r.name, ago(r.created_at), (r.expires_at or "never")[:16].replace("T", " "), state)
        for r, state in rows
    ]
    show(Table(headings, cells, most=None), listing=True)


@token_group.command("revoke")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@store_option
@json_option
def token_revoke(ids: tuple[str, ...], store: Path | None, as_json: bool) -> None:
    """Have tokens, by their ids in `bgsim token ls`, count no more; a service heeds it at the next request."""
    with opened_store(store) as opened:
        history, wanted = opened.history, list(dict.fromkeys(map(_id_of, ids)))
        unknown = [each for each in wanted if history.token(each) is None]
        if unknown:
            raise StoreError(f"there is no token {', '.join(unknown)} in {opened.path}; `bgsim token ls` lists them")
        for each in wanted:
            history.revoke_token(each, now_text())
    print_lines(wanted, as_json)


def _id_of(text: str) -> str:
    """Return the id of a token, given that or its whole text."""
    return text.split("_")[1] if text.startswith("bgs_") else text

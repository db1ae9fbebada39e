"""`p2psip user`: the accounts of an overlay."""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from p2psip.base.errors import LocalMisuse
from p2psip.cli.terminal.passwords import FILE_HELP, new_password
from p2psip.cli.terminal.tables import aligned

if TYPE_CHECKING:
    from p2psip.enrollment.accounts import Account, HeldNode
    from p2psip.enrollment.invitations import Invited
    from p2psip.net.disk.overlay_directory import OverlayDirectory

HELP = """Look after the accounts of an overlay, on the machine that has its directory.

An account is a user name and a password. With it, its owner gets certificates for lines (alice's phones, at any
peer) and for peers. The enrollment server may run meanwhile.
"""

ADD_HELP = """Add an account.

Without --password-file you are asked for a password, or one is made up and shown once.

Example:

\b
    p2psip user add alice --overlay ./club
"""

REMOVE_HELP = """Remove an account and revoke its certificates.

What it holds is shown, and you are asked, unless you say --yes. The Node-IDs of its lines and peers go on the bad-node
list of the configuration: peers that have the new configuration no longer talk to them. `p2psip overlay push` hands it
to the running peers.
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)

Name = Annotated[str, typer.Argument(metavar="NAME", help="User name: alice, or alice@OVERLAY.")]
Overlay = Annotated[
    Path, typer.Option("--overlay", metavar="DIR", envvar="P2PSIP_OVERLAY", help="The directory of the overlay.")
]
PasswordFile = Annotated[str | None, typer.Option(metavar="FILE", help=FILE_HELP)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(help=ADD_HELP)
def add(
    name: Name,
    overlay: Overlay = Path(),
    password_file: PasswordFile = None,
    admin: Annotated[bool, typer.Option("--admin", help="An administrator: may hold more Node-IDs.")] = False,
    quota: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Node-IDs (lines and peers) that it may hold.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make the account."""
    from p2psip.enrollment.accounts import QUOTA, QUOTA_ADMIN, Account
    from p2psip.enrollment.passwords import hash_password
    from p2psip.enrollment.user_names import account_name
    from p2psip.net.disk.overlay_directory import OverlayDirectory

    directory = OverlayDirectory(overlay)
    configuration = directory.document().configuration
    user = account_name(name, configuration.instance_name, configuration.hosted_domains)
    accounts = directory.accounts()
    if accounts.account(user) is not None:
        raise LocalMisuse(f"there is an account {user} already: `p2psip user password` changes its password")
    password, is_generated = new_password(password_file, f"account password for {user}")
    granted = quota or (QUOTA_ADMIN if admin else QUOTA)
    accounts.add(Account(user, hash_password(password, random.SystemRandom()), admin, granted, time.time()))
    _print_account(user, password if is_generated else None, "added", as_json)


@app.command(help="Set another password for an account. Certificates that it has got stay valid.")
def password(name: Name, overlay: Overlay = Path(), password_file: PasswordFile = None, as_json: Json = False) -> None:
    """Change the password."""
    from p2psip.enrollment.passwords import hash_password
    from p2psip.enrollment.user_names import full_name
    from p2psip.net.disk.overlay_directory import OverlayDirectory

    directory = OverlayDirectory(overlay)
    user = full_name(name, directory.document().configuration.instance_name)
    accounts = directory.accounts()
    if accounts.account(user) is None:
        raise LocalMisuse(f"there is no account {user}")
    chosen, is_generated = new_password(password_file, f"account password for {user}")
    accounts.set_password(user, hash_password(chosen, random.SystemRandom()))
    _print_account(user, chosen if is_generated else None, "changed", as_json)


@app.command(
    name="list", help="List the accounts, who invited each, the Node-IDs in its certificates, and which are revoked."
)
def list_(overlay: Overlay = Path(), as_json: Json = False) -> None:
    """Print all accounts."""
    from p2psip.net.disk.overlay_directory import OverlayDirectory

    accounts, date = OverlayDirectory(overlay).accounts(), time.time()
    listed = [(account, accounts.held(account.name, date)) for account in accounts.accounts()]
    invited: dict[str, list[Invited]] = {}
    for each in accounts.invited():
        invited.setdefault(each.user, []).append(each)
    if as_json:
        print(json.dumps([_facts(account, held, invited.get(account.name, [])) for account, held in listed]))
        return
    for account, held in listed:
        counting = sum(not entry.is_revoked for entry in held)
        administrator = " (administrator)" if account.is_admin else ""
        print(f"{account.name}{administrator}: {counting} of {account.quota} Node-IDs")
        for each in invited.get(account.name, []):
            print(f"    invited by {each.inviter} on {_day(each.date)} (invitation {each.number})")
        _print_held(held)


def _facts(account: Account, held: list[HeldNode], invited: list[Invited]) -> dict[str, object]:
    return {
        "name": account.name,
        "admin": account.is_admin,
        "quota": account.quota,
        "created": _day(account.created),
        "invited": [{"by": each.inviter, "on": _day(each.date), "invitation": each.number} for each in invited],
        "held": [
            {
                "user": entry.user,
                "node_id": str(entry.node_id),
                "until": _day(entry.not_after),
                "revoked": entry.is_revoked,
            }
            for entry in held
        ],
    }


def _print_held(held: list[HeldNode], *, to_stderr: bool = False) -> None:
    rows = [
        (entry.user, str(entry.node_id), "revoked" if entry.is_revoked else f"until {_day(entry.not_after)}")
        for entry in held
    ]
    for row in aligned(rows):
        print(f"    {row}", file=sys.stderr if to_stderr else sys.stdout)


@app.command(help=REMOVE_HELP)
def remove(
    name: Name,
    overlay: Overlay = Path(),
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove the account and revoke what it holds."""
    from p2psip.enrollment.user_names import full_name
    from p2psip.net.disk.overlay_directory import OverlayDirectory

    directory = OverlayDirectory(overlay)
    user = full_name(name, directory.document().configuration.instance_name)
    if not yes:
        _confirm_removal(directory, user)
    held = directory.remove_account(user, time.time())
    revoked = [str(entry.node_id) for entry in held if not entry.is_revoked]
    if as_json:
        print(json.dumps({"name": user, "revoked": revoked}))
    else:
        print(f"{user} removed; {len(revoked)} Node-IDs revoked.")
        if revoked:
            print(f"Tell the running peers: p2psip overlay push {overlay} --peer STATE_DIR", file=sys.stderr)


def _confirm_removal(directory: OverlayDirectory, user: str) -> None:
    """Show what a removal ends, and ask. Raises LocalMisuse if it is not to be."""
    accounts = directory.accounts()
    try:
        if accounts.account(user) is None:
            raise LocalMisuse(f"there is no account {user}: `p2psip user list --overlay {directory.path}` lists them")
        held = [entry for entry in accounts.held(user, time.time()) if not entry.is_revoked]
    finally:
        accounts.close()
    if not sys.stdin.isatty():
        raise LocalMisuse(f"say --yes to remove {user}, and revoke {len(held)} Node-IDs, without being asked")
    print(f"{user} holds {len(held)} Node-IDs that will be revoked{':' if held else '.'}", file=sys.stderr)
    _print_held(held, to_stderr=True)
    if held:
        print("These lines and peers will be cut off; they can only be made anew, with an account.", file=sys.stderr)
    if not typer.confirm(f"Remove {user}?", err=True):
        raise LocalMisuse("nothing was removed")


def _print_account(user: str, made_up: str | None, what: str, as_json: bool) -> None:
    facts = {"name": user} | ({"password": made_up} if made_up else {})
    if as_json:
        print(json.dumps(facts))
    else:
        print(f"{user} {what}." + (f" Account password: {made_up} (shown only now: note it)" if made_up else ""))


def _day(date: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(date))

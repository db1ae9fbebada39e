"""`p2psip invite`: let a machine or a person in."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from p2psip.base.errors import LocalMisuse
from p2psip.cli.terminal.tables import aligned

if TYPE_CHECKING:
    from p2psip.enrollment.invitations import Invitation
    from p2psip.net.disk.overlay_directory import OverlayDirectory

HELP = """Print a code with which a machine joins the overlay: `p2psip join CODE`, typed there.

It holds the overlay's name, the fingerprint of its trust anchor, addresses, and a token that is good for --uses
machines until it --expires. Whoever has the code can use it: give it by a way that you trust. It is shown only now.
With --phone it is for a phone's line of USER, at a machine that is in already; with --machine as well, for a new
machine and its line.

This is for the machine that has the overlay's directory. There `p2psip up`, or `p2psip enrollment serve`, has to run
while somebody joins. `p2psip user list` shows who was invited by whom.

Examples:

\b
    p2psip invite
    p2psip invite --uses 5 --expires 1w
    p2psip invite --phone carol
    p2psip invite --list
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(help=HELP)
def invite(
    phone: Annotated[str | None, typer.Option(metavar="USER", help="For a line of this user: carol.")] = None,
    machine: Annotated[bool, typer.Option("--machine", help="With --phone: for a new machine as well.")] = False,
    uses: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="How many may use it.")] = 1,
    expires: Annotated[str, typer.Option(metavar="TIME", help="For how long: 30m, 12h, 1d, 2w.")] = "1d",
    by: Annotated[str, typer.Option(metavar="USER", help="Who invites. [the administrator]")] = "",
    overlay: Annotated[
        Path, typer.Option("--overlay", metavar="DIR", envvar="P2PSIP_OVERLAY", help="The directory of the overlay.")
    ] = Path(),
    is_list: Annotated[bool, typer.Option("--list", help="List the invitations that there were.")] = False,
    withdraw: Annotated[int | None, typer.Option(metavar="NUMBER", help="Let nobody else in by this one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Invite, list or withdraw."""
    from p2psip.net.disk.overlay_directory import OverlayDirectory

    directory = OverlayDirectory(overlay)
    if machine and phone is None:
        raise LocalMisuse("--machine goes with --phone: without either the code is for a machine anyway")
    if is_list:
        _print_list(directory, as_json=as_json)
    elif withdraw is not None:
        directory.accounts().withdraw(withdraw)
        print(json.dumps({"withdrawn": withdraw}) if as_json else f"Nobody else comes in by invitation {withdraw}.")
    else:
        _invite(directory, phone, by, expires, uses, is_machine=machine or phone is None, as_json=as_json)


def _invite(
    directory: OverlayDirectory,
    phone: str | None,
    by: str,
    expires: str,
    uses: int,
    *,
    is_machine: bool,
    as_json: bool,
) -> None:
    import random

    from p2psip.daemon.joining.inviting import invite as write_down
    from p2psip.daemon.joining.inviting import is_enrolling
    from p2psip.enrollment.invitations import Invitation, parse_lifetime
    from p2psip.enrollment.user_names import account_name, is_peer_name

    called, now = directory.document().configuration.instance_name, time.time()
    user = "" if phone is None else account_name(phone, called)
    if is_peer_name(user):
        raise LocalMisuse(f"{user} is the name of a machine: leave --phone out")
    asked = Invitation(by, now + parse_lifetime(expires), uses, is_machine, user, now)
    invitation, code = write_down(directory, asked, random.SystemRandom())
    if as_json:
        print(json.dumps({"code": str(code), **_facts(invitation, now)}))
        return
    if not is_enrolling(code):
        print("The enrollment server does not answer; start it before the code is used: p2psip up", file=sys.stderr)
    _show_qr_code(str(code))
    print(f"F{_for_what(invitation)[1:]}, until {_minute(invitation.expires)}:\n  p2psip join {code}")


def _for_what(invitation: Invitation) -> str:
    line = f"line of {invitation.user.partition('@')[0]}" if invitation.user else ""
    what = " with a ".join(filter(None, ("new machine" if invitation.admits_machine else "", line)))
    return f"for a {what}, {'once' if invitation.uses == 1 else f'{invitation.uses} times'}"


def _show_qr_code(code: str) -> None:
    """For a camera, where somebody looks at a terminal that can show it."""
    if not sys.stdout.isatty() or "utf" not in (sys.stdout.encoding or "").lower():
        return
    import segno

    # In capitals it is of the letters that take the least room; they do not matter in a code.
    segno.make(code.upper(), micro=False).terminal(compact=True, border=2)


def _print_list(directory: OverlayDirectory, *, as_json: bool) -> None:
    now, accounts = time.time(), directory.accounts()
    invitations = accounts.invitations()
    if as_json:
        print(json.dumps([_facts(each, now) for each in invitations]))
        return
    rows = [
        (
            str(each.number),
            f"by {each.inviter}",
            _for_what(each),
            f"until {_minute(each.expires)}",
            _state(each, now),
        )
        for each in invitations
    ]
    for row in aligned(rows):
        print(row)
    if not rows:
        print("no invitations; `p2psip invite` makes one")


def _state(invitation: Invitation, now: float) -> str:
    from p2psip.enrollment.invitations import in_words

    let_in = ", ".join(use.user.partition("@")[0] for use in invitation.used)
    return in_words(invitation, now) + (f" (let in: {let_in})" if let_in else "")


def _facts(invitation: Invitation, now: float) -> dict[str, Any]:
    from p2psip.enrollment.invitations import in_words

    return {
        "number": invitation.number,
        "inviter": invitation.inviter,
        "user": invitation.user or None,
        "machine": invitation.admits_machine,
        "uses": invitation.uses,
        "created": _minute(invitation.created),
        "expires": _minute(invitation.expires),
        "state": in_words(invitation, now),
        "let_in": [use.user for use in invitation.used],
    }


def _minute(date: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(date))

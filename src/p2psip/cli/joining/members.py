"""`p2psip members`: who is in, who waits, who is out."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from p2psip.base.errors import LocalMisuse, P2psipError
from p2psip.cli.terminal.tables import aligned

if TYPE_CHECKING:
    from p2psip.daemon.joining.member_list import ListedMember
    from p2psip.net.disk.overlay_directory import OverlayDirectory

HELP = """Look after the members of an overlay, on the machine that has its directory: machines, and people with lines.

NAME is a user name: carol, or valley for the machine peer-valley. The enrollment server may run meanwhile.
"""

LIST_HELP = "List the members, who has invited each, who waits to be approved, and who was revoked."

APPROVAL_HELP = """Say whether each new member is to be approved: `on` or `off`.

With `on`, who has an invitation or an account's password still has to wait, until `p2psip members approve NAME`; its
own command says so, and goes on by itself then. Who is a member already is not concerned.

Example:

\b
    p2psip members approval on
"""

APPROVE_HELP = """Let somebody in who waits.

Example:

\b
    p2psip members approve valley
"""

REVOKE_HELP = """Revoke a member at once: its links are closed, it gets no certificate any more. Who waits is refused.

What it holds is shown, and you are asked, unless you say --yes. The name of an account stands for all that it holds.
The new configuration is handed to the peer that runs here, and goes round from there. Within --grace, --undo takes that
back: a peer that was cut off is a member again when it is started. Afterwards it can only be invited anew, by another
name, or by the same after `p2psip user remove`.

Examples:

\b
    p2psip members revoke valley
    p2psip members revoke valley --undo
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)

Name = Annotated[str, typer.Argument(metavar="NAME", help="User name: carol, valley, or carol@OVERLAY.")]
Overlay = Annotated[
    Path, typer.Option("--overlay", metavar="DIR", envvar="P2PSIP_OVERLAY", help="The directory of the overlay.")
]
Peer = Annotated[Path, typer.Option("--peer", metavar="DIR", envvar="P2PSIP_PEER", help="A peer that runs here.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

PUSH_WAIT_S = 10.0


@app.command(name="list", help=LIST_HELP)
def list_(overlay: Overlay = Path(), as_json: Json = False) -> None:
    """Print them."""
    from p2psip.daemon.joining.member_list import list_members
    from p2psip.net.disk.overlay_directory import OverlayDirectory

    accounts, now = OverlayDirectory(overlay).accounts(), time.time()
    members, required = list_members(accounts, now), accounts.requires_approval()
    if as_json:
        print(json.dumps({"approval": required, "members": [_facts(each) for each in members]}))
        return
    for row in aligned([_row(each, now) for each in members]):
        print(row)
    print(f"New members {'have to be approved' if required else 'need no approval'}.")


@app.command(help=APPROVAL_HELP)
def approval(
    wish: Annotated[str, typer.Argument(metavar="on|off", help="Whether new members wait.")],
    overlay: Overlay = Path(),
    as_json: Json = False,
) -> None:
    """Write it down."""
    from p2psip.net.disk.overlay_directory import OverlayDirectory

    if wish not in ("on", "off"):
        raise LocalMisuse(f"{wish!r} is neither on nor off")
    OverlayDirectory(overlay).accounts().require_approval(required=wish == "on")
    told = "Each new member waits for `p2psip members approve NAME`." if wish == "on" else "Nobody has to be approved."
    print(json.dumps({"approval": wish == "on"}) if as_json else told)


@app.command(help=APPROVE_HELP)
def approve(name: Name, overlay: Overlay = Path(), as_json: Json = False) -> None:
    """Write it down; whoever waits asks every few seconds."""
    from p2psip.daemon.joining.member_list import member_meant
    from p2psip.net.disk.overlay_directory import OverlayDirectory

    directory = OverlayDirectory(overlay)
    accounts = directory.accounts()
    user = member_meant(accounts, name, directory.document().configuration.instance_name)
    if accounts.revocation(user) is not None:
        raise LocalMisuse(f"{user} was refused: `p2psip members revoke {name} --undo` takes that back")
    accounts.approve(user, time.time())
    print(json.dumps({"name": user, "approved": True}) if as_json else f"{user} is approved, and in when it asks next.")


@app.command(help=REVOKE_HELP)
def revoke(
    name: Name,
    overlay: Overlay = Path(),
    peer: Peer = Path(),
    undo: Annotated[bool, typer.Option("--undo", help="Take it back.")] = False,
    grace: Annotated[str, typer.Option(metavar="TIME", help="How long it can be taken back: 30m, 12h, 1d, 2w.")] = "1d",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Revoke or reinstate, and push."""
    from p2psip.daemon.joining.member_list import member_meant
    from p2psip.enrollment.invitations import parse_lifetime
    from p2psip.net.disk.overlay_directory import OverlayDirectory

    directory, now = OverlayDirectory(overlay), time.time()
    accounts = directory.accounts()
    user = member_meant(accounts, name, directory.document().configuration.instance_name)
    if undo:
        revoked = directory.reinstate_member(user, now)
    else:
        lasts_s = parse_lifetime(grace)
        if accounts.revocation(user) is None and not yes:
            _confirm(user, [held.user for held in accounts.held_as(user, now) if not held.is_revoked])
        revoked = directory.revoke_member(user, now, now + lasts_s)
    nodes = list(map(str, revoked.node_ids))
    pushed = _push(directory, peer) if nodes else None
    if as_json:
        until = None if undo else _minute(revoked.until)
        facts = {"name": user, "revoked": not undo, "node_ids": nodes, "undo_until": until, "pushed": pushed is None}
        print(json.dumps(facts))
    elif undo:
        print(f"{user} is welcome again; {len(nodes)} Node-IDs are valid again.")
    else:
        print(f"{user} is revoked, with {len(nodes)} Node-IDs. Until {_minute(revoked.until)} that can be taken back:")
        print(f"  p2psip members revoke {name} --undo")
    if pushed is not None:
        print(f"Running peers do not have it yet ({pushed}):", file=sys.stderr)
        print(f"  p2psip overlay push {directory.path} --peer STATE_DIR", file=sys.stderr)


def _confirm(user: str, held: list[str]) -> None:
    """Show what it ends, and ask. Raises LocalMisuse if it is not to be."""
    if not sys.stdin.isatty():
        raise LocalMisuse(f"say --yes to revoke {user}, with {len(held)} Node-IDs, without being asked")
    for name in dict.fromkeys(held):
        print(f"    {name}: {held.count(name)} Node-IDs", file=sys.stderr)
    if not typer.confirm(f"Revoke {user}?", err=True):
        raise LocalMisuse("nothing was revoked")


def _push(directory: OverlayDirectory, peer: Path) -> str | None:
    """Have the peer that runs here hand the configuration round; why that was not possible."""
    from p2psip.cli.overlay.push import await_neighbours, hand_over

    wanted = directory.document().configuration.sequence
    try:
        known: Any = hand_over(directory, peer)
        await_neighbours(peer, known, wanted, PUSH_WAIT_S)
    except P2psipError as error:
        return str(error)
    return None


def _row(member: ListedMember, now: float) -> tuple[str, ...]:
    invited = f"invited by {member.inviter}" if member.inviter else ""
    count = sum(not held.is_revoked for held in member.held)
    holds = f"{count} Node-ID{'s' * (count != 1)}" if member.held else ""
    return member.user, _state(member, now), holds, invited


def _state(member: ListedMember, now: float) -> str:
    if (revoked := member.revocation) is not None:
        what = "refused" if member.state == "refused" else "revoked"
        until = f", --undo until {_minute(revoked.until)}" if now <= revoked.until else ""
        return f"{what} {_minute(revoked.date)}{until}"
    if member.state == "unsigned":
        return "waits for being signed: `p2psip enrollment requests`"
    if member.asked is not None and member.state != "member":
        return f"{member.state} since {_minute(member.asked.asked)}, asked from {member.asked.source}"
    return member.state


def _facts(member: ListedMember) -> dict[str, object]:
    revoked, asked = member.revocation, member.asked
    return {
        "name": member.user,
        "account": member.account,
        "state": member.state,
        "node_ids": [str(held.node_id) for held in member.held if not held.is_revoked],
        "inviter": member.inviter or None,
        "asked": None if asked is None else _minute(asked.asked),
        "asked_from": None if asked is None else asked.source,
        "approved": None if asked is None or asked.approved is None else _minute(asked.approved),
        "revoked": None if revoked is None else _minute(revoked.date),
        "undo_until": None if revoked is None else _minute(revoked.until),
    }


def _minute(date: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(date))

"""`p2psip voicemail`: the messages that callers have left for a line of this peer."""

from __future__ import annotations

import base64
import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from p2psip.base.errors import LocalMisuse
from p2psip.cli.terminal.tables import aligned

HELP = """Show, download and delete the messages that callers have left for a line.

A line takes messages once its phone has dialled *97, or by `p2psip line calls USER --mailbox`. They are kept by the
overlay, sealed to the keys of its user's lines: ask a running peer where he has one.
"""

LIST_HELP = """List the messages that wait for USER, the new ones first.

Who has left one stands there as signed with his line's key; one from outside, as the peer says that took the call,
after a question mark.

Example:

\b
    p2psip voicemail list bob --peer ./peer
"""

GET_HELP = """Download a message as a WAV file (G.711, 8 kHz); it counts as heard. Without FILE: to standard output.

ID is the end of what `list` shows, as much of it as no other message has.

Examples:

\b
    p2psip voicemail get bob 3f00 message.wav --peer ./peer
    p2psip voicemail get bob 3f00 --peer ./peer | play -t wav -
"""

DELETE_HELP = """Delete a message, wherever it is kept.

Example:

\b
    p2psip voicemail delete bob 3f00 --peer ./peer
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)

User = Annotated[str, typer.Argument(metavar="USER", help="User name: bob, or bob@OVERLAY.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="Which message, as `list` shows.")]
PeerDirectory = Annotated[
    Path, typer.Option("--peer", metavar="DIR", envvar="P2PSIP_PEER", help="The state directory of the peer.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("list", help=LIST_HELP)
def list_(user: User, peer: PeerDirectory = Path(), as_json: Json = False) -> None:
    """Ask the running peer."""
    found = _ask(peer, user=user)
    if as_json:
        print(json.dumps(found))
        return
    for row in aligned([_row(message) for message in found["messages"]]):
        print(row)
    if not found["takes_messages"]:
        print(f"{found['user']} takes no messages: dial *97, or `p2psip line calls {user} --mailbox`", file=sys.stderr)
    elif not found["messages"]:
        print(f"no messages for {found['user']}", file=sys.stderr)


@app.command(help=GET_HELP)
def get(
    user: User,
    message: Id,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Where it goes.")] = None,
    peer: PeerDirectory = Path(),
) -> None:
    """Ask the running peer, write."""
    if file is None and sys.stdout.isatty():
        raise LocalMisuse("a WAV file is nothing for a terminal: name a FILE, or send it to a program that plays it")
    wav = base64.b64decode(_ask(peer, user=user, get=message)["wav"])
    if file is None:
        sys.stdout.buffer.write(wav)
        return
    from p2psip.net.disk.files import write_file

    write_file(file, wav)


@app.command(help=DELETE_HELP)
def delete(user: User, message: Id, peer: PeerDirectory = Path(), as_json: Json = False) -> None:
    """Ask the running peer."""
    answer = _ask(peer, user=user, delete=message)
    print(json.dumps(answer) if as_json else f"deleted: {'  '.join(_row(answer['deleted']))}")


def _ask(peer: Path, **asked: object) -> Any:
    from p2psip.daemon.control_client import ask_peer

    return ask_peer(peer, "mailbox", **asked)


def _row(message: Any) -> list[str]:
    left = time.strftime("%Y-%m-%d %H:%M", time.localtime(message["left_ms"] / 1000))
    who = f"{message['from']} {message['name']}".strip()
    return [message["id"][-8:], "new" if message["new"] else "old", left, f"{message['seconds']:.0f} s", who]

"""`p2psip rooms`: the conferences that phones of a peer are in, or that it mixes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

HELP = """Show the rooms that phones of a running peer are in, and those that it mixes: where, and who is in.

Which numbers are rooms is set up in rooms.toml in the state directory of each peer that mixes them, which reads it when
it starts. Exit status 1 if nobody is in any.

Examples:

\b
    p2psip rooms --peer ./peer
    p2psip rooms --peer ./peer --json
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(help=HELP)
def rooms(
    peer: Annotated[
        Path, typer.Option("--peer", metavar="DIR", envvar="P2PSIP_PEER", help="The state directory of the peer.")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Ask the running peer."""
    from p2psip.daemon.control_client import ask_peer

    found: Any = ask_peer(peer, "rooms")
    if as_json:
        print(json.dumps(found))
    else:
        for line in in_words(found) or ["nobody is in a room"]:
            print(line)
    return 0 if found else 1


def in_words(found: Any) -> list[str]:
    """A line for each room."""
    from p2psip.cli.terminal.tables import node_name

    return [
        f"room {room['room']}, "
        + (f"mixed by {node_name(room['mixed_by'] or '', room['mixed_at'])}" if room["mixed_at"] else "not mixed now")
        + f": {', '.join(room['people'] or room['here'])}"
        for room in found
    ]

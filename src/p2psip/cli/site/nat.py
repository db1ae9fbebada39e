"""`p2psip nat`: what a peer is behind, what will work, and what to change."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

from p2psip.cli.terminal.progress import busy
from p2psip.cli.terminal.tables import aligned

HELP = """Find out what kind of router (NAT) or firewall this peer is behind, and what that means.

The running peer asks other members, which takes up to half a minute; nobody else is asked. Exit status 1 if nothing
could be found out, or if UDP does not get through.

Example:

\b
    p2psip nat --peer ./peer
"""

WIDTH = 100

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)


@app.command(help=HELP)
def nat(
    peer: Annotated[
        Path, typer.Option("--peer", metavar="DIR", envvar="P2PSIP_PEER", help="The state directory of the peer.")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Ask the running peer."""
    from p2psip.daemon.control_client import ask_peer

    busy("asking other members")
    found: Any = ask_peer(peer, "nat")
    if as_json:
        print(json.dumps(found))
    else:
        _print(found)
    return 0 if found["helpers"] and not found["udp_blocked"] else 1


def _print(found: Any) -> None:
    _paragraph("", found["what"])
    if found["helpers"]:
        print()
        for row in aligned(found["found"]):
            print(f"  {row}")
    print()
    _paragraph("", found["port_mapping"]["what"])
    for title, sentences in (
        ("What works:", found["works"]),
        ("What does not:", found["fails"]),
        ("What to change:", found["change"]),
    ):
        if sentences:
            print(f"\n{title}")
            for sentence in sentences:
                _paragraph("  - ", sentence)


def _paragraph(first: str, text: str) -> None:
    print(textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False))

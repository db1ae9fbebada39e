"""`p2psip dial`: what would happen if a phone of this peer dialled a number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from p2psip.base.errors import LocalMisuse
from p2psip.cli.terminal.tables import aligned

HELP = """Say what would become of a call: what each of those says who are asked where it goes, in order, and why.

Nobody is called. A running peer is asked, and looks in the overlay as well; without one the settings alone are read.
Exit status 1 if the call would be refused. With --codes it lists the star codes of the peer.

Examples:

\b
    p2psip dial --explain 42 --peer ./peer
    p2psip dial --codes --peer ./peer
    p2psip dial --explain tel:+49-30-1234 --as alice --peer ./peer --json
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)


@app.command(help=HELP)
def dial(
    number: Annotated[
        str | None, typer.Option("--explain", metavar="NUMBER", help="What is dialled: 42, bob, *72bob.")
    ] = None,
    codes: Annotated[bool, typer.Option("--codes", help="List the star codes.")] = False,
    line: Annotated[str, typer.Option("--as", metavar="USER", help="Whose phone dials it. [the first line]")] = "",
    peer: Annotated[
        Path, typer.Option("--peer", metavar="DIR", envvar="P2PSIP_PEER", help="The state directory of the peer.")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Ask the running peer, or the settings."""
    from p2psip.daemon.control_client import ask_peer, is_running

    if codes == (number is not None):
        raise LocalMisuse("write --explain and a number, or --codes")
    if number is None:
        _list_codes(peer, as_json=as_json)
        return 0
    if is_running(peer):
        explained: Any = ask_peer(peer, "dial-explain", number=number, line=line)
    else:
        explained = _offline(peer, number, line)
    if as_json:
        print(json.dumps(explained))
    else:
        _print(explained)
    return 1 if explained["refused"] else 0


def _list_codes(peer: Path, *, as_json: bool) -> None:
    """By the file, which a running peer has read when it started."""
    from p2psip.daemon.state.dial_plan_file import load_numbering
    from p2psip.daemon.state.state import load_state
    from p2psip.sip.entities.handling.star_codes import SERVICES

    load_state(peer)
    codes = load_numbering(peer).codes.codes
    services = [(codes[name], name, service) for name, service in SERVICES.items()]
    if as_json:
        print(json.dumps([{"code": code, "service": name, "what": each.what} for code, name, each in services]))
        return
    rows = [
        (f"{code} and a number" if each.takes_number else code, name, each.what)
        for code, name, each in services
        if code
    ]
    print(*aligned(rows), sep="\n")


def _offline(peer: Path, number: str, line: str) -> Any:
    from p2psip.daemon.dial_words import explain_offline
    from p2psip.daemon.state.state import load_state

    return explain_offline(load_state(peer), number, line)


def _print(explained: Any) -> None:
    print(f"{explained['line'] or 'nobody'} dials {explained['number']}")
    rows = [(word["resolver"], word["number"], word["says"]) for word in explained["words"] if word["says"]]
    for row in aligned(rows):
        print(f"  {row}")
    print(f"so: {explained['end']}")
    for place in explained["places"]:
        print(f"  {place}")

"""`p2psip trace`: the peers on the way to a user's record, a node or a place, and how each of them does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from p2psip.cli.terminal.tables import aligned, node_name

HELP = """Trace the way through the overlay, peer by peer (RFC 7851).

Prints each peer on the way with the milliseconds to it and back, its software, how long it is up and its load (0 to
15). The target is a user (the way to the record), a Node-ID, or a Resource-ID after "resource:". What peers tell of
themselves, and to whom, is in the overlay's configuration (diagnostic-kind). Ask it at any running peer. Exit status 1
if the way ends before the target; then it says at which hop, and why.

Examples:

\b
    p2psip trace sip:bob@club.example --peer ./peer
    p2psip trace 0a1b2c3d4e5f60718293a4b5c6d7e8f9 --peer ./peer --json
    p2psip trace resource:0a1b2c3d4e5f60718293a4b5c6d7e8f9 --peer ./peer
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)


@app.command(help=HELP)
def trace(
    target: Annotated[str, typer.Argument(metavar="SIP-URI|NODE-ID|RESOURCE", help="Where to.")],
    peer: Annotated[
        Path, typer.Option("--peer", metavar="DIR", envvar="P2PSIP_PEER", help="The state directory of the peer.")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Ask the running peer."""
    from p2psip.daemon.control_client import ask_peer

    traced: Any = ask_peer(peer, "trace", target=target)
    if as_json:
        print(json.dumps(traced))
    else:
        _print(traced)
    return 1 if traced["error"] else 0


def _print(traced: Any) -> None:
    print(f"{traced['target']}  ({traced['kind']} {traced['id']})")
    for row in aligned([_hop(hop) for hop in traced["hops"]]):
        print(f"  {row}")
    if traced["ping_ms"] is not None:
        way = "" if traced["ping_hops"] is None else f" over {_hops(traced['ping_hops'])}"
        print(f"  a Ping all the way: {traced['ping_ms']:.1f} ms{way}")
    if traced["error"]:
        print(f"  failed: {traced['error']}")


def _hops(number: int) -> str:
    return f"{number} hop" if number == 1 else f"{number} hops"


def _hop(hop: Any) -> tuple[str, ...]:
    return (
        f"hop {hop['hop']}: {node_name(hop['user'], hop['node_id'])}",
        f"{hop['rtt_ms']:.1f} ms",
        f"load {hop['load']}/15" if hop["load"] is not None else "",
        f"up {_duration(hop['uptime_s'])}" if hop["uptime_s"] is not None else "",
        hop["software"] or "",
    )


def _duration(seconds: int) -> str:
    """As people say it, in two units."""
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"

"""`p2psip lookup`: where a user's calls go, and who says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from p2psip.cli.terminal.tables import aligned, node_name

HELP = """Look a user up in the overlay: the way to the record, who keeps it, where it leads.

Ask it at any running peer. Exit status 1 if the user is nowhere.

Examples:

\b
    p2psip lookup sip:bob@club.example --peer ./peer
    p2psip lookup bob --peer ./peer --json
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)


@app.command(help=HELP)
def lookup(
    uri: Annotated[str, typer.Argument(metavar="SIP-URI", help="sip:bob@OVERLAY, or just bob.")],
    peer: Annotated[
        Path, typer.Option("--peer", metavar="DIR", envvar="P2PSIP_PEER", help="The state directory of the peer.")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Ask the running peer."""
    from p2psip.daemon.control_client import ask_peer

    found: Any = ask_peer(peer, "lookup", uri=uri)
    if as_json:
        print(json.dumps(found))
    else:
        _print(found)
    return 0 if found["entries"] else 1


def _print(found: Any) -> None:
    print(f"{found['aor']}  (Resource-ID {found['resource_id']})")
    hops = [(f"hop {number}: {_peer(hop)}", f"{hop['rtt_ms']:.1f} ms") for number, hop in enumerate(found["path"], 1)]
    for row in aligned(hops):
        print(f"  {row}")
    if found["responsible"]:
        print(f"  kept by {_peer(found['responsible'])}; fetched in {found['fetch_ms']:.1f} ms")
    for replica in found["replicas"]:
        print(f"  replica at {_peer(replica)}")
    for entry in found["entries"]:
        where = (
            f"peer {node_name(entry['peer_user'], entry['peer'])}"
            if "peer" in entry
            else f"forwarded to {entry['aor']}"
        )
        print(f"  -> {where}, stored {entry['stored_s_ago']:.0f} s ago, good for {entry['lifetime_s']} s more")
    for reason in found["dropped"]:
        print(f"  an entry that does not count: {reason}")
    if found["error"]:
        print(f"  failed: {found['error']}")
    elif not found["entries"]:
        print("  nobody: no line of this user is in the overlay")


def _peer(hop: Any) -> str:
    return node_name(hop["user"], hop["node_id"])

"""`p2psip services`: which members provide what (RFC 7374), and what this peer provides."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

HELP = """Find members that provide a service, such as turn-server or voice-mail, and announce services of a peer.

Who may announce what is in the overlay's configuration: `p2psip overlay set DIR service+=NAME:USER` changes it.
"""

FIND_HELP = """Find the members that provide a service and are closest to a place on the ring, in its order from there.

The place is that of this peer, or with --near that of a user, a Node-ID, or a Resource-ID after "resource:". Ask it at
any running peer. Exit status 1 if nobody provides it.

Examples:

\b
    p2psip services find turn-server --peer ./peer
    p2psip services find voice-mail --near bob --want 3 --peer ./peer
"""

LIST_WANT = 100

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)

Name = Annotated[str, typer.Argument(metavar="SERVICE", help="The name of the service.")]
PeerDirectory = Annotated[
    Path, typer.Option("--peer", metavar="DIR", envvar="P2PSIP_PEER", help="The state directory of the peer.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command(help=FIND_HELP)
def find(
    name: Name,
    peer: PeerDirectory = Path(),
    near: Annotated[str | None, typer.Option(metavar="USER|NODE-ID|RESOURCE", help="Close to whom.")] = None,
    want: Annotated[int, typer.Option(metavar="N", help="How many.")] = 1,
    as_json: Json = False,
) -> int:
    """Ask the running peer."""
    return _find(peer, name, near, want, as_json=as_json)


@app.command("list", help=f"List who provides a service, {LIST_WANT} members at most. Exit status 1 if nobody does.")
def list_(name: Name, peer: PeerDirectory = Path(), as_json: Json = False) -> int:
    """Ask the running peer."""
    return _find(peer, name, None, LIST_WANT, as_json=as_json)


@app.command(help="Announce a service of a running peer, until `services withdraw`; also after a restart.")
def announce(
    name: Name,
    peer: PeerDirectory = Path(),
    capacity: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, metavar="N", help="How many it serves at once; 0: not said.")
    ] = 0,
    policy: Annotated[str, typer.Option(metavar="TEXT", help="Whom it serves, in words of the service.")] = "",
    as_json: Json = False,
) -> None:
    """Tell the running peer."""
    from p2psip.daemon.control_client import ask_peer

    _announced(ask_peer(peer, "services-announce", name=name, capacity=capacity, policy=policy), as_json=as_json)


@app.command(help="Announce a service of a running peer no more.")
def withdraw(name: Name, peer: PeerDirectory = Path(), as_json: Json = False) -> None:
    """Tell the running peer."""
    from p2psip.daemon.control_client import ask_peer

    _announced(ask_peer(peer, "services-announce", name=name, withdraw=True), as_json=as_json)


def _find(peer: Path, name: str, near: str | None, want: int, *, as_json: bool) -> int:
    from p2psip.daemon.control_client import ask_peer

    found: Any = ask_peer(peer, "services-find", name=name, near=near, want=want)
    if as_json:
        print(json.dumps(found))
    else:
        _print(found)
    return 0 if found["providers"] and not found["error"] else 1


def _print(found: Any) -> None:
    for provider in found["providers"]:
        print(f"{provider['user']} ({provider['node_id']}){_offer(provider)}")
    if found["error"]:
        print(f"failed: {found['error']}")
    elif not found["providers"]:
        print(f"nobody provides {found['service']}")


def _offer(provider: Any) -> str:
    if provider["expires_ms"] is None:
        return ""
    left_s = provider["expires_ms"] / 1000 - time.time()
    capacity = f"capacity {provider['capacity']}, " if provider["capacity"] else ""
    policy = f", for {provider['policy']}" if provider["policy"] else ""
    return f"  {capacity}load {provider['load']} %{policy}, good for {left_s:.0f} s more"


def _announced(answer: Any, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(answer))
    else:
        print("announced: " + (", ".join(answer["services"]) or "nothing"))

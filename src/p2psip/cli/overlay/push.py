"""`p2psip overlay push`: hand the signed configuration to the running peers (RFC 6940 section 6.5.4)."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from p2psip.base.errors import LocalMisuse, RequestFailed

if TYPE_CHECKING:
    from p2psip.net.disk.overlay_directory import OverlayDirectory

PUSH_HELP = """Hand the signed configuration to the running peers.

It goes to a peer that runs on this machine, which passes it on to all that it is linked with, and so on: within seconds
all have it, and who is off gets it when it comes back. Each peer checks the signature. Exit status 1 if the neighbours
of that peer do not have it after --wait seconds, or if that peer is not capable of it, and leaves the overlay.

With --kind a further Kind goes round as well (a kind-block, signed here) without a new configuration.

Example:

\b
    p2psip overlay push ./club --peer ./peer
    p2psip overlay push ./club --peer ./peer --kind 0xF0000010:DICTIONARY:USER-NODE-MATCH:100:1000
"""

POLL_S = 0.2


def push(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory of the overlay.")],
    peer: Annotated[
        Path, typer.Option("--peer", metavar="STATE_DIR", envvar="P2PSIP_PEER", help="A peer that runs here.")
    ] = Path(),
    kind: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help="A Kind to be known as well, as for `overlay set`.")
    ] = None,
    wait: Annotated[float, typer.Option(min=0.0, help="Seconds to wait for the neighbours.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Give it to the peer, look what becomes of it."""
    from p2psip.cli.overlay.edit import kind_of
    from p2psip.daemon.control_client import ask_peer
    from p2psip.net.disk.overlay_directory import OverlayDirectory

    overlay = OverlayDirectory(directory)
    if overlay.difference():
        raise LocalMisuse(f"there is a draft that is not signed: `p2psip overlay sign {directory}` first")
    wanted = overlay.document().configuration.sequence
    known = hand_over(overlay, peer)
    if known["obstacles"]:
        raise RequestFailed(
            f"the peer has passed on configuration {wanted} and leaves the overlay, as it is not capable of it: "
            + "; ".join(known["obstacles"])
        )
    if kind:
        blocks = overlay.kind_blocks([kind_of(text) for text in kind])
        known = ask_peer(peer, "configure", kinds=[block.decode() for block in blocks])
    known = await_neighbours(peer, known, wanted, wait)
    _report(known, wanted, kind or [], as_json=as_json)
    return 1 if _lacking(known, wanted) else 0


def hand_over(overlay: OverlayDirectory, peer: Path) -> Any:
    """Give a running peer the configuration, and have it pass that on; what it knows then. Raises LocalMisuse."""
    from p2psip.daemon.control_client import ask_peer
    from p2psip.net.disk.files import read_file
    from p2psip.reload.config.sequence import is_newer

    wanted = overlay.document().configuration
    known: Any = ask_peer(peer, "configuration")
    if known["overlay"] != wanted.instance_name:
        raise LocalMisuse(f"the peer in {peer} is of the overlay {known['overlay']}")
    if is_newer(known["sequence"], wanted.sequence):
        raise LocalMisuse(
            f"{overlay.path} has configuration {wanted.sequence}, the peer in {peer} a newer one, {known['sequence']}:"
            f" copy {peer}/config.xml into {overlay.path}, and make your change again"
        )
    if known["sequence"] == wanted.sequence:
        return known
    return ask_peer(peer, "configure", document=read_file(overlay.document_path).decode())


def await_neighbours(peer: Path, known: Any, wanted: int, wait_s: float) -> Any:
    """What the peer knows when all its neighbours have shown to have the configuration, or that takes too long."""
    from p2psip.daemon.control_client import ask_peer

    ends_at = time.monotonic() + wait_s
    while _lacking(known, wanted) and time.monotonic() < ends_at:
        time.sleep(POLL_S)
        known = ask_peer(peer, "configuration")
    return known


def _lacking(known: Any, wanted: int) -> list[str]:
    """The neighbours that have not shown yet that they have it."""
    return [name for name, sequence in known["neighbors"].items() if sequence != wanted]


def _report(known: Any, wanted: int, kinds: list[str], *, as_json: bool) -> None:
    if known["sequence"] != wanted:
        raise RequestFailed(f"the peer has configuration {known['sequence']}, not {wanted}")
    if as_json:
        print(json.dumps(known))
        return
    for kind in kinds:
        print(f"The peer knows the Kind {kind}, and passes it on.")
    total, lacking = len(known["neighbors"]), _lacking(known, wanted)
    print(f"The peer has configuration {wanted}, and so have {total - len(lacking)} of its {total} neighbours.")
    for name in lacking:
        sequence = known["neighbors"][name]
        print(f"  {name}: {'not heard of' if sequence is None else f'configuration {sequence}'}")

"""`p2psip overlay set` and `p2psip overlay sign`: a changed configuration is a draft until it is signed."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from p2psip.base.errors import LocalMisuse

if TYPE_CHECKING:
    from p2psip.net.disk.overlay_directory import OverlayDirectory
    from p2psip.reload.config.configuration import OverlayConfiguration

SET_HELP = """Change the draft of an overlay's next configuration, and show what would change. Nobody sees it yet.

ELEMENT is the name that the element has in the document (RFC 6940 section 11.1). = sets it; where there may be
several, += adds one and -= takes one out. `p2psip overlay sign` makes the draft the configuration, and `p2psip overlay
push` hands it to the running peers; --sign signs at once.

\b
    bootstrap-node+=192.168.7.2:6084     bad-node+=2026b1b92203f350713c9f92defde47d
    enrollment-server-=https://old:8443  expiration=2027-01-01T00:00:00Z (or: never)
    clients-permitted=false              initial-ttl=50
    chord-update-interval=600            max-message-size=65536
    kind+=0xF0000010:DICTIONARY:USER-NODE-MATCH:100:1000   (ID:MODEL:ACCESS:MAX-COUNT:MAX-SIZE)
    kind+=CERTIFICATE_BY_USER:10:5000    kind-=CERTIFICATE_BY_USER
    service+=voice-mail:peer-*@club.example:alice@club.example    service-=voice-mail
    root-cert+=new-anchor.pem            domain-restriction=own (or: none, or patterns)
    overlay-link-protocol=DTLS           diagnostic-kind+=MEMORY_FOOTPRINT:all

Further elements: calls-by, chord-ping-interval, chord-reactive, configuration-signer, kind-signer,
mandatory-extension, no-ice, node-id-length, overlay-reliability-timer, route-mode, self-signed-permitted,
shared-secret, signature-algorithm, sip-tunnel, successors, topology-plugin, turn-density.

Example:

\b
    p2psip overlay set ./club bootstrap-node+=192.168.7.2:6084
    p2psip overlay sign ./club
    p2psip overlay push ./club --peer ./peer
"""

SIGN_HELP = """Sign the draft that `p2psip overlay set` made: it becomes the next configuration.

What changes is printed first; then you are asked, unless you say --yes. A running `p2psip enrollment serve` hands the
new one out at once; `p2psip overlay push` hands it to the running peers.

Example:

\b
    p2psip overlay sign ./club
    p2psip overlay sign ./club --yes
"""

CARRIED_BYTES = 4096
"""What a message takes beside the document that it carries."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The directory of the overlay.")]


def change(
    directory: Directory,
    changes: Annotated[list[str], typer.Argument(metavar="ELEMENT=VALUE...", help="What is to be another.")],
    sign: Annotated[bool, typer.Option("--sign", help="Sign it at once, without asking.")] = False,
    as_json: Json = False,
) -> None:
    """Edit the draft."""
    from p2psip.cli.overlay.edit import edited
    from p2psip.net.disk.overlay_directory import OverlayDirectory

    overlay = OverlayDirectory(directory)
    with overlay.locked():
        draft = edited(overlay.draft(), changes)
        _check(overlay, draft)
        overlay.save_draft(draft)
        difference = overlay.difference()
        if sign and difference:
            _sign(overlay, difference, as_json=as_json)
            return
    if as_json:
        print(json.dumps({"difference": difference, "sequence": overlay.document().configuration.sequence}))
        return
    _show(difference, draft)
    if difference:
        print(f"\nNot signed yet: `p2psip overlay sign {directory}` does that.", file=sys.stderr)


def sign(
    directory: Directory,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Show, ask, sign."""
    from p2psip.net.disk.overlay_directory import OverlayDirectory

    overlay = OverlayDirectory(directory)
    with overlay.locked():
        difference = overlay.difference()
        if not difference:
            raise LocalMisuse(f"nothing to sign: `p2psip overlay set {directory} ELEMENT=VALUE` changes something")
        _check(overlay, overlay.draft())
        if not yes:
            if not sys.stdin.isatty():
                raise LocalMisuse("say --yes to sign without being asked")
            _show(difference, overlay.draft())
            if not typer.confirm("Sign this?", err=True):
                raise LocalMisuse("not signed; the draft is kept")
        _sign(overlay, difference, as_json=as_json, is_shown=not yes)


def _check(overlay: OverlayDirectory, draft: OverlayConfiguration) -> None:
    """What nobody should sign."""
    signer = overlay.signer().node_id
    if signer in draft.bad_nodes:
        raise LocalMisuse("the Node-ID that signs the configuration cannot be revoked")
    for name, signers in (("configuration", draft.configuration_signers), ("kind", draft.kind_signers)):
        if signer not in signers:
            raise LocalMisuse(f"{signer}, whose key is in {overlay.path}, must stay a {name}-signer")
    if not draft.is_valid_at(time.time()):
        raise LocalMisuse("expiration is in the past, and peers would stop: set it to a date to come, or to never")


def _show(difference: list[str], draft: OverlayConfiguration) -> None:
    """What would change, and whom it would shut out."""
    from p2psip.plugins import obstacles

    print("\n".join(difference) or "nothing changes")
    for obstacle in obstacles(draft) if difference else ():
        print(f"Peers of this release cannot be members with it: {obstacle}", file=sys.stderr)


def _sign(overlay: OverlayDirectory, difference: list[str], *, as_json: bool, is_shown: bool = False) -> None:
    draft = overlay.draft()
    if not (as_json or is_shown):
        _show(difference, draft)
    new = overlay.sign_draft()
    if as_json:
        print(json.dumps({"sequence": new.sequence, "difference": difference}))
        return
    if (size := len(overlay.document().raw)) + CARRIED_BYTES > new.max_message_size:
        print(f"It has {size} bytes: max-message-size keeps peers from passing it on", file=sys.stderr)
    print(f"{overlay.path}: configuration {new.sequence} is signed. Running peers do not have it yet:")
    print(f"  p2psip overlay push {overlay.path} --peer STATE_DIR")

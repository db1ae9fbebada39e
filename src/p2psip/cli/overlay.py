"""`p2psip overlay`: found an overlay, show and change its configuration."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from p2psip.base.errors import LocalMisuse
from p2psip.cli.overlay_create import CREATE_HELP, create
from p2psip.cli.overlay_options import addresses, bootstrap_node, urls

if TYPE_CHECKING:
    from p2psip.base.ids import NodeId
    from p2psip.reload.config.configuration import OverlayConfiguration

T = TypeVar("T")

HELP = """Found an overlay and look after its configuration.

An overlay is a directory on one machine (its administrator's): the trust anchor, whose fingerprint is all that
others need to know; the signed configuration; the accounts. Peers need that machine to become members and to
renew their certificates once a year, never to make calls.
"""

SET_HELP = """Change the configuration of an overlay: it is signed anew, with the next sequence number.

A running `p2psip enrollment serve` hands out the new one at once. Peers that there are keep theirs, and peers with
different configurations do not talk to each other: put the new DIR/config.xml into the state directory of every peer
and start it again.

Example:

\b
    p2psip overlay set ./club --bootstrap 192.168.7.2:6084
"""

HAND_ROUND = """\
Peers with different configurations do not talk to each other: put {directory}/config.xml into the state directory of
every peer, and start it again."""

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The directory of the overlay.")]

app.command(help=CREATE_HELP)(create)


@app.command(help="Show an overlay's configuration. What the document says is printed, not verified.")
def show(
    source: Annotated[Path, typer.Argument(metavar="DIR|FILE", help="An overlay's directory, or a document.")],
    as_json: Json = False,
) -> None:
    """Print what the document says; it is not verified against anything."""
    from p2psip.net.files import read_file
    from p2psip.net.overlay_directory import DOCUMENT
    from p2psip.reload.config.document import parse
    from p2psip.reload.config.errors import ConfigurationError

    path = source / DOCUMENT if source.is_dir() else source
    try:
        configuration = parse(read_file(path)).configuration
    except ConfigurationError as error:
        raise LocalMisuse(f"{path}: {error}") from None
    print(_described(_facts(configuration), as_json))


@app.command(name="set", help=SET_HELP)
def change(
    directory: Directory,
    bootstrap: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS:PORT", help="Add a peer at which others may join.")
    ] = None,
    no_bootstrap: Annotated[list[str] | None, typer.Option(metavar="ADDRESS:PORT", help="Take one out.")] = None,
    enrollment_url: Annotated[list[str] | None, typer.Option(metavar="URL", help="Add an enrollment server.")] = None,
    no_enrollment_url: Annotated[list[str] | None, typer.Option(metavar="URL", help="Take one out.")] = None,
    bad_node: Annotated[
        list[str] | None, typer.Option(metavar="NODE-ID", help="Revoke the certificates with this Node-ID.")
    ] = None,
    no_bad_node: Annotated[list[str] | None, typer.Option(metavar="NODE-ID", help="No longer revoked.")] = None,
    as_json: Json = False,
) -> None:
    """Change what is given, keep the rest."""
    from dataclasses import replace

    from p2psip.net.overlay_directory import OverlayDirectory

    overlay = OverlayDirectory(directory)
    with overlay.locked():
        old = overlay.document().configuration
        nodes, gone = ([bootstrap_node(text) for text in texts or []] for texts in (bootstrap, no_bootstrap))
        revoked, restored = (_node_ids(texts or [], old.node_id_length) for texts in (bad_node, no_bad_node))
        if revoked & old.configuration_signers:
            raise LocalMisuse("the Node-ID that signs the configuration cannot be revoked")
        new = replace(
            old,
            bootstrap_nodes=_changed(old.bootstrap_nodes, nodes, gone),
            enrollment_servers=_changed(old.enrollment_servers, urls(enrollment_url or []), no_enrollment_url or []),
            bad_nodes=(old.bad_nodes | revoked) - restored,
        )
        if new != old:
            new = overlay.revise(new)
            if not as_json:
                print(f"{HAND_ROUND.format(directory=directory)}\n", file=sys.stderr)
    if revoked and overlay.has_accounts:
        accounts = overlay.accounts()
        accounts.disown(revoked)
        accounts.close()
    print(_described(_facts(new), as_json))


def _changed(old: tuple[T, ...], more: list[T], less: list[T]) -> tuple[T, ...]:
    return tuple(entry for entry in dict.fromkeys([*old, *more]) if entry not in less)


def _node_ids(texts: list[str], length: int) -> frozenset[NodeId]:
    from p2psip.base.ids import NodeId

    try:
        found = frozenset(NodeId(bytes.fromhex(text)) for text in texts)
    except ValueError as error:
        raise LocalMisuse(f"not a Node-ID: {error}") from None
    if any(len(node_id) != length for node_id in found):
        raise LocalMisuse(f"a Node-ID of this overlay has {2 * length} hex digits")
    return found


def _facts(configuration: OverlayConfiguration) -> dict[str, Any]:
    from p2psip.reload.security.certificates import fingerprint

    return {
        "overlay": configuration.instance_name,
        "sequence": configuration.sequence,
        "fingerprints": [fingerprint(root) for root in configuration.root_certs],
        "enrollment_servers": list(configuration.enrollment_servers),
        "bootstrap_nodes": addresses(configuration.bootstrap_nodes),
        "bad_nodes": sorted(map(str, configuration.bad_nodes)),
        "kinds": [kind.name or hex(kind.kind_id) for kind in configuration.required_kinds],
        "signatures": sorted(algorithm.name.lower() for algorithm in configuration.signature_algorithms),
    }


def _described(facts: dict[str, Any], as_json: bool) -> str:
    if as_json:
        return json.dumps(facts)
    lines = []
    for name, value in facts.items():
        values = value if isinstance(value, list) else [value]
        lines.append(f"{name.replace('_', ' ') + ':':<20}{values[0] if values else '(none)'}")
        lines.extend(" " * 20 + str(entry) for entry in values[1:])
    return "\n".join(lines)

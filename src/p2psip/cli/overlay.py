"""`p2psip overlay`: found an overlay, show and change its configuration."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from p2psip.base.errors import LocalMisuse
from p2psip.cli.passwords import FILE_HELP, new_password

if TYPE_CHECKING:
    from p2psip.base.ids import NodeId
    from p2psip.reload.config.configuration import BootstrapNode, OverlayConfiguration

T = TypeVar("T")

ENROLLMENT_PORT = 8443
FIRST_DATE = 1_735_689_600.0
"""2025-01-01: a clock before that was never set."""

HELP = """Found an overlay and look after its configuration.

An overlay is a directory on one machine (its administrator's): the trust anchor, whose fingerprint is all that
others need to know; the signed configuration; the accounts. Peers need that machine to become members and to
renew their certificates once a year, never to make calls.
"""

CREATE_HELP = """Found an overlay.

NAME must be a DNS name, but it need not exist in the DNS: users will be called alice@NAME. DIR is made; who can
read its anchor.key can make members, so keep a copy of DIR in a safe place and let nobody else read it.

Say with --bootstrap at which address the first peer will run: it may begin the overlay, and the others find it there.

Example:

\b
    p2psip overlay create club.example ./club --bootstrap 192.168.7.1:6084
    p2psip enrollment serve ./club
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


@app.command(help=CREATE_HELP)
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the overlay, such as club.example.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A directory that does not exist yet.")],
    enrollment_url: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Where members will reach the enrollment server. [this machine's address]"),
    ] = None,
    bootstrap: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS:PORT", help="Where the first peer will run: others join there. Repeatable."),
    ] = None,
    admin: Annotated[str, typer.Option(metavar="USER", help="User name of the first administrator.")] = "admin",
    password_file: Annotated[str | None, typer.Option(metavar="FILE", help=FILE_HELP)] = None,
    rsa: Annotated[bool, typer.Option("--rsa", help="RSA-2048 instead of ECDSA P-256, for old software.")] = False,
    as_json: Json = False,
) -> None:
    """Make the directory, and say what to do next."""
    import random

    from p2psip.enrollment.accounts import QUOTA_ADMIN, Account
    from p2psip.enrollment.founding import found
    from p2psip.enrollment.names import account_name
    from p2psip.enrollment.passwords import hash_password
    from p2psip.net.overlay_directory import OverlayDirectory
    from p2psip.reload.config.configuration import is_dns_name
    from p2psip.reload.wire.common import SignatureAlgorithm

    if not is_dns_name(name):
        raise LocalMisuse(f"{name!r} is not a DNS name: use letters, digits, - and dots, such as club.example")
    rng, date, name = random.SystemRandom(), _date(), name.lower()
    user = account_name(admin, name)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise LocalMisuse(f"{directory} is not empty: give a new directory")
    urls = _urls(enrollment_url or [_default_url()])
    nodes = [_bootstrap_node(text) for text in bootstrap or []]
    password, is_generated = new_password(password_file, user)
    algorithm = SignatureAlgorithm.RSA if rsa else SignatureAlgorithm.ECDSA
    founding = found(name, user, algorithm, rng, date, enrollment_servers=urls, bootstrap_nodes=nodes)
    account = Account(user, hash_password(password, rng), is_admin=True, quota=QUOTA_ADMIN, created=date)
    OverlayDirectory.create(directory, founding, account)
    facts: dict[str, Any] = {
        "overlay": name,
        "directory": str(directory),
        "fingerprint": founding.anchor.fingerprint,
        "admin": user,
        "enrollment_servers": urls,
        "bootstrap_nodes": _addresses(nodes),
    }
    if is_generated:
        facts["password"] = password
    print(json.dumps(facts) if as_json else _created(facts))


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
        nodes, gone = ([_bootstrap_node(text) for text in texts or []] for texts in (bootstrap, no_bootstrap))
        revoked, restored = (_node_ids(texts or [], old.node_id_length) for texts in (bad_node, no_bad_node))
        if revoked & old.configuration_signers:
            raise LocalMisuse("the Node-ID that signs the configuration cannot be revoked")
        new = replace(
            old,
            bootstrap_nodes=_changed(old.bootstrap_nodes, nodes, gone),
            enrollment_servers=_changed(old.enrollment_servers, _urls(enrollment_url or []), no_enrollment_url or []),
            bad_nodes=(old.bad_nodes | revoked) - restored,
        )
        if new != old:
            new = overlay.revise(new)
            if not as_json:
                print(f"{HAND_ROUND.format(directory=directory)}\n", file=sys.stderr)
    if revoked:
        accounts = overlay.accounts()
        accounts.disown(revoked)
        accounts.close()
    print(_described(_facts(new), as_json))


def _changed(old: tuple[T, ...], more: list[T], less: list[T]) -> tuple[T, ...]:
    return tuple(entry for entry in dict.fromkeys([*old, *more]) if entry not in less)


def _date() -> float:
    date = time.time()
    if date < FIRST_DATE:
        raise LocalMisuse(
            f"the clock of this machine says {time.strftime('%Y-%m-%d', time.gmtime(date))}: set it first"
        )
    return date


def _default_url() -> str:
    from p2psip.daemon.endpoints import local_addresses
    from p2psip.enrollment.protocol import ENROLL_PATH
    from p2psip.net.addresses import join_host_port

    return f"https://{join_host_port(local_addresses()[0], ENROLLMENT_PORT)}{ENROLL_PATH}"


def _urls(texts: list[str]) -> list[str]:
    from p2psip.net.https_client import enrollment_url

    return [enrollment_url(text) for text in texts]


def _bootstrap_node(text: str) -> BootstrapNode:
    from p2psip.net.addresses import ip_port
    from p2psip.reload.config.configuration import BOOTSTRAP_PORT, BootstrapNode

    return BootstrapNode(*ip_port(text, BOOTSTRAP_PORT))


def _addresses(nodes: Iterable[BootstrapNode]) -> list[str]:
    from p2psip.net.addresses import join_host_port

    return [join_host_port(node.address, node.port) for node in nodes]


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
        "bootstrap_nodes": _addresses(configuration.bootstrap_nodes),
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


def _created(facts: dict[str, Any]) -> str:
    directory, overlay = facts["directory"], facts["overlay"]
    user = facts["admin"].partition("@")[0]
    password = f"\npassword:      {facts['password']}   (shown only now: note it)" if "password" in facts else ""
    server = facts["enrollment_servers"][0]
    origin = server[: server.index("/", len("https://"))] if "/" in server[len("https://") :] else server
    if nodes := facts["bootstrap_nodes"]:
        meeting_place = f"The first peer is the one at {nodes[0]}. "
    else:
        meeting_place = f"""\
Before any peer is made, say at which address the first one will run:
  p2psip overlay set {directory} --bootstrap ADDRESS:6084

"""
    return f"""\
The overlay {overlay} is in {directory}. Keep a copy in a safe place.

fingerprint:   {facts["fingerprint"]}
administrator: {facts["admin"]}{password}

Next, here:
  p2psip enrollment serve {directory}
  p2psip user add alice --overlay {directory}

{meeting_place}On each machine that is to be a peer:
  p2psip peer init ./peer --config {origin} --user {user} \\
      --fingerprint {facts["fingerprint"]}
  p2psip peer run ./peer"""

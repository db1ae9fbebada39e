"""`p2psip overlay create`: found an overlay."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from p2psip.base.errors import LocalMisuse
from p2psip.cli.keys import KeyType
from p2psip.cli.overlay.options import addresses, bootstrap_node, urls
from p2psip.cli.terminal.passwords import FILE_HELP, new_password
from p2psip.reload.config.calls_by import CallsBy

if TYPE_CHECKING:
    from p2psip.enrollment.accounts import Account
    from p2psip.enrollment.founding import Founding, Terms

FIRST_DATE = 1_735_689_600.0
"""2025-01-01: a clock before that was never set."""

CREATE_HELP = """Found an overlay.

NAME must be a DNS name, but it need not exist in the DNS: users will be called alice@NAME. DIR is made; who can
read its anchor.key can make members, so keep a copy of DIR in a safe place and let nobody else read it.

Say with --bootstrap at which address the first peer will run: it may begin the overlay, and the others find it there.

Members get their certificates from an enrollment server, which asks for an account's password. Where all who can reach
a peer may be members, --self-signed does without: everybody makes their own certificate, and nobody checks names.
With --shared-secret only who has the configuration document, which then holds a secret, gets into such an overlay.

Example:

\b
    p2psip overlay create club.example ./club --bootstrap 192.168.7.1:6084
    p2psip enrollment serve ./club
"""


class Digest(Enum):
    """What --self-signed takes."""

    SHA1 = "sha1"
    SHA256 = "sha256"


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
    key: Annotated[
        list[KeyType] | None,
        typer.Option(help="With what keys members sign: ECDSA P-256, RSA-2048, or, given twice, both. [ecdsa]"),
    ] = None,
    self_signed: Annotated[
        Digest | None, typer.Option(help="No enrollment: a member's Node-ID is this digest of its own key.")
    ] = None,
    shared_secret: Annotated[
        bool, typer.Option("--shared-secret", help="Links need a secret, made up here; RSA keys, self-signed.")
    ] = False,
    topology: Annotated[
        str | None,
        typer.Option(metavar="PLUGIN", help="How peers find each other and who keeps what. [CHORD-RELOAD]"),
    ] = None,
    node_id_length: Annotated[int, typer.Option(min=16, max=20, help="Bytes in a Node-ID.")] = 16,
    calls_by: Annotated[CallsBy, typer.Option(help="By whom calls go (docs/ways-of-calls.md).")] = CallsBy.CALLER,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make the directory, and say what to do next."""
    import random

    from p2psip import plugins
    from p2psip.enrollment.founding import found
    from p2psip.enrollment.user_names import account_name
    from p2psip.net.disk.overlay_directory import OverlayDirectory
    from p2psip.reload.config.configuration import DEFAULT_TOPOLOGY, is_dns_name

    if not is_dns_name(name):
        raise LocalMisuse(f"{name!r} is not a DNS name: use letters, digits, - and dots, such as club.example")
    rng, date, name = random.SystemRandom(), founding_date(), name.lower()
    user = account_name(admin, name)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise LocalMisuse(f"{directory} is not empty: give a new directory")
    plugin = plugins.topology(DEFAULT_TOPOLOGY if topology is None else topology)
    terms = replace(_terms(key, self_signed, is_secret=shared_secret), calls_by=calls_by)
    terms = replace(terms, topology_plugin=plugin.name, node_id_length=node_id_length)
    if terms.self_signed_digest is not None and (enrollment_url or password_file):
        raise LocalMisuse("a self-signed overlay has no enrollment server and no accounts")
    servers = urls(enrollment_url or [_default_url()]) if terms.self_signed_digest is None else []
    nodes = [bootstrap_node(text) for text in bootstrap or []]
    account, password = _account(user, password_file, date) if servers else (None, None)
    founding = found(name, user, terms, rng, date, enrollment_servers=servers, bootstrap_nodes=nodes)
    plugins.require(plugin, founding.configuration)
    OverlayDirectory.create(directory, founding, account)
    facts = _facts(directory, founding, user, password)
    print(json.dumps(facts) if as_json else _created(facts))


def _facts(directory: Path, founding: Founding, user: str, password: str | None) -> dict[str, Any]:
    """What is told of the new overlay; the password only if it was made up."""
    configuration = founding.configuration
    facts = {
        "overlay": configuration.instance_name,
        "directory": str(directory),
        "fingerprint": founding.anchor.fingerprint,
        "topology": configuration.topology_plugin,
        "admin": user,
        "enrollment_servers": list(configuration.enrollment_servers),
        "bootstrap_nodes": addresses(configuration.bootstrap_nodes),
        "self_signed": configuration.is_self_signed,
        "shared_secret": configuration.shared_secret is not None,
    }
    return facts if password is None else {**facts, "password": password}


def _terms(key: list[KeyType] | None, digest: Digest | None, *, is_secret: bool) -> Terms:
    """On what terms one is a member."""
    import secrets

    from p2psip.enrollment.founding import Terms
    from p2psip.reload.config.configuration import DIGEST_NAMES
    from p2psip.reload.wire.common import SignatureAlgorithm

    if is_secret and key not in (None, [KeyType.RSA]):
        raise LocalMisuse("with --shared-secret keys are RSA: TLS has both a secret and certificates with these only")
    kinds = dict.fromkeys(key or ([KeyType.RSA] if is_secret else [KeyType.ECDSA]))
    chosen = digest or (Digest.SHA256 if is_secret else None)
    return Terms(
        tuple(SignatureAlgorithm[kind.name] for kind in kinds),
        DIGEST_NAMES[chosen.value] if chosen is not None else None,
        secrets.token_urlsafe(32) if is_secret else None,
    )


def _account(user: str, password_file: str | None, date: float) -> tuple[Account, str | None]:
    """The first administrator's account, and its password if it was made up."""
    import random

    from p2psip.enrollment.accounts import QUOTA_ADMIN, Account
    from p2psip.enrollment.passwords import hash_password

    password, is_made_up = new_password(password_file, f"account password for {user}")
    hashed = hash_password(password, random.SystemRandom())
    return Account(user, hashed, is_admin=True, quota=QUOTA_ADMIN, created=date), password if is_made_up else None


def founding_date() -> float:
    """Now; LocalMisuse if the clock was never set."""
    date = time.time()
    if date < FIRST_DATE:
        raise LocalMisuse(
            f"the clock of this machine says {time.strftime('%Y-%m-%d', time.gmtime(date))}: set it first"
        )
    return date


def _default_url() -> str:
    from p2psip.enrollment.protocol import ENROLL_PATH, ENROLLMENT_PORT
    from p2psip.net.sockets.addresses import join_host_port, own_address

    return f"https://{join_host_port(own_address(), ENROLLMENT_PORT)}{ENROLL_PATH}"


def _created(facts: dict[str, Any]) -> str:
    directory, overlay = facts["directory"], facts["overlay"]
    if nodes := facts["bootstrap_nodes"]:
        meeting_place = f"The first peer is the one at {nodes[0]}. "
    else:
        meeting_place = f"""\
Before any peer is made, say at which address the first one will run:
  p2psip overlay set {directory} --sign bootstrap-node+=ADDRESS:6084

"""
    here, source, account = _by_enrollment(facts) if facts["enrollment_servers"] else _by_themselves(facts)
    return f"""\
The overlay {overlay} is in {directory}. Keep a copy in a safe place.

fingerprint:      {facts["fingerprint"]}
{here}
{meeting_place}On each machine that is to be a peer:
  p2psip peer init ./peer --config {source}{account} \\
      --fingerprint {facts["fingerprint"]}
  p2psip peer run ./peer"""


def _by_enrollment(facts: dict[str, Any]) -> tuple[str, str, str]:
    """What to do here, where peers get the configuration, and who they are."""
    user, server = facts["admin"].partition("@")[0], facts["enrollment_servers"][0]
    origin = server[: server.index("/", len("https://"))] if "/" in server[len("https://") :] else server
    shown = f"\naccount password: {facts['password']}   (shown only now: note it)" if "password" in facts else ""
    here = f"""\
administrator:    {facts["admin"]}{shown}

Next, here:
  p2psip enrollment serve {facts["directory"]}
  p2psip user add alice --overlay {facts["directory"]}
"""
    return here, origin, f" --user {user}"


def _by_themselves(facts: dict[str, Any]) -> tuple[str, str, str]:
    """The same where there is no enrollment."""
    warning = ", and let nobody else see it: it holds the secret" if facts["shared_secret"] else ""
    here = f"""
Members make their own certificates. Carry {facts["directory"]}/config.xml to each machine that is
to be a peer{warning}.
"""
    return here, "./config.xml", ""

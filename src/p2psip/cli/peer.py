"""`p2psip peer`: make this machine a peer of an overlay."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from p2psip.cli.keys import KeyType
from p2psip.cli.terminal.passwords import FILE_HELP, known_password
from p2psip.cli.terminal.progress import busy, tell_of_waiting

if TYPE_CHECKING:
    from p2psip.daemon.state.state import PeerState

HELP = "Be a peer of an overlay: the PBX of the phones at this site."

INIT_HELP = """Make the state directory of a new peer.

It gets the overlay's configuration, believes it only if its trust anchor has the fingerprint that you were given,
makes a key, and enrolls as peer-NAME with the account of --user (any account will do; the password is not kept). In
an overlay whose members make their own certificates, it makes one: leave --user out. May be repeated after a failure.

Example:

\b
    p2psip peer init ./peer --config https://192.168.7.1:8443 --user alice --fingerprint 5f1c...
"""

SETTINGS = ("listen", "advertise", "overlay_port", "links", "sip_port", "phone_port")
"""What may be said of `peer.toml` when it is made."""

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)


@app.command(help=INIT_HELP)
def init(
    directory: Annotated[Path, typer.Argument(metavar="STATE_DIR", help="The directory of the new peer.")],
    config: Annotated[
        str, typer.Option(metavar="ADDRESS|NAME|FILE", help="A server, the overlay's name, or a document.")
    ],
    fingerprint: Annotated[str, typer.Option(metavar="F", help="SHA-256 of the overlay's trust anchor, in hex.")],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What to call this peer. [the host name]")] = None,
    user: Annotated[str | None, typer.Option(metavar="USER", help="The account to enroll with.")] = None,
    password_file: Annotated[str | None, typer.Option(metavar="FILE", help=FILE_HELP)] = None,
    key: Annotated[
        KeyType | None, typer.Option(help="What key to make: ECDSA P-256 or RSA-2048. [as the overlay permits]")
    ] = None,
    node_ids: Annotated[
        int, typer.Option(min=1, max=32, metavar="N", help="Ask for a certificate with so many Node-IDs.")
    ] = 1,
    dns: Annotated[
        str | None, typer.Option(metavar="ADDRESS:PORT", help="DNS server to ask for NAME. [the system's]")
    ] = None,
    listen: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="Address for other peers and phones. [every address]")
    ] = None,
    advertise: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="Address to tell other peers, if another.")
    ] = None,
    overlay_port: Annotated[
        int | None, typer.Option(metavar="PORT", help="TCP and UDP, links between peers. [6084]")
    ] = None,
    links: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help="TLS or DTLS, the links to make. [both]")
    ] = None,
    sip_port: Annotated[int | None, typer.Option(metavar="PORT", help="TCP, calls between peers. [5062]")] = None,
    phone_port: Annotated[int | None, typer.Option(metavar="PORT", help="UDP and TCP, phones. [5060]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fetch, verify, enroll, write."""
    settings = {setting: value for setting, value in locals().items() if setting in SETTINGS}
    import asyncio

    from p2psip.cli.overlay.options import dns_server
    from p2psip.daemon.init import PeerRequest, init_peer
    from p2psip.daemon.joining.waiting_members import until_enrolled
    from p2psip.enrollment.client import parse_fingerprint
    from p2psip.reload.wire.common import SignatureAlgorithm

    request = PeerRequest(
        config,
        parse_fingerprint(fingerprint),
        name if name is not None else host_name(),
        user,
        known_password(password_file, user) if user is not None else None,
        {**settings, "phone_listen": listen},
        SignatureAlgorithm[key.name] if key is not None else None,
        node_ids,
        dns=dns_server(dns),
    )
    busy("getting the configuration and enrolling")
    told = tell_of_waiting(as_json=as_json)
    made = until_enrolled(lambda: init_peer(directory, request), lambda refused: told(refused, request.name))
    _tell_of(asyncio.run(made), directory, as_json=as_json)


def _tell_of(state: PeerState, directory: Path, *, as_json: bool) -> None:
    """Who this machine is now, and what to do next."""
    facts = {
        "overlay": state.configuration.instance_name,
        "user": state.identity.user,
        "node_id": str(state.identity.node_id),
        "node_ids": [str(node_id) for node_id in state.identity.node_ids],
        "directory": str(directory),
    }
    if as_json:
        print(json.dumps(facts))
        return
    print(f"This machine is {facts['user']}, Node-ID {facts['node_id']}.")
    if len(state.identity.node_ids) > 1:
        print(f"Its certificate has {len(state.identity.node_ids)} Node-IDs: node_index in peer.toml says which it is.")
    print(f"Look at {directory}/peer.toml, then start it:\n  p2psip peer run {directory}")


RUN_HELP = """Run the peer of a state directory, in the foreground, until SIGTERM or Ctrl-C.

Every setting of peer.toml is also a flag here, which goes before the file. When all sockets are open it prints a line
that begins with "ready"; what happens then goes to stderr as a log.

Example:

\b
    p2psip peer run ./peer
    p2psip peer run ./peer --phone-port 5070 --log-level debug
"""


@app.command(help=RUN_HELP)
def run(
    directory: Annotated[Path, typer.Argument(metavar="STATE_DIR", help="The directory that `peer init` made.")],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What this peer is called.")] = None,
    fingerprint: Annotated[str | None, typer.Option(metavar="F", help="SHA-256 of the trust anchor.")] = None,
    node_index: Annotated[int | None, typer.Option(metavar="N", help="Which Node-ID of several to be.")] = None,
    listen: Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="Address for other peers.")] = None,
    advertise: Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="Address to tell them.")] = None,
    asks_dns: Annotated[bool | None, typer.Option(help="Ask DNS for the overlay by its name.")] = None,
    multicast: Annotated[bool | None, typer.Option(help="Ask on the own links which peers are there.")] = None,
    mdns: Annotated[bool | None, typer.Option(help="The same by DNS-SD over mDNS.")] = None,
    port_mapping: Annotated[bool | None, typer.Option(help="Ask the router to let other peers in.")] = None,
    overlay_port: Annotated[int | None, typer.Option(metavar="PORT", help="TCP and UDP, links between peers.")] = None,
    links: Annotated[list[str] | None, typer.Option(metavar="KIND", help="TLS or DTLS; more than once.")] = None,
    path_mtu: Annotated[int | None, typer.Option(metavar="BYTES", help="Longest IP packet of links.")] = None,
    sip_port: Annotated[int | None, typer.Option(metavar="PORT", help="TCP, calls between peers.")] = None,
    phone_listen: Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="Address for phones.")] = None,
    phone_port: Annotated[int | None, typer.Option(metavar="PORT", help="UDP and TCP, phones.")] = None,
    phone_udp: Annotated[bool | None, typer.Option(help="Serve phones over UDP.")] = None,
    phone_tcp: Annotated[bool | None, typer.Option(help="Serve phones over TCP.")] = None,
    phone_tls: Annotated[bool | None, typer.Option(help="Serve phones over TLS, on the next port.")] = None,
    phone_certificate: Annotated[str | None, typer.Option(metavar="FILE", help="Show phones this, in PEM.")] = None,
    phone_key: Annotated[str | None, typer.Option(metavar="FILE", help="Its key.")] = None,
    phone_digest: Annotated[list[str] | None, typer.Option(metavar="NAME", help="MD5, SHA-256, or both.")] = None,
    phone_ws: Annotated[bool | None, typer.Option(help="Serve browsers over WebSocket, on the 6th port after.")] = None,
    phone_wss: Annotated[bool | None, typer.Option(help="The same over TLS, on the 7th port after.")] = None,
    phone_web_origins: Annotated[list[str] | None, typer.Option(metavar="ORIGIN", help="Whose pages may.")] = None,
    directory_http_port: Annotated[int | None, typer.Option(metavar="PORT", help="Directory by HTTP; 0: off.")] = None,
    directory_ldap_port: Annotated[int | None, typer.Option(metavar="PORT", help="The same by LDAP.")] = None,
    directory_networks: Annotated[list[str] | None, typer.Option(metavar="NETWORK", help="Who has it.")] = None,
    domains: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Further names of this peer.")] = None,
    other_domains: Annotated[str | None, typer.Option(metavar="DOOR", help="To them: closed, out, in, both.")] = None,
    shared_domains: Annotated[list[str] | None, typer.Option(metavar="NAME", help="With users elsewhere.")] = None,
    guests: Annotated[list[str] | None, typer.Option(metavar="NETWORK", help="Where nobody needs an account.")] = None,
    neighbours: Annotated[list[str] | None, typer.Option(metavar="DOMAIN=ADDRESS", help="Known servers.")] = None,
    name_server: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Whom to ask for other domains.")] = None,
    domain_anchors: Annotated[str | None, typer.Option(metavar="FILE", help="Whose certificates they have.")] = None,
    watchers: Annotated[list[str] | None, typer.Option(metavar="RULE", help="Who may see who is busy.")] = None,
    callers: Annotated[str | None, typer.Option(metavar="WISH", help="Not proved: shown, or required.")] = None,
    media: Annotated[str | None, typer.Option(metavar="WAY", help="Which way voice goes: direct or anchor.")] = None,
    media_engine: Annotated[str | None, typer.Option(metavar="ADDRESS", help="An rtpengine's commands.")] = None,
    relay: Annotated[str | None, typer.Option(metavar="WISH", help="Relay for others: auto, yes or no.")] = None,
    relay_allocations: Annotated[int | None, typer.Option(metavar="N", help="Addresses lent to others.")] = None,
    relay_kbit_s: Annotated[int | None, typer.Option(metavar="KBIT", help="Relayed a second, in all.")] = None,
    relay_member_kbit_s: Annotated[int | None, typer.Option(metavar="KBIT", help="The same, of one member.")] = None,
    first: Annotated[bool | None, typer.Option(help="This peer may begin the overlay by itself.")] = None,
    role: Annotated[str | None, typer.Option(metavar="ROLE", help="Be a peer, client, router, or auto.")] = None,
    shed_disk_percent: Annotated[int | None, typer.Option(metavar="N", help="Store nothing with less free.")] = None,
    shed_load_percent: Annotated[int | None, typer.Option(metavar="N", help="Store nothing under this load.")] = None,
    lend_storage: Annotated[str | None, typer.Option(metavar="SIZE", help="What a client lends its peer.")] = None,
    borrow_storage: Annotated[str | None, typer.Option(metavar="SIZE", help="What a peer takes of it.")] = None,
    return_path: Annotated[str | None, typer.Option(metavar="WAY", help="How answers find back through it.")] = None,
    log_level: Annotated[str | None, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")] = None,
    log_format: Annotated[str | None, typer.Option(metavar="FORMAT", help="text or json.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the ready line as one JSON object.")] = False,
) -> None:
    """Become the peer, with what is set by these."""
    flags = {setting: value for setting, value in locals().items() if setting not in ("directory", "as_json")}
    _become(directory, flags, as_json=as_json)


def _become(directory: Path, flags: Mapping[str, object], *, as_json: bool) -> None:
    """Check the flags, become the peer."""
    from p2psip.cli.run_peer import replace_process
    from p2psip.daemon.state.settings import load_settings

    load_settings(directory, flags)
    replace_process(directory, flags, as_json=as_json)


RENEW_HELP = """Renew the certificate of a peer, before it expires. The peer's key is enough; no password is needed.

A running peer does this by itself, and for its lines as well, when two thirds of their time have passed.

Example:

\b
    p2psip peer renew ./peer
"""


@app.command(help=RENEW_HELP)
def renew(
    directory: Annotated[Path, typer.Argument(metavar="STATE_DIR", help="The directory of the peer.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask the enrollment server, tell the running peer."""
    import asyncio

    from p2psip.daemon.control_client import ask_peer, is_running
    from p2psip.daemon.init import renew_peer
    from p2psip.daemon.renewing.renewal import day
    from p2psip.daemon.state.state import load_state

    state = load_state(directory)
    busy(f"renewing the certificate of {state.identity.user}")
    identity = asyncio.run(renew_peer(state))
    if is_running(directory):
        ask_peer(directory, "reload-identity")
    facts = {"user": identity.user, "node_id": str(identity.node_id), "until": day(identity.not_after)}
    print(json.dumps(facts) if as_json else f"{identity.user}: certificate valid until {facts['until']}")


TRUST_HELP = """Print, or write down, in PEM the certificate that phones have to trust for calls over TLS.

Put it into a phone as a trusted authority, have the phone register over TLS with port 5061, and nobody on the way can
read or change what it says. It is the overlay's trust anchor; where members make their own certificates, this peer's
own; and with phone_certificate in peer.toml, whoever issued that, if its file has it.

Example:

\b
    p2psip peer trust ./peer --out club.pem
"""


@app.command(help=TRUST_HELP)
def trust(
    directory: Annotated[Path, typer.Argument(metavar="STATE_DIR", help="The directory of the peer.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there. [print it]")] = None,
) -> None:
    """Read the state directory, print or write."""
    from p2psip.daemon.phone_certificate import to_trust
    from p2psip.daemon.state.state import load_state
    from p2psip.net.disk.files import write_file

    pem = to_trust(load_state(directory))
    if out is None:
        print(pem.decode(), end="")
    else:
        write_file(out, pem)


def host_name() -> str:
    """The machine's name as far as it can be a peer's."""
    import re
    import socket

    return re.sub(r"[^a-z0-9._-]+", "-", socket.gethostname().partition(".")[0].lower()).strip("-._") or "peer"

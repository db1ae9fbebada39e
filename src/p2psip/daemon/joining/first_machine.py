"""The first machine of an overlay: `p2psip up` founds it, and enrolls the peer beside it."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import httpx2

from p2psip import plugins
from p2psip.base.address import without_zone
from p2psip.base.effects import Ask
from p2psip.base.errors import LocalMisuse, RequestFailed
from p2psip.base.wallclock import WallClock
from p2psip.daemon.enrollment import CERTIFICATE_DAYS, policy_of
from p2psip.daemon.init import make_directory, peer_key, preferred_algorithm, save_peer
from p2psip.daemon.state.settings import make_settings
from p2psip.daemon.state.state import PeerState
from p2psip.enrollment.accounts import QUOTA_ADMIN, Account
from p2psip.enrollment.asked.server_errands import ServerErrand, ServerErrands
from p2psip.enrollment.client import accept_certificate, read_answer
from p2psip.enrollment.csr import make_request
from p2psip.enrollment.founding import Terms, found
from p2psip.enrollment.invitations import Invitation, token_hash
from p2psip.enrollment.join_codes import TOKEN_BYTES
from p2psip.enrollment.passwords import Cost
from p2psip.enrollment.protocol import ENROLL_PATH, ENROLLMENT_PORT, PKCS10, PKIX_CERT
from p2psip.enrollment.server import EnrollmentServer, Post, Respond
from p2psip.enrollment.user_names import account_name, peer_name
from p2psip.net.disk.overlay_directory import OverlayDirectory
from p2psip.net.sockets.addresses import LOOPBACKS, join_host_port, own_address
from p2psip.reload.config.configuration import BOOTSTRAP_PORT, DEFAULT_TOPOLOGY, BootstrapNode, is_dns_name
from p2psip.reload.security.authority import DAY_S
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.keys import PrivateKey

ADMIN = "admin"
PRIVATE_TOP = "internal"
"""The top level domain that ICANN has reserved for private use (2024): a name that is made up is nobody's."""

HERE = "this machine"
MOMENT_S = 60.0


def made_up_name(host_name: str, rng: random.Random) -> str:
    """A name for an overlay of which nobody has said how it is to be called."""
    bare = re.sub(r"[^a-z0-9-]+", "-", host_name)[:40].strip("-") or "phones"
    return f"{bare}-{''.join(rng.choices('abcdefghjkmnpqrstuvwxyz23456789', k=4))}.{PRIVATE_TOP}"


def found_here(
    path: Path, name: str, host: str | None, rng: random.Random, date: float, port: int = ENROLLMENT_PORT
) -> OverlayDirectory:
    """A new overlay whose enrollment server and first peer are this machine, at `host` or where it is reached.

    Its administrator has no password: who has the directory needs none. Raises LocalMisuse.
    """
    name = name.lower()
    if not is_dns_name(name):
        raise LocalMisuse(f"{name!r} is not a DNS name: use letters, digits, - and dots, such as club.example")
    said, host = host, without_zone(host or own_address())
    if said and host in LOOPBACKS.values():
        raise LocalMisuse(f"{host} is this machine for itself alone, and others are to reach it: say another --listen")
    if host in LOOPBACKS.values():
        raise LocalMisuse("this machine has no network, and others would seek it in vain: connect it, or say --listen")
    url = f"https://{join_host_port(host, port)}{ENROLL_PATH}"
    nodes = [BootstrapNode(host, BOOTSTRAP_PORT)]
    admin = account_name(ADMIN, name)
    founding = found(name, admin, Terms(), rng, date, enrollment_servers=[url], bootstrap_nodes=nodes)
    plugins.require(plugins.topology(DEFAULT_TOPOLOGY), founding.configuration)
    account = Account(admin, "", is_admin=True, quota=QUOTA_ADMIN, created=date)
    return OverlayDirectory.create(path, founding, account)


async def make_first_peer(
    directory: Path, overlay: OverlayDirectory, name: str, settings: Mapping[str, object]
) -> PeerState:
    """The state directory of the peer beside an overlay's directory. May be repeated after a failure.

    It may begin the overlay also when its address has changed since. Raises LocalMisuse or RequestFailed.
    """
    document, anchor = overlay.document(), overlay.anchor()
    said = {"name": name, "fingerprint": anchor.fingerprint, "first": True, **settings}
    checked = make_settings(said, "the options")
    key = await peer_key(make_directory(directory), preferred_algorithm(document.configuration))
    identity = enroll_here(overlay, peer_name(name, document.configuration.instance_name), key)
    return save_peer(directory, document, checked, identity)


def enroll_here(overlay: OverlayDirectory, user: str, key: PrivateKey) -> CertifiedIdentity:
    """A certificate from the enrollment server of this machine, which need not run: by an invitation of a moment.

    Raises RequestFailed if it says no.
    """
    now, date, rng = time.monotonic(), time.time(), random.SystemRandom()
    configuration, token = overlay.document().configuration, rng.randbytes(TOKEN_BYTES)
    accounts = overlay.accounts()
    try:
        accounts.invite(Invitation(accounts.administrator(), date + MOMENT_S, created=date), token_hash(token))
        anchor = overlay.anchor()
        policy = replace(policy_of(configuration, anchor, CERTIFICATE_DAYS * DAY_S), waives_approval=True)
        # It checks no password.
        server = EnrollmentServer(policy, rng, WallClock(date - now), Cost(1, 1, 1))
        server.handle_request(1, _post(make_request(key, user), token), now)
        answer = _answer(server, ServerErrands(accounts, anchor, rng), now)
    finally:
        accounts.close()
    certificate = read_answer(HERE, answer.status, answer.content_type, answer.body, now)
    return accept_certificate(configuration, key, user, certificate, HERE, now, date, False)


def _post(csr: bytes, token: bytes) -> Post:
    files = {"csr": ("request.p10", csr, PKCS10)}
    request = httpx2.Request("POST", "https://localhost/", data={"invitation": token.hex()}, files=files)
    return Post(request.headers["content-type"], request.read(), PKIX_CERT, HERE)


def _answer(server: EnrollmentServer, errands: ServerErrands, now: float) -> Respond:
    """Nobody else waits: what it asks is answered at once."""
    while effects := server.drain():
        for effect in effects:
            if isinstance(effect, Respond):
                return effect
            if isinstance(effect, Ask) and isinstance(effect.question, ServerErrand):
                server.handle_answer(effect.token, errands.run(effect.question), now)
    raise RequestFailed("this machine's enrollment server does not answer")

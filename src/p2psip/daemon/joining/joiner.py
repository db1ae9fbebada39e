"""How a join code is taken up: `p2psip join`. Believed is who has the trust anchor that it names, and nobody else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

from p2psip.base.address import Address
from p2psip.base.errors import Cause, LocalMisuse, RequestFailed
from p2psip.daemon.init import PeerRequest, init_peer
from p2psip.daemon.joining.waiting_members import PendingJoin, forget_pending, save_pending, until_enrolled
from p2psip.daemon.lines.line_setup import set_up_line
from p2psip.daemon.state.kept import CONTACTS_FILE, save_contacts
from p2psip.daemon.state.state import PeerState
from p2psip.enrollment.client import EnrollmentRefused
from p2psip.enrollment.join_codes import JoinCode
from p2psip.enrollment.protocol import ENROLL_PATH
from p2psip.enrollment.refusals import UsernameNotAvailable
from p2psip.enrollment.user_names import PEER_PREFIX, next_name, peer_name
from p2psip.net.https.client import fetch_invited
from p2psip.net.sockets.addresses import join_host_port
from p2psip.reload.config.document import Document
from p2psip.reload.security.certificates import fingerprint
from p2psip.reload.security.identity import CertifiedIdentity

NAMES_MAX = 100
"""How many machines of one host name are told apart by a number."""


async def join_overlay(
    directory: Path,
    code: JoinCode,
    name: str,
    settings: Mapping[str, object],
    told: Callable[[EnrollmentRefused, str], None],
    *,
    may_count: bool,
) -> PeerState:
    """The state directory of a new peer. May be repeated after a failure, also with the same code.

    With `may_count` it is `NAME-2` where NAME is taken. Where the operator approves new members, or signs by hand, it
    takes as long as he does: `told` is what it waits for, and under which name. Raises LocalMisuse or RequestFailed.
    """
    url, document, trusted = await _find(code)
    request = PeerRequest(url, trusted, name, settings=settings, invitation=code.token, document=document)
    for _ in range(NAMES_MAX if may_count else 1):
        try:
            state = await _init(directory, code, request, told)
        except EnrollmentRefused as refused:
            if refused.token != UsernameNotAvailable.token or not may_count:
                raise
            request = replace(request, name=_next(request.name, code.overlay))
        else:
            _remember(directory, code, document)
            forget_pending(directory)
            return state
    raise LocalMisuse(f"{name} and all that is like it is taken: choose another one with --name")


async def _init(
    directory: Path, code: JoinCode, request: PeerRequest, told: Callable[[EnrollmentRefused, str], None]
) -> PeerState:
    """The same by one name, which a restart goes on with if it has to wait."""

    def pending(refused: EnrollmentRefused) -> None:
        save_pending(directory, PendingJoin(str(code), request.name, dict(request.settings)))
        told(refused, peer_name(request.name, code.overlay))

    return await until_enrolled(lambda: init_peer(directory, request), pending)


async def join_line(
    state: PeerState, code: JoinCode, phone_password: str, told: Callable[[EnrollmentRefused, str], None]
) -> CertifiedIdentity:
    """A line of the code's user at this peer; `told` as for a machine. Raises LocalMisuse or RequestFailed."""
    check_overlay(state, code)
    servers = [f"{url}{ENROLL_PATH}" for url in _urls(code)]
    aor = f"{code.user}@{code.overlay}"

    def attempt() -> Awaitable[CertifiedIdentity]:
        return set_up_line(state, aor, None, phone_password, invitation=code.token, servers=servers)

    return await until_enrolled(attempt, lambda refused: told(refused, aor))


def check_overlay(state: PeerState, code: JoinCode) -> None:
    """Raises LocalMisuse if the peer is of another overlay than the code, be it of one with the same name."""
    configuration = state.configuration
    if configuration.instance_name != code.overlay:
        raise LocalMisuse(f"the peer in {state.directory} is of {configuration.instance_name}, the code of another one")
    if not any(fingerprint(root).startswith(code.fingerprint.hex()) for root in configuration.root_certs):
        raise LocalMisuse(f"the code is of another overlay that is called {code.overlay}, too: ask who gave it to you")


async def _find(code: JoinCode) -> tuple[str, Document, str]:
    """Where the configuration document is, the document, and the fingerprint of its trust anchor."""
    causes: list[Cause] = []
    for url in _urls(code):
        try:
            document, trusted = await fetch_invited(url, code.fingerprint, code.overlay)
        except RequestFailed as failed:
            causes += failed.causes
        else:
            return url, document, trusted
    raise RequestFailed("the machine that has invited does not answer, or is another one", tuple(causes))


def _urls(code: JoinCode) -> list[str]:
    return [
        f"https://{join_host_port(place.host, place.enrollment_port)}" for place in code.places if place.enrollment_port
    ]


def _next(name: str, overlay: str) -> str:
    local = next_name(peer_name(name, overlay)).partition("@")[0]
    return local.removeprefix(PEER_PREFIX)


def _remember(directory: Path, code: JoinCode, document: Document) -> None:
    """Where peers are that the configuration does not name: the machine that has invited may have moved."""
    named = {(node.address, node.port) for node in document.configuration.bootstrap_nodes}
    places = [Address(place.host, place.bootstrap_port) for place in code.places if place.bootstrap_port]
    if (others := tuple(place for place in places if place not in named)) and not (directory / CONTACTS_FILE).exists():
        save_contacts(directory, others)

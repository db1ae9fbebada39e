"""How long datagrams have before streams are tried (p2psip.reload.paths.simultaneous.stream_waits)."""

from __future__ import annotations

import pytest
from candidates import host_candidate

from p2psip.reload.paths.ice.candidate_addresses import NEAR_WAIT_S
from p2psip.reload.paths.simultaneous.stream_waits import (
    MISSING_AGAIN_S,
    MISSING_S,
    PASSES_S,
    dial_wait_s,
    may_lack_datagrams,
)
from p2psip.reload.paths.values import Parameters, Purpose, Session
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.link_messages import CandType, IceCandidate, OverlayLinkType

INSIDE = "192.168.7.2"


def checked(host: str, kind: CandType = CandType.HOST) -> IceCandidate:
    """A candidate of ICE over UDP."""
    related = None if kind is CandType.HOST else IpAddressPort.of(INSIDE, 6084)
    udp = OverlayLinkType.DTLS_UDP_SR
    return host_candidate(host, 6084, overlay_link=udp, type=kind, rel_addr_port=related)


HOME = checked(INSIDE)
SEEN, PUBLIC, LENT = (
    checked("203.0.113.9", CandType.SRFLX),
    checked("198.51.100.4"),
    checked("198.51.100.1", CandType.RELAY),
)
SIX = checked("2001:db8::7")
STREAM = host_candidate("203.0.113.9", 6084, overlay_link=OverlayLinkType.TLS_TCP_FH)


def session(ours: tuple[IceCandidate, ...], theirs: tuple[IceCandidate, ...]) -> Session:
    """One whose two ends say this of themselves."""
    local, remote = (Parameters(b"u", b"p", b"active", each) for each in (ours, theirs))
    return Session(Purpose.CALLS, (), local, remote)


@pytest.mark.parametrize(
    ("ours", "theirs", "wait_s"),
    [
        ((HOME, SEEN), (HOME, SEEN), PASSES_S),
        ((PUBLIC,), (HOME, SEEN, LENT), PASSES_S),
        ((HOME, SEEN), (HOME, STREAM), MISSING_S),
        ((HOME, LENT), (PUBLIC,), MISSING_S),
        ((HOME, STREAM), (HOME, STREAM), MISSING_S),
        ((PUBLIC,), (SIX,), MISSING_S),
    ],
    ids=[
        "two homes",
        "a public one",
        "one without UDP",
        "a relay's is none of its own",
        "both without",
        "two families",
    ],
)
def test_datagrams_have_longer_where_both_ends_are_known_outside(
    ours: tuple[IceCandidate, ...], theirs: tuple[IceCandidate, ...], wait_s: float
) -> None:
    """Both ends find the same; who knows that they do not pass waits little, whatever is said."""
    for made in (session(ours, theirs), session(theirs, ours)):
        assert may_lack_datagrams(made, is_again=False) is (wait_s == MISSING_S)
        assert dial_wait_s(made, is_again=False, is_blocked=False) == wait_s
        assert dial_wait_s(made, is_again=False, is_blocked=True) == NEAR_WAIT_S


def test_where_a_path_does_not_answer_that_both_are_known_says_nothing() -> None:
    made = session((HOME, SEEN), (HOME, SEEN))
    assert may_lack_datagrams(made, is_again=True)
    assert dial_wait_s(made, is_again=True, is_blocked=False) == MISSING_AGAIN_S

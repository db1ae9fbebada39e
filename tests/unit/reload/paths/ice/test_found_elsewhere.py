"""What users of other programs have reported of ICE, tried on ours. The report is named at each test."""

from __future__ import annotations

import pytest
from ice_pair import DELAY_S, FIRST, SECOND, IcePair

from p2psip.base.address import Address
from p2psip.reload.paths.candidates import dialable
from p2psip.reload.paths.ice.candidate_addresses import decoded, gathered
from p2psip.reload.paths.ice.checks import CheckCredentials, CheckRole, encode_request
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.link_messages import NO_ICE, CandType, IceCandidate, OverlayLinkType

HERE, THERE = Address("192.0.2.1", 5000), Address("192.0.2.2", 5000)
NOWHERE = Address("10.0.0.9", 5000)


def nominating(pair: IcePair, number: int) -> bytes:
    """A check of the second for the first, which nominates."""
    own, theirs = pair.words
    receiver = CheckCredentials(own.ufrag, own.password)
    role = CheckRole(is_controlling=True, tie_breaker=1)
    return encode_request(number.to_bytes(12, "big"), theirs.ufrag, receiver, 1, role, is_nominating=True)


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.06, 0.3, 1.0, 12.0])
def test_a_nomination_may_come_in_any_state_of_its_pair(after_s: float) -> None:
    """meetecho/janus-gateway#1691, Kurento/bugtracker#505: an assertion on the state of the pair ended the process."""
    pair = IcePair(are_both_controlling=False)
    pair.passes = lambda _: False
    pair.begin_both()
    pair.run(after_s)
    for number, remote in enumerate([THERE, NOWHERE, THERE, Address("203.0.113.66", 1)]):
        pair.arrive(FIRST, HERE, remote, nominating(pair, number))
        pair.arrive(FIRST, HERE, remote, nominating(pair, number))
    pair.passes = lambda _: True
    pair.run(30.0)
    assert pair.ends(FIRST)[0] in ("PathChosen", "PathLost")


def test_all_checks_have_failed_and_then_the_other_end_s_first_one_comes() -> None:
    """rawrtc/rawrtc#64: the list was complete when the last check had failed, while the other end had not begun."""
    second = gathered([THERE])
    pair = IcePair(second=second)
    pair.passes = lambda sent: sent[0] > 9.0
    pair.begin(FIRST)
    pair.run(9.0)
    pair.begin(SECOND)
    pair.run(5.0)
    assert pair.ends(FIRST) == pair.ends(SECOND) == ["PathChosen"]


def test_an_address_that_cannot_be_sent_to_does_not_hold_up_the_others() -> None:
    """pjsip/pjproject#1957: "Network is unreachable" for one check, and no other was begun."""
    unreachable = [Address(f"10.0.{number}.1", 5000) for number in range(10)]
    pair = IcePair(second=gathered([*unreachable, THERE]))
    pair.passes = lambda sent: not sent[2].host.startswith("10.")
    pair.begin_both()
    pair.run(2.0)
    assert pair.ends(FIRST) == ["PathChosen"]


def test_who_never_checks_is_not_waited_for_without_end() -> None:
    """pjsip/pjproject#663: checks of ours are answered, the other end sends none and nominates none."""
    pair = IcePair()
    pair.begin(SECOND)
    pair.passes = lambda _: False
    pair.run(60.0)
    assert pair.ends(SECOND) == ["PathLost"]
    assert pair.agents[SECOND].next_deadline() is None


def test_the_nomination_of_who_is_seen_under_another_address_counts() -> None:
    """ystreet/librice#168: the controlled end behind a NAT dropped each nomination, as the pair that its check had
    shown was another one.
    """
    pair = IcePair()
    pair.begin_both()
    pair.run(3.0)
    assert pair.ends(SECOND) == ["PathChosen"]
    pair.run(200.0)
    assert pair.agents[SECOND].sent(pair.words[SECOND].ufrag, pair.now)


def test_checks_of_a_session_that_was_on_the_same_port_before_are_nothing_to_the_next() -> None:
    """paullouisageneau/libjuice#223: "ufrag check failed", many times, until it settled."""
    before, now = IcePair(seed=1), IcePair(seed=2)
    before.begin_both()
    before.run(1.0)
    now.begin_both()
    for _, local, remote, data in before.sent:
        side = FIRST if remote == HERE else SECOND
        count = len(now.sent)
        now.arrive(side, remote, local, data)
        assert len(now.sent) == count
    now.run(10 * DELAY_S + 1.0)
    assert now.ends(FIRST) == now.ends(SECOND) == ["PathChosen"]


GUISES = ["::ffff:127.0.0.1", "::ffff:224.0.0.1", "::ffff:255.255.255.255", "::ffff:0.0.0.0", "::ffff:192.0.2.7"]


@pytest.mark.parametrize("host", GUISES)
def test_an_ipv4_address_in_the_guise_of_ipv6_is_no_candidate(host: str) -> None:
    """coturn's CVE-2020-26262, and those after it: what is forbidden as an IPv4 address was let through as this one.
    RFC 8445 5.1.1.1: "IPv4-mapped IPv6 addresses SHOULD NOT be included".
    """

    def candidate(kind: OverlayLinkType) -> IceCandidate:
        return IceCandidate(IpAddressPort.of(host, 22), kind, b"1", 1, CandType.HOST)

    assert decoded([candidate(OverlayLinkType.DTLS_UDP_SR)]) == ()
    assert dialable([candidate(NO_ICE[0])], NO_ICE) == ()

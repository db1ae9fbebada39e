"""Sessions that we have offered to others, which then connect with us."""

from __future__ import annotations

import random

from candidates import host_candidate

from p2psip.base.address import Address
from p2psip.base.ids import NodeId
from p2psip.reload.paths.candidates import Whereabouts
from p2psip.reload.paths.ice.punching import Punching
from p2psip.reload.paths.offers import DID_NOT_COME, LATE_S, LINK_WAIT_S, Offers
from p2psip.reload.paths.values import Ended, Lapsed, Parameters, Purpose
from p2psip.reload.wire.link_messages import NO_ICE

BOB, CAROL = NodeId(bytes([2]) * 16), NodeId(bytes([3]) * 16)
LINKS, SIP = Address("192.0.2.1", 6084), Address("192.0.2.1", 5062)
BOBS = Parameters(b"", b"", b"active", (host_candidate("192.0.2.2", 6084),))


def start() -> Offers:
    """Those of a node that has a listener for links and one for SIP."""
    punching = Punching(random.Random(1))
    whereabouts = Whereabouts(NO_ICE, punching)
    whereabouts.addresses = {Purpose.RELOAD: (LINKS,), Purpose.SIP: (SIP,)}
    return Offers(whereabouts, punching)


def test_an_offer_says_where_we_are_for_its_purpose_to_an_attach_and_an_app_attach_alike() -> None:
    offers = start()
    for purpose, address in ((Purpose.RELOAD, LINKS), (Purpose.SIP, SIP)):
        local = offers.session(purpose, BOB).local
        assert (local.role, local.component, local.hosts) == (b"passive", 1, {address.host})
        assert {candidate.addr_port.host_port for candidate in local.candidates} == {tuple(address)}


def test_an_offer_that_was_answered_ends_if_its_connection_does_not_come() -> None:
    """With all that both ends have said; before the answer nothing here ends it."""
    offers = start()
    session = offers.session(Purpose.RELOAD, BOB)
    offers.make(session, "asked")
    assert offers.next_deadline() is None
    offers.answered(session, BOB, BOBS, "answered", 1.0)
    assert offers.handle_timeout(0.9 + LINK_WAIT_S) == []
    (ended,) = offers.handle_timeout(1.0 + LINK_WAIT_S)
    assert isinstance(ended, Ended)
    assert (ended.context, ended.reason) == ("answered", DID_NOT_COME)
    assert (ended.session.local, ended.session.remote, ended.session.peer) == (session.local, BOBS, BOB)
    assert not offers.is_awaited(Purpose.RELOAD, BOB)


def test_who_is_at_a_place_is_awaited_once_it_has_answered() -> None:
    offers = start()
    offers.answered(offers.session(Purpose.RELOAD, None), BOB, BOBS, "a place", 0.0)
    assert offers.get(Purpose.RELOAD, BOB) == "a place"
    assert offers.withdraw(Purpose.RELOAD, BOB) == "a place"
    assert offers.next_deadline() is None, "nothing is waited for any more"


def test_what_is_expected_from_a_host_its_answers_say() -> None:
    offers = start()
    session = offers.session(Purpose.SIP, BOB)
    offers.make(session, "bob")
    assert offers.expected_from("192.0.2.2") == ()
    offers.answered(session, BOB, BOBS, "bob", 0.0)
    assert offers.expected_from("192.0.2.2") == ("bob",)
    assert offers.expected_from("192.0.2.3") == ()


def test_what_a_connection_is_for_by_who_was_asked_and_where_it_comes() -> None:
    offers = start()
    assert offers.purpose_of([BOB], LINKS) is Purpose.RELOAD
    assert offers.purpose_of([BOB], SIP) is Purpose.SIP, "no links are made there"
    offers.make(offers.session(Purpose.SIP, BOB), "bob")
    assert offers.purpose_of([CAROL, BOB], SIP._replace(host="198.51.100.1")) is Purpose.SIP, "by the port"
    assert offers.purpose_of([BOB], LINKS) is Purpose.RELOAD, "nobody was told to come there for SIP"


def test_where_one_port_is_for_both_the_offer_decides_also_one_that_lingers() -> None:
    offers = start()
    offers._whereabouts.addresses[Purpose.SIP] = (LINKS,)
    assert offers.purpose_of([BOB], LINKS) is Purpose.RELOAD
    offers.linger(offers.session(Purpose.SIP, BOB), "given up", 0.0)
    assert offers.purpose_of([BOB], LINKS) is Purpose.SIP
    offers.make(offers.session(Purpose.RELOAD, BOB), "a link")
    assert offers.purpose_of([BOB], LINKS) is Purpose.RELOAD


def test_one_that_lingers_lapses_when_its_connection_came_or_will_not_come() -> None:
    offers = start()
    session = offers.session(Purpose.SIP, BOB)
    offers.linger(session, "given up", 0.0)
    assert not offers.is_awaited(Purpose.SIP, BOB)
    assert offers.lingering(Purpose.SIP, BOB) == "given up"
    assert offers.handle_timeout(LATE_S) == [Lapsed(session, "given up")]
    offers.linger(session, "given up", 20.0)
    offers.lapse(Purpose.SIP, BOB)
    assert offers.lingering(Purpose.SIP, BOB) is None
    assert offers.handle_timeout(20.0 + LATE_S) == []

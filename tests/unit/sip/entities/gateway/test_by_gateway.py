"""What becomes of a number that another member has sent here to have it called (by_gateway.py)."""

from __future__ import annotations

from dataclasses import replace

from trunk_bench import HERE, TrunkBench

from p2psip.base.address import Address
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.domains.doors import OtherDomains
from p2psip.sip.entities.gateway.by_gateway import ByGateway
from p2psip.sip.entities.proxy.resolvers import After, Asked
from p2psip.sip.entities.proxy.routing import Routed
from p2psip.sip.entities.questions import FindGateway, Located, NotLocated, Tried
from p2psip.sip.message.message import Fields, Request
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import LocalHop, Source

REALM = "club.example"
CONFIG = ServerConfig(REALM, frozenset({REALM}), (), SipUri(REALM, "peer"), other_domains=OtherDomains(reaches=("70",)))


def said_of(number: str, after: After | None = None) -> object:
    uri = SipUri(REALM, number, params=(("gateway", None),))
    source = Source(LocalHop("test"), "TLS", Address("192.0.2.1", 5060), peer="ab" * 16)
    asked = Asked(Routed(Request("INVITE", uri, Fields([])), None, None), uri, source, None, after)
    return ByGateway(CONFIG, ()).resolve(asked, 0.0)


def test_neighbours_are_asked_for_what_the_operator_says_that_they_reach_and_nothing_else() -> None:
    """Whatever a member with altered software may send here."""
    said = said_of("700")
    assert isinstance(said, FindGateway)
    assert (said.number, said.is_here, said.otherwise.status) == ("700", True, 503)
    refused = said_of("800")
    assert isinstance(refused, NotLocated)
    assert refused.status == 503


def test_a_place_that_has_failed_for_its_own_sake_is_left_for_the_next() -> None:
    place = SipUri("10.44.0.9", "700")
    for status, is_told, goes_on in ((503, True, True), (408, False, True), (486, True, False), (404, True, False)):
        tried = (Tried(place, status, is_told, True),)
        said = said_of("700", After(status, "failed", tried=tried))
        assert (said is not None) is goes_on
        assert said is None or (isinstance(said, FindGateway) and said.tried == tried and said.is_here)
    assert said_of("700", After(480, "nobody")) is None


def test_who_takes_a_place_gets_to_the_trunk_with_that_call() -> None:
    """RFC 3891: of several trunks of this peer; by the dialog, as the URI names no number."""
    idle, busy = TrunkBench(name="idle").up(), TrunkBench(name="busy").up()
    busy.talking()
    answered = busy.response("overlay", "200 INVITE")
    uri = SipUri(REALM, "trunk-idle", params=(("gateway", None),))
    config, trunks = replace(CONFIG, other_domains=OtherDomains()), (idle.trunk, busy.trunk)

    def led(tag: str) -> object:
        replaces = f"{answered.call_id};to-tag={tag};from-tag={answered.from_.tag}"
        request = Request("INVITE", uri, Fields.of(("Replaces", replaces)))
        asked = Asked(Routed(request, None, None), uri, Source(LocalHop("test"), "UDP", HERE), "bob")
        return ByGateway(config, trunks).resolve(asked, 0.0)

    found = led(answered.to.tag)
    assert isinstance(found, Located)
    assert found.targets[0].hops == (LocalHop("trunk-busy"),)
    nobody = led("other")
    assert isinstance(nobody, NotLocated)
    assert nobody.status == 481

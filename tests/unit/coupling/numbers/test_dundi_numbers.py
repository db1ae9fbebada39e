"""Calls between an overlay and an Asterisk that are neighbours by DUNDi, in virtual time: the whole way."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from dundi_bench import THEM, US, keys, pair
from fake_asterisk import DPDISCOVER, FINAL, FakeAsterisk, answer_ie
from gateway_peers import Provider
from trunk_bench import ANSWER, SDP

from p2psip.base.address import Address
from p2psip.dundi.values import EntityTerms, NeighbourTerms, NumberSought, OfferedContext
from p2psip.reload.config.configuration import REDIR_KIND, SIP_REGISTRATION_KIND, ServicePermission
from p2psip.sim.sites.making import OVERLAY
from p2psip.sim.sites.site import Site, SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.gateway.terms import TrunkTerms
from p2psip.sip.entities.numbers.dial_plan import DialPlan, Rule
from p2psip.sip.entities.numbers.numbering import Emergency, Numbering
from p2psip.sip.message.build import make_response
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.parser import parse
from p2psip.sip.transports.arrivals import Datagram

PBX = Address("10.44.0.2", 5060)
HERE = "192.168.0.1"

NEIGHBOUR = NeighbourTerms(
    "pbx", THEM, Address(PBX.host, 4520), None, ("home",), frozenset({"home"}), (ipaddress.ip_network("10.44.0.0/24"),)
)
TERMS = EntityTerms(US, Address(HERE, 4520), HERE, (NEIGHBOUR,), (OfferedContext("home", ("",)),))

KINDS = (SIP_REGISTRATION_KIND, REDIR_KIND)
GATEWAYS = (ServicePermission("gateway", (f"peer-*@{OVERLAY}",)),)


@dataclass
class Pbx:
    """The SIP of an Asterisk: it answers INVITEs with one status, and calls."""

    site: Site
    status: int = 200
    heard: list[Request | Response] = field(default_factory=list)

    def receive(self, data: bytes) -> None:
        message = parse(data)
        assert isinstance(message, Request | Response)
        self.heard.append(message)
        if not isinstance(message, Request) or message.method == "ACK" or not self.status:
            return
        status = self.status if message.method == "INVITE" else 200
        extra = [("Contact", f"<sip:{PBX.host}>"), ("Content-Type", "application/sdp")]
        body = ANSWER if message.method == "INVITE" and status == 200 else b""
        self.send(make_response(message, status, to_tag="pbx", extra=extra, body=body).encode())

    def send(self, data: bytes) -> None:
        datagram = Datagram(self.site.local, PBX, data)
        self.site._later(lambda: self.site.call(lambda now: self.site.peer.handle_sip(datagram, now)))

    def call(self, destination: str, caller: str = "700") -> None:
        """Dial(SIP/destination) of Asterisk."""
        self.send(
            f"INVITE sip:{destination} SIP/2.0\r\nVia: SIP/2.0/UDP {PBX.host};branch=z9hG4bKpbx\r\nMax-Forwards: 70\r\n"
            f'From: "{caller}" <sip:{caller}@{PBX.host}>;tag=p\r\nTo: <sip:{destination}>\r\nCall-ID: pbx\r\n'
            f"CSeq: 102 INVITE\r\nContact: <sip:{caller}@{PBX.host}>\r\nContent-Type: application/sdp\r\n\r\n".encode()
            + SDP
        )

    @property
    def called(self) -> list[str]:
        """The Request-URIs of calls that came."""
        return [m.uri_text for m in self.heard if isinstance(m, Request) and m.method == "INVITE"]

    @property
    def answers(self) -> list[int]:
        return [m.status for m in self.heard if isinstance(m, Response)]


@dataclass
class Both:
    """An overlay of two peers, the first of which has an Asterisk for a neighbour."""

    world: SimulatedPeers
    pbx: Pbx
    asterisk: FakeAsterisk

    def call(self, phone: SitePhone, number: str, limit_s: float = 20.0) -> str:
        which = phone.dial(number)
        self.world.run(limit_s, stop=lambda: phone.ended(which) is not None or phone.talks)
        said = phone.ended(which) or "talks"
        if phone.talks:
            phone.hang_up(which)
            self.world.run(2.0)
        return said


def both(*, is_encrypted: bool = False, reaches: tuple[str, ...] = (), **settings: Any) -> Both:
    """`settings` are of the overlay."""
    world = SimulatedPeers("dundi", 0, **settings)
    terms = replace(TERMS, neighbours=(replace(NEIGHBOUR, keys=keys(is_encrypted=is_encrypted)),), reaches=reaches)
    for number in range(2):
        world.add(number, dundi=terms if number == 0 else None)
        world.run(3.0)
    world.run(20.0, stop=lambda: all(site.peer.node.is_serving for site in world.sites.values()))
    site = world[0]

    def to_us(data: bytes) -> None:
        site._later(lambda: site.call(lambda now: site.peer.handle_dundi(NEIGHBOUR.address, data, now)))

    mine, ours = (pair("theirs"), pair("ours").public_key()) if is_encrypted else (None, None)
    asterisk = FakeAsterisk(bytes(THEM), to_us, own=mine, other=ours)
    pbx = Pbx(site)
    site.neighbours[NEIGHBOUR.address] = asterisk.hear
    site.outsiders[PBX] = pbx.receive
    world.run(70.0)
    return Both(world, pbx, asterisk)


# Out


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["clear", "encrypted"])
def test_a_phone_dials_a_number_of_the_asterisk(is_encrypted: bool) -> None:
    both_ = both(is_encrypted=is_encrypted)
    (alice,) = both_.world.with_phones((0, "alice"))
    both_.asterisk.numbers["home", "700"] = [answer_ie(bytes(THEM), f"700@{PBX.host}")]
    assert both_.call(alice, "700") == "talks"
    assert both_.pbx.called == [f"sip:700@{PBX.host}"]
    invite = next(m for m in both_.pbx.heard if isinstance(m, Request))
    assert str(invite.from_.uri) == f"sip:alice@{OVERLAY}"
    # What is asserted among members stays there.
    assert "p-asserted-identity" not in invite.fields
    assert [m.method for m in both_.pbx.heard if isinstance(m, Request)] == ["INVITE", "ACK", "BYE"]


def test_a_number_of_the_overlay_is_never_asked_for() -> None:
    """A number is a user's name first: no neighbour can take a member's calls."""
    both_ = both()
    alice, bob = both_.world.with_phones((0, "alice"), (1, "700"))
    both_.asterisk.numbers["home", "700"] = [answer_ie(bytes(THEM), f"700@{PBX.host}")]
    assert both_.call(alice, "700") == "talks"
    assert bob.events
    assert DPDISCOVER not in [each.said for each in both_.asterisk.heard]


def test_what_nobody_knows_is_refused_in_words() -> None:
    both_ = both()
    (alice,) = both_.world.with_phones((0, "alice"))
    assert both_.call(alice, "701").startswith("404 ")
    (carried,) = both_.world[0].carried()
    assert carried.causes[-1].what == f"nobody in the overlay is 701@{OVERLAY}; DUNDi: pbx: does not have it"


def test_an_asterisk_that_is_off_costs_a_caller_nothing_once_that_is_known() -> None:
    both_ = both()
    (alice,) = both_.world.with_phones((0, "alice"))
    both_.asterisk.is_there = False
    both_.world.run(70.0)
    began = both_.world.world.now
    assert both_.call(alice, "701").startswith("404 ")
    assert both_.world.world.now - began < 1.0


@pytest.mark.parametrize("status", [503, 0])
def test_a_place_that_fails_is_left_for_the_next(status: int) -> None:
    both_ = both()
    (alice,) = both_.world.with_phones((0, "alice"))
    both_.asterisk.numbers["home", "700"] = [
        answer_ie(bytes(THEM), "700@10.44.0.9", weight=1),
        answer_ie(bytes(THEM), f"700@{PBX.host}", weight=2),
    ]
    broken = Pbx(both_.world[0], status)
    both_.world[0].outsiders[Address("10.44.0.9", 5060)] = broken.receive
    assert both_.call(alice, "700") == "talks"
    assert (len(set(broken.called)), both_.pbx.called) == (1, [f"sip:700@{PBX.host}"])


@pytest.mark.parametrize(("status", "said"), [(486, "486 "), (404, "404 "), (603, "603 ")])
def test_what_whoever_was_called_says_is_the_last_word(status: int, said: str) -> None:
    both_ = both()
    (alice,) = both_.world.with_phones((0, "alice"))
    both_.pbx.status = status
    both_.asterisk.numbers["home", "700"] = [
        answer_ie(bytes(THEM), f"700@{PBX.host}", weight=1),
        answer_ie(bytes(THEM), f"701@{PBX.host}", weight=2),
    ]
    assert both_.call(alice, "700").startswith(said)
    assert both_.pbx.called == [f"sip:700@{PBX.host}"]


def test_the_word_of_a_neighbour_leads_to_no_other_address() -> None:
    both_ = both()
    (alice,) = both_.world.with_phones((0, "alice"))
    victim = Pbx(both_.world[0])
    both_.world[0].outsiders[Address("10.45.0.1", 5060)] = victim.receive
    both_.asterisk.numbers["home", "700"] = [answer_ie(bytes(THEM), "700@10.45.0.1")]
    assert both_.call(alice, "700").startswith("404 ")
    assert victim.heard == []


def test_phones_of_other_peers_call_through_the_peer_that_has_the_neighbour() -> None:
    """It is a gateway for what it reaches, announced as long as the neighbour is there."""
    both_ = both(
        required_kinds=KINDS,
        services=GATEWAYS,
        reaches=("70",),
    )
    (alice,) = both_.world.with_phones((1, "alice"))
    both_.world.run(10.0)
    assert both_.world[0].peer.services.names == ["gateway"]
    both_.asterisk.numbers["home", "700"] = [
        answer_ie(bytes(THEM), "700@10.44.0.9", weight=1),
        answer_ie(bytes(THEM), f"700@{PBX.host}", weight=2),
    ]
    broken = Pbx(both_.world[0], 503)
    both_.world[0].outsiders[Address("10.44.0.9", 5060)] = broken.receive
    assert both_.call(alice, "700") == "talks"
    assert (len(broken.called), both_.pbx.called) == (1, [f"sip:700@{PBX.host}"])
    assert [m.method for m in both_.pbx.heard if isinstance(m, Request)] == ["INVITE", "ACK", "BYE"]
    # Another gateway may have what this one has not.
    assert both_.call(alice, "701").startswith("500 ")
    both_.pbx.heard.clear()
    # What it does not reach it is no gateway for, whatever its neighbour has.
    both_.asterisk.numbers["home", "800"] = [answer_ie(bytes(THEM), f"800@{PBX.host}")]
    assert both_.call(alice, "800").startswith("404 ")
    assert both_.pbx.called == []
    both_.asterisk.is_there = False
    both_.world.run(140.0)
    assert both_.world[0].peer.services.names == []


def test_a_gateway_sends_nothing_on_to_another_gateway() -> None:
    """Whoever calls tries the next: the peer that was asked says only that it cannot."""
    both_ = both(required_kinds=KINDS, services=GATEWAYS, reaches=("70",))
    provider = Provider()
    trunk = TrunkTerms("t", "tel.example", "us", registers=False, prefixes=("7",), lines=frozenset({"*"}))
    both_.world.add(2, trunk=trunk, provider=provider)
    both_.world.run(20.0)
    (alice,) = both_.world.with_phones((1, "alice"))
    both_.world.run(10.0)
    assert both_.call(alice, "701") == "talks"
    assert provider.called == ["701"]
    assert [carried.status for carried in both_.world[0].carried()] == [503]


def test_an_emergency_is_no_question_for_neighbours() -> None:
    both_ = both(numbering=Numbering(emergency=Emergency(frozenset({"112"}))))
    (alice,) = both_.world.with_phones((0, "alice"))
    both_.asterisk.numbers["home", "112"] = [answer_ie(bytes(THEM), f"112@{PBX.host}")]
    assert both_.call(alice, "112").startswith("480 ")
    assert DPDISCOVER not in [each.said for each in both_.asterisk.heard]


# In


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["clear", "encrypted"])
@pytest.mark.parametrize("peer", [0, 1])
def test_the_asterisk_asks_and_its_call_rings_the_phone(is_encrypted: bool, peer: int) -> None:
    both_ = both(is_encrypted=is_encrypted)
    (bob,) = both_.world.with_phones((peer, "42"))
    both_.asterisk.heard.clear()
    both_.asterisk.discover("42", "home")
    both_.world.run(2.0)
    (answer,) = [each for each in both_.asterisk.heard if each.said == 0x42 | FINAL]
    destination = answer.one(5)[11:].decode()
    assert destination == f"42@{HERE}"
    both_.pbx.call(destination)
    both_.world.run(5.0, stop=lambda: 200 in both_.pbx.answers)
    assert bob.talks
    assert both_.pbx.answers[:3] == [100, 180, 200]


def test_the_dial_plan_says_who_is_meant_by_a_number() -> None:
    """Names that are callsigns are reached by what these spell on the keypad; a rule for some lines is for no other."""
    rules = (
        Rule("351222", "first", to="dl1abc"),
        Rule("99", "second", to="dl1abc", lines=frozenset({"alice"})),
        Rule("98", "third", refuse="No"),
    )
    both_ = both(numbering=Numbering(DialPlan(rules)))
    both_.world.with_phones((1, "dl1abc"))
    for number, found in (("351222", [f"dl1abc@{HERE}"]), ("99", []), ("98", []), ("dl1abc", [f"dl1abc@{HERE}"])):
        both_.asterisk.heard.clear()
        both_.asterisk.discover(number, "home")
        both_.world.run(2.0)
        (answer,) = [each for each in both_.asterisk.heard if each.said == 0x42 | FINAL]
        assert [each[11:].decode() for each in answer.all(5)] == found


def test_whom_nobody_in_the_overlay_is_the_asterisk_is_not_told_of() -> None:
    both_ = both()
    both_.asterisk.heard.clear()
    both_.asterisk.discover("43", "home")
    both_.world.run(2.0)
    (answer,) = [each for each in both_.asterisk.heard if each.said == 0x42 | FINAL]
    assert answer.all(5) == []


def test_a_call_that_comes_in_goes_out_by_no_neighbour() -> None:
    """So nothing goes in a circle, and the Asterisk does not call at the cost of the overlay."""
    both_ = both()
    both_.world.with_phones((0, "alice"))
    both_.asterisk.numbers["home", "701"] = [answer_ie(bytes(THEM), f"701@{PBX.host}")]
    both_.asterisk.heard.clear()
    both_.pbx.call(f"701@{HERE}")
    both_.world.run(5.0)
    assert both_.pbx.answers[-1] == 480
    assert both_.pbx.called == []
    assert DPDISCOVER not in [each.said for each in both_.asterisk.heard]


def test_the_operator_is_told_what_the_neighbours_say() -> None:
    both_ = both()
    site = both_.world[0]
    both_.asterisk.numbers["home", "700"] = [answer_ie(bytes(THEM), f"700@{PBX.host}")]
    site.call(lambda now: site.peer.look_for_neighbours("700", "operator", now))
    both_.world.run(1.0)
    (sought,) = [effect for effect in site.host.events if isinstance(effect, NumberSought)]
    assert (sought.context, sought.said) == ("operator", (f"pbx: 700@{PBX.host}, weight 0",))

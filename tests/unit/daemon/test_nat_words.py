"""What a survey means, in words: each kind of router has a sentence, and something to do where there is something."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from p2psip.base.address import Address
from p2psip.base.ids import NodeId
from p2psip.daemon.nat_words import SitePorts, facts_in_words, mapping_words, nat_words
from p2psip.daemon.report import nat_report
from p2psip.reload.node.connecting.nat.port_mapping import PortMappingFacts
from p2psip.reload.paths.nat.reach import EndpointDependence, Reach

LAN, OUT = Address("192.168.7.2", 6084), Address("203.0.113.9", 6084)
PORTS = SitePorts(6084, 5062)
UNASKED = PortMappingFacts(is_allowed=False)
ASKED = PortMappingFacts(is_allowed=True, router="192.168.7.1")
GIVEN = replace(
    ASKED,
    language="PCP",
    given=(("UDP 6084", Address("203.0.113.9", 6084)), ("TCP 6084", Address("203.0.113.9", 7000))),
)
TWO = (NodeId(bytes(15) + b"\1"), NodeId(bytes(15) + b"\2"))
HOME = Reach(
    0.0,
    helpers=3,
    local=LAN,
    address=OUT,
    mapping=EndpointDependence.NONE,
    filtering=EndpointDependence.ADDRESS_AND_PORT,
    hairpins=False,
)


def test_a_home_router() -> None:
    words = nat_words(HOME, PORTS, UNASKED)
    assert words.what == (
        "This peer is behind a router as most homes have (port-restricted NAT); others see it as 203.0.113.9."
    )
    assert "With peers behind usual home routers: directly." in words.works
    assert "symmetric" in words.fails[0]
    assert words.change[0] == (
        "In the router forward UDP and TCP port 6084, and TCP port 5062, to 192.168.7.2, and put"
        ' advertise = ["203.0.113.9"] into peer.toml, if that address stays the same.'
    )


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"mapping": EndpointDependence.ADDRESS_AND_PORT}, "hard kind (symmetric NAT)"),
        ({"mapping": EndpointDependence.SOME}, "hard kind (symmetric NAT)"),
        ({"filtering": EndpointDependence.NONE}, "easiest kind (full cone NAT)"),
        ({"filtering": EndpointDependence.ADDRESS}, "easy kind (restricted cone NAT)"),
        ({"mapping": None, "filtering": None}, "a router (NAT) of which more is not known"),
        ({"address": LAN}, "behind a firewall that lets in only answers"),
        ({"address": LAN, "filtering": None}, "whether others can reach it is not known"),
    ],
)
def test_each_kind_has_its_sentence(changes: dict[str, object], what: str) -> None:
    words = nat_words(replace(HOME, **changes), PORTS, UNASKED)  # type: ignore[arg-type]
    assert what in words.what
    assert words.change


def test_where_all_is_well_nothing_is_to_be_changed() -> None:
    public = replace(HOME, local=OUT, filtering=EndpointDependence.NONE, opened_by=TWO)
    assert nat_words(public, PORTS, UNASKED).change == ()
    assert nat_words(public, PORTS, UNASKED).fails == ()
    forwarded = nat_words(replace(HOME, reached_by=TWO), PORTS, UNASKED)
    assert forwarded.fails == ()
    assert forwarded.change[0].startswith("Nothing needs to change.")


def test_udp_that_is_blocked_and_nobody_to_ask() -> None:
    blocked = nat_words(Reach(0.0, helpers=2, is_udp_blocked=True), PORTS, UNASKED)
    assert blocked.what.startswith("UDP does not get through")
    assert "voice as well, over TLS through a peer that relays" in blocked.works[1]
    assert (
        "6084"
        in nat_words(Reach(0.0, helpers=2, is_udp_blocked=True), replace(PORTS, has_ice=False), UNASKED).change[0]
    )
    assert nat_words(Reach(0.0), PORTS, UNASKED).what.startswith("Nothing is known yet")


def test_a_carrier_s_nat_is_nothing_that_a_router_s_owner_can_open() -> None:
    behind = replace(HOME, local=Address("100.64.3.4", 6084))
    (change,) = nat_words(behind, PORTS, UNASKED).change
    assert "your provider's" in change


def test_a_router_that_forgets_soon_is_named() -> None:
    assert "UDP timeout" in nat_words(replace(HOME, forgets_s=20.0), PORTS, UNASKED).change[-1]


def test_who_has_asked_too_often_is_told_so() -> None:
    said = "The other members have been asked too often in the last minutes to tell all: ask again in two minutes."
    assert said in nat_words(replace(HOME, is_cut_short=True), PORTS, UNASKED).change
    assert said not in nat_words(HOME, PORTS, UNASKED).change


def test_everything_that_can_be_found_has_words() -> None:
    for mapping, filtering, hairpins, lifetimes, by in itertools.product(
        (None, *EndpointDependence),
        (None, EndpointDependence.NONE, EndpointDependence.ADDRESS, EndpointDependence.ADDRESS_AND_PORT),
        (None, True, False),
        ((None, None), (30.0, None), (30.0, 60.0), (None, 30.0)),
        ((), TWO[:1], TWO),
    ):
        keeps_s, forgets_s = lifetimes
        reach = replace(
            HOME,
            mapping=mapping,
            filtering=filtering,
            hairpins=hairpins,
            keeps_s=keeps_s,
            forgets_s=forgets_s,
            opened_by=by,
        )
        report = nat_report(reach, PORTS, UNASKED, 1.0)
        assert report["what"]
        assert all(name and what for name, what in facts_in_words(reach))


@pytest.mark.parametrize(
    ("mapping", "what"),
    [
        (UNASKED, "is not asked to let others in: port_mapping is not true"),
        (replace(ASKED, router=""), "no router that could be asked"),
        (replace(ASKED, is_asking=True), "192.168.7.1 is being asked"),
        (ASKED, "does not listen at the address by which the router knows the machine"),
        (replace(GIVEN, refused=(("TCP 5062", "it has no room"),)), "(PCP). Not for TCP 5062: it has no room."),
        (GIVEN, "192.168.7.1 lets others in: UDP 6084 as 203.0.113.9:6084, TCP 6084 as 203.0.113.9:7000 (PCP)."),
        (
            replace(ASKED, refusals=(("PCP", "it does not answer"), ("NAT-PMP", "it does not answer"))),
            "does not let others in: PCP: it does not answer; NAT-PMP: it does not answer. Look in its settings",
        ),
        (
            replace(GIVEN, inner_address="192.168.0.5"),
            "It is 192.168.0.5, an address inside of one more router",
        ),
    ],
)
def test_what_came_of_asking_the_router_has_a_sentence(mapping: PortMappingFacts, what: str) -> None:
    assert what in mapping_words(mapping)


def test_what_to_change_follows_from_what_the_router_has_given() -> None:
    advised = {mapping: " ".join(nat_words(HOME, PORTS, mapping).change) for mapping in (UNASKED, ASKED, GIVEN)}
    assert "In the router forward" in advised[UNASKED]
    assert "port_mapping = true" in advised[UNASKED]
    assert "In the router forward" in advised[ASKED]
    assert "port_mapping" not in advised[ASKED]
    assert "forward" not in advised[GIVEN]


@pytest.mark.parametrize(("host", "what"), [("192.168.0.5", "bridge mode"), ("100.64.3.1", "your provider's")])
def test_a_router_behind_another_one_is_recognized(host: str, what: str) -> None:
    behind = replace(GIVEN, inner_address=host)
    assert what in nat_words(HOME, PORTS, behind).change[0]
    assert nat_report(HOME, PORTS, behind, 1.0)["port_mapping"]["inner_address"] == host  # type: ignore[index]

"""What a real DNS server says of a domain (Debian's knot), as our own resolver reads it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import closing

import pytest
from knot import Knot, needs_knot

from p2psip.base.address import Address
from p2psip.net.dns_records import DnsRecords
from p2psip.net.trunk_sockets import TrunkSockets
from p2psip.sip.entities.domains.dns_answers import FindRecords, Naptr, Records, RecordType, Srv
from p2psip.sip.entities.domains.location import DomainServers, Permits, locate
from p2psip.sip.entities.gateway.terms import TrunkFound, TrunkNotFound, TrunkTerms
from p2psip.sip.message.uri import parse_sip_uri

pytestmark = needs_knot

ZONES = {
    "far.example": [
        '@ NAPTR 50 50 "s" "SIPS+D2T" "" _sips._tcp.far.example.',
        '@ NAPTR 90 50 "s" "SIP+D2T" "" _sip._tcp.far.example.',
        "_sips._tcp SRV 0 1 5061 alias.far.example.",
        "_sip._tcp SRV 0 1 5060 two.far.example.",
        "_sip._tcp SRV 5 1 5060 one.far.example.",
        "alias CNAME one.far.example.",
        "one A 192.0.2.1",
        "one AAAA 2001:db8::1",
        "two A 192.0.2.2",
        "none SRV 0 0 0 .",
    ],
    "trunk.example": [
        "_sip._udp SRV 10 1 5080 first.trunk.example.",
        "_sip._udp SRV 20 1 5090 second.trunk.example.",
        "first A 127.0.0.1",
        "second A 127.0.0.2",
    ],
    "circle.example": ["one CNAME two.circle.example.", "two CNAME one.circle.example."],
    "many.example": [f"@ A 192.0.{at // 250}.{at % 250 + 1}" for at in range(300)],
}


@pytest.fixture(scope="module")
def knot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Knot]:
    with Knot(tmp_path_factory.mktemp("knot"), ZONES) as server:
        yield server


def find(server: Address, name: str, record_type: RecordType) -> Records:
    return asyncio.run(DnsRecords(server).find(FindRecords(name, record_type)))


def test_each_kind_of_record_is_read(knot: Knot) -> None:
    assert set(find(knot.address, "far.example", "NAPTR").records) == {
        Naptr(50, 50, "s", "SIPS+D2T", "", "_sips._tcp.far.example"),
        Naptr(90, 50, "s", "SIP+D2T", "", "_sip._tcp.far.example"),
    }
    assert Srv(5, 1, 5060, "one.far.example") in find(knot.address, "_sip._tcp.far.example", "SRV").records
    assert find(knot.address, "none.far.example", "SRV").records == (Srv(0, 0, 0, ""),)
    assert find(knot.address, "one.far.example", "A").records == ("192.0.2.1",)
    assert find(knot.address, "one.far.example", "AAAA").records == ("2001:db8::1",)


def test_an_alias_is_followed_and_a_circle_ends(knot: Knot) -> None:
    assert find(knot.address, "alias.far.example", "A").records == ("192.0.2.1",)
    circle = find(knot.address, "one.circle.example", "A")
    assert circle.records == ()


def test_what_there_is_not_is_not_what_did_not_answer(knot: Knot) -> None:
    assert find(knot.address, "nobody.far.example", "A") == Records()
    assert find(knot.address, "two.far.example", "AAAA") == Records()
    # This server does not know other domains, and says so.
    assert "REFUSED" in find(knot.address, "elsewhere.example", "A").problem
    assert find(Address("127.0.0.1", 9), "far.example", "A").problem


def test_a_long_answer_is_read_as_far_as_we_look(knot: Knot) -> None:
    """300 addresses do not fit a datagram: they come over TCP."""
    assert len(find(knot.address, "many.example", "A").records) == 32


@pytest.mark.parametrize("name", ["a" * 64 + ".example", "a..b", "\udcff.example", "é.example", ""])
def test_what_is_no_name_is_a_problem_and_nothing_worse(knot: Knot, name: str) -> None:
    assert find(knot.address, name, "A").records == ()


def test_the_whole_way_from_a_uri_to_addresses(knot: Knot) -> None:
    """RFC 3263 section 4, step by step, with the answers of a server that was not written here."""

    async def search() -> DomainServers:
        records = DnsRecords(knot.address)
        steps = locate(
            parse_sip_uri("sip:bob@far.example"), Permits(lambda address: "", has_ipv6=True), random.Random(1)
        )
        try:
            questions = next(steps)
            while True:
                questions = steps.send([await records.find(one) for one in questions])
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    assert list(map(str, asyncio.run(search()).hops)) == [
        "tls [2001:db8::1]:5061",
        "tls 192.0.2.1:5061",
        "tcp 192.0.2.2:5060",
        "tcp [2001:db8::1]:5060",
        "tcp 192.0.2.1:5060",
    ]


def test_a_trunk_whose_domain_has_no_address_of_its_own(knot: Knot) -> None:
    async def search() -> TrunkFound | TrunkNotFound:
        with closing(TrunkSockets(lambda terms, arrival: None, DnsRecords(knot.address).find)) as sockets:
            return await sockets.find(TrunkTerms("t", "trunk.example", "us"))

    found = asyncio.run(search())
    assert isinstance(found, TrunkFound), found
    assert list(map(str, found.remotes)) == ["127.0.0.1:5080", "127.0.0.2:5090"]

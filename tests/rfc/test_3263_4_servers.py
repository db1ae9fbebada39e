"""Where the servers of a domain are: RFC 3263 section 4, with RFC 2782 and RFC 3403."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Generator, Mapping

import pytest

from p2psip.base.address import Address
from p2psip.base.srv_order import in_order
from p2psip.sip.entities.domains.dns_answers import FindRecords, Naptr, Records, Srv
from p2psip.sip.entities.domains.location import (
    PLACES_MAX,
    SERVERS_MAX,
    SERVICES_MAX,
    DomainServers,
    Permits,
    Steps,
    locate,
)
from p2psip.sip.message.uri import parse_sip_uri
from p2psip.sip.transports.hops import StreamHop, UdpHop

Zone = Mapping[str, Records]

ANYWHERE = Permits(lambda address: "")


def records(*each: object) -> Records:
    return Records(each)  # type: ignore[arg-type]


EXAMPLE: Zone = {
    # Section 4.1 and its SRV records, as printed there.
    "NAPTR example.com": records(
        Naptr(90, 50, "s", "SIP+D2T", "", "_sip._tcp.example.com"),
        Naptr(100, 50, "s", "SIP+D2U", "", "_sip._udp.example.com"),
        Naptr(50, 50, "s", "SIPS+D2T", "", "_sips._tcp.example.com"),
    ),
    "SRV _sips._tcp.example.com": records(Srv(0, 1, 5061, "secure.example.com")),
    "SRV _sip._tcp.example.com": records(
        Srv(1, 1, 5060, "server2.example.com"), Srv(0, 1, 5060, "server1.example.com")
    ),
    "SRV _sip._udp.example.com": records(Srv(0, 1, 5064, "server1.example.com")),
    "A example.com": records("192.0.2.100"),
    "A secure.example.com": records("192.0.2.3"),
    "A server1.example.com": records("192.0.2.1"),
    "A server2.example.com": records("192.0.2.2"),
}


def run(uri: str, zone: Zone, permits: Permits = ANYWHERE, seed: int = 0) -> tuple[DomainServers, list[str]]:
    """What is found, and what DNS was asked."""
    steps = _to_the_end(locate(parse_sip_uri(uri), permits, random.Random(seed)))
    asked: list[str] = []
    said = next(steps)
    while not isinstance(said, DomainServers):
        asked += map(str, said)
        said = steps.send([zone.get(str(one), Records()) for one in said])
    return said, asked


def _to_the_end(steps: Steps) -> Generator[list[FindRecords] | DomainServers, list[Records], None]:
    yield (yield from steps)


def hops(uri: str, zone: Zone, **how: object) -> list[str]:
    return list(map(str, run(uri, zone, **how)[0].hops))  # type: ignore[arg-type]


# 4: the target


def test_4_maddr_is_the_target() -> None:
    """ "we define TARGET as the value of the maddr parameter of the URI, if present"."""
    assert hops("sip:bob@example.org;maddr=example.com", EXAMPLE) == hops("sip:bob@example.com", EXAMPLE)


@pytest.mark.parametrize("uri", ["sip:bob@example.com.", "sip:bob@192.0.2.9;maddr=Example.Com."])
def test_4_a_name_with_its_last_dot_is_the_same_name(uri: str) -> None:
    """RFC 3261 section 25.1; and RFC 6066 section 3 has none in what TLS asks for: "without a trailing dot"."""
    found, asked = run(uri, EXAMPLE)
    same, also_asked = run(uri.replace("Example.Com.", "example.com").replace("com.", "com"), EXAMPLE)
    assert (found, asked) == (same, also_asked)
    assert len(found.hops) == 4


# 4.1: selecting a transport protocol


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sip:bob@192.0.2.9;transport=tcp", "tcp 192.0.2.9:5060"),
        ("sip:bob@192.0.2.9;transport=tls", "tls 192.0.2.9:5061"),
        ("sips:bob@192.0.2.9;transport=tcp", "tls 192.0.2.9:5061"),
        ("sip:bob@192.0.2.9", "udp 192.0.2.9:5060"),
        ("sips:bob@192.0.2.9", "tls 192.0.2.9:5061"),
        ("sip:bob@[2001:db8::9]:5070", "udp [2001:db8::9]:5070"),
        ("sip:bob@192.0.2.9:5080", "udp 192.0.2.9:5080"),
    ],
)
def test_4_1_numeric_addresses_need_no_dns(uri: str, expected: str) -> None:
    """ "the client SHOULD use UDP for a SIP URI, and TCP for a SIPS URI"; with a transport parameter, that."""
    found, asked = run(uri, {})
    assert ([str(hop) for hop in found.hops], asked) == ([expected], [])


@pytest.mark.parametrize("uri", ["sip:bob@example.com;transport=sctp", "sips:bob@example.com;transport=udp"])
def test_4_1_what_we_do_not_speak_leads_nowhere(uri: str) -> None:
    found, asked = run(uri, EXAMPLE)
    assert (found.hops, asked) == ((), [])
    assert "speaks" in found.reason


def test_4_1_naptr_says_the_order() -> None:
    """The example of the section: TLS over TCP, TCP, and UDP, "in that order of preference"."""
    assert hops("sip:bob@example.com", EXAMPLE) == [
        "tls 192.0.2.3:5061",
        "tcp 192.0.2.1:5060",
        "tcp 192.0.2.2:5060",
        "udp 192.0.2.1:5064",
    ]


def test_4_1_preference_decides_within_an_order() -> None:
    naptr = records(
        Naptr(10, 20, "s", "SIP+D2T", "", "_sip._tcp.example.com"),
        Naptr(10, 10, "S", "sip+d2u", "", "_SIP._udp.example.com"),
    )
    found = hops("sip:bob@example.com", {**EXAMPLE, "NAPTR example.com": naptr})
    assert found[0] == "udp 192.0.2.1:5064"


@pytest.mark.must("3263 4.1/1")
def test_4_1_sips_discards_what_is_not_sips() -> None:
    """ "a client resolving a SIPS URI MUST discard any services that do not contain "SIPS" as the protocol"."""
    found, asked = run("sips:bob@example.com", EXAMPLE)
    assert list(map(str, found.hops)) == ["tls 192.0.2.3:5061"]
    assert not any("_sip._" in one for one in asked)


@pytest.mark.must("3263 4.1/2")
@pytest.mark.parametrize(
    "record",
    [
        Naptr(1, 1, "s", "SIP+D2S", "", "_sip._sctp.example.com"),
        Naptr(1, 1, "s", "E2U+sip", "!^.*$!sip:evil@example.net!", "."),
        Naptr(1, 1, "u", "SIP+D2U", "!^.*$!sip:evil@example.net!", ""),
        Naptr(1, 1, "s", "SIP+D2U", "!x!y!", "_sip._udp.example.net"),
        Naptr(1, 1, "a", "SIP+D2U", "", "example.net"),
        Naptr(1, 1, "s", "SIP+D2U", "", "not a name"),
    ],
)
def test_4_1_other_services_are_discarded(record: Naptr) -> None:
    """ "a client MUST discard any service fields that identify a resolution service whose value is not "D2X"": and what
    is no name of SRV records. Nobody is asked for what they lead to.
    """
    more = records(record, *EXAMPLE["NAPTR example.com"].records)
    found, asked = run("sip:bob@example.com", {**EXAMPLE, "NAPTR example.com": more})
    same, also_asked = run("sip:bob@example.com", EXAMPLE)
    assert (found.hops, asked) == (same.hops, also_asked)


@pytest.mark.must("3263 4.1/6", "3263 4.1/7")
def test_4_1_the_replacement_may_be_in_another_domain() -> None:
    """ "It is not necessary for the domain suffixes in the NAPTR replacement field to match"; the certificate is to be
    for the domain that was dialled all the same (RFC 5922 section 7.3).
    """
    zone = {"NAPTR example.com": records(Naptr(1, 1, "s", "SIPS+D2T", "", "_sips._tcp.example.net"))}
    zone |= {"SRV _sips._tcp.example.net": records(Srv(0, 0, 5071, "host.example.net"))}
    zone |= {"A host.example.net": records("192.0.2.7")}
    found, _ = run("sip:bob@example.com", zone)
    assert found.hops == (StreamHop("TLS", Address("192.0.2.7", 5071), "example.com"),)


def test_4_1_without_naptr_srv_is_asked_for_each_transport() -> None:
    """ "the client constructs SRV queries for those transport protocols it supports, and does a query for each":
    first the one that nobody on the way reads.
    """
    zone = {key: value for key, value in EXAMPLE.items() if not key.startswith("NAPTR")}
    found, asked = run("sip:bob@example.com", zone)
    assert asked[:4] == [
        "NAPTR example.com",
        "SRV _sips._tcp.example.com",
        "SRV _sip._tcp.example.com",
        "SRV _sip._udp.example.com",
    ]
    assert [type(hop) for hop in found.hops] == [StreamHop, StreamHop, StreamHop, UdpHop]


def test_4_1_without_srv_udp_for_sip_and_tls_for_sips() -> None:
    """ "If no SRV records are found, the client SHOULD use TCP for a SIPS URI, and UDP for a SIP URI." """
    zone = {"A example.com": records("192.0.2.100")}
    assert hops("sip:bob@example.com", zone) == ["udp 192.0.2.100:5060"]
    assert hops("sips:bob@example.com", zone) == ["tls 192.0.2.100:5061"]


@pytest.mark.parametrize(
    ("service", "expected"), [("SIP+D2U", "udp 192.0.2.100:5060"), ("SIPS+D2T", "tls 192.0.2.100:5061")]
)
def test_4_1_a_transport_that_naptr_has_chosen_is_that_of_the_domains_own_name_as_well(
    service: str, expected: str
) -> None:
    """Where the SRV records that it names are not there."""
    zone = {"NAPTR example.com": records(Naptr(1, 1, "s", service, "", "_sip.example.com"))}
    assert hops("sip:bob@example.com", {**zone, "A example.com": records("192.0.2.100")}) == [expected]


# 4.2: determining port and IP address


def test_4_2_a_port_means_addresses_alone() -> None:
    """ "but a port is present in the URI, the client performs an A or AAAA record lookup of the domain name"."""
    found, asked = run("sip:bob@example.com:5099", EXAMPLE)
    assert ([str(hop) for hop in found.hops], asked) == (["udp 192.0.2.100:5099"], ["A example.com"])


@pytest.mark.parametrize(
    ("uri", "service"),
    [
        ("sip:bob@example.com;transport=udp", "_sip._udp"),
        ("sip:bob@example.com;transport=tcp", "_sip._tcp"),
        ("sip:bob@example.com;transport=tls", "_sips._tcp"),
        ("sips:bob@example.com;transport=tcp", "_sips._tcp"),
    ],
)
def test_4_2_a_transport_means_its_srv_records(uri: str, service: str) -> None:
    """ "because a transport was specified explicitly, the client performs an SRV query for that specific transport"."""
    assert run(uri, EXAMPLE)[1][0] == f"SRV {service}.example.com"


def test_4_2_several_addresses_are_tried_one_after_the_other() -> None:
    """ "If an attempt should fail [...] the next SHOULD be tried"."""
    zone = {"A example.com": records("192.0.2.1", "192.0.2.2"), "AAAA example.com": records("2001:db8::1")}
    assert hops("sip:bob@example.com:5060", zone) == ["udp 192.0.2.1:5060", "udp 192.0.2.2:5060"]
    both = Permits(lambda address: "", has_ipv6=True)
    assert hops("sip:bob@example.com:5060", zone, permits=both)[0] == "udp [2001:db8::1]:5060"


def test_2782_a_target_of_dot_means_no_such_service() -> None:
    """ "A Target of "." means that the service is decidedly not available at this domain."."""
    zone = {"SRV _sips._tcp.example.com": records(Srv(0, 0, 0, "")), "A example.com": records("192.0.2.100")}
    found, asked = run("sips:bob@example.com", zone)
    assert (found.hops, found.status) == ((), 404)
    assert "has no SIP" in found.reason
    assert "A example.com" not in asked


# RFC 2782: the order


def test_2782_priority_first_then_weight() -> None:
    each = [Srv(10, 60, 1, "often"), Srv(10, 20, 2, "rare"), Srv(20, 0, 3, "last"), Srv(10, 20, 4, "too")]
    orders = [in_order(each, random.Random(seed)) for seed in range(1000)]
    assert all(order[-1].target == "last" and len(order) == 4 for order in orders)
    first = Counter(order[0].target for order in orders)
    assert 530 < first["often"] < 670
    assert 130 < first["rare"] < 270


def test_2782_weight_0_is_still_chosen_now_and_then() -> None:
    each = [Srv(1, 0, 1, "zero"), Srv(1, 3, 2, "three")]
    first = Counter(in_order(each, random.Random(seed))[0].target for seed in range(1000))
    # A number between 0 and 3, both included: 0 chooses it.
    assert 180 < first["zero"] < 320


# What DNS cannot make us do


def test_addresses_that_are_not_permitted_are_left_out() -> None:
    permits = Permits(lambda address: f"{address.host} is forbidden" if address.host == "192.0.2.3" else "")
    assert hops("sip:bob@example.com", EXAMPLE, permits=permits)[0] == "tcp 192.0.2.1:5060"
    found, _ = run("sips:bob@example.com", EXAMPLE, permits)
    assert (found.hops, found.status, found.reason) == ((), 404, "192.0.2.3 is forbidden")


def test_how_much_follows_from_one_uri_is_bounded() -> None:
    """However many records there are, each with a name of its own."""
    naptr = records(*(Naptr(at, 0, "s", "SIP+D2U", "", f"_sip._udp.n{at}.example.com") for at in range(40)))
    zone = {"NAPTR example.com": naptr}
    for at in range(40):
        many = (Srv(0, 0, 5000 + each, f"h{at}-{each}.example.com") for each in range(40))
        zone[f"SRV _sip._udp.n{at}.example.com"] = records(*many)
        for each in range(40):
            zone[f"A h{at}-{each}.example.com"] = records(*(f"192.0.2.{last}" for last in range(40)))
    found, asked = run("sip:bob@example.com", zone, Permits(lambda address: "", has_ipv6=True))
    assert len(found.hops) == PLACES_MAX
    assert len(asked) == 1 + SERVICES_MAX + 2 * SERVERS_MAX


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..b", "-", ".".join(["abcdefgh"] * 40)])
def test_what_cannot_be_a_name_is_not_asked(host: str) -> None:
    steps = locate(parse_sip_uri("sip:bob@example.com").replace(host=host), ANYWHERE, random.Random(0))
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert "no name" in end.value.value.reason


def test_who_does_not_answer_may_be_there_all_the_same() -> None:
    """480 and not 404: DNS has not said that there is nobody."""
    found, _ = run("sip:bob@example.com", {"NAPTR example.com": Records(problem="SERVFAIL")})
    assert (found.status, found.reason) == (480, "DNS does not answer for NAPTR example.com: SERVFAIL")
    assert run("sip:bob@example.com", {})[0].status == 404


SILENT = Records(problem="SERVFAIL")
WITHOUT_NAPTR = {key: value for key, value in EXAMPLE.items() if not key.startswith("NAPTR")}
ADDRESS_ALONE = {"A example.com": records("192.0.2.100")}
TLS, TCP, UDP = "tls 192.0.2.3:5061", ["tcp 192.0.2.1:5060", "tcp 192.0.2.2:5060"], "udp 192.0.2.1:5064"
UDP_FIRST = {
    **EXAMPLE,
    "NAPTR example.com": records(
        Naptr(10, 50, "s", "SIP+D2U", "", "_sip._udp.example.com"),
        Naptr(20, 50, "s", "SIPS+D2T", "", "_sips._tcp.example.com"),
        Naptr(30, 50, "s", "SIP+D2T", "", "_sip._tcp.example.com"),
    ),
}


@pytest.mark.parametrize(
    ("uri", "zone", "silent", "expected"),
    [
        # What may have been TLS is not known: nothing that anybody on the way can read is taken for it.
        ("sip:bob@example.com", EXAMPLE, "SRV _sips._tcp.example.com", []),
        ("sip:bob@example.com", EXAMPLE, "A secure.example.com", []),
        ("sip:bob@example.com", WITHOUT_NAPTR, "SRV _sips._tcp.example.com", []),
        ("sip:bob@example.com", ADDRESS_ALONE, "SRV _sips._tcp.example.com", []),
        ("sip:bob@example.com", ADDRESS_ALONE, "NAPTR example.com", []),
        ("sip:bob@example.com", UDP_FIRST, "SRV _sips._tcp.example.com", [UDP]),
        # Nor is it that there are no servers but the one that is called like the domain.
        ("sip:bob@example.com", ADDRESS_ALONE, "SRV _sip._tcp.example.com", []),
        ("sip:bob@example.com;transport=udp", ADDRESS_ALONE, "SRV _sip._udp.example.com", []),
        ("sips:bob@example.com", ADDRESS_ALONE, "SRV _sips._tcp.example.com", []),
        # The domain that its certificate proves is the right one, however it was found.
        ("sip:bob@example.com", WITHOUT_NAPTR, "NAPTR example.com", [TLS]),
        ("sips:bob@example.com", ADDRESS_ALONE, "NAPTR example.com", ["tls 192.0.2.100:5061"]),
        # What is not known is not needed.
        ("sip:bob@example.com", EXAMPLE, "SRV _sip._udp.example.com", [TLS, *TCP]),
        ("sip:bob@example.com", EXAMPLE, "SRV _sip._tcp.example.com", [TLS, UDP]),
        ("sip:bob@example.com", EXAMPLE, "A server2.example.com", [TLS, TCP[0], UDP]),
        ("sips:bob@example.com", EXAMPLE, "A server1.example.com", [TLS]),
        ("sip:bob@example.com", EXAMPLE, "AAAA secure.example.com", [TLS, *TCP, UDP]),
        ("sip:bob@example.com;transport=tcp", EXAMPLE, "SRV _sips._tcp.example.com", TCP),
        ("sip:bob@example.com:5060", EXAMPLE, "NAPTR example.com", ["udp 192.0.2.100:5060"]),
    ],
)
def test_4_no_answer_is_not_the_answer_that_there_is_none(
    uri: str, zone: Zone, silent: str, expected: list[str]
) -> None:
    """4.2: "If no SRV records were found": they are not found where DNS says so, and not where it says nothing."""
    permits = Permits(lambda address: "", has_ipv6=silent.startswith("AAAA"))
    found, _ = run(uri, {**zone, silent: SILENT}, permits)
    assert list(map(str, found.hops)) == expected
    if not expected:
        assert (found.status, found.reason) == (480, f"DNS does not answer for {silent}: SERVFAIL")


def test_what_was_learnt_is_said() -> None:
    found, _ = run("sips:bob@example.com", EXAMPLE)
    assert found.said == (
        "NAPTR example.com: SIP+D2T at _sip._tcp.example.com (90 50), SIP+D2U at _sip._udp.example.com (100 50), "
        "SIPS+D2T at _sips._tcp.example.com (50 50)",
        "SRV _sips._tcp.example.com: secure.example.com:5061 (0 1)",
        "A secure.example.com: 192.0.2.3",
    )

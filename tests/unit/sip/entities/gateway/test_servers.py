"""Which of a trunk's servers is spoken to."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest
from trunk_bench import PROVIDER, SECOND, STRANGER, TERMS, THIRD

from p2psip.base.address import Address
from p2psip.sip.entities.gateway.limits import PASSED_OVER_S
from p2psip.sip.entities.gateway.servers import Servers
from p2psip.sip.message.uri import parse_sip_uri
from p2psip.sip.transports.hops import StreamHop, UdpHop

ALL = (PROVIDER, SECOND, THIRD)


def found(**changes: object) -> Servers:
    servers = Servers(replace(TERMS, **changes))  # type: ignore[arg-type]
    servers.find(ALL, 0.0)
    return servers


def test_the_first_is_used_until_it_fails_and_then_the_next_until_that_one_does() -> None:
    servers = found()
    assert servers.in_turn(0.0) == [PROVIDER, SECOND, THIRD]
    assert servers.fail(PROVIDER, 0.0)
    assert servers.present == SECOND
    # It stays, though the first one may be there again.
    assert servers.in_turn(PASSED_OVER_S + 1) == [SECOND, PROVIDER, THIRD]
    assert servers.fail(SECOND, PASSED_OVER_S + 1)
    assert servers.present == PROVIDER


def test_when_all_have_failed_that_one_is_next_of_which_it_is_longest_ago() -> None:
    servers = found()
    assert [servers.fail(each, float(at)) for at, each in enumerate(ALL)] == [True, True, False]
    assert (servers.present, servers.in_turn(3.0)) == (PROVIDER, [PROVIDER])
    assert not servers.fail(PROVIDER, 3.0)
    assert servers.present == SECOND
    servers.answer(THIRD)
    assert servers.fail(SECOND, 4.0)
    assert servers.present == THIRD


def test_one_that_is_not_used_fails_beside_it() -> None:
    servers = found()
    assert servers.fail(SECOND, 0.0)
    assert servers.fail(STRANGER, 0.0)
    assert servers.in_turn(1.0) == [PROVIDER, THIRD]


def test_found_anew_the_present_one_stays_if_it_is_still_among_them() -> None:
    servers = found()
    servers.fail(PROVIDER, 0.0)
    servers.find((THIRD, SECOND), 1.0)
    assert servers.present == SECOND
    servers.find((THIRD,), 2.0)
    assert servers.present == THIRD


@pytest.mark.parametrize(
    ("uri", "leads_to"),
    [
        ("sip:x@198.51.100.17:5099", Address("198.51.100.17", 5099)),
        ("sip:198.51.100.27;lr", Address("198.51.100.27", 5060)),
        ("sip:x@gw.tel.example;maddr=198.51.100.27", Address("198.51.100.27", 5060)),
        ("sip:x@203.0.113.9", Address("203.0.113.9", 5060)),
        # A name, somebody else's network, strangers, and what we do not speak with them.
        ("sip:x@gw.tel.example", None),
        ("sip:x@10.0.0.5", None),
        ("sip:x@198.51.100.99", None),
        ("sip:x@198.51.100.17;transport=tcp", None),
        ("sips:x@198.51.100.17", None),
    ],
)
def test_12_2_1_1_where_a_uri_of_a_dialog_leads(uri: str, leads_to: Address | None) -> None:
    servers = found(also_from=(ipaddress.ip_network("203.0.113.0/28"),))
    assert servers.hop_to(parse_sip_uri(uri)) == (None if leads_to is None else UdpHop(leads_to))


def test_a_uri_of_a_dialog_over_tls() -> None:
    servers = found(transport="TLS")
    there = StreamHop("TLS", Address("198.51.100.17", 5061))
    assert servers.hop_to(parse_sip_uri("sip:x@198.51.100.17;transport=tls")) == there
    assert servers.hop_to(parse_sip_uri("sips:x@198.51.100.17")) == there
    # Not in clear.
    assert servers.hop_to(parse_sip_uri("sip:x@198.51.100.17")) is None

"""Where a peer listens, and what it tells others of that."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dundi_bench import TERMS

from p2psip.base.address import Address
from p2psip.daemon import endpoints
from p2psip.daemon.endpoints import KnownAs, endpoints_of, listeners_of, own_names, transport_limits, unknown_host
from p2psip.daemon.state.settings import PeerSettings, make_settings
from p2psip.reload.wire.link_messages import NO_ICE
from p2psip.sip.transports.flow_table import TransportLimits

OVERLAY = "club.example"
DUAL = ["192.168.7.1", "172.17.0.1", "2001:db8::7", "fe80::1%eth0"]
"""What a machine has whose first address leads out."""


def settings(**changes: object) -> PeerSettings:
    return make_settings({"name": "garden", "fingerprint": "a" * 64} | changes, "test")


def known(present: list[str], **changes: object) -> KnownAs:
    return KnownAs.of(settings(**changes), present)


def hosts(addresses: tuple[Address, ...]) -> list[str]:
    return [address.host for address in addresses]


def test_everywhere_is_opened_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an address may come when the peer runs."""
    monkeypatch.setattr(endpoints, "_has_ipv6", lambda: True)
    opened = endpoints_of(settings(), NO_ICE)
    assert opened.overlay == opened.overlay_udp == (Address("0.0.0.0", 6084), Address("::", 6084))
    assert opened.sip == (Address("0.0.0.0", 5062), Address("::", 5062))
    assert [(one.transport, *one.local) for one in listeners_of(opened)] == [
        ("UDP", "0.0.0.0", 5060), ("UDP", "::", 5060), ("TCP", "0.0.0.0", 5060), ("TCP", "::", 5060),
        ("TLS", "0.0.0.0", 5061), ("TLS", "::", 5061),
    ]  # fmt: skip
    assert endpoints_of(settings(phone_tls=False), NO_ICE).phone_tls == ()
    assert endpoints_of(settings(phone_udp=False), NO_ICE).phone_udp == ()


def test_browsers_have_ports_of_their_own_where_they_are_served() -> None:
    opened = endpoints_of(settings(phone_ws=True, phone_wss=True, phone_listen=["192.0.2.1"]), NO_ICE)
    assert [(one.transport, one.local.port) for one in listeners_of(opened)] == [
        ("UDP", 5060), ("TCP", 5060), ("TLS", 5061), ("WS", 5066), ("WSS", 5067),
    ]  # fmt: skip
    assert endpoints_of(settings(), NO_ICE).phone_ws == endpoints_of(settings(), NO_ICE).phone_wss == ()


def test_a_machine_that_does_not_know_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "_has_ipv6", lambda: False)
    assert endpoints_of(settings(), NO_ICE).overlay == (Address("0.0.0.0", 6084),)
    # What was named must be there: that it is not comes out when it is opened.
    assert endpoints_of(settings(listen=["::1"]), NO_ICE).overlay == (Address("::1", 6084),)


def test_everywhere_is_told_as_what_others_can_use() -> None:
    found = known(DUAL)
    assert hosts(found.overlay) == ["192.168.7.1", "172.17.0.1", "2001:db8::7"]
    assert found.sip == tuple(Address(host, 5062) for host in hosts(found.overlay))
    assert found.facts() == {
        "overlay": ["192.168.7.1:6084", "172.17.0.1:6084", "[2001:db8::7]:6084"],
        "phones": ["192.168.7.1:5060", "172.17.0.1:5060", "[2001:db8::7]:5060"],
    }
    # A phone may use any, and one that runs on this very machine the loopback.
    assert set(found.own) == {*DUAL, "127.0.0.1", "::1"}
    assert found.media_host == "192.168.7.1"


def test_what_is_named_is_taken_as_it_is() -> None:
    found = known(DUAL, listen=["192.168.7.1"], phone_listen=["127.0.0.1"], advertise=["203.0.113.9"])
    assert hosts(found.overlay) == hosts(found.sip) == ["203.0.113.9"]
    assert hosts(found.phones) == ["127.0.0.1"]
    assert set(found.own) == {"127.0.0.1", "203.0.113.9"}
    assert found.hosts == ("192.168.7.1",), "what others are told is a router's: links are here"


@pytest.mark.parametrize(
    ("listen", "present", "told"),
    [
        # No way to the Internet is not no network: nothing here asks for one.
        (["0.0.0.0"], ["192.168.7.1"], ["192.168.7.1"]),
        (["0.0.0.0", "::"], ["169.254.7.1", "fe80::1%eth0"], ["169.254.7.1", "fe80::1"]),
        (["0.0.0.0", "::"], ["fe80::1%eth0"], ["fe80::1"]),
        # Others on the Internet have no use for what only the link has.
        (["0.0.0.0", "::"], ["192.168.7.1", "169.254.7.1", "fe80::1%eth0"], ["192.168.7.1"]),
        # IPv6 alone, on a machine that has both; also where IPv6 is there for the link alone.
        (["::"], DUAL, ["2001:db8::7"]),
        (["::"], ["192.168.7.1", "fe80::1%eth0"], ["fe80::1"]),
        # No network.
        (["0.0.0.0", "::"], [], ["127.0.0.1"]),
        (["::"], [], ["::1"]),
        (["::"], ["192.168.7.1"], ["::1"]),
    ],
)
def test_what_a_machine_without_this_or_that_tells(listen: list[str], present: list[str], told: list[str]) -> None:
    """The wire knows no zones (RFC 4007 section 11.2)."""
    found = known(present, listen=listen, phone_listen=listen)
    assert hosts(found.overlay) == hosts(found.phones) == told


@pytest.mark.parametrize("changes", [{}, {"advertise": ["203.0.113.9"]}, {"listen": ["::"], "phone_listen": ["::"]}])
@pytest.mark.parametrize("present", [DUAL, ["192.168.7.1"], ["fe80::1%eth0"], []])
def test_nothing_has_changed_where_nothing_has(changes: dict[str, object], present: list[str]) -> None:
    """What is, and what was, by the same question."""
    assert known(present, **changes) == known(list(present), **changes)


def test_an_address_that_comes_makes_a_difference_where_it_is_of_use() -> None:
    before, after = ["192.168.7.1"], ["192.168.7.1", "2001:db8::7"]
    assert known(before) != known(after)
    assert known(before, listen=["0.0.0.0"], phone_listen=["0.0.0.0"]) == known(
        after, listen=["0.0.0.0"], phone_listen=["0.0.0.0"]
    )
    assert known([]) != known(before)
    # Told to other peers is one thing, the phones' another.
    forwarded = {"advertise": ["203.0.113.9"]}
    assert known(before, **forwarded).overlay == known(after, **forwarded).overlay
    assert known(before, **forwarded).phones != known(after, **forwarded).phones


def test_all_names_that_mean_the_overlay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decision 7: any own name; the addresses come and go."""
    monkeypatch.setattr(endpoints.socket, "gethostname", lambda: "Garden.home.example")
    assert own_names(settings(domains=["PBX.example"]), OVERLAY) == {
        OVERLAY, "pbx.example", "garden.home.example", "garden", "garden.local", "localhost",
    }  # fmt: skip


def test_connections_with_phones_leave_half_of_the_descriptors() -> None:
    """Strangers who keep them open make room for each other long before nobody is let in any more."""
    assert transport_limits(300).flows == 150
    assert transport_limits(20_000) == TransportLimits()


@pytest.mark.parametrize(
    ("host", "unknown"),
    [
        ("192.168.7.1", ""),
        ("192.168.7.1:5070", ""),
        ("[2001:db8::7]:5060", ""),
        ("Garden.example", ""),
        ("203.0.113.9:5060", "203.0.113.9"),
        ("pbx.example", "pbx.example"),
    ],
)
def test_by_what_host_dundi_peers_call_in_is_one_of_this_peer(host: str, unknown: str) -> None:
    of_peer = settings(domains=["garden.example"])
    assert unknown_host(replace(TERMS, host=host), of_peer, OVERLAY, known(DUAL)) == unknown
    assert unknown_host(None, of_peer, OVERLAY, known(DUAL)) == ""

"""Where a peer listens, and what it tells others of that."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2psip.base.address import Address
from p2psip.daemon import endpoints
from p2psip.daemon.endpoints import ListenAddresses, local_addresses, own_names
from p2psip.daemon.settings import PeerSettings, make_settings
from p2psip.reload.wire.link_messages import NO_ICE

OVERLAY = "club.example"


def settings(**changes: object) -> PeerSettings:
    return make_settings({"name": "garden", "fingerprint": "a" * 64} | changes, "test")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """A machine with these interfaces; the first leads out."""
    has = {"ipv4": ["127.0.0.1", "192.168.7.1", "172.17.0.1"], "ipv6": ["::1", "fe80::1", "2001:db8::7"]}
    monkeypatch.setattr(endpoints, "own_address", lambda: (has["ipv4"][1:2] or has["ipv6"][2:3] or ["127.0.0.1"])[0])
    monkeypatch.setattr(endpoints, "_ipv4_addresses", lambda: has["ipv4"])
    monkeypatch.setattr(endpoints, "_ipv6_addresses", lambda: has["ipv6"])
    monkeypatch.setattr(endpoints, "_has_ipv6", lambda: bool(has["ipv6"]))
    monkeypatch.setattr(endpoints.socket, "gethostname", lambda: "Garden.home.example")
    return has


def test_everywhere_is_told_as_what_others_can_use(machine: dict[str, list[str]]) -> None:
    addresses = ListenAddresses.of(settings(), NO_ICE)
    assert addresses.endpoints.overlay == (Address("0.0.0.0", 6084), Address("::", 6084))
    assert addresses.endpoints.sip == (Address("0.0.0.0", 5062), Address("::", 5062))
    assert addresses.advertised_overlay == tuple(
        Address(host, 6084) for host in ("192.168.7.1", "172.17.0.1", "2001:db8::7")
    )
    assert [address.port for address in addresses.advertised_sip] == [5062] * 3
    assert addresses.facts() == {
        "overlay": ["192.168.7.1:6084", "172.17.0.1:6084", "[2001:db8::7]:6084"],
        "phones": ["192.168.7.1:5060", "172.17.0.1:5060", "[2001:db8::7]:5060"],
    }


def test_a_listener_says_of_itself_what_phones_can_use(machine: dict[str, list[str]]) -> None:
    listeners = ListenAddresses.of(settings(), NO_ICE).listeners
    assert [(one.transport, one.local.host, one.advertised.host) for one in listeners] == [
        ("UDP", "0.0.0.0", "192.168.7.1"),
        ("UDP", "::", "2001:db8::7"),
        ("TCP", "0.0.0.0", "192.168.7.1"),
        ("TCP", "::", "2001:db8::7"),
    ]


def test_what_is_named_is_taken_as_it_is(machine: dict[str, list[str]]) -> None:
    addresses = ListenAddresses.of(
        settings(listen=["192.168.7.1"], phone_listen=["127.0.0.1"], advertise=["203.0.113.9"], phone_udp=False), NO_ICE
    )
    assert addresses.endpoints.overlay == (Address("192.168.7.1", 6084),)
    assert addresses.advertised_overlay == (Address("203.0.113.9", 6084),)
    assert addresses.endpoints.phone_udp == ()
    assert addresses.endpoints.phone_tcp == (Address("127.0.0.1", 5060),)
    assert not addresses.is_outdated


def test_a_machine_without_ipv6(machine: dict[str, list[str]]) -> None:
    machine["ipv6"].clear()
    assert ListenAddresses.of(settings(), NO_ICE).endpoints.overlay == (Address("0.0.0.0", 6084),)
    # What was named must be there: that it is not comes out when it is opened.
    assert ListenAddresses.of(settings(listen=["::1"]), NO_ICE).endpoints.overlay == (Address("::1", 6084),)


def test_a_machine_without_a_network(machine: dict[str, list[str]]) -> None:
    machine["ipv4"][1:] = []
    machine["ipv6"].clear()
    addresses = ListenAddresses.of(settings(), NO_ICE)
    assert addresses.advertised_overlay == (Address("127.0.0.1", 6084),)
    assert not addresses.is_outdated
    # The network comes: what others were told is of no use any more.
    machine["ipv4"].append("192.168.7.1")
    assert addresses.is_outdated
    assert not ListenAddresses.of(settings(), NO_ICE).is_outdated


def test_a_network_that_goes_is_no_reason_to_start_anew(machine: dict[str, list[str]]) -> None:
    addresses = ListenAddresses.of(settings(), NO_ICE)
    machine["ipv4"][1:] = []
    machine["ipv6"].clear()
    assert not addresses.is_outdated


def test_all_that_means_the_overlay(machine: dict[str, list[str]]) -> None:
    """Decision 7: any own address or name, those of this very machine for a phone that runs on it included."""
    chosen = settings(domains=["PBX.example"])
    names = own_names(chosen, OVERLAY, ListenAddresses.of(chosen, NO_ICE))
    assert names == {
        OVERLAY, "pbx.example", "garden.home.example", "garden", "garden.local", "localhost",
        "192.168.7.1", "172.17.0.1", "2001:db8::7", "127.0.0.1", "::1",
    }  # fmt: skip


def test_the_address_told_to_other_peers_is_a_name_as_well(machine: dict[str, list[str]]) -> None:
    chosen = settings(phone_listen=["192.168.7.1"], advertise=["203.0.113.9"])
    names = own_names(chosen, OVERLAY, ListenAddresses.of(chosen, NO_ICE))
    assert {"192.168.7.1", "203.0.113.9"} <= names
    assert "127.0.0.1" not in names


def test_this_machine() -> None:
    """What it really has; whatever it is, it can be used."""
    found = local_addresses()
    assert found
    assert len(set(found)) == len(found)


def test_fleeting_addresses_are_not_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A temporary address (RFC 8981) is another one tomorrow."""
    table = tmp_path / "if_inet6"
    table.write_text(
        "20010db8000000000000000000000007 02 40 00 80     eth0\n"
        "20010db800000000aaaaaaaaaaaaaaaa 02 40 00 01     eth0\n"
        "20010db800000000bbbbbbbbbbbbbbbb 02 40 00 20     eth0\n"
    )
    monkeypatch.setattr(endpoints, "IPV6_TABLE", table)
    monkeypatch.setattr(endpoints, "_has_ipv6", lambda: True)
    assert endpoints._ipv6_addresses() == ["2001:db8::7"]

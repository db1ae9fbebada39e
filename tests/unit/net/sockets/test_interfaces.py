"""Which addresses this machine has, and what becomes of those that are of no use to others."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from p2psip.base.address import Address
from p2psip.net.sockets.addresses import address_of, join_host_port, sockaddr_of, usable_hosts, with_zones
from p2psip.net.sockets.interfaces import InterfaceAddress, interface_addresses, interface_of, own_hosts, with_zone

LASTING, TEMPORARY, DAD_FAILED, DEPRECATED, TENTATIVE = 0x80, 0x01, 0x08, 0x20, 0x40
LOOPBACK = socket.if_nametoindex("lo")


def on(address: str, flags: int = LASTING) -> InterfaceAddress:
    return InterfaceAddress(ipaddress.ip_address(address), LOOPBACK, flags)


def test_this_machine_has_its_loopback() -> None:
    assert "127.0.0.1" in [each.host for each in interface_addresses()]


def test_what_leads_out_comes_first_and_what_only_the_link_has_comes_last() -> None:
    has = [on("127.0.0.1"), on("169.254.3.3"), on("172.17.0.1"), on("192.168.7.1"), on("::1"), on("fe80::1")]
    assert own_hosts(has, ["192.168.7.1"]) == ["192.168.7.1", "172.17.0.1", "169.254.3.3", "fe80::1%lo"]
    assert own_hosts(has) == ["172.17.0.1", "192.168.7.1", "169.254.3.3", "fe80::1%lo"]


@pytest.mark.parametrize("flag", [TEMPORARY, DAD_FAILED, DEPRECATED, TENTATIVE])
def test_fleeting_addresses_are_not_told(flag: int) -> None:
    """A temporary address (RFC 8981) is another one tomorrow; an IPv4 address has other meanings of these bits."""
    assert own_hosts([on("2001:db8::7", LASTING | flag), on("2001:db8::8")]) == ["2001:db8::8"]
    assert own_hosts([on("192.168.7.1", LASTING | flag)]) == ["192.168.7.1"]


def test_what_can_be_told() -> None:
    assert usable_hosts(["192.168.7.1", "fe80::1%eth0"]) == ["192.168.7.1"]
    assert usable_hosts(["169.254.1.1", "fe80::1%eth0"]) == ["169.254.1.1", "fe80::1%eth0"]
    assert usable_hosts(["192.168.7.1", "fe80::1%eth0"], [6]) == ["fe80::1%eth0"]
    assert usable_hosts([]) == ["127.0.0.1"]
    assert usable_hosts([], [6]) == ["::1"]


def test_a_zone_goes_in_and_out_of_a_socket_s_words() -> None:
    """Of a name, so that it means the same after a restart; on the wire there is none."""
    assert address_of(("fe80::1", 5060, 0, LOOPBACK)) == Address("fe80::1%lo", 5060)
    assert sockaddr_of(Address("fe80::1%lo", 5060)) == ("fe80::1", 5060, 0, LOOPBACK)
    assert address_of(("2001:db8::1", 5060, 0, 0)) == Address("2001:db8::1", 5060)
    assert sockaddr_of(("192.0.2.1", 5060)) == ("192.0.2.1", 5060)
    assert join_host_port("fe80::1%lo", 8443) == "[fe80::1]:8443"


def test_an_interface_that_has_gone_still_has_its_number() -> None:
    assert with_zone("fe80::1", 999_999) == "fe80::1%999999"
    assert interface_of("fe80::1%999999") == 999_999
    with pytest.raises(OSError, match="no interface with this name"):
        interface_of("fe80::1%nosuchlink")


def test_only_a_link_local_address_of_ipv6_may_be_on_any_link() -> None:
    for host in ("192.0.2.1", "169.254.1.1", "2001:db8::1", "fe80::1%lo"):
        assert with_zones(host) == [host]
    assert with_zones("fe80::1")

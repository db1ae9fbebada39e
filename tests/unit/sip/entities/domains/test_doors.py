"""To which addresses of other domains anything is sent."""

from __future__ import annotations

import ipaddress

import pytest

from p2psip.base.address import Address
from p2psip.sip.entities.domains.doors import OtherDomains

PORTS = frozenset({5060, 5061})
CLOSED = OtherDomains()
AT_HOME = OtherDomains(guests=(ipaddress.ip_network("192.168.7.0/24"), ipaddress.ip_network("fd00::/8")))


def refusal(host: str, doors: OtherDomains = CLOSED, port: int = 5060, *, is_own: bool = False) -> str:
    return doors.refusal(Address(host, port), PORTS, is_own=is_own)


@pytest.mark.parametrize("host", ["45.66.77.1", "2a01:4f8::1", "44.1.2.3", "64:ff9b::2d42:4d01", "2002:2d42:4d01::1"])
def test_addresses_of_the_internet(host: str) -> None:
    assert refusal(host) == ""


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.7.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("255.255.255.255", "224.0.1.75", "240.0.0.1", "192.0.2.1", "198.18.0.1"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1", "2001:db8::1"),
        # The same, carried inside an address of IPv6.
        *(
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "64:ff9b::7f00:1",
            "64:ff9b::a01:203",
            "2002:7f00:1::",
            "2002:a01:203::1",
        ),
        *("2001:0:4136:e378:8000:63bf:3fff:fdd2", "::127.0.0.1"),
    ],
)
def test_addresses_that_mean_something_else_here(host: str) -> None:
    """DNS must not lead a peer to its own machine, its own network, or a crowd."""
    assert "no address of the Internet" in refusal(host)


@pytest.mark.parametrize("host", ["192.168.7.1", "192.168.7.255", "fd00::1"])
def test_networks_of_guests_may_be_called(host: str) -> None:
    assert refusal(host, AT_HOME) == ""


def test_we_do_not_call_ourselves() -> None:
    """A port at which we take requests is never called; another one of this machine only where it is a guest's."""
    assert "this peer itself" in refusal("45.66.77.1", is_own=True)
    assert "this peer itself" in refusal("192.168.7.1", AT_HOME, is_own=True)
    assert "this machine" in refusal("45.66.77.1", port=5080, is_own=True)
    assert refusal("192.168.7.1", AT_HOME, 5080, is_own=True) == ""


def test_a_guest_is_in_one_of_the_networks() -> None:
    assert AT_HOME.is_guest("192.168.7.9")
    assert not AT_HOME.is_guest("192.168.8.9")
    assert not AT_HOME.is_guest("::ffff:192.168.7.9")
    assert not CLOSED.is_guest("192.168.7.9")

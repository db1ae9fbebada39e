"""Which addresses this machine has, and what becomes of those that are of no use to others."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Iterator

import pytest

from p2psip.base.address import Address
from p2psip.net.sockets import interfaces
from p2psip.net.sockets.addresses import address_of, join_host_port, sockaddr_of, usable_hosts, with_zones
from p2psip.net.sockets.interfaces import (
    AddressNews,
    InterfaceAddress,
    interface_addresses,
    interface_of,
    own_hosts,
    with_zone,
)

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


LONG_S = 60.0


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[socket.socket, AddressNews]]:
    """It says what the test says."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    class Netlink:
        """As much of such a socket as is wanted."""

        def bind(self, _: object) -> None:
            """To whatever groups."""

        def __getattr__(self, name: str) -> object:
            return getattr(ours, name)

    with monkeypatch.context() as patch, ours, theirs:
        patch.setattr(interfaces.socket, "socket", lambda *_: Netlink())
        news = AddressNews()
        patch.undo()
        yield theirs, news


def test_news_of_the_kernel_end_the_wait_and_are_read_together(kernel: tuple[socket.socket, AddressNews]) -> None:
    """An address goes and another comes: that is one look, and then there are no news."""
    says, news = kernel

    async def waits() -> list[bool]:
        says.send(b"one is gone")
        says.send(b"one has come")
        return [await news.wait(LONG_S), await news.wait(0.01)]

    assert asyncio.run(waits()) == [True, False]


def test_where_the_kernel_says_nothing_one_looks_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file descriptor is left, say."""

    def refused(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(interfaces.socket, "socket", refused)
    with contextlib.closing(AddressNews()) as news:
        monkeypatch.undo()
        assert asyncio.run(news.wait(0.01)) is False


def test_this_kernel_may_be_asked_to_say_it() -> None:
    """A real socket, to a kernel that has nothing to say just now or has."""

    async def wait() -> None:
        with contextlib.closing(AddressNews()) as news:
            assert news._kernel is not None
            await news.wait(0.01)

    asyncio.run(wait())

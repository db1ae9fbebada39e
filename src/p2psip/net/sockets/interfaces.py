"""The addresses that this machine's interfaces have now, asked of the Linux kernel (rtnetlink(7)): reading alone.

That they are others the kernel says as well; what they are it is asked all the same.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import struct
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

RTM_GETADDR, RTM_NEWADDR = 22, 20
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_DUMP = 0x001, 0x300
IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS = 1, 2, 8

FLEETING = 0x01 | 0x08 | 0x20 | 0x40
"""Flags of an IPv6 address that is temporary, somebody else's too, deprecated or not ours yet (linux/if_addr.h)."""

HEADER = struct.Struct("=IHHII")
ADDRESS_MESSAGE = struct.Struct("=BBBBI")
ATTRIBUTE = struct.Struct("=HH")
READ_BYTES = 1 << 16

RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR = 0x10, 0x100

SETTLE_S = 0.1
"""With a new address come its route and others: so long after the first word they are looked at together."""

WORDS_MAX = 1000
"""How many words of the kernel are read in one go; what is left is another one."""


class InterfaceAddress(NamedTuple):
    """One address of one interface; `flags` as in linux/if_addr.h."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    interface: int
    flags: int

    @property
    def is_lasting(self) -> bool:
        """False for what is another one tomorrow (RFC 8981), or is not ours. Of IPv4 all are meant to be there."""
        return self.address.version == 4 or not self.flags & FLEETING

    @property
    def host(self) -> str:
        """In text, with the zone that it needs."""
        is_zoned = self.address.version == 6 and self.address.is_link_local
        return with_zone(str(self.address), self.interface) if is_zoned else str(self.address)


def interface_addresses() -> list[InterfaceAddress]:
    """All that there are, in the kernel's order. Raises OSError if the kernel does not say."""
    return list(_addresses(dump(RTM_GETADDR, ADDRESS_MESSAGE.pack(socket.AF_UNSPEC, 0, 0, 0, 0))))


class AddressNews:
    """Whether an address of this machine has come or gone since the last look (RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR).

    Where the kernel says nothing of its own accord, as no file descriptor is left, there are no news: whoever waits
    looks when his time is over.
    """

    def __init__(self) -> None:
        self._kernel: socket.socket | None = None
        try:
            self._kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            self._kernel.setblocking(False)
            self._kernel.bind((0, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))
        except OSError:
            self.close()

    def close(self) -> None:
        """Wait for nothing any more."""
        if self._kernel is not None:
            self._kernel.close()
            self._kernel = None

    async def wait(self, limit_s: float) -> bool:
        """True as soon as there are news and what belongs to them has had its time; False if there are none."""
        if self._kernel is None:
            await asyncio.sleep(limit_s)
            return False
        loop, said = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._kernel, said.set)
        try:
            await asyncio.wait_for(said.wait(), limit_s)
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(self._kernel)
        await asyncio.sleep(SETTLE_S)
        self._read()
        return True

    def _read(self) -> None:
        """What exactly was said is of no interest, nor that there was more than the kernel keeps (ENOBUFS)."""
        assert self._kernel is not None
        for _ in range(WORDS_MAX):
            try:
                self._kernel.recv(READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                continue


def own_hosts(addresses: Iterable[InterfaceAddress], leading_out: Collection[str] = ()) -> list[str]:
    """Those that others can use, what reaches farthest first; link-local ones of IPv6 with their zone.

    `leading_out` go before all others; what only the same link can use comes last. Loopback is left out.
    """
    lasting = [each for each in addresses if each.is_lasting and not each.address.is_loopback]
    lasting.sort(key=lambda each: (each.address.is_link_local, str(each.address) not in leading_out))
    return list(dict.fromkeys(each.host for each in lasting))


def with_zone(host: str, interface: int) -> str:
    """A link-local address of IPv6 is one of an interface (RFC 4007 section 11): `fe80::1%eth0`."""
    if not interface or "%" in host:
        return host
    try:
        return f"{host}%{socket.if_indextoname(interface)}"
    except OSError:
        # An interface that has just gone still has its number.
        return f"{host}%{interface}"


def interface_of(host: str) -> int:
    """The number of the interface in the zone of a host, 0 if it has none. Raises OSError if there is none such."""
    zone = host.partition("%")[2]
    if not zone:
        return 0
    return int(zone) if zone.isdecimal() else socket.if_nametoindex(zone)


def dump(kind: int, request: bytes) -> list[tuple[int, bytes]]:
    """All that the kernel has of this kind: type and body of each message. Raises OSError."""
    head = HEADER.pack(HEADER.size + len(request), kind, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.sendto(head + request, (0, 0))
        return list(_messages(kernel))


def _messages(kernel: socket.socket) -> Iterator[tuple[int, bytes]]:
    while True:
        data = kernel.recv(READ_BYTES)
        while data:
            length, kind, *_ = HEADER.unpack_from(data)
            body, data = data[HEADER.size : length], data[(length + 3) & ~3 :]
            if kind == NLMSG_DONE:
                return
            if kind == NLMSG_ERROR:
                (number,) = struct.unpack_from("=i", body)
                raise OSError(-number, os.strerror(-number))
            yield kind, body


def _addresses(messages: Iterable[tuple[int, bytes]]) -> Iterator[InterfaceAddress]:
    for kind, body in messages:
        if kind == RTM_NEWADDR:
            _, _, flags, _, interface = ADDRESS_MESSAGE.unpack_from(body)
            found = dict(attributes(body[ADDRESS_MESSAGE.size :]))
            # Of a point-to-point link IFA_ADDRESS is the other end.
            packed = found.get(IFA_LOCAL, found.get(IFA_ADDRESS))
            if IFA_FLAGS in found:
                (flags,) = struct.unpack("=I", found[IFA_FLAGS])
            if packed is not None:
                yield InterfaceAddress(ipaddress.ip_address(packed), interface, flags)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each attribute of a message."""
    while len(data) >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(data)
        yield kind, data[ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]

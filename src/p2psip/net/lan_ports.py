"""Questions to all peers on the links of this machine by multicast, and their answers: the sockets of
p2psip.reload.node.connecting.lan_search.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Container, Set
from typing import Final, NamedTuple

from p2psip.base.address import Address, without_zone
from p2psip.net.mdns_side import MdnsSide
from p2psip.net.sockets.datagrams import DatagramSocket
from p2psip.net.sockets.interfaces import interface_addresses, interface_of
from p2psip.net.sockets.tcp import REFUSALS
from p2psip.reload.paths.values import FoundByMdns, LanArrived, MdnsWanted, SendMulticast, SendOnLan

LAN_PORT: Final = 6085
GROUP_4: Final = "239.255.60.84"
"""Of the block that each network uses as it likes (RFC 2365 section 6.1)."""

GROUP_6: Final = "ff12::6084"
"""Of those that nobody assigns, and on the link alone (RFC 4291 section 2.7)."""

INTERFACES_MAX: Final = 32
"""Addresses of this machine by which is asked."""

IP_MULTICAST_ALL: Final = 49
"""ip(7); Python has no name for it."""

MREQN: Final = struct.Struct("=4s4si")
MREQ_6: Final = struct.Struct("=16si")


class _Link(NamedTuple):
    """One address of an interface, from which is asked and at which is heard."""

    host: str
    interface: int

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.host


ToLan = SendMulticast | SendOnLan | MdnsWanted
"""What goes to the LAN."""


class LanPorts:
    """On each link of this machine a socket for what all are asked, and one that asks and hears answers."""

    def __init__(
        self, tell: Callable[[LanArrived | FoundByMdns], None], is_on: Callable[[], bool], listening: Set[Address]
    ) -> None:
        """`listening` is where this node accepts links, now: elsewhere nobody need find it."""
        self._tell = tell
        self._listening = listening
        self._is_on = is_on
        self._open: dict[_Link, list[DatagramSocket]] = {}
        self._mdns = MdnsSide(tell, listening)

    def refresh(self) -> None:
        """Be on the links that there are now, as far as the machine lets us."""
        self._mdns.refresh()
        if not self._is_on():
            return
        try:
            links = set(_links({address.host for address in self._listening})[:INTERFACES_MAX])
        except OSError:
            # No file descriptor is left to ask by: the next look may see more.
            return
        for link in self._open.keys() - links:
            self._close(link)
        for link in sorted(links - self._open.keys()):
            with contextlib.suppress(*REFUSALS):
                self._open[link] = self._opened(link)

    def do(self, effect: ToLan) -> None:
        """What the core wants sent, or shown."""
        if isinstance(effect, MdnsWanted):
            self._mdns.use(effect)
        elif isinstance(effect, SendMulticast):
            self.ask(effect.data)
        else:
            self.answer(effect.remote, effect.data)

    def ask(self, data: bytes) -> None:
        """Send to all on each link."""
        self.refresh()
        for link, (_, asking) in self._open.items():
            group = f"{GROUP_6}%{link.interface}" if link.is_ipv6 else GROUP_4
            asking.send((group, LAN_PORT), data)

    def answer(self, remote: Address, data: bytes) -> None:
        """Send to one who has asked, by the link that it is on."""
        is_ipv6 = ":" in remote.host
        for link, (_, asking) in self._open.items():
            with contextlib.suppress(OSError):
                if link.is_ipv6 is is_ipv6 and (not is_ipv6 or interface_of(remote.host) == link.interface):
                    asking.send(remote, data)
                    return

    def close_all(self) -> None:
        """Be on no link any more."""
        self._mdns.close()
        for link in list(self._open):
            self._close(link)

    def _close(self, link: _Link) -> None:
        for each in self._open.pop(link):
            each.close()

    def _opened(self, link: _Link) -> list[DatagramSocket]:
        with contextlib.ExitStack() as otherwise:
            hearing, asking = _hearing(link, otherwise), _asking(link, otherwise)
            opened = [
                DatagramSocket(hearing, lambda _, remote, data: self._arrived(remote, data, is_to_all=True)),
                DatagramSocket(asking, lambda _, remote, data: self._arrived(remote, data, is_to_all=False)),
            ]
            otherwise.pop_all()
        return opened

    def _arrived(self, remote: Address, data: bytes, *, is_to_all: bool) -> None:
        self._tell(LanArrived(remote, data, is_to_all))


def _links(listening: Container[str]) -> list[_Link]:
    """Of IPv4 every address, of IPv6 the one that each link has for itself."""
    everywhere = {4: "0.0.0.0" in listening, 6: "::" in listening}
    return [
        _Link(each.host, each.interface)
        for each in interface_addresses()
        if each.is_lasting
        and not each.address.is_loopback
        and (each.address.version == 4 or each.address.is_link_local)
        and (everywhere[each.address.version] or each.host in listening)
    ]


def _hearing(link: _Link, otherwise: contextlib.ExitStack) -> socket.socket:
    """Bound to the group itself: nothing that is sent to this machine alone comes in. Raises OSError."""
    sock = _socket(link, otherwise)
    # Several peers of one machine hear everything, each.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if link.is_ipv6:
        packed = socket.inet_pton(socket.AF_INET6, GROUP_6)
        sock.bind((GROUP_6, LAN_PORT, 0, link.interface))
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, MREQ_6.pack(packed, link.interface))
    else:
        sock.bind((GROUP_4, LAN_PORT))
        # Else what comes by one link is heard once for each.
        sock.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
        group, own = socket.inet_aton(GROUP_4), socket.inet_aton(link.host)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, MREQN.pack(group, own, link.interface))
    return sock


def _asking(link: _Link, otherwise: contextlib.ExitStack) -> socket.socket:
    """Bound to a free port of the link's address; what it sends to all leaves by this link, and goes no further."""
    sock = _socket(link, otherwise)
    if link.is_ipv6:
        sock.bind((without_zone(link.host), 0, 0, link.interface))
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, link.interface)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
    else:
        sock.bind((link.host, 0))
        own = MREQN.pack(bytes(4), socket.inet_aton(link.host), link.interface)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
    return sock


def _socket(link: _Link, otherwise: contextlib.ExitStack) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if link.is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
    otherwise.callback(sock.close)
    sock.setblocking(False)
    return sock

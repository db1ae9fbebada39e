"""UDP sockets: of phones, of media, and of links between nodes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Callable

from p2psip.base.address import Address, without_zone
from p2psip.base.errors import LocalMisuse
from p2psip.net.sockets.addresses import address_of, sockaddr_of, taken
from p2psip.net.sockets.interfaces import interface_of
from p2psip.net.sockets.tcp import REFUSALS, family_of

PORT_TRIES = 64
READ_BYTES = 1 << 16

IP_PKTINFO = 8
"""ip(7); Python 3.11 has no name for it."""

IPV4_WHERE = struct.Struct("=i4s4s")
IPV6_WHERE = struct.Struct("=16si")
ANCILLARY_BYTES = 128

RECEIVE_ERRORS = {
    socket.AF_INET: (socket.IPPROTO_IP, 11),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 25),
}
"""IP_RECVERR and IPV6_RECVERR of ip(7) and ipv6(7): a socket that is nobody's alone is told which remote refuses."""

IP_ERROR = struct.Struct("=I")
"""How `struct sock_extended_err` begins: the error's number."""

REFUSAL_BYTES = 512
REFUSALS_A_TURN = 16

Ancillary = list[tuple[int, int, bytes]]

LOST = frozenset({errno.ENOBUFS, errno.ENOMEM, errno.EMSGSIZE})
"""What a machine says that cannot get rid of one datagram: as lost as one that is lost further on."""

Arrived = Callable[[Address, Address, bytes], None]
"""Called with local address, remote address and data."""

Refused = Callable[[Address, OSError, bytes], None]
"""Called with the remote, what the network said, and as much of the refused datagram as it showed: perhaps nothing."""


class DatagramSocket:
    """A UDP socket. What the network refuses (ICMP) is the core's timers' business, where nobody asks to hear of it.

    One that listens everywhere says of each datagram to which address of this machine it came, and an answer leaves
    from there: the other end may know no other.
    """

    def __init__(self, sock: socket.socket, arrived: Arrived, refused: Refused | None = None) -> None:
        self.local = address_of(sock.getsockname())
        self._socket = sock
        self._arrived = arrived
        self._refused = refused
        self._is_everywhere = ipaddress.ip_address(self.local.host).is_unspecified
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._read)

    @classmethod
    async def bind(
        cls,
        host: str,
        port: int,
        arrived: Arrived,
        *,
        refused: Refused | None = None,
        receive_bytes: int | None = None,
    ) -> DatagramSocket:
        """Bind `host`:`port`; LocalMisuse if somebody else has it. `receive_bytes` may wait to be read."""
        try:
            with contextlib.ExitStack() as otherwise:
                sock = bound_socket(host, port, receive_bytes, otherwise)
                if refused is not None:
                    sock.setsockopt(*RECEIVE_ERRORS[sock.family], 1)
                bound = cls(sock, arrived, refused)
                otherwise.pop_all()
                return bound
        except REFUSALS as error:
            raise taken("udp", Address(host, port), error) from None

    @classmethod
    async def bind_even(cls, host: str, arrived: Arrived) -> DatagramSocket:
        """Bind a free even port, as RTP wants (RFC 3550 section 11)."""
        try:
            for _ in range(PORT_TRIES):
                with contextlib.ExitStack() as otherwise:
                    sock = bound_socket(host, 0, None, otherwise)
                    if sock.getsockname()[1] % 2 == 0:
                        bound = cls(sock, arrived)
                        otherwise.pop_all()
                        return bound
        except REFUSALS as error:
            raise taken("udp", host, error) from None
        raise LocalMisuse(f"no free even UDP port on {host} in {PORT_TRIES} tries")

    def send(self, remote: tuple[str, int], data: bytes, source: str | None = None) -> None:
        """Send, as well as it goes: what the machine cannot get rid of is lost, as it would be further on.

        `source` is the own address that it is to come from, where this socket listens everywhere.
        """
        if self._socket.fileno() < 0:
            return
        # Where that address is gone it leaves from any.
        sources = (source, None) if source is not None and self._is_everywhere else (None,)
        for each in sources:
            error = self._try(remote, data, each)
            if error is not None and self._hear_refusals():
                # The machine told of an earlier one in the place of sending this one.
                error = self._try(remote, data, each)
            if error is None:
                return
        if error is not None and error.errno not in LOST and self._refused is not None:
            self._refused(Address(*remote), error, data)

    def close(self) -> None:
        """Give the port back."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _try(self, remote: tuple[str, int], data: bytes, source: str | None) -> OSError | None:
        try:
            ancillary = [] if source is None else leaving_from(source)
            self._socket.sendmsg([data], ancillary, 0, sockaddr_of(remote))
        except BlockingIOError:
            return None
        except OSError as error:
            return error
        return None

    def _read(self) -> None:
        try:
            data, ancillary, _, sender = self._socket.recvmsg(READ_BYTES, ANCILLARY_BYTES if self._is_everywhere else 0)
        except OSError:
            # Nothing to be read, but what was refused.
            self._hear_refusals()
            return
        self._arrived(Address(_where(ancillary) or self.local.host, self.local.port), address_of(sender), data)

    def _hear_refusals(self) -> bool:
        """The network says of datagrams that nobody is there, or the machine that there is no way; True if of any."""
        if self._refused is None:
            return False
        for count in range(REFUSALS_A_TURN):
            try:
                shown, ancillary, _, remote = self._socket.recvmsg(READ_BYTES, REFUSAL_BYTES, socket.MSG_ERRQUEUE)
            except OSError:
                return count > 0
            for level, kind, data in ancillary:
                if (level, kind) != RECEIVE_ERRORS[self._socket.family]:
                    continue
                (number,) = IP_ERROR.unpack_from(data)
                if number not in LOST:
                    self._refused(address_of(remote), OSError(number, os.strerror(number)), shown)
        return True


def bound_socket(host: str, port: int, receive_bytes: int | None, otherwise: contextlib.ExitStack) -> socket.socket:
    """A bound socket, which `otherwise` closes. Raises one of REFUSALS."""
    sock = socket.socket(family_of(host), socket.SOCK_DGRAM)
    otherwise.callback(sock.close)
    sock.setblocking(False)
    if sock.family == socket.AF_INET6:
        # "::" is every IPv6 address; IPv4 has a socket of its own.
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    if receive_bytes is not None:
        # The kernel takes as much of it as its administrator permits.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.bind(sockaddr_of((host, port)))
    return sock


def _where(ancillary: Ancillary) -> str | None:
    """Which address of ours a datagram came to; of one to everybody on the link, the one that it came in by."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            return socket.inet_ntop(socket.AF_INET, IPV4_WHERE.unpack(data)[1])
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            packed, interface = IPV6_WHERE.unpack(data)
            address = ipaddress.IPv6Address(packed)
            if not address.is_multicast:
                scope = interface if address.is_link_local else 0
                return address_of((str(address), 0, 0, scope)).host
    return None


def leaving_from(source: str) -> Ancillary:
    """What has a datagram leave from one of our addresses. Raises OSError if there is no interface of that name."""
    if ":" not in source:
        where = IPV4_WHERE.pack(0, socket.inet_pton(socket.AF_INET, source), bytes(4))
        return [(socket.IPPROTO_IP, IP_PKTINFO, where)]
    where = IPV6_WHERE.pack(socket.inet_pton(socket.AF_INET6, without_zone(source)), interface_of(source))
    return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, where)]

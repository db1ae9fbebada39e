"""UDP sockets: of phones, of media, and of links between nodes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse
from p2psip.net.addresses import taken

PORT_TRIES = 64

Arrived = Callable[[Address, Address, bytes], None]
"""Called with local address, remote address and data."""

Refused = Callable[[Exception], None]
"""Called with what the network said."""


class DatagramSocket(asyncio.DatagramProtocol):
    """A UDP socket. What the network refuses (ICMP) is the core's timers' business, where nobody asks for it."""

    def __init__(self, local: Address, arrived: Arrived, refused: Refused | None = None) -> None:
        self.local = local
        self._arrived = arrived
        self._refused = refused
        self._is_clogged = False
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def bind(cls, host: str, port: int, arrived: Arrived, *, receive_bytes: int | None = None) -> DatagramSocket:
        """Bind `host`:`port`; LocalMisuse if somebody else has it. `receive_bytes` may wait to be read."""
        sock = _bound(host, port)
        if receive_bytes is not None:
            # The kernel takes as much of it as its administrator permits.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        return await cls._on(sock, arrived)

    @classmethod
    async def connect(cls, remote: Address, arrived: Arrived, refused: Refused) -> DatagramSocket:
        """A socket of its own for one remote, whose refusals are heard. Raises OSError if there is no way there."""
        sock = socket.socket(socket.AF_INET6 if ":" in remote.host else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.connect(remote)
        except OSError:
            sock.close()
            raise
        return await cls._on(sock, arrived, refused)

    @classmethod
    async def bind_even(cls, host: str, arrived: Arrived) -> DatagramSocket:
        """Bind a free even port, as RTP wants (RFC 3550 section 11)."""
        for _ in range(PORT_TRIES):
            sock = _bound(host, 0)
            if sock.getsockname()[1] % 2 == 0:
                return await cls._on(sock, arrived)
            sock.close()
        raise LocalMisuse(f"no free even UDP port on {host} in {PORT_TRIES} tries")

    @classmethod
    async def _on(cls, sock: socket.socket, arrived: Arrived, refused: Refused | None = None) -> DatagramSocket:
        protocol = cls(Address(*sock.getsockname()[:2]), arrived, refused)
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: protocol, sock=sock)
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the socket is ours."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """asyncio: a datagram came."""
        self._arrived(self.local, Address(*addr[:2]), data)

    def pause_writing(self) -> None:
        """asyncio: more waits to be sent than it likes."""
        self._is_clogged = True

    def resume_writing(self) -> None:
        """asyncio: no longer."""
        self._is_clogged = False

    def error_received(self, exc: Exception) -> None:
        """asyncio: the network says that nobody is there."""
        if self._refused is not None:
            self._refused(exc)

    def send(self, remote: tuple[str, int], data: bytes) -> None:
        """Send, as well as it goes: what the machine cannot get rid of is lost, as it would be further on."""
        if self._transport is not None and not self._is_clogged:
            self._transport.sendto(data, remote)

    def close(self) -> None:
        """Give the port back."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None


def _bound(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if sock.family == socket.AF_INET6:
            # "::" is every IPv6 address; IPv4 has a socket of its own.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise taken("udp", Address(host, port), error) from None
    return sock

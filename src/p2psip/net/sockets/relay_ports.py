"""The ports of a relay: datagrams in and out of it, without a detour.

A hundred calls are ten thousand datagrams a second each way, so each goes straight from its socket through the core to
another socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from p2psip.media.relay.ports import ClosePorts, OpenPorts
from p2psip.media.relay.sides import SendFrom
from p2psip.net.sockets.addresses import address_of, sockaddr_of
from p2psip.net.sockets.datagrams import READ_BYTES, bound_socket, leaving_from
from p2psip.net.sockets.tcp import REFUSALS

EVERYWHERE = {4: "0.0.0.0", 6: "::"}

Took = Callable[[int, tuple[str, int], bytes], None]
"""Called with our port, the remote address and the data."""


class RelayPorts:
    """All sockets of a relay."""

    def __init__(self, took: Took) -> None:
        self._took = took
        self._sockets: dict[int, socket.socket] = {}
        self._loop = asyncio.get_running_loop()

    def open(self, wanted: OpenPorts) -> bool:
        """Open a pair at every address of its IP version; False if one of them is not to be had."""
        host, ports = EVERYWHERE[wanted.version], (wanted.port, wanted.port + 1)
        try:
            with contextlib.ExitStack() as otherwise:
                opened = {port: bound_socket(host, port, None, otherwise) for port in ports}
                otherwise.pop_all()
        except REFUSALS:
            return False
        for port, sock in opened.items():
            self._sockets[port] = sock
            self._loop.add_reader(sock, self._read, sock, port)
        return True

    def close(self, wanted: ClosePorts) -> None:
        """Close a pair."""
        for port in (wanted.port, wanted.port + 1):
            self._close(port)

    def close_all(self) -> None:
        """The peer goes."""
        for port in list(self._sockets):
            self._close(port)

    def send(self, datagram: SendFrom) -> None:
        """Send, as well as it goes: what the machine cannot get rid of is lost, as it would be further on."""
        sock = self._sockets.get(datagram.port)
        if sock is not None:
            # It may tell of an earlier one (ICMP) in the place of sending this one, or have lost the address.
            with contextlib.suppress(OSError):
                sock.sendmsg([datagram.data], leaving_from(datagram.host), 0, sockaddr_of(datagram.remote))

    def _read(self, sock: socket.socket, port: int) -> None:
        try:
            data, sender = sock.recvfrom(READ_BYTES)
        except OSError:
            # What became of something that was sent.
            return
        self._took(port, sender if len(sender) == 2 else address_of(sender), data)

    def _close(self, port: int) -> None:
        sock = self._sockets.pop(port, None)
        if sock is not None:
            self._loop.remove_reader(sock)
            sock.close()

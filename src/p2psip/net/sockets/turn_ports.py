"""The ports of the relay that a peer is (RFC 8656): one UDP socket for each relayed address."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

from p2psip.base.address import Address
from p2psip.net.sockets.datagrams import DatagramSocket, bound_socket
from p2psip.net.sockets.tcp import REFUSALS

Arrived = Callable[[Address, Address, bytes], None]
"""Called with the relayed address, the remote and the data."""


class TurnPorts:
    """All of them; how many there may be, the core of the relay says."""

    def __init__(self, arrived: Arrived) -> None:
        self._arrived = arrived
        self._sockets: dict[Address, DatagramSocket] = {}

    def __len__(self) -> int:
        return len(self._sockets)

    def open(self, port: Address) -> bool:
        """Open one; False if it is not to be had. Behind a router that passes on all that comes to its public address,
        that address is none of this machine's: then everywhere.
        """
        return any(self._bind(port, host) for host in (port.host, "::" if ":" in port.host else "0.0.0.0"))

    def close(self, port: Address) -> None:
        """Close one."""
        if (sock := self._sockets.pop(port, None)) is not None:
            sock.close()

    def close_all(self) -> None:
        """The peer goes."""
        for port in list(self._sockets):
            self.close(port)

    def send(self, port: Address, remote: Address, data: bytes) -> None:
        """Send from one of them, as well as it goes."""
        if (sock := self._sockets.get(port)) is not None:
            sock.send(remote, data)

    def _bind(self, port: Address, host: str) -> bool:
        try:
            with contextlib.ExitStack() as otherwise:
                sock = bound_socket(host, port.port, None, otherwise)
                self._sockets[port] = DatagramSocket(sock, partial(self._came, port))
                otherwise.pop_all()
        except REFUSALS:
            return False
        return True

    def _came(self, port: Address, local: Address, remote: Address, data: bytes) -> None:
        self._arrived(port, remote, data)

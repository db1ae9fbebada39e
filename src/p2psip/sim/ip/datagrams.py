"""UDP sockets of a machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from p2psip.base.address import Address
from p2psip.sim.ip.packet import ANY_HOSTS, IcmpError, Packet, Protocol, Unreachable

if TYPE_CHECKING:
    from p2psip.sim.ip.machine import Machine

INTERFACE_MTU_BYTES = 1500


class UdpSocket:
    """One port. `user` is called with what comes; `refused`, if set, with who has no such port.

    As on Linux packets say "don't fragment" until ICMP has told that they are too long for a path; from then on they
    leave in pieces. What is too long for the machine's own interface does so from the beginning.
    """

    def __init__(self, machine: Machine, local: Address, user: Callable[[UdpSocket, Address, bytes], None]) -> None:
        self.local = local
        self.refused: Callable[[Address, str], None] | None = None
        self._machine = machine
        self._user = user
        self._mtus: dict[str, int] = {}

    def send(self, remote: Address, data: bytes) -> None:
        """Send a datagram. Raises SocketRefused if there is no way there."""
        host = self.local.host
        if host in ANY_HOSTS:
            host = self._machine.local_towards(remote.host)
        packet = Packet(Protocol.UDP, Address(host, self.local.port), remote, data)
        mtu_bytes = self._mtus.get(remote.host, INTERFACE_MTU_BYTES)
        if packet.size_bytes > mtu_bytes:
            packet = packet.in_pieces(mtu_bytes)
        self._machine.send(packet)

    def receive(self, local: Address, remote: Address, data: bytes) -> None:
        """A datagram has come."""
        self._user(self, remote, data)

    def unreachable(self, remote: Address, error: IcmpError) -> None:
        """ICMP says what became of a datagram of ours."""
        if error.what is Unreachable.TOO_BIG:
            self._mtus[remote.host] = error.mtu_bytes
        elif self.refused is not None:
            self.refused(remote, error.what.value)

    def close(self) -> None:
        """Give the port back."""
        self._machine.close_udp(self.local)

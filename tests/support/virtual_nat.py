"""A virtual LAN behind a NAT, and a server outside with two addresses and two ports, as RFC 5780 wants it."""

from __future__ import annotations

from p2psip.base.address import Address
from p2psip.sim.ip.boxes import Nat, NatBehaviour
from p2psip.sim.ip.datagrams import UdpSocket
from p2psip.sim.ip.machine import Machine
from p2psip.sim.ip.network import Internet

SERVERS = ("198.51.100.3", "198.51.100.4")
PORTS = (3478, 3479)
OUTSIDE = "203.0.113.1"
INSIDE_PORT = 5000
PATIENCE_S = 1.0


class Bench:
    """Hosts a, b, ... at 192.168.1.11, .12, ... behind the NAT; everything that comes to anybody is kept."""

    def __init__(
        self, behaviour: NatBehaviour | None = None, *, outside: tuple[str, ...] = (OUTSIDE,), hosts: int = 2
    ) -> None:
        self.internet = Internet(1)
        public, isp = self.internet.network("public", "198.51.100.0/24"), self.internet.network("isp", "203.0.113.0/24")
        self.lan = self.internet.lan("home", "192.168.1.0/24")
        self.nat = Nat(self.internet, "nat", behaviour)
        self.nat.plug(isp, *outside)
        self.nat.plug(self.lan, "192.168.1.1", is_inside=True)
        self.server = Machine(self.internet, "server")
        self.server.plug(public, *SERVERS)
        self.received: list[tuple[Address, Address, bytes]] = []
        """(to, from, what), of server and hosts alike."""
        self.at_server = {
            Address(host, port): self._socket(self.server, Address(host, port)) for host in SERVERS for port in PORTS
        }
        self.hosts: list[Machine] = []
        for number in range(hosts):
            host = Machine(self.internet, f"host {number}")
            host.plug(self.lan, f"192.168.1.{11 + number}", gateways=("192.168.1.1",))
            self.hosts.append(host)

    def socket(self, host: int = 0, port: int = INSIDE_PORT) -> UdpSocket:
        """A socket of a host behind the NAT."""
        machine = self.hosts[host]
        return self._socket(machine, Address(machine.hosts[0], port))

    def _socket(self, machine: Machine, local: Address) -> UdpSocket:
        return machine.udp(local, lambda socket, remote, data: self.received.append((socket.local, remote, data)))

    def seen(self, socket: UdpSocket, remote: Address) -> Address:
        """From where a server sees a socket."""
        before = len(self.received)
        socket.send(remote, b"?")
        self.internet.run_for(PATIENCE_S)
        assert len(self.received) == before + 1, "nothing came"
        return self.received[-1][1]

    def passes(self, source: Address, target: Address) -> bool:
        """True if what a server sends from `source` to `target` comes to a host."""
        before = len(self.received)
        self.at_server[source].send(target, b"!")
        self.internet.run_for(PATIENCE_S)
        return len(self.received) > before

    def wait(self, seconds: float) -> None:
        """Let time go on."""
        self.internet.run_for(seconds)


def server(address: int, port: int) -> Address:
    """One of the four places of the server."""
    return Address(SERVERS[address], PORTS[port])

"""What a relay costs: processor of a datagram, as a core alone and with its sockets; memory of an allocation.

The relay has a thread of its own, whose processor time is read in it. Nothing is lost on the way there, as what is sent
is less than what its sockets hold.
"""

from __future__ import annotations

import asyncio
import random
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.results import Result, processor_us, result
from p2psip.base.address import Address
from p2psip.net.machine_figures import memory_kb
from p2psip.net.node_host import boot_time
from p2psip.net.sockets.datagrams import DatagramSocket
from p2psip.net.sockets.turn_ports import TurnPorts
from p2psip.reload.paths.demux import DatagramKind, kind_of
from p2psip.reload.paths.relays.own_relay import OwnRelay
from p2psip.reload.paths.relays.relay_values import AtRelayPort, OpenRelayPort, RelayPortOpened
from p2psip.reload.paths.relays.relayed_addresses import RelayedAddresses
from p2psip.reload.paths.values import SendStun, StunArrived
from p2psip.turn.limits import TurnLimits
from p2psip.turn.values import CloseRelay, RelaySettings, TurnRelay

HOST = "127.0.0.1"
DATAGRAM = bytes((22,)) + bytes(199)
"""As long as a record of DTLS with a packet of G.711 in it."""

ALLOCATIONS = 64
READINGS, BATCH = 20, 100
LIMITS = TurnLimits(allocations=2 * ALLOCATIONS, bytes_per_s=1 << 40, bytes_per_s_per_user=1 << 40)


@dataclass
class Clients:
    """Whoever has something from the relay."""

    relay: OwnRelay
    server: Address
    lent: dict[Address, RelayedAddresses] = field(default_factory=dict)

    def take(self, base: Address) -> RelayedAddresses:
        """One more."""
        number = len(self.lent)
        made = self.lent[base] = RelayedAddresses(random.Random(number))
        credential = self.relay.issue(f"member {number}", 3600, boot_time())
        assert credential is not None, "it is offered"
        made.allocate(base, self.server, credential, boot_time())
        return made


def measure() -> Iterator[Result]:
    """The core alone, then with sockets."""
    yield from _core()
    yield from _sockets()


def _offered(server: Address) -> OwnRelay:
    relay = OwnRelay(random.Random("relay"))
    own = frozenset((server.host,))
    relay.offer(RelaySettings("bench", (server.host,), own, frozenset((server,))), LIMITS, boot_time())
    return relay


def _core() -> Iterator[Result]:
    server, base, peer = Address("203.0.113.1", 6084), Address("198.51.100.1", 6084), Address("198.51.100.2", 6084)
    relay = _offered(server)
    clients = Clients(relay, server)
    client = clients.take(base)

    def carry() -> None:
        while effects := [*client.drain(), *relay.drain()]:
            for effect in effects:
                match effect:
                    case SendStun(_, remote, data) if remote == server:
                        relay.handle(StunArrived(server, base, data), boot_time())
                    case SendStun(_, _, data):
                        client.handle(StunArrived(base, server, data), boot_time())
                    case OpenRelayPort(token):
                        relay.handle_port(RelayPortOpened(token, True), boot_time())

    carry()
    [mapped] = client.mapped([base])
    client.use_path(mapped.address, peer, boot_time())
    carry()
    client.send(mapped.address, peer, DATAGRAM, boot_time())
    wrapped = next(effect.data for effect in client.drain() if isinstance(effect, SendStun))

    def out() -> None:
        relay.pass_on(StunArrived(server, base, wrapped), boot_time())
        assert isinstance(relay.drain()[0], TurnRelay)

    def back() -> None:
        relay.pass_on(AtRelayPort(mapped.address, peer, DATAGRAM), boot_time())
        assert isinstance(relay.drain()[0], SendStun)

    yield result("relay: a datagram of a client, core", "us", processor_us(out))
    yield result("relay: a datagram to a client, core", "us", processor_us(back))


class _Relay(threading.Thread):
    """The relay and its sockets, with a loop of their own."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.is_ready = threading.Event()
        self.passed = 0

    def run(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        self.loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self._socket = await DatagramSocket.bind(HOST, 0, self._arrived, receive_bytes=1 << 20)
        self.server = self._socket.local
        self.relay = _offered(self.server)
        self._ports = TurnPorts(self._came)
        self.is_ready.set()
        await self._over.wait()
        self._ports.close_all()
        self._socket.close()

    def stop(self) -> None:
        """No more."""
        self.loop.call_soon_threadsafe(self._over.set)
        self.join()

    def processor_s(self) -> float:
        """What its thread has taken."""

        async def read() -> float:
            return time.thread_time()

        return asyncio.run_coroutine_threadsafe(read(), self.loop).result()

    def _arrived(self, local: Address, remote: Address, data: bytes) -> None:
        self.passed += 1
        arrived = StunArrived(local, remote, data)
        if kind_of(data) is DatagramKind.CHANNEL:
            self.relay.pass_on(arrived, boot_time())
        else:
            self.relay.handle(arrived, boot_time())
        self._settle()

    def _came(self, port: Address, remote: Address, data: bytes) -> None:
        self.passed += 1
        self.relay.pass_on(AtRelayPort(port, remote, data), boot_time())
        self._settle()

    def _settle(self) -> None:
        for effect in self.relay.drain():
            match effect:
                case SendStun(_, remote, data):
                    self._socket.send(remote, data)
                case TurnRelay(port, peer, data):
                    self._ports.send(port, peer, data)
                case OpenRelayPort(token, port):
                    self.relay.handle_port(RelayPortOpened(token, self._ports.open(port)), boot_time())
                    self._settle()
                case CloseRelay(port):
                    self._ports.close(port)


def _sockets() -> Iterator[Result]:
    thread = _Relay()
    thread.start()
    thread.is_ready.wait()
    clients = Clients(thread.relay, thread.server)
    before_kb = memory_kb()
    taken = [_client(clients, thread.server) for _ in range(ALLOCATIONS)]
    after_kb = memory_kb()
    (ours, client, relayed), (theirs, other, seen) = taken[:2]
    for sock, end, own, peer in ((ours, client, relayed, seen), (theirs, other, seen, relayed)):
        end.use_path(own, peer, boot_time())
        _carry(sock, end, thread.server)
    readings = []
    for _ in range(READINGS):
        began_s, passed = thread.processor_s(), thread.passed
        for _ in range(BATCH):
            client.send(relayed, seen, DATAGRAM, boot_time())
            _flush(ours, client, thread.server)
        for _ in range(BATCH):
            theirs.recv(2048)
        readings.append((thread.processor_s() - began_s) / (thread.passed - passed) * 1e6)
    thread.stop()
    yield result("relay: a datagram, core and sockets", "us", readings)
    if before_kb is not None and after_kb is not None:
        yield result("relay: memory of an allocation", "kB", [(after_kb - before_kb) / ALLOCATIONS])


def _client(clients: Clients, server: Address) -> tuple[socket.socket, RelayedAddresses, Address]:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((HOST, 0))
    sock.settimeout(5)
    base = Address(*sock.getsockname())
    client = clients.take(base)
    _carry(sock, client, server)
    [mapped] = client.mapped([base])
    return sock, client, mapped.address


def _flush(sock: socket.socket, client: RelayedAddresses, server: Address) -> int:
    sent = 0
    for effect in client.drain():
        if isinstance(effect, SendStun):
            sock.sendto(effect.data, server)
            sent += 1
    return sent


def _carry(sock: socket.socket, client: RelayedAddresses, server: Address) -> None:
    """Until all questions are answered."""
    base, awaited = Address(*sock.getsockname()), _flush(sock, client, server)
    while awaited:
        client.handle(StunArrived(base, server, sock.recv(4096)), boot_time())
        awaited += _flush(sock, client, server) - 1

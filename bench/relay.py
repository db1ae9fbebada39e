"""What a relay costs: processor of a datagram, as a core alone and with its sockets, over UDP and over TLS; memory of
an allocation.

The relay is a process of its own, whose processor time and memory are read in it. Nothing is lost on the way there, as
what is sent is less than what its sockets hold.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import socket
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import NamedTuple

from OpenSSL import SSL

from bench.results import Result, processor_us, result
from p2psip.base.address import Address
from p2psip.net.machine_figures import memory_kb
from p2psip.net.node_host import boot_time
from p2psip.net.sockets.datagrams import DatagramSocket
from p2psip.net.sockets.tls import SocketStream, TlsStream, make_context
from p2psip.net.sockets.turn_ports import TurnPorts
from p2psip.reload.paths.demux import DatagramKind, kind_of
from p2psip.reload.paths.relays.own_relay import OwnRelay
from p2psip.reload.paths.relays.relay_values import (
    AtRelayPort,
    DialRelay,
    OpenRelayPort,
    RelayPortOpened,
    RelayStreamCame,
    RelayStreamUp,
    WriteStream,
)
from p2psip.reload.paths.relays.relayed_addresses import RelayedAddresses
from p2psip.reload.paths.values import SendStun, StunArrived
from p2psip.sim.membership import OVERLAY, Club, key, node_id
from p2psip.stun.credentials import StunCredential
from p2psip.turn.limits import TurnLimits
from p2psip.turn.values import STUN_TURN, CloseRelay, RelaySettings, TurnRelay

HOST = "127.0.0.1"
DATAGRAM = bytes((22,)) + bytes(199)
"""As long as a record of DTLS with a packet of G.711 in it."""

ALLOCATIONS = 64
READINGS, BATCH = 20, 100
CHANNEL_BYTES = 4
PATIENCE_S = 5.0
LIMITS = TurnLimits(allocations=2 * ALLOCATIONS, bytes_per_s=1 << 40, bytes_per_s_per_user=1 << 40)


def measure() -> Iterator[Result]:
    """The core alone, then with sockets, of either kind."""
    yield from _core()
    yield from _sockets(_UdpEnd)
    yield from _sockets(_TlsEnd)


def _offered(server: Address) -> OwnRelay:
    relay = OwnRelay(random.Random("relay"))
    own = frozenset((server.host,))
    relay.offer(RelaySettings("bench", (server.host,), own, frozenset((server,))), LIMITS, boot_time())
    return relay


def _core() -> Iterator[Result]:
    server, base, peer = Address("203.0.113.1", 6084), Address("198.51.100.1", 6084), Address("198.51.100.2", 6084)
    relay = _offered(server)
    client = RelayedAddresses(random.Random(1))
    credential = relay.issue("member", 3600, boot_time())
    assert credential is not None, "it is offered"
    client.allocate(base, server, credential, boot_time())

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


class _Figures(NamedTuple):
    """What the relay has used and done until now."""

    processor_s: float
    passed: int
    memory_kb: int | None


class _Relay:
    """The relay and its sockets, in a process of their own: asked through a pipe, for a credential or for figures."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._passed = 0
        self._streams: dict[SocketStream, int] = {}
        self._by_number: dict[int, SocketStream] = {}

    async def run(self) -> None:
        """Until nobody asks any more."""
        loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self._socket = await DatagramSocket.bind(HOST, 0, self._arrived, receive_bytes=1 << 20)
        context = make_context((_certificate(1),), key(number=1))
        server = await loop.create_server(lambda: TlsStream(context, self, is_server=True), HOST, 0)
        self._relay = _offered(self._socket.local)
        self._ports = TurnPorts(self._came)
        self._pipe.send((self._socket.local, Address(*server.sockets[0].getsockname())))
        loop.add_reader(self._pipe.fileno(), self._asked)
        await self._over.wait()
        server.close()
        self._ports.close_all()
        self._socket.close()

    def _asked(self) -> None:
        try:
            member = self._pipe.recv()
        except EOFError:
            self._over.set()
            return
        figures = _Figures(time.process_time(), self._passed, memory_kb())
        self._pipe.send(self._relay.issue(member, 3600, boot_time()) if member else figures)

    def _arrived(self, local: Address, remote: Address, data: bytes) -> None:
        arrived = StunArrived(local, remote, data)
        if kind_of(data) is DatagramKind.CHANNEL:
            self._relay.pass_on(arrived, boot_time())
        else:
            self._relay.handle(arrived, boot_time())
        self._settle()

    def _came(self, port: Address, remote: Address, data: bytes) -> None:
        self._passed += 1
        self._relay.pass_on(AtRelayPort(port, remote, data), boot_time())
        self._settle()

    def stream_accepted(self, stream: SocketStream) -> None:
        """net.tls: somebody has connected."""

    def stream_up(self, stream: SocketStream, certificates: tuple[bytes, ...]) -> None:
        """net.tls: the handshake is done."""
        number = 2 * len(self._streams) + 1
        self._streams[stream], self._by_number[number] = number, stream
        self._relay.stream_up(RelayStreamUp(number, Address(*stream.local), Address(*stream.remote)), boot_time())

    def stream_data(self, stream: SocketStream, data: bytes) -> None:
        """net.tls: bytes came."""
        self._relay.pass_on(RelayStreamCame(self._streams[stream], data), boot_time())
        self._settle()

    def stream_down(self, stream: SocketStream, reason: str) -> None:
        """net.tls: it is over."""

    def _settle(self) -> None:
        for effect in self._relay.drain():
            match effect:
                case SendStun(_, remote, data):
                    self._socket.send(remote, data)
                case WriteStream(number, data):
                    self._by_number[number].write(data)
                case TurnRelay(port, peer, data):
                    self._passed += 1
                    self._ports.send(port, peer, data)
                case OpenRelayPort(token, port):
                    self._relay.handle_port(RelayPortOpened(token, self._ports.open(port)), boot_time())
                    self._settle()
                case CloseRelay(port):
                    self._ports.close(port)


class _RelayAtWork:
    """That process, from outside."""

    def __enter__(self) -> _RelayAtWork:
        here, there = multiprocessing.Pipe()
        self._pipe: Connection = here

        def run() -> None:
            here.close()
            asyncio.run(_Relay(there).run())

        self._process = multiprocessing.get_context("fork").Process(target=run)
        self._process.start()
        there.close()
        self.udp, self.tls = self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join()

    def credential(self, member: str) -> StunCredential:
        """What a member is to say."""
        self._pipe.send(member)
        credential = self._pipe.recv()
        assert isinstance(credential, StunCredential), "it is offered"
        return credential

    def figures(self) -> _Figures:
        """What it has used and done."""
        self._pipe.send("")
        figures = self._pipe.recv()
        assert isinstance(figures, _Figures), "what was asked for"
        return figures


class _UdpEnd:
    """Whoever has something from the relay, over UDP."""

    NAME = "UDP"

    def __init__(self, relay: _RelayAtWork, number: int) -> None:
        self._socket, self._server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), relay.udp
        self._socket.bind((HOST, 0))
        self._socket.settimeout(PATIENCE_S)
        self._base = Address(*self._socket.getsockname())
        self.lent = RelayedAddresses(random.Random(number))
        self.lent.allocate(self._base, self._server, relay.credential(f"member {number}"), boot_time())
        self.ask()
        [mapped] = self.lent.mapped([self._base])
        self.relayed = mapped.address

    def ask(self) -> None:
        """Until all questions are answered."""
        awaited = self.flush()
        while awaited:
            self.lent.handle(StunArrived(self._base, self._server, self._socket.recv(4096)), boot_time())
            awaited += self.flush() - 1

    def flush(self) -> int:
        """Send what is to be sent; how much that was."""
        sent = [effect.data for effect in self.lent.drain() if isinstance(effect, SendStun)]
        for data in sent:
            self._socket.sendto(data, self._server)
        return len(sent)

    def take(self, count: int) -> None:
        """So many datagrams come."""
        for _ in range(count):
            self._socket.recv(2048)

    def close(self) -> None:
        """No more."""
        self._socket.close()


class _TlsEnd:
    """The same over TLS."""

    NAME = "TLS"

    def __init__(self, relay: _RelayAtWork, number: int) -> None:
        self._socket = socket.create_connection(relay.tls, PATIENCE_S)
        # What OpenSSL reads and writes by itself does not know of Python's patience.
        self._socket.settimeout(None)
        self._tls = SSL.Connection(make_context((_certificate(2),), key(number=2)), self._socket)
        self._tls.set_connect_state()
        self._tls.set_alpn_protos([STUN_TURN])
        self._tls.do_handshake()
        self._base, self._stream = Address(*self._socket.getsockname()), 2 * number
        self.lent = RelayedAddresses(random.Random(number))
        credential = relay.credential(f"member {number}")
        self.lent.allocate(self._base, relay.tls, credential, boot_time(), over_stream=True)
        self.lent.drain()
        self.lent.stream_up(DialRelay(self._base, relay.tls), self._stream, boot_time())
        self.ask()
        [mapped] = self.lent.mapped([self._base])
        self.relayed = mapped.address

    def ask(self) -> None:
        """Until all questions are answered."""
        awaited = self.flush()
        while awaited:
            self.lent.stream_came(self._stream, self._tls.recv(4096), boot_time())
            awaited += self.flush() - 1

    def flush(self) -> int:
        """Send what is to be sent; how much that was."""
        sent = [effect.data for effect in self.lent.drain() if isinstance(effect, WriteStream)]
        for data in sent:
            self._tls.sendall(data)
        return len(sent)

    def take(self, count: int) -> None:
        """So many datagrams come."""
        left = count * (len(DATAGRAM) + CHANNEL_BYTES)
        while left:
            left -= len(self._tls.recv(left))

    def close(self) -> None:
        """No more."""
        self._socket.close()


def _certificate(number: int) -> bytes:
    return Club.of().certificate(f"user{number}@{OVERLAY}", [node_id(number)], number=number)


def _sockets(kind: type[_UdpEnd | _TlsEnd]) -> Iterator[Result]:
    with _RelayAtWork() as relay:
        first = kind(relay, 0)
        before = relay.figures()
        ends = [first, *(kind(relay, number) for number in range(1, ALLOCATIONS + 1))]
        after = relay.figures()
        ours, theirs = ends[:2]
        for end, peer in ((ours, theirs), (theirs, ours)):
            end.lent.use_path(end.relayed, peer.relayed, boot_time())
            end.ask()
        readings = []
        for _ in range(READINGS):
            began = relay.figures()
            for _ in range(BATCH):
                ours.lent.send(ours.relayed, theirs.relayed, DATAGRAM, boot_time())
                ours.flush()
            theirs.take(BATCH)
            now = relay.figures()
            readings.append((now.processor_s - began.processor_s) / (now.passed - began.passed) * 1e6)
        for end in ends:
            end.close()
    yield result(f"relay over {kind.NAME}: a datagram, core and sockets", "us", readings)
    rates = [1e6 / reading for reading in readings]
    yield result(f"relay over {kind.NAME}: what one core passes on", "1/s", rates, more_is_better=True)
    if before.memory_kb is not None and after.memory_kb is not None:
        memory_kb_each = (after.memory_kb - before.memory_kb) / ALLOCATIONS
        yield result(f"relay over {kind.NAME}: memory of an allocation", "kB", [memory_kb_each])

"""A relay in a process of its own, on one core, carries 100 calls: processor, added delay, loss.

Each phone sends 50 packets of G.711 a second; the phones are sockets of this process, on another core. When a packet
has arrived the kernel says, so that the reader's own delays are no part of the figure. Where there is an rtpengine, it
carries the same in the relay's place.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import select
import shutil
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from typing import cast

from bench.engine import EngineProcess, sdp
from bench.results import Result, result
from p2psip.base.effects import Effect
from p2psip.media.relay.description import read
from p2psip.media.relay.ports import ClosePorts, OpenPorts
from p2psip.media.relay.relay import CALLEE, CALLER, Relay
from p2psip.media.relay.sides import Phone, SendFrom
from p2psip.media.rtp import RtpPacket
from p2psip.net.node_host import boot_time
from p2psip.net.sockets.relay_ports import RelayPorts

HOST = "127.0.0.1"
CALLS = 100
PERIOD_S = 0.02
WARM_S, MEASURED_S, LAST_S = 1.0, 10.0, 0.5
SO_TIMESTAMPNS = 35
"""socket(7); Python has no name for it."""

SENT_AT = struct.Struct("!Q")
ARRIVED_AT = struct.Struct("=qq")


def measure() -> Iterator[Result]:
    """The sockets that a peer has, then asyncio's own datagrams in their place, then an engine."""
    for name in KINDS:
        yield from _measure(name, partial(_RelayProcess, name))
    if shutil.which("rtpengine") is None:
        print("bench: no rtpengine (Debian: rtpengine-daemon)", file=sys.stderr)
    else:
        yield from _measure("rtpengine", EngineProcess)


class Sockets:
    """What carries the packets of a relay, as the host of a peer does."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._ports = RelayPorts(self._took)

    async def settle(self) -> None:
        """Open what the relay wants opened."""
        while effects := self._relay.drain():
            for effect in effects:
                if isinstance(effect, OpenPorts):
                    self._relay.handle_ports(effect.port, self._ports.open(effect), 0.0)

    def _took(self, port: int, remote: tuple[str, int], data: bytes) -> None:
        self._relay.handle_datagram(port, remote, data, boot_time())
        for effect in self._relay.drain():
            assert isinstance(effect, SendFrom), effect
            self._ports.send(effect)


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, owner: Transports, port: int) -> None:
        self._owner, self._port = owner, port

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._owner.took(self._port, addr, data)


class Transports:
    """The same with asyncio's transports."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._open: dict[int, asyncio.DatagramTransport] = {}

    async def settle(self) -> None:
        """Open what the relay wants opened."""
        while effects := self._relay.drain():
            for effect in effects:
                await self._do(effect)

    def took(self, port: int, remote: tuple[str, int], data: bytes) -> None:
        """A packet came."""
        self._relay.handle_datagram(port, remote, data, boot_time())
        for effect in self._relay.drain():
            assert isinstance(effect, SendFrom), effect
            self._open[effect.port].sendto(effect.data, effect.remote)

    async def _do(self, effect: Effect) -> None:
        match effect:
            case OpenPorts(4, first):
                for port in (first, first + 1):
                    make = partial(_Protocol, self, port)
                    made = asyncio.get_running_loop().create_datagram_endpoint(make, (HOST, port))
                    try:
                        self._open[port] = (await made)[0]
                    except OSError:
                        self._relay.handle_ports(first, False, 0.0)
                        return
                self._relay.handle_ports(first, True, 0.0)
            case OpenPorts(_, port):
                self._relay.handle_ports(port, False, 0.0)
            case _:
                assert isinstance(effect, ClosePorts), effect


KINDS: dict[str, type[Sockets] | type[Transports]] = {"relay": Sockets, "relay over asyncio": Transports}


class _RelayProcess:
    """A relay of one of these kinds, for calls between these phones: where each of them is to send."""

    def __init__(self, kind: str, phones: list[int]) -> None:
        self._pipe, there = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_relay_process, args=(there, kind, phones))
        self._process.start()
        self.ports: list[int] = self._pipe.recv()

    def processor_s(self) -> float:
        """What it has taken until now."""
        self._pipe.send("processor")
        return cast(float, self._pipe.recv())

    def end(self) -> None:
        """Nothing is carried any more."""
        self._pipe.send("end")
        self._process.join()


def _measure(name: str, begin: Callable[[list[int]], _RelayProcess | EngineProcess]) -> Iterator[Result]:
    phones = [_phone() for _ in range(2 * CALLS)]
    carrier = begin([phone.getsockname()[1] for phone in phones])
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    try:
        _talk(phones, carrier.ports, WARM_S)
        before_s = carrier.processor_s()
        began = time.monotonic()
        sent, delays_ms = _talk(phones, carrier.ports, MEASURED_S)
        taken_s, passed_s = carrier.processor_s() - before_s, time.monotonic() - began
    finally:
        os.sched_setaffinity(0, cores)
        carrier.end()
        for phone in phones:
            phone.close()
    yield result(f"{name}: processor", "%", [100 * taken_s / passed_s])
    yield result(f"{name}: added delay", "ms", delays_ms)
    yield result(f"{name}: lost of {sent}", "", [sent - len(delays_ms)])


def _relay_process(pipe: Connection, kind: str, phones: list[int]) -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    asyncio.run(_carry(pipe, KINDS[kind], phones))


async def _carry(pipe: Connection, kind: type[Sockets] | type[Transports], phones: list[int]) -> None:
    relay = Relay(random.Random())
    sockets = kind(relay)
    relay.start()
    await sockets.settle()
    ports = []
    for alice, bob in zip(phones[::2], phones[1::2], strict=True):
        call = relay.begin("call", Phone("alice", HOST, HOST), Phone("bob", HOST, HOST))
        (for_bob,) = read(relay.describe(call, CALLER, sdp(alice), 0.0))
        (for_alice,) = read(relay.describe(call, CALLEE, sdp(bob), 0.0))
        relay.answered(call, boot_time())
        await sockets.settle()
        ports += [cast(tuple[str, int], told.rtp)[1] for told in (for_alice, for_bob)]
    pipe.send(ports)
    over = asyncio.Event()

    def obey() -> None:
        if pipe.recv() == "end":
            over.set()
        else:
            pipe.send(time.process_time())

    asyncio.get_running_loop().add_reader(pipe.fileno(), obey)
    await over.wait()


def _talk(phones: list[socket.socket], ports: list[int], for_s: float) -> tuple[int, list[float]]:
    """All phones speak; how many packets were sent, and how long each that came was under way."""
    poll = select.epoll()
    by_number = {phone.fileno(): phone for phone in phones}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    gap_s, delays_ms = PERIOD_S / len(phones), list[float]()
    began, began_ns = time.perf_counter(), time.time_ns()
    turn, turns = 0, round(for_s / gap_s)
    until = began + for_s + LAST_S
    while (now := time.perf_counter()) < until:
        while turn < turns and began + turn * gap_s <= now:
            which = turn % len(phones)
            phones[which].sendto(_packet(which, turn // len(phones)), (HOST, ports[which]))
            turn += 1
        for number, _ in poll.poll(0):
            data, ancillary, _, _ = by_number[number].recvmsg(2048, 64)
            seconds, nanoseconds = ARRIVED_AT.unpack(ancillary[0][2])
            sent_at_ns: int = SENT_AT.unpack_from(data, 12)[0]
            if sent_at_ns >= began_ns:
                delays_ms.append((seconds * 1_000_000_000 + nanoseconds - sent_at_ns) / 1e6)
    poll.close()
    return turns, delays_ms


def _packet(which: int, n: int) -> bytes:
    payload = SENT_AT.pack(time.time_ns()) + bytes(152)
    return RtpPacket(0, n % 65536, n * 160 % (1 << 32), which, payload).encode()


def _phone() -> socket.socket:
    phone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    phone.bind((HOST, 0))
    phone.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    return phone

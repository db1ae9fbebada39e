"""One peer as a process passes messages on between two links, TLS on both: messages a second of its processor time.

Two members that are in no ring link with it and send through it, one to the other; their own work is not counted.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from live_overlay import HOST, LiveOverlay, LivePeer

from bench.results import Result, result
from p2psip.daemon.state.state import PeerState, load_state
from p2psip.net.sockets.tls import SocketStream, TlsStream, make_context
from p2psip.reload.link.framing import SEQUENCE_MASK, Deframer, frame_ack, frame_data
from p2psip.reload.wire.contents import MessageCode, MessageContents
from p2psip.reload.wire.header import Destination, ForwardingHeader
from p2psip.reload.wire.link_messages import PingReq
from p2psip.reload.wire.message import join, signature_input
from p2psip.reload.wire.security_block import SecurityBlock

MESSAGES = 4000
READINGS = 5
WINDOW = 128
"""Messages under way: as many as keep the peer busy."""

LINK_MAX_S = 20.0
READING_MAX_S = 120.0


class Member:
    """One end: it acknowledges what comes and counts it."""

    def __init__(self, state: PeerState) -> None:
        self.state = state
        self.arrived = asyncio.Semaphore(0)
        self.is_up = asyncio.Event()
        self._context = make_context(state.identity.chain, state.identity.key)
        self._deframer = Deframer(1 << 16)
        self._sequence = 0
        self._stream: TlsStream | None = None

    async def link(self, peer: LivePeer) -> None:
        """Connect with the peer."""
        loop = asyncio.get_running_loop()
        _, stream = await loop.create_connection(
            lambda: TlsStream(self._context, self, is_server=False), HOST, peer.overlay_port
        )
        stream.begin()
        await asyncio.wait_for(self.is_up.wait(), LINK_MAX_S)
        self._stream = stream

    def stream_accepted(self, stream: SocketStream) -> None:
        """Never: it only dials."""

    def stream_up(self, stream: SocketStream, certificates: tuple[bytes, ...]) -> None:
        """The handshake is done."""
        self.is_up.set()

    def stream_down(self, stream: SocketStream, reason: str) -> None:
        """It must not be, before the end."""

    def stream_data(self, stream: SocketStream, data: bytes) -> None:
        """Messages, and acknowledgements of ours."""
        acknowledgements = bytearray()
        for sequence, content in self._deframer.feed(data):
            if isinstance(content, bytes):
                acknowledgements += frame_ack(sequence, 0)
                self.arrived.release()
        if acknowledgements:
            stream.write(bytes(acknowledgements))

    def send(self, message: bytes) -> None:
        """To the peer, which passes it on."""
        assert self._stream is not None
        self._stream.write(frame_data(self._sequence, message))
        self._sequence = (self._sequence + 1) & SEQUENCE_MASK


def measure() -> Iterator[Result]:
    """Pings between two members through a third."""
    with (
        tempfile.TemporaryDirectory(prefix="p2psip-bench-") as directory,
        LiveOverlay(Path(directory), peers=1) as overlay,
    ):
        ends = [Member(load_state(overlay.add_peer().directory)) for _ in range(2)]
        readings = asyncio.run(_readings(overlay.peers[0], *ends))
    yield result("forwarding.processor", "us", [used_s / MESSAGES * 1e6 for used_s, _ in readings])
    yield result("forwarding.per_core", "1/s", [MESSAGES / used_s for used_s, _ in readings], more_is_better=True)
    yield result("forwarding.rate", "1/s", [MESSAGES / took_s for _, took_s in readings], more_is_better=True)


async def _readings(peer: LivePeer, sender: Member, receiver: Member) -> list[tuple[float, float]]:
    """Processor seconds of the peer, and seconds, for each batch."""
    await sender.link(peer)
    await receiver.link(peer)
    message = _Ping(sender.state, receiver.state)
    readings = []
    for _ in range(READINGS):
        used_s, began = peer.cpu_s(), time.monotonic()
        await asyncio.wait_for(_pass(message, sender, receiver), READING_MAX_S)
        readings.append((peer.cpu_s() - used_s, time.monotonic() - began))
    return readings


async def _pass(message: _Ping, sender: Member, receiver: Member) -> None:
    for _ in range(WINDOW):
        sender.send(message.next())
    for count in range(MESSAGES):
        await receiver.arrived.acquire()
        if count < MESSAGES - WINDOW:
            sender.send(message.next())


class _Ping:
    """Pings that differ in their transaction; nobody on the way looks at the signature."""

    def __init__(self, sender: PeerState, receiver: PeerState) -> None:
        self._overlay = sender.configuration.overlay_hash
        self._sequence = sender.configuration.sequence
        self._destinations = (Destination.node(receiver.identity.node_id),)
        self._transaction_id = 0
        contents = MessageContents(MessageCode.PING_REQ, PingReq().encode()).encode()
        signature = sender.identity.sign(signature_input(self._overlay, 0, contents))
        self._payload = contents + SecurityBlock(sender.identity.certificates, signature).encode()

    def next(self) -> bytes:
        """One more."""
        self._transaction_id += 1
        header = ForwardingHeader(
            overlay=self._overlay,
            configuration_sequence=self._sequence,
            transaction_id=self._transaction_id,
            destination_list=self._destinations,
        )
        return join(header, self._payload)

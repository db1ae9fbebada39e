"""A relay at real sockets, and clients that do not do their part."""

from __future__ import annotations

import asyncio
import socket

import pytest
from relay_host import RelayAtWork, relay_at_work

from p2psip.net.node_host import BACKLOG_NORMAL_BYTES
from p2psip.net.sockets.tls import make_context
from p2psip.sim.membership import OVERLAY, Club, key, node_id
from p2psip.stun.message import BINDING, MessageClass, StunMessage

QUESTION = StunMessage(MessageClass.REQUEST, BINDING, bytes(12)).encode()
CUT_OFF = (ConnectionResetError, BrokenPipeError)


def test_who_asks_without_end_and_reads_no_answer_is_cut_off() -> None:
    """Over TCP in clear, where anybody may ask: what waits for him is bounded, and short."""

    async def ask(relay: RelayAtWork, stranger: socket.socket) -> None:
        while True:
            await asyncio.get_running_loop().sock_sendall(stranger, QUESTION * 100)
            waiting = [stream.backlog_bytes for stream in relay.host._streams.values()]
            assert max(waiting, default=0) <= 2 * BACKLOG_NORMAL_BYTES

    async def flood(relay: RelayAtWork) -> None:
        with socket.socket() as stranger:
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stranger.setblocking(False)
            await asyncio.get_running_loop().sock_connect(stranger, relay.address)
            with pytest.raises(CUT_OFF):
                await ask(relay, stranger)

    async def main() -> None:
        shown = Club.of().certificate(f"user2@{OVERLAY}", [node_id(2)], number=2)
        async with asyncio.timeout(60), relay_at_work(make_context((shown,), key(number=2))) as relay:
            await flood(relay)
            await asyncio.sleep(0)
            assert relay.streams == 0

    asyncio.run(main())

"""A network on loopback that loses, doubles and reorders datagrams, between a client and one port."""

from __future__ import annotations

import asyncio
import random

from p2psip.base.address import Address
from p2psip.net.sockets.datagrams import DatagramSocket
from p2psip.sim.path import Path

HERE = "127.0.0.1"


class UdpRelay:
    """What comes to `port` goes on to the target, and back, as the path has it: one socket for each client."""

    def __init__(self, target: Address, path: Path, seed: int = 1) -> None:
        self.target = target
        self.path = path
        self.address = Address("", 0)
        self.hole_bytes: int | None = None
        """Longer datagrams vanish."""
        self.seen: list[bytes] = []
        """What was sent to the target, in order."""
        self._rng = random.Random(seed)
        self._front: DatagramSocket | None = None
        self._onward: dict[Address, DatagramSocket] = {}

    async def open(self) -> Address:
        """Where clients are to send."""
        self._front = await DatagramSocket.bind(HERE, 0, self._from_client)
        self.address = self._front.local
        return self.address

    def close(self) -> None:
        """Give the ports back."""
        for socket in [self._front, *self._onward.values()]:
            if socket is not None:
                socket.close()

    def _from_client(self, _: Address, client: Address, data: bytes) -> None:
        if client in self._onward:
            self._pass(self._onward[client], self.target, data)
        else:
            asyncio.get_running_loop().create_task(self._open_onward(client, data))

    async def _open_onward(self, client: Address, data: bytes) -> None:
        front = self._front
        assert front is not None
        if client not in self._onward:
            self._onward[client] = await DatagramSocket.bind(
                HERE, 0, lambda _, __, back: self._pass(front, client, back)
            )
        self._pass(self._onward[client], self.target, data)

    def _pass(self, socket: DatagramSocket, to: Address, data: bytes) -> None:
        if self.hole_bytes is not None and len(data) > self.hole_bytes:
            return
        if to == self.target:
            self.seen.append(data)
        for delay_s in self.path.arrivals(self._rng):
            asyncio.get_running_loop().call_later(delay_s, socket.send, to, data)

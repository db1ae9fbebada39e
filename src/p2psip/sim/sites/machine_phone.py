"""A phone that is a machine of its own: SIP and voice go through the networks and boxes between it and others."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect
from p2psip.media.engine import MediaEngine, Performance
from p2psip.media.session import MediaReport
from p2psip.sim.ip.datagrams import UdpSocket
from p2psip.sim.ip.machine import Machine
from p2psip.sim.ip.packet import SocketRefused
from p2psip.sim.sites.phone import VirtualPhone
from p2psip.sip.entities.agents.types import CallEnded, CallEstablished, MediaChanged, MediaWanted

SIP_PORT = 5060


class MachinePhone(VirtualPhone):
    """Plays a tone if `tone_hz` says which, and listens; what it heard is in `reports` when a call has ended."""

    def __init__(
        self, machine: Machine, user: str, server: Address, *, tone_hz: float | None = None, **options: Any
    ) -> None:
        """`options` as of a VirtualPhone."""
        self.machine = machine
        rng = random.Random(f"{machine.internet.seed}/{machine.name}")
        self.reports: list[MediaReport] = []
        self._engine = MediaEngine(Performance(tone_hz=tone_hz), rng)
        self._rtp: dict[tuple[str, int], UdpSocket] = {}
        self._of_call: dict[int, Address] = {}
        self._media_armed_at: float | None = None
        address = Address(machine.local_towards(server.host), SIP_PORT)
        self._sip = machine.udp(address, lambda _, remote, data: self._arrived(remote, data))
        super().__init__(user, address, server, rng, **options)

    @property
    def now(self) -> float:
        """Since the phone was switched on."""
        return self.machine.now

    def _at(self, when: float, run: Callable[[], None]) -> None:
        self.machine.at(when, run)

    def _transmit(self, data: bytes) -> None:
        try:
            self._sip.send(self.server, data)
        except SocketRefused:
            # No network: as good as lost.
            return

    def _arrived(self, remote: Address, data: bytes) -> None:
        if remote == self.server:
            self.receive(data)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Ask(token, MediaWanted(call)):
                self.machine.at(self.now, lambda: self._open_media(token, call))
            case CallEstablished(call, local, agreement) | MediaChanged(call, local, agreement):
                self._engine.start(call, local, agreement, self.now)
                super()._perform(effect)
            case CallEnded(call):
                self._end_media(call)
                super()._perform(effect)
            case _:
                super()._perform(effect)
        self._play()

    # Voice

    def _open_media(self, token: int, call: int) -> None:
        socket = self.machine.udp(Address(self.address.host, 0), self._heard)
        self._rtp[socket.local] = socket
        self._of_call[call] = socket.local
        self.run(lambda now: self.agent.handle_answer(token, socket.local, now))

    def _heard(self, socket: UdpSocket, remote: Address, data: bytes) -> None:
        self._engine.handle_datagram(socket.local, remote, data, self.now)
        self._play()

    def _end_media(self, call: int) -> None:
        if (report := self._engine.stop(call)) is not None:
            self.reports.append(report)
        if (local := self._of_call.pop(call, None)) is not None:
            self._rtp.pop(local).close()

    def _play(self) -> None:
        for effect in self._engine.drain():
            if (socket := self._rtp.get(effect.local)) is not None:
                try:
                    socket.send(Address(*effect.remote), effect.data)
                except SocketRefused:
                    continue
        deadline = self._engine.next_deadline()
        if deadline is not None and (self._media_armed_at is None or deadline.at < self._media_armed_at):
            at = self._media_armed_at = deadline.at
            self.machine.at(at, lambda: self._media_due(at))

    def _media_due(self, at: float) -> None:
        if self._media_armed_at == at:
            self._media_armed_at = None
            self._engine.handle_timeout(self.now)
            self._play()

"""What phones at the sites of a simulated Internet hear of each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from p2psip.base.address import Address
from p2psip.sim.ip.datagrams import UdpSocket
from p2psip.sim.sites.internet import InternetSites
from p2psip.sim.sites.machine_phone import MachinePhone

PTIME_MS = 60
"""How much of it a packet has (`long_packets` of tests/net/conftest.py)."""

STEP_S = 0.25
PACKETS_A_STEP = 3
"""Of four that a phone sends: audio is there again."""

RTP_BYTES_MIN = 100
Came = Callable[[UdpSocket, Address, bytes], None]


def pitch(number: int) -> float:
    """What the phone of a site plays."""
    return 400.0 + 20 * number


def heard(phone: MachinePhone) -> int:
    """What a phone heard in its last call, to ten Hz; 0 if nothing."""
    tone = phone.reports[-1].tone
    return 0 if tone is None else round(tone.frequency_hz / 10)


def call_up(world: InternetSites, caller: MachinePhone, callee: MachinePhone) -> tuple[int, float]:
    """A call that is answered: its number, and after how long."""
    began, call = caller.now, caller.dial(callee.user)
    world.run(16.0, stop=lambda: caller.established_after(call, began) is not None or caller.ended(call) is not None)
    took_s = caller.established_after(call, began)
    assert took_s is not None, f"{caller.user} to {callee.user}: {caller.ended(call)}"
    return call, took_s


class Ears:
    """How many packets of a call come to each of two phones."""

    def __init__(self, world: InternetSites, phones: Sequence[MachinePhone]) -> None:
        self.world = world
        self.counts = [0] * len(phones)
        for place, phone in enumerate(phones):
            for socket in phone._rtp.values():
                socket._user = partial(self._came, place, socket._user)

    def _came(self, place: int, user: Came, socket: UdpSocket, remote: Address, data: bytes) -> None:
        self.counts[place] += len(data) > RTP_BYTES_MIN
        user(socket, remote, data)

    def back_after(self, limit_s: float = 30.0) -> float:
        """How long from now until each phone hears the other, and goes on to for two seconds."""
        began, now = self.world.internet.now, self.world.internet.now
        since: float | None = None
        while now < began + limit_s:
            before = list(self.counts)
            self.world.run(STEP_S)
            hears = min(after - then for after, then in zip(self.counts, before, strict=True)) >= PACKETS_A_STEP
            since = (now if since is None else since) if hears else None
            now = self.world.internet.now
            if since is not None and now >= since + 2.0:
                return since - began
        return limit_s

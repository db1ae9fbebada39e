"""Two ends of a DTLS-UDP-SR link, without the DTLS, and the network between them in virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from p2psip.reload.link.congestion import Window
from p2psip.reload.link.datagram import DatagramLink
from p2psip.reload.link.link import Link, LinkState
from p2psip.sim.clock import VirtualClock
from p2psip.sim.path import Path

DATAGRAM_BYTES = 1200

Fate = Callable[[], list[float]]
"""The delays after which the copies of the next datagram arrive."""


class StopAndWait(Window):
    """6.6.3.1's example of a sender: one message at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 1.0

    def acknowledged(self) -> None:
        """As before."""

    def lost(self) -> None:
        """As before."""


@dataclass(eq=False)
class End:
    """One end: its link, what has come to it, and when it is looked at."""

    link: Link
    fate: Fate
    heard: list[bytes] = field(default_factory=list)
    sent_datagrams: int = 0
    armed_at: float | None = None


class LinkPair:
    """Messages go from `here` to `there`; acknowledgements come back over a path of their own."""

    def __init__(self, here_fate: Fate, there_fate: Fate, *, repeat_s: float = 3.0) -> None:
        self.clock = VirtualClock()
        self.here, self.there = (
            End(DatagramLink(65536, DATAGRAM_BYTES, repeat_s, 0.0), fate) for fate in (here_fate, there_fate)
        )

    @classmethod
    def over(cls, path: Path, seed: int | str = 1, *, repeat_s: float = 3.0) -> LinkPair:
        """A pair over the same kind of network in both directions."""
        rng = random.Random(f"{seed}/path")
        return cls(lambda: path.arrivals(rng), lambda: path.arrivals(rng), repeat_s=repeat_s)

    def send(self, message: bytes) -> None:
        """Give `here` a message."""
        self.here.link.send(message, self.clock.now)
        self._settle(self.here)

    def deliver(self, messages: Iterator[bytes], count: int, *, waiting: int, limit_s: float) -> float:
        """Send `count` messages, never more than `waiting` ahead of what has arrived; the seconds that it took."""
        began, start, sent = self.clock.now, len(self.there.heard), 0

        def feed() -> bool:
            nonlocal sent
            while sent < count and sent - (len(self.there.heard) - start) < waiting:
                sent += 1
                self.send(next(messages))
            return len(self.there.heard) - start >= count

        assert self.clock.run_until(began + limit_s, stop=feed) if not feed() else True, (
            f"{len(self.there.heard) - start} of {count} in {limit_s} s"
        )
        return self.clock.now - began

    def _settle(self, end: End) -> None:
        other = self.there if end is self.here else self.here
        for datagram in end.link.drain():
            if not isinstance(datagram, bytes):
                # That it is idle, or has failed: here nobody sends a Ping, or goes another way.
                continue
            end.sent_datagrams += 1
            for delay_s in end.fate():
                self.clock.at(self.clock.now + delay_s, lambda datagram=datagram: self._arrive(other, datagram))  # type: ignore[misc]
        deadline = end.link.next_deadline()
        if deadline is not None and (end.armed_at is None or deadline.at < end.armed_at):
            end.armed_at = deadline.at
            self.clock.at(deadline.at, lambda at=deadline.at: self._timeout(end, at))  # type: ignore[misc]

    def _arrive(self, end: End, datagram: bytes) -> None:
        end.heard += end.link.receive(datagram, self.clock.now)
        self._settle(end)

    def _timeout(self, end: End, at: float) -> None:
        if end.armed_at == at:
            end.armed_at = None
            end.link.handle_timeout(self.clock.now)
            assert end.link.state is not LinkState.DEAD, "the link was given up"
            self._settle(end)

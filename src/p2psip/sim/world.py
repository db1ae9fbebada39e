"""A virtual network: hosts with addresses, links with latency, crashes and partitions.

Links are ordered streams, as TLS over TCP is; their handshake takes one and a half round trips and presents the
hosts' certificates. Or they are DTLS over UDP: each datagram fares by the world's `path`, and a handshake takes a round
trip more. In a world that `is_direct` streams are direct links: their messages are not framed, and what does not arrive
comes back. A host that crashes resets its streams, as a killed process does; of its other links, and of one that loses
its power, only silence tells.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from p2psip.base.address import Address
from p2psip.base.effects import Ask, CancelAsk, Effect, Note
from p2psip.base.timers import Deadline
from p2psip.reload.node.effects import LinkUp, Write
from p2psip.reload.paths.values import (
    AcceptNarrow,
    Candidate,
    CutIfSilent,
    HangUp,
    Open,
    Opened,
    PathEvent,
    Returned,
    Secure,
)
from p2psip.reload.storage.store.memory import MemoryStore
from p2psip.reload.storage.store.records import Commit
from p2psip.reload.wire.link_messages import NO_ICE, OverlayLinkType
from p2psip.sim.clock import VirtualClock
from p2psip.sim.path import Path

COMMIT_S = 0.005
DATAGRAM_BYTES = 1200


class Driven(Protocol):
    """What the world drives: a node, or something that has one inside."""

    def handle_path(self, event: PathEvent, now: float) -> None: ...

    def handle_link_up(self, link: LinkUp, now: float) -> None: ...

    def handle_link_data(self, number: int, data: bytes, now: float) -> None: ...

    def handle_link_down(self, number: int, reason: str, now: float) -> None: ...

    def handle_answer(self, token: int, answer: object, now: float) -> None: ...

    def handle_timeout(self, now: float) -> None: ...

    def drain(self) -> list[Effect]: ...

    def next_deadline(self) -> Deadline | None: ...


@dataclass(slots=True)
class _End:
    """One end of a link: the host there, its number for the link, and when the last bytes arrive there."""

    host: Host
    number: int
    origin: tuple[Host, int]
    """The other end, and its number for the link."""
    is_stream: bool
    busy_until: float = 0.0
    is_cut: bool = False
    is_narrow: bool = False
    """True if only packets that every path carries are sent over it."""
    is_direct: bool = False


@dataclass(eq=False, slots=True, repr=False)
class Host:
    """A machine of the world and the core that runs on it."""

    name: str
    address: Address
    certificates: tuple[bytes, ...]
    core: Driven
    store: MemoryStore
    link_types: tuple[OverlayLinkType, ...] = NO_ICE
    """What it listens for, for RELOAD; for SIP it is TLS."""
    is_alive: bool = True
    is_powered: bool = True
    """Without power it does not even refuse connections."""
    island: int = 0
    """Hosts of different islands do not reach each other."""
    events: list[Effect] = field(default_factory=list)
    """Effects that are none of the world's business: for the test to look at."""
    is_narrow: bool = False
    """It accepts links only over which packets go that every path carries."""
    opening: dict[int, Candidate] = field(default_factory=dict)
    """What it dials, and nobody has shown a certificate yet."""
    links: dict[int, _End] = field(default_factory=dict)
    bytes_sent: int = 0
    _numbers: int = 1
    _armed_at: float | None = None

    def __repr__(self) -> str:
        # Whoever prints a host, as a test that fails does, would print all that it is linked with, by every way.
        return f"<{self.name} at {self.address}>"

    def refuses_nothing_to(self, other: Host) -> bool:
        """True if packets from `other` vanish here."""
        return not self.is_powered or self.island != other.island


class World:
    """Hosts, the network between them and the clock. `seed` decides everything that chance decides."""

    def __init__(
        self, seed: int | str, latency_s: Callable[[random.Random], float] | None = None, *, is_direct: bool = False
    ) -> None:
        self.is_direct = is_direct
        """Streams that come up are direct links."""
        self.clock = VirtualClock()
        self.hosts: dict[str, Host] = {}
        self.woken: set[Host] = set()
        """To whose core something has happened since whoever looks at them has taken these."""
        self._by_host: dict[str, Host] = {}
        self._rng = random.Random(f"{seed}/network")
        self._latency_s = latency_s or (lambda rng: rng.uniform(0.005, 0.05))
        self.path = Path(delay_s=0.005, jitter_s=0.045)
        self._path_rng = random.Random(f"{seed}/path")
        self.hole_bytes: int | None = None
        """Longer packets vanish, on whichever way, except over links of which both ends send none."""

    @property
    def now(self) -> float:
        """Seconds since the world began."""
        return self.clock.now

    def add(
        self, name: str, address: Address, certificates: tuple[bytes, ...], core: Driven, store: MemoryStore
    ) -> Host:
        """Put a host into the world; it listens at `address` for RELOAD, and at all its other ports for SIP."""
        assert name not in self.hosts or not self.hosts[name].is_alive, f"{name} is running"
        host = Host(name, address, certificates, core, store)
        self.hosts[name] = host
        self._by_host[address.host] = host
        return host

    def call(self, host: Host, run: Callable[[float], None]) -> None:
        """Give a core one input now, then do what it wants done."""
        if host.is_alive:
            run(self.now)
            self._settle(host)

    def run_for(self, seconds: float, *, stop: Callable[[], bool] | None = None) -> bool:
        """Let virtual time go on; True as soon as `stop` says so."""
        return self.clock.run_until(self.now + seconds, stop=stop)

    def crash(self, host: Host, *, is_silent: bool = False) -> None:
        """End a host without warning: SIGKILL, or with `is_silent` a power cut."""
        host.is_alive, host.is_powered = False, not is_silent
        host.opening.clear()
        links, host.links = host.links, {}
        if not is_silent:
            for end in links.values():
                if end.is_stream:
                    self.clock.at(self._known_at(host, end), self._down, end, "connection reset")

    def are_linked(self, host: Host, other: Host) -> bool:
        """True if what one of them sends over some link between them comes to the other."""
        return (
            host.is_alive
            and other.is_alive
            and host.island == other.island
            and any(
                end.host is other and not end.is_cut and (back := other.links.get(end.number)) and not back.is_cut
                for end in host.links.values()
            )
        )

    # Inside

    def _settle(self, host: Host) -> None:
        self.woken.add(host)
        for effect in host.core.drain():
            self._do(host, effect)
        deadline = host.core.next_deadline()
        if deadline is not None and (host._armed_at is None or deadline.at < host._armed_at):
            self._arm(host, deadline.at)

    def _arm(self, host: Host, at: float) -> None:
        host._armed_at = at
        self.clock.at(at, self._timeout, host, at)

    def _timeout(self, host: Host, at: float) -> None:
        if host._armed_at == at:
            host._armed_at = None
            deadline = host.core.next_deadline()
            # What was due now may have been put off since.
            if deadline is not None and deadline.at <= self.now:
                self.call(host, host.core.handle_timeout)
            elif deadline is not None and host.is_alive:
                self._arm(host, deadline.at)

    def _do(self, host: Host, effect: Effect) -> None:
        if isinstance(effect, Write):
            # Almost every effect is one.
            self._write(host, effect.link, effect.data)
            return
        match effect:
            case Open(path, candidate):
                self._open(host, path, candidate)
            case Secure(path):
                self._secure(host, path)
            case HangUp(number):
                host.opening.pop(number, None)
                if (end := host.links.pop(number, None)) is not None:
                    arrivals = self._arrivals(host, end.host) if not end.is_stream else None
                    times = [self._known_at(host, end)] if arrivals is None else [self.now + s for s in arrivals]
                    for at in times:
                        self.clock.at(at, self._down, end, "closed by the other end")
            case AcceptNarrow(is_narrow):
                host.is_narrow = is_narrow
            case Ask(token, Commit() as commit):
                self._later(COMMIT_S, self._commit, host, token, commit)
            case CancelAsk() | Note() | CutIfSilent():
                # A stream that is cut stands still for ever.
                pass
            case _:
                host.events.append(effect)

    def _later(self, delay_s: float, run: Callable[..., None], *arguments: object) -> None:
        self.clock.at(self.now + delay_s, run, *arguments)

    def _delay(self, here: Host, there: Host) -> float:
        """One way, different each time but the same in every run."""
        return self._latency_s(self._rng)

    def _known_at(self, host: Host, end: _End) -> float:
        """When the other end hears that a stream is no more; what it sent over a direct link has come back by then."""
        at = self.now + self._delay(host, end.host)
        there = end.host.links.get(end.number) if end.is_direct else None
        return at if there is None else max(at, there.busy_until)

    def _open(self, host: Host, path: int, candidate: Candidate) -> None:
        host.opening[path] = candidate
        target = self._by_host.get(candidate.address.host)
        if target is None or not target.refuses_nothing_to(host):
            self._later(2 * self._delay(host, target or host), self._answered, host, path)

    def _answered(self, host: Host, path: int) -> None:
        """The first packet has been there and back."""
        candidate = host.opening.get(path)
        if candidate is None or not host.is_alive:
            return
        target = self._by_host.get(candidate.address.host)
        if target is not None and _answers(target, host, candidate):
            self.call(host, partial(host.core.handle_path, Opened(path, host.address)))
        else:
            self._refused(host, path)

    def _refused(self, host: Host, path: int) -> None:
        if host.opening.pop(path, None) is not None:
            self.call(host, lambda now: host.core.handle_link_down(path, "connection refused", now))

    def _secure(self, host: Host, path: int) -> None:
        candidate = host.opening.get(path)
        if candidate is not None:
            target = self._by_host[candidate.address.host]
            round_trips = 0.5 if candidate.is_stream else 1.5
            self._later(2 * round_trips * self._delay(host, target), self._connect, host, target, path)

    def _connect(self, host: Host, target: Host, path: int) -> None:
        candidate = host.opening.get(path)
        if candidate is None or not host.is_alive:
            return
        if not (target.is_alive and host.island == target.island):
            self._refused(host, path)
            return
        del host.opening[path]
        number, is_narrow = target._numbers, candidate.is_narrow or target.is_narrow
        target._numbers += 2
        is_direct = self.is_direct and candidate.is_stream
        host.links[path] = _End(
            target, number, (host, path), candidate.is_stream, is_narrow=is_narrow, is_direct=is_direct
        )
        target.links[number] = _End(
            host, path, (target, number), candidate.is_stream, is_narrow=is_narrow, is_direct=is_direct
        )
        datagram_bytes = None if candidate.is_stream else DATAGRAM_BYTES
        accepted = LinkUp(number, host.certificates, host.address, candidate.address, datagram_bytes, is_direct)
        dialled = LinkUp(path, target.certificates, candidate.address, host.address, datagram_bytes, is_direct)
        for here, link in ((target, accepted), (host, dialled)):
            self.call(here, partial(here.core.handle_link_up, link))

    def _write(self, host: Host, number: int, data: bytes) -> None:
        end = host.links.get(number)
        host.bytes_sent += len(data)
        if end is None:
            return
        is_lost = self.hole_bytes is not None and len(data) > self.hole_bytes and not end.is_narrow
        if not end.is_stream:
            if is_lost:
                return
            for delay_s in self._arrivals(host, end.host):
                self._later(delay_s, self._arrive, end, data)
            return
        # What is lost on a stream is not made up for after the partition: the stream stands still.
        end.is_cut = end.is_cut or end.host.island != host.island or is_lost
        if end.is_direct and (end.is_cut or end.number not in end.host.links):
            self.clock.at(end.busy_until, self._return, end, data)
        elif not end.is_cut:
            end.busy_until = max(end.busy_until, self.now + self._delay(host, end.host))
            self.clock.at(end.busy_until, self._arrive, end, data)

    def _arrivals(self, here: Host, there: Host) -> list[float]:
        """When copies of a datagram come to their end."""
        return self.path.arrivals(self._path_rng) if here.island == there.island else []

    def _arrive(self, end: _End, data: bytes) -> None:
        host = end.host
        if end.number not in host.links:
            if end.is_direct:
                self._return(end, data)
        elif host.is_alive:
            host.core.handle_link_data(end.number, data, self.clock.now)
            self._settle(host)

    def _return(self, end: _End, message: bytes) -> None:
        """The end of a direct link did not take it."""
        sender, number = end.origin
        if number in sender.links:
            self.call(sender, lambda now: sender.core.handle_path(Returned(number, message), now))

    def _down(self, end: _End, reason: str) -> None:
        if end.host.links.pop(end.number, None) is not None:
            self.call(end.host, lambda now: end.host.core.handle_link_down(end.number, reason, now))

    def _commit(self, host: Host, token: int, commit: Commit) -> None:
        if host.is_alive:
            answer = host.store.commit(commit)
            self.call(host, lambda now: host.core.handle_answer(token, answer, now))


def _answers(target: Host, host: Host, candidate: Candidate) -> bool:
    # At its other ports it listens for SIP, which is TLS.
    listens = candidate.address != target.address or candidate.link_type in target.link_types
    return target.is_alive and target.island == host.island and listens

"""A node on a virtual machine: what `p2psip.net.node_host` is on real sockets, in virtual time.

One input, drain the effects, re-arm, next. `now` is the machine's time since boot.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from p2psip.base.address import Address
from p2psip.base.effects import Ask, CancelAsk, Effect, Note
from p2psip.base.timers import Deadline
from p2psip.base.wallclock import WallClock
from p2psip.reload.node.effects import Dial, LinkUp, Write
from p2psip.reload.paths.values import AcceptNarrow, Candidate, CutIfSilent, HangUp, PathEvent, Purpose, Stalled
from p2psip.reload.storage.store.records import Commit
from p2psip.reload.wire.link_messages import OverlayLinkType
from p2psip.sim.ip.machine import Machine
from p2psip.sim.ip.packet import SocketRefused
from p2psip.sim.ip.secured import (
    IP_TCP_BYTES,
    IP_UDP_BYTES,
    NARROW_BYTES,
    PATH_MTU,
    Connection,
    Credentials,
    DatagramListener,
    SecuredStream,
    dial_datagrams,
    dial_stream,
)
from p2psip.sim.ip.streams import Stream, StreamListener
from p2psip.sim.sites.disk import Disk

DIAL_STAGGER_S = 0.25
DIAL_MAX_S = 8.0


class Core(Protocol):
    """What is driven: a node with something around it."""

    def start(self, now: float) -> None: ...

    def set_wall_clock(self, wall: WallClock, now: float) -> None: ...

    def handle_path(self, event: PathEvent, now: float) -> None: ...

    def handle_link_up(self, link: LinkUp, now: float) -> None: ...

    def handle_link_data(self, number: int, data: bytes, now: float) -> None: ...

    def handle_link_down(self, number: int, reason: str, now: float) -> None: ...

    def handle_answer(self, token: int, answer: object, now: float) -> None: ...

    def handle_timeout(self, now: float) -> None: ...

    def next_deadline(self) -> Deadline | None: ...

    def drain(self) -> list[Effect]: ...


class _Dialling:
    """One `Dial`: its candidates, each tried a little after the one before; the first that answers is it."""

    def __init__(self, dial: Dial) -> None:
        self.dial = dial
        self.waiting = deque(dial.candidates)
        self.tried: dict[Connection, Candidate] = {}
        self.chosen: Connection | None = None
        self.reasons: list[str] = []


class NodeDriver:
    """Links, timers and the disk of one node (a `ConnectionUser`). What is for the program around it is in `events`."""

    def __init__(self, machine: Machine, core: Core, own: Credentials, disk: Disk) -> None:
        self.machine = machine
        self.events: list[tuple[float, Effect]] = []
        """(when, what), in seconds of the world."""
        self.inputs = 0
        self._core = core
        self._own = own
        self._disk = disk
        self._path_mtu = PATH_MTU
        self._accepted_mtu = PATH_MTU
        self._listeners: list[StreamListener] = []
        self._listening: set[Address] = set()
        self._accepted = itertools.count(1, 2)
        self._numbers: dict[Connection, tuple[int, Purpose]] = {}
        self._up: dict[int, Connection] = {}
        self._dials: dict[int, _Dialling] = {}
        self._effects: deque[Effect] = deque()
        self._is_settling = False
        self._armed_at: float | None = None

    def listen(self, purpose: Purpose, addresses: Iterable[Address]) -> None:
        """Accept streams there. Raises SocketRefused."""
        for address in addresses:
            listener = self.machine.listen(address, lambda stream: self._accept(purpose, stream))
            self._listeners.append(listener)
            self._listening.add(address)

    def listen_datagrams(self, addresses: Iterable[Address]) -> None:
        """Accept associations there, which all carry RELOAD. Raises SocketRefused."""
        for address in addresses:
            DatagramListener(
                self.machine,
                address,
                self._own,
                self,
                lambda association: self._take(association, Purpose.RELOAD),
                lambda: self._accepted_mtu - IP_UDP_BYTES,
            )
            self._listening.add(address)

    def call(self, run: Callable[[float], object]) -> None:
        """Give the core one input, then do what it wants done; inputs that this causes are taken in turn."""
        self.inputs += 1
        run(self.machine.now)
        self._settle()

    def set_date(self, error_s: float, *, is_trusted: bool = True) -> None:
        """The date of this machine is wrong by so much from now on."""
        clock = self.machine.clock
        clock.date_error_s, clock.is_trusted = error_s, is_trusted
        wall = clock.wall(self.machine.internet.now)
        self.call(lambda now: self._core.set_wall_clock(wall, now))

    # The pump

    def _settle(self) -> None:
        if self._is_settling:
            return
        self._is_settling = True
        while self._has_effects():
            self._do(self._effects.popleft())
        self._is_settling = False
        self._arm()

    def _has_effects(self) -> bool:
        if not self._effects:
            self._effects.extend(self._core.drain())
        return bool(self._effects)

    def _arm(self) -> None:
        deadline = self._core.next_deadline()
        if deadline is not None and (self._armed_at is None or deadline.at < self._armed_at):
            at = self._armed_at = deadline.at
            self.machine.at(at, lambda: self._due(at))

    def _due(self, at: float) -> None:
        if self._armed_at == at:
            self._armed_at = None
            self.call(self._core.handle_timeout)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Write(number, data):
                if (connection := self._up.get(number)) is not None:
                    connection.write(data)
            case Dial(number):
                self._dials[number] = _Dialling(effect)
                self.machine.at(self.machine.now + DIAL_MAX_S, lambda: self._give_up(number))
                self._dial_next(number)
            case HangUp(number, reason):
                self._hang_up(number, reason)
            case CutIfSilent(number, silent_s):
                if isinstance(connection := self._up.get(number), SecuredStream):
                    connection.cut_if_silent(silent_s)
            case AcceptNarrow(is_narrow):
                self._accepted_mtu = NARROW_BYTES if is_narrow else self._path_mtu
                for listener in self._listeners:
                    listener.mss_bytes = self._accepted_mtu - IP_TCP_BYTES
            case Ask(token, Commit() as commit):
                self._disk.commit(commit, lambda answer: self._answer(token, answer))
            case CancelAsk() | Note():
                pass
            case _:
                self.events.append((self.machine.internet.now, effect))

    def _answer(self, token: int, answer: object) -> None:
        self.call(lambda now: self._core.handle_answer(token, answer, now))

    # Dialling

    def _dial_next(self, number: int) -> None:
        dialling = self._dials.get(number)
        if dialling is None or dialling.chosen is not None or not dialling.waiting:
            return
        candidate = dialling.waiting.popleft()
        if dialling.waiting:
            self.machine.at(self.machine.now + DIAL_STAGGER_S, lambda: self._dial_next(number))
        try:
            connection = self._dial(candidate)
        except SocketRefused as refused:
            self._failed(number, f"{candidate}: {refused}")
            return
        dialling.tried[connection] = candidate
        self._numbers[connection] = (number, dialling.dial.purpose)

    def _dial(self, candidate: Candidate) -> Connection:
        path_mtu = NARROW_BYTES if candidate.is_narrow else self._path_mtu
        if candidate.link_type is OverlayLinkType.DTLS_UDP_SR_NO_ICE:
            return dial_datagrams(self.machine, candidate.address, self._own, self, path_mtu - IP_UDP_BYTES)
        return dial_stream(self.machine, candidate.address, self._own, self, path_mtu)

    def _failed(self, number: int, reason: str) -> None:
        dialling = self._dials[number]
        dialling.reasons.append(reason)
        if not dialling.tried and not dialling.waiting:
            self._over(number, "; ".join(dialling.reasons))

    def _over(self, number: int, reason: str) -> None:
        del self._dials[number]
        self.call(lambda now: self._core.handle_link_down(number, reason, now))

    def _give_up(self, number: int) -> None:
        dialling = self._dials.get(number)
        if dialling is not None and dialling.chosen is None:
            silent = ", ".join(map(str, [*dialling.tried.values(), *dialling.waiting]))
            self._abandon(dialling)
            self._over(number, "; ".join([*dialling.reasons, f"no answer in {DIAL_MAX_S:g} s from {silent}"]))

    def _abandon(self, dialling: _Dialling) -> None:
        for connection in [each for each in dialling.tried if each is not dialling.chosen]:
            self._numbers.pop(connection, None)
            connection.abort("another candidate was faster")

    def _hang_up(self, number: int, reason: str) -> None:
        if (dialling := self._dials.pop(number, None)) is not None:
            self._abandon(dialling)
            if dialling.chosen is not None:
                self._numbers.pop(dialling.chosen, None)
                dialling.chosen.abort(reason)
        if (connection := self._up.pop(number, None)) is not None:
            self._numbers.pop(connection, None)
            connection.close(reason)

    # ConnectionUser

    def connection_answered(self, connection: Connection) -> None:
        """Somebody has answered: this is it, unless it is ourselves."""
        number, _ = self._numbers[connection]
        dialling = self._dials[number]
        if connection.remote in self._listening and connection.local.host == connection.remote.host:
            connection.abort("that is this machine itself")
            return
        dialling.chosen = connection
        self._abandon(dialling)
        connection.secure()

    def connection_up(self, connection: Connection, certificates: tuple[bytes, ...]) -> None:
        """The handshake is done."""
        number, purpose = self._numbers[connection]
        self._dials.pop(number, None)
        self._up[number] = connection
        link = LinkUp(number, purpose, certificates, connection.remote, connection.local, connection.datagram_bytes)
        self.call(lambda now: self._core.handle_link_up(link, now))

    def connection_data(self, connection: Connection, data: bytes) -> None:
        """Bytes have come."""
        if connection in self._numbers:
            number, _ = self._numbers[connection]
            self.call(lambda now: self._core.handle_link_data(number, data, now))

    def connection_down(self, connection: Connection, reason: str) -> None:
        """It is gone; of one that was accepted and never came up the core knows nothing."""
        number, _ = self._numbers.pop(connection, (0, None))
        if number and connection.is_stalled:
            is_stream = connection.datagram_bytes is None
            kind = OverlayLinkType.TLS_TCP_FH_NO_ICE if is_stream else OverlayLinkType.DTLS_UDP_SR_NO_ICE
            self.call(lambda now: self._core.handle_path(Stalled(number, connection.remote, kind), now))
        if self._up.pop(number, None) is not None:
            self.call(lambda now: self._core.handle_link_down(number, reason, now))
        elif (dialling := self._dials.get(number)) is not None:
            candidate = dialling.tried.pop(connection)
            if dialling.chosen is connection:
                self._over(number, reason)
            else:
                self._failed(number, f"{candidate}: {reason}")

    def _accept(self, purpose: Purpose, stream: Stream) -> None:
        self._take(SecuredStream(self.machine, stream, self._own, self, is_server=True), purpose)

    def _take(self, connection: Connection, purpose: Purpose) -> None:
        self._numbers[connection] = (next(self._accepted), purpose)


def events_of(events: Sequence[tuple[float, Effect]], kind: type[Effect]) -> list[Effect]:
    """Those of one kind."""
    return [event for _, event in events if isinstance(event, kind)]

"""For tests of the driver: a core that only takes notes, a disk whose answers a test gives, and contexts for TLS."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import cache

from dialler import Dialler
from OpenSSL import SSL

from p2psip.base.effects import Effect
from p2psip.base.timers import Deadline, earliest
from p2psip.base.wallclock import WallClock
from p2psip.net.sockets.dtls import require_cookies
from p2psip.net.sockets.tls import make_context
from p2psip.reload.node.effects import LinkUp, Write
from p2psip.reload.paths.values import Accepted, CutIfSilent, HangUp, PathEvent, Stalled
from p2psip.reload.storage.store.records import Commit, CommitAnswer
from p2psip.sim.membership import OVERLAY, Club, key, node_id
from p2psip.sip.transports.arrivals import Arrival, Datagram, FlowData, FlowDown, FlowUp

HERE = "127.0.0.1"


@dataclass
class Notes(Dialler):
    """In the place of the core: what it was told, and what it wants, which a test puts there. Links that it dials are
    called as the test calls them.
    """

    told: list[tuple[object, ...]] = field(default_factory=list)
    wanted: list[Effect] = field(default_factory=list)
    deadline: Deadline | None = None
    wall: WallClock = field(default_factory=lambda: WallClock(0.0))
    datagram_bytes: int | None = None
    protocol: bytes = b""
    """Of the link that came up last."""
    _ups: set[int] = field(default_factory=set)

    is_found_on_lan = False

    def __post_init__(self) -> None:
        super().__init__()

    @property
    def node(self) -> Notes:
        return self

    def drain(self) -> list[Effect]:
        wanted, self.wanted = self.wanted, []
        return [*map(self._for_driver, wanted), *super().drain()]

    def _for_driver(self, effect: Effect) -> Effect:
        if isinstance(effect, Write | HangUp | CutIfSilent):
            return replace(effect, link=self.path_of(effect.link))
        return effect

    def next_deadline(self) -> Deadline | None:
        return earliest((self.deadline, super().next_deadline()))

    def handle_timeout(self, now: float) -> None:
        super().handle_timeout(now)
        if self.deadline is not None and self.deadline.at <= now:
            self.deadline = None
            self.told.append(("timeout",))

    def handle_path(self, event: PathEvent, now: float) -> None:
        super().handle_path(event, now)
        if isinstance(event, Accepted):
            self.told.append(("accepted", event.path))
        elif isinstance(event, Stalled):
            self.told.append(("path", event))

    def handle_link_up(self, link: LinkUp, now: float) -> None:
        self.datagram_bytes, self.protocol = link.datagram_bytes, link.protocol
        number = self.up(link.number)
        self._ups.add(link.number)
        self.told.append(("up", number, link.certificates))

    def handle_link_data(self, number: int, data: bytes, now: float) -> None:
        self.told.append(("data", self.called(number), data))

    def handle_link_down(self, number: int, reason: str, now: float) -> None:
        self.down(number, reason, now)
        if number in self._ups:
            self._ups.discard(number)
            self.ended(self.called(number), reason)

    def ended(self, number: int, reason: str) -> None:
        self.told.append(("down", number, reason))

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        self.told.append(("answer", token, answer))

    def handle_sip(self, arrival: Arrival, now: float) -> None:
        match arrival:
            case Datagram(local, remote, data):
                self.told.append(("datagram", data, local, remote))
            case FlowUp(flow):
                self.told.append(("flow", flow))
            case FlowData(flow, data):
                self.told.append(("flow data", flow, data))
            case FlowDown(flow, reason):
                self.told.append(("flow closed", flow, reason))

    async def hears(self, what: str, count: int = 1, limit_s: float = 60.0) -> list[tuple[object, ...]]:
        """Wait until it was told this, so many times."""
        deadline = asyncio.get_running_loop().time() + limit_s
        while len(heard := [each for each in self.told if each[0] == what]) < count:
            assert asyncio.get_running_loop().time() < deadline, f"it was told only {self.told}"
            await asyncio.sleep(0.005)
        return heard


@dataclass
class Disk:
    """A store whose answers a test gives."""

    answers: list[Future[CommitAnswer]] = field(default_factory=list)

    def commit(self, commit: Commit) -> Future[CommitAnswer]:
        self.answers.append(Future())
        return self.answers[-1]


@cache
def context(number: int = 1) -> SSL.Context:
    certificate = Club.of().certificate(f"user{number}@{OVERLAY}", [node_id(number)], number=number)
    return make_context((certificate,), key(number=number))


@cache
def datagram_context(number: int) -> SSL.Context:
    certificate = Club.of().certificate(f"user{number}@{OVERLAY}", [node_id(number)], number=number)
    made = make_context((certificate,), key(number=number), is_datagram=True)
    require_cookies(made)
    return made

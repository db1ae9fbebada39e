"""A node of the overlay on real sockets: drives a core that has a node in it with asyncio.

One input, drain the effects, re-arm, next. `now` is the time since boot, suspension included, so that lifetimes go on
while a laptop sleeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Protocol

from OpenSSL import SSL

from p2psip.base.address import Address, source_key
from p2psip.base.effects import Ask, CancelAsk, Effect, Note
from p2psip.base.timers import Deadline
from p2psip.base.wallclock import WallClock
from p2psip.net.sockets.addresses import with_zones
from p2psip.net.sockets.dtls import IP_UDP_BYTES, PATH_MTU, DtlsAssociation, DtlsListener, connect_dtls
from p2psip.net.sockets.tcp import NARROW_BYTES, StreamListener, connect_tcp
from p2psip.net.sockets.tls import GOODBYE_MAX_S, Stream, TlsStream
from p2psip.reload.node.effects import Dial, LinkUp, Write
from p2psip.reload.node.node import Node
from p2psip.reload.paths.values import AcceptNarrow, Candidate, CutIfSilent, HangUp, PathEvent, Purpose, Stalled
from p2psip.reload.storage.store.records import Commit, CommitAnswer
from p2psip.reload.wire.link_messages import OverlayLinkType

DIAL_STAGGER_S = 0.25
"""How long a candidate has before the next is tried beside it (RFC 8305 section 5)."""

DIAL_MAX_S = 8.0
HANDSHAKES_MAX = 128
"""Accepted connections that have not shown a certificate yet; for one more the oldest has to go of those that come
from where most come from."""

CLOSING_MAX = 64
"""Connections that are given time to take our last words; beyond them one is cut off."""

BACKLOG_NORMAL_BYTES = 64 * 1024
BACKLOGS_MAX_BYTES = 16 * 1024 * 1024
"""What all remotes together may leave unread; beyond it the one that has left the most is cut off."""

WALL_CHECK_S = 5.0
WALL_JUMP_S = 0.5


class Store(Protocol):
    """Where commits go."""

    def commit(self, commit: Commit) -> Future[CommitAnswer]:
        """Make changes durable."""


def boot_time() -> float:
    """Seconds since boot, on a clock that never jumps and goes on in suspension."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def read_wall_clock(not_before: float, not_after: float) -> WallClock:
    """What the date is, and whether to trust it.

    A date before the overlay came to be (`not_before`) is not trusted, nor one by which our own certificate has ended
    (`not_after`): either the clock is ahead, or others refuse us anyway, and who judges them is no matter.
    """
    date = time.time()
    return WallClock(date - boot_time(), is_trusted=not_before <= date <= not_after)


class NodeCore(Protocol):
    """What a host drives: a node with something around it."""

    @property
    def node(self) -> Node:
        """The node inside."""

    def start(self, now: float) -> None:
        """Join the overlay, for ever."""

    def set_wall_clock(self, wall: WallClock, now: float) -> None:
        """The date has jumped, or is trusted now."""

    def handle_path(self, event: PathEvent, now: float) -> None:
        """What a connection shows of the way that it takes, beside coming up and going down."""

    def handle_link_up(self, link: LinkUp, now: float) -> None:
        """A connection with another node is up."""

    def handle_link_data(self, number: int, data: bytes, now: float) -> None:
        """Bytes came over it."""

    def handle_link_down(self, number: int, reason: str, now: float) -> None:
        """It is down, or never came up."""

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        """The answer to an Ask."""

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""


class NodeHost:
    """Links, timers and the disk of one node. `other` is called with the effects that are for the program around it."""

    def __init__(
        self,
        core: NodeCore,
        context: SSL.Context,
        store: Store,
        overlay_began: float,
        other: Callable[[Effect], None],
        *,
        datagram_context: SSL.Context | None = None,
        path_mtu: int = PATH_MTU,
    ) -> None:
        """Without `datagram_context` there is no DTLS here; `path_mtu` is the longest IP packet of links."""
        self._core = core
        self._context = context
        self._datagram_context = datagram_context
        self._path_mtu = path_mtu
        self._datagram_bytes = path_mtu - IP_UDP_BYTES
        self._store = store
        self._overlay_began = overlay_began
        self.own_certificate_ends = math.inf
        self._other = other
        self._loop = asyncio.get_running_loop()
        self._streams: dict[int, Stream] = {}
        self._numbers: dict[Stream, tuple[int, Purpose]] = {}
        self._handshaking: dict[Stream, None] = {}
        self._alive: set[Stream] = set()
        self._is_quiet = asyncio.Event()
        self._listening: set[Address] = set()
        self._accepted = itertools.count(1, 2)
        self._dials: dict[int, asyncio.Task[None]] = {}
        self._servers: list[StreamListener | DtlsListener] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._wall_timer: asyncio.TimerHandle | None = None
        self._effects: deque[Effect] = deque()
        self._is_settling = False
        self._is_closed = False

    # Beginning and end

    async def listen_links(self, purpose: Purpose, addresses: Iterable[Address]) -> tuple[int, ...]:
        """Listen for links of this purpose; the ports. Raises LocalMisuse if one is taken."""
        ports: list[int] = []
        for address in addresses:
            server = self._listen_tls(purpose, address)
            self._servers.append(server)
            self._listening.add(Address(address.host, server.port))
            ports.append(server.port)
        return tuple(ports)

    async def listen_datagram_links(self, addresses: Iterable[Address]) -> None:
        """Listen for links over DTLS as well, which all carry RELOAD. Raises LocalMisuse if a port is taken."""
        for address in addresses:
            listener = DtlsListener(self._own_datagram_context, self, self._accept_dtls, self._datagram_bytes)
            self._servers.append(listener)
            self._listening.add(Address(address.host, (await listener.bind(address)).port))

    def start(self) -> None:
        """Let the node go and join."""
        self._watch_wall_clock()
        self.call(self._core.start)

    def close(self) -> None:
        """Close every socket. What they and open tasks still say does not reach the core, nor its closed store."""
        self._is_closed = True
        for stream in list(self._numbers):
            stream.close("this node stops")
        for server in self._servers:
            server.close()
        for timer in (self._timer, self._wall_timer):
            if timer is not None:
                timer.cancel()
        for task in [*self._tasks, *self._dials.values()]:
            task.cancel()

    async def wait_closed(self) -> None:
        """After `close`: until every connection has said goodbye, which takes none of them more than GOODBYE_MAX_S."""
        self._is_quiet.clear()
        if self._alive:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_MAX_S + 1):
                    await self._is_quiet.wait()

    def use_context(self, context: SSL.Context, datagram_context: SSL.Context | None) -> None:
        """Show another certificate on connections that begin from now on."""
        self._context, self._datagram_context = context, datagram_context

    def call(self, run: Callable[[float], object]) -> None:
        """Give the core one input, then do what it wants done."""
        if not self._is_closed:
            try:
                run(boot_time())
            finally:
                self._settle()

    # The pump

    def _settle(self) -> None:
        """Do the effects; inputs that they cause at once (a socket that fails) are taken in turn, not nested.

        A bug of ours in one of them is raised; what comes after it is done all the same, and the timer set.
        """
        if self._is_settling:
            return
        self._is_settling = True
        try:
            while self._has_effects():
                self._do(self._effects.popleft())
        finally:
            self._is_settling = False
            if self._effects:
                self._loop.call_soon(self.call, _nothing)
            self._arm()

    def _has_effects(self) -> bool:
        if not self._effects:
            self._effects.extend(self._core.drain())
        return bool(self._effects)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._core.next_deadline()
        if deadline is not None:
            delay_s = max(0.0, deadline.at - boot_time())
            self._timer = self._loop.call_later(delay_s, self.call, self._core.handle_timeout)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Write(number, data):
                self._write(number, data)
            case Dial(number):
                self._dials[number] = self._spawn(self._dial(effect))
            case HangUp(number, reason):
                self._hang_up(number, reason)
            case CutIfSilent(number, silent_s):
                if (tls := self.stream(number)) is not None:
                    tls.cut_if_silent(silent_s)
            case AcceptNarrow(is_narrow):
                self._limit_accepted(self._bytes_to(is_narrow=is_narrow))
            case Ask(token, Commit() as commit):
                self._commit(token, commit)
            case CancelAsk():
                pass
            case _:
                self._other(effect)

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Links

    def _write(self, number: int, data: bytes) -> None:
        if (stream := self._streams.get(number)) is None:
            return
        stream.write(data)
        if stream.backlog_bytes > BACKLOG_NORMAL_BYTES:
            backlogs = {each: each.backlog_bytes for each in self._streams.values()}
            if sum(backlogs.values()) > BACKLOGS_MAX_BYTES:
                max(backlogs, key=lambda each: backlogs[each]).abort("the other end does not read")

    def _listen_tls(self, purpose: Purpose, address: Address) -> StreamListener:
        def accept() -> TlsStream:
            stream = TlsStream(self._context, self, is_server=True)
            self._numbers[stream] = (next(self._accepted), purpose)
            self._alive.add(stream)
            return stream

        return StreamListener.bind(address, accept, partial(self._not_accepted, address), self._path_mtu)

    def _not_accepted(self, address: Address, reason: str) -> None:
        facts = {"at": f"tcp {address}", "reason": reason}
        self._other(Note("connections are not accepted", facts, is_warning=True))

    def _accept_dtls(self, association: DtlsAssociation) -> None:
        self._numbers[association] = (next(self._accepted), Purpose.RELOAD)
        self._alive.add(association)

    def _own_datagram_context(self) -> SSL.Context:
        assert self._datagram_context is not None, "no DTLS without a context for it"
        return self._datagram_context

    async def _dial(self, dial: Dial) -> None:
        """Try the candidates, each a little after the one before; the first of which anything is heard is it."""
        candidates = [zoned for candidate in dial.candidates for zoned in _zoned(candidate)]
        attempts = [
            self._loop.create_task(self._connect(candidate, rank * DIAL_STAGGER_S))
            for rank, candidate in enumerate(candidates)
        ]
        reasons: list[str] = []
        chosen: Stream | None = None
        try:
            async with asyncio.timeout(DIAL_MAX_S):
                chosen = await _first(attempts, reasons)
        except TimeoutError:
            reasons.append(f"no answer in {DIAL_MAX_S:g} s from {_unanswered(candidates, attempts)}")
        finally:
            # Also if we were cancelled: whoever connects after all has nobody to talk to.
            for attempt in attempts:
                _abandon(attempt, chosen)
        self._dials.pop(dial.link, None)
        if chosen is None:
            self.call(lambda now: self._core.handle_link_down(dial.link, "; ".join(reasons), now))
        else:
            self._numbers[chosen] = (dial.link, dial.purpose)
            self._alive.add(chosen)
            chosen.begin()

    def hosts_gone(self, hosts: Collection[str]) -> None:
        """This machine does not have these addresses any more: a connection from one of them hears nothing again."""
        for stream in [each for each in self._numbers if each.local[0] in hosts]:
            stream.abort("the address of this end is gone")

    async def _connect(self, candidate: Candidate, delay_s: float) -> Stream:
        await asyncio.sleep(delay_s)
        try:
            stream = await self._connect_link(candidate)
        except ConnectionError as error:
            raise ConnectionError(f"{candidate}: {error}") from None
        if stream.remote[0] == stream.local[0] and self._listens_at(*stream.remote):
            # Many networks have the same private addresses: this one of the other's is one of ours as well.
            stream.abort("that is this machine")
            raise ConnectionError(f"{candidate}: that is this machine itself")
        return stream

    def _listens_at(self, host: str, port: int) -> bool:
        """True for an address of this machine at which we listen: other nodes may run beside us, at others."""
        hosts = [address.host for address in self._listening if address.port == port]
        return host in hosts or any(ipaddress.ip_address(each).is_unspecified for each in hosts)

    def stream(self, number: int) -> TlsStream | None:
        """The TLS connection with this number, while it is up."""
        found = self._streams.get(number)
        return found if isinstance(found, TlsStream) else None

    async def _connect_link(self, candidate: Candidate) -> Stream:
        """The handshake begins when this connection is the one that is chosen."""
        path_mtu = self._bytes_to(is_narrow=candidate.is_narrow)
        if candidate.link_type is OverlayLinkType.DTLS_UDP_SR_NO_ICE:
            return await connect_dtls(self._own_datagram_context(), self, candidate.address, path_mtu - IP_UDP_BYTES)
        return await connect_tcp(lambda: TlsStream(self._context, self, is_server=False), candidate.address, path_mtu)

    def _bytes_to(self, *, is_narrow: bool) -> int:
        return min(self._path_mtu, NARROW_BYTES) if is_narrow else self._path_mtu

    def _limit_accepted(self, path_mtu: int) -> None:
        for server in self._servers:
            if isinstance(server, StreamListener):
                server.limit_packets(path_mtu)

    def _hang_up(self, number: int, reason: str) -> None:
        if (task := self._dials.pop(number, None)) is not None:
            task.cancel()
        if (stream := self._streams.pop(number, None)) is not None:
            del self._numbers[stream]
            if len(self._alive) - len(self._numbers) > CLOSING_MAX:
                stream.abort(reason)
            else:
                stream.close(reason)

    def stream_accepted(self, stream: Stream) -> None:
        """net.tls: somebody has connected, and has yet to say who."""
        self._handshaking[stream] = None
        if len(self._handshaking) > HANDSHAKES_MAX:
            crowd = Counter(source_key(each.remote[0]) for each in self._handshaking)
            ((most, _),) = crowd.most_common(1)
            oldest = next(each for each in self._handshaking if source_key(each.remote[0]) == most)
            del self._handshaking[oldest]
            oldest.abort("too many handshakes at once")

    def stream_up(self, stream: Stream, certificates: tuple[bytes, ...]) -> None:
        """net.tls: the handshake is done."""
        number, purpose = self._numbers[stream]
        self._handshaking.pop(stream, None)
        self._streams[number] = stream
        remote, local = Address(*stream.remote), Address(*stream.local)
        link = LinkUp(number, purpose, certificates, remote, local, stream.datagram_bytes)
        self.call(lambda now: self._core.handle_link_up(link, now))

    def stream_data(self, stream: Stream, data: bytes) -> None:
        """net.tls: bytes came."""
        if stream in self._numbers:
            number, _ = self._numbers[stream]
            self.call(lambda now: self._core.handle_link_data(number, data, now))

    def stream_down(self, stream: Stream, reason: str) -> None:
        """net.tls: the connection is gone; of one that was accepted and never came up the core knows nothing."""
        number, _ = self._numbers.pop(stream, (0, None))
        self._alive.discard(stream)
        if not self._alive:
            self._is_quiet.set()
        self._handshaking.pop(stream, None)
        was_up = self._streams.pop(number, None) is not None
        if number and stream.is_stalled:
            stalled = Stalled(number, Address(*stream.remote), _kind_of(stream))
            self.call(lambda now: self._core.handle_path(stalled, now))
        if was_up or (number and not stream.is_server):
            self.call(lambda now: self._core.handle_link_down(number, reason, now))

    # Disk and date

    def _commit(self, token: int, commit: Commit) -> None:
        def done(future: Future[CommitAnswer]) -> None:
            # In the thread that writes; what is wrong with the answer is to be seen in ours.
            self._loop.call_soon_threadsafe(self._committed, token, future)

        self._store.commit(commit).add_done_callback(done)

    def _committed(self, token: int, future: Future[CommitAnswer]) -> None:
        answer = future.result()
        self.call(lambda now: self._core.handle_answer(token, answer, now))

    def _watch_wall_clock(self) -> None:
        wall, known = read_wall_clock(self._overlay_began, self.own_certificate_ends), self._core.node.wall
        if wall.is_trusted != known.is_trusted or abs(wall.offset - known.offset) > WALL_JUMP_S:
            self._other(Note("the date has changed", {"is_trusted": wall.is_trusted}))
            self.call(lambda now: self._core.set_wall_clock(wall, now))
        # The loop's clock stands still while the machine sleeps, the peer's does not.
        self._arm()
        self._wall_timer = self._loop.call_later(WALL_CHECK_S, self._watch_wall_clock)


def _kind_of(stream: Stream) -> OverlayLinkType:
    is_tls = isinstance(stream, TlsStream)
    return OverlayLinkType.TLS_TCP_FH_NO_ICE if is_tls else OverlayLinkType.DTLS_UDP_SR_NO_ICE


def _nothing(now: float) -> None:
    """No input: what is left to be done is done."""


async def _first(attempts: Sequence[asyncio.Task[Stream]], reasons: list[str]) -> Stream | None:
    """The first connection that is up; `reasons` gets why others are not."""
    for attempt in asyncio.as_completed(attempts):
        try:
            stream = await attempt
        except ConnectionError as error:
            reasons.append(str(error))
            continue
        if stream.is_connected:
            return stream
        reasons.append("closed by the other end")
    return None


def _zoned(candidate: Candidate) -> list[Candidate]:
    """The wire knows no zones: a link-local candidate is tried on each link."""
    try:
        hosts = with_zones(candidate.address.host)
    except OSError:
        # No file descriptor is left to ask by; then there is none to dial with either.
        return [candidate]
    return [candidate._replace(address=Address(host, candidate.address.port)) for host in hosts]


def _unanswered(candidates: Sequence[Candidate], attempts: Sequence[asyncio.Task[Stream]]) -> str:
    pairs = zip(candidates, attempts, strict=True)
    return ", ".join(str(candidate) for candidate, attempt in pairs if not attempt.done() or attempt.cancelled())


def _abandon(attempt: asyncio.Task[Stream], chosen: Stream | None) -> None:
    if not attempt.done():
        attempt.cancel()
    elif not attempt.cancelled() and attempt.exception() is None and attempt.result() is not chosen:
        attempt.result().abort("another candidate was faster")

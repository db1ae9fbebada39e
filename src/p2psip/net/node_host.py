"""A node of the overlay on real sockets: drives a core that has a node in it with asyncio.

One input, drain the effects, re-arm, next. `now` is the time since boot, suspension included, so that lifetimes go on
while a laptop sleeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from OpenSSL import SSL

from p2psip.base.address import Address
from p2psip.base.effects import Ask, CancelAsk, Effect, Note
from p2psip.base.timers import Deadline
from p2psip.base.wallclock import WallClock
from p2psip.net.lan_ports import LanPorts, ToLan
from p2psip.net.router_streams import answer_on_stream
from p2psip.net.sockets.addresses import zoned
from p2psip.net.sockets.dtls import IP_UDP_BYTES, PATH_MTU, DtlsAssociation
from p2psip.net.sockets.dtls_ports import DtlsPorts
from p2psip.net.sockets.spare_ports import SparePorts
from p2psip.net.sockets.tcp import NARROW_BYTES, StreamListener, connect_tcp
from p2psip.net.sockets.tls import GOODBYE_MAX_S, SocketStream, TlsStream
from p2psip.net.sockets.turn_ports import TurnPorts
from p2psip.reload.node.effects import LinkUp, Write
from p2psip.reload.node.node import Node
from p2psip.reload.paths.demux import DatagramKind, Pair, kind_of
from p2psip.reload.paths.relays.relay_values import (
    AtRelayPort,
    DropRelayed,
    OpenRelayPort,
    RelayedCame,
    RelayedGoes,
    RelayPortOpened,
    RelayStreamCame,
    RelayStreamUp,
    UseRelayed,
    WriteStream,
)
from p2psip.reload.paths.values import (
    Accepted,
    AcceptNarrow,
    AskStream,
    Candidate,
    CloseSpare,
    CutIfSilent,
    HangUp,
    Listening,
    MoveLink,
    Open,
    Opened,
    PathEvent,
    Secure,
    SendSpare,
    SendStun,
    Stalled,
    StreamAnswered,
    StunArrived,
    Zoned,
)
from p2psip.reload.storage.store.records import Commit, CommitAnswer
from p2psip.reload.wire.link_messages import OverlayLinkType
from p2psip.turn.methods import carries_data
from p2psip.turn.values import STUN_TURN, CloseRelay, TurnRelay

CLOSING_MAX = 64
"""Connections that are given time to take our last words; beyond them one is cut off."""

BACKLOG_NORMAL_BYTES = 64 * 1024
BACKLOG_FRESH_BYTES = 16 * 1024
"""Beyond it a datagram over a stream is late, and lost."""

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


@dataclass(frozen=True, slots=True)
class LinkContexts:
    """What connections with other nodes show of us and ask of them: over TLS; and over DTLS, if there is any."""

    tls: SSL.Context
    dtls: SSL.Context | None = None


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What a node's host is given beside the core."""

    contexts: LinkContexts
    store: Store
    overlay_began: float
    """When the overlay came to be: an earlier date is not trusted."""
    path_mtu: int = PATH_MTU
    """The longest IP packet of links."""


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
        """Something has happened to a connection, beside that it is up or down."""

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

    def __init__(self, core: NodeCore, settings: HostSettings, other: Callable[[Effect], None]) -> None:
        self._core = core
        self._settings = settings
        self._contexts = settings.contexts
        self.own_certificate_ends = math.inf
        self._other = other
        self._loop = asyncio.get_running_loop()
        self._streams: dict[int, SocketStream] = {}
        """Connections by their number, from when they are made or accepted."""
        self._numbers: dict[SocketStream, int] = {}
        self._up: set[SocketStream] = set()
        self._alive: set[SocketStream] = set()
        self._is_quiet = asyncio.Event()
        self._listening: set[Address] = set()
        self._accepted = itertools.count(1, 2)
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._servers: list[StreamListener] = []
        self._dtls = DtlsPorts(
            self._own_datagram_context, self, self._accept_dtls, self._stun_arrived, settings.path_mtu - IP_UDP_BYTES
        )
        self._turn_ports = TurnPorts(self._at_relay_port)
        self._spares = SparePorts(self._tell)
        self._lan = LanPorts(self._tell, lambda: core.node.is_found_on_lan, self._listening)
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._wall_timer: asyncio.TimerHandle | None = None
        self._effects: deque[Effect] = deque()
        self._is_settling = False
        self._is_closed = False

    # Beginning and end

    async def listen_links(self, addresses: Iterable[Address]) -> tuple[int, ...]:
        """Accept connections over TLS; the ports. Raises LocalMisuse if one is taken."""
        servers = [self._listen_tls(address) for address in addresses]
        self._listens([Address(server.host, server.port) for server in servers])
        return tuple(server.port for server in servers)

    async def listen_datagram_links(self, addresses: Iterable[Address], *, is_for_calls: bool = False) -> None:
        """Accept connections over DTLS as well; no link is dialled from where calls are. Raises LocalMisuse if a port
        is taken.
        """
        self._listens([await self._dtls.bind(address, is_for_calls=is_for_calls) for address in addresses])

    def _listens(self, addresses: Collection[Address]) -> None:
        self._listening.update(addresses)
        self._tell(Listening(frozenset(self._listening)))

    def start(self) -> None:
        """Let the node go and join."""
        self._lan.refresh()
        self._watch_wall_clock()
        self.call(self._core.start)

    def close(self) -> None:
        """Close every socket. What they and open tasks still say does not reach the core, nor its closed store."""
        self._is_closed = True
        for stream in list(self._numbers):
            stream.close("this node stops")
        for server in self._servers:
            server.close()
        self._dtls.close()
        self._turn_ports.close_all()
        self._spares.close_all()
        self._lan.close_all()
        for timer in (self._timer, self._wall_timer):
            if timer is not None:
                timer.cancel()
        for task in self._tasks:
            task.cancel()

    async def wait_closed(self) -> None:
        """After `close`: until every connection has said goodbye, which takes none of them more than GOODBYE_MAX_S."""
        self._is_quiet.clear()
        if self._alive:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_MAX_S + 1):
                    await self._is_quiet.wait()

    def use_contexts(self, contexts: LinkContexts) -> None:
        """Show another certificate on connections that begin from now on."""
        self._contexts = contexts

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
            case Write(number, data, is_to_be_fresh):
                self._write(number, data, is_to_be_fresh=is_to_be_fresh)
            case WriteStream(number, data):
                self._write_fresh(number, data)
            case Open(path):
                self._opening[path] = self._spawn(self._open(effect))
            case Secure(path):
                if (stream := self._streams.get(path)) is not None:
                    stream.begin()
            case SendStun(local, remote, data):
                self._dtls.send_datagram(local, remote, data)
            case SendSpare(spare, remote, data):
                self._spares.send(spare, remote, data)
            case CloseSpare(spare):
                self._spares.close(spare)
            case _ if isinstance(effect, ToLan):
                self._lan.do(effect)
            case AskStream(remote, request):
                self._spawn(self._ask_stream(remote, request))
            case MoveLink(number, local, remote):
                if isinstance(association := self._streams.get(number), DtlsAssociation):
                    self._dtls.move(association, Pair(local, remote))
            case UseRelayed(relayed):
                self._dtls.use_relayed(relayed, partial(self._relayed_goes, relayed))
            case DropRelayed(relayed):
                self._dtls.drop_relayed(relayed)
            case RelayedCame(relayed, remote, data):
                self._dtls.came(relayed, remote, data)
            case OpenRelayPort() | CloseRelay() | TurnRelay():
                self._relay(effect)
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

    def _relay(self, effect: OpenRelayPort | CloseRelay | TurnRelay) -> None:
        """What the relay that this node is wants done."""
        match effect:
            case OpenRelayPort(token, port):
                self._tell(RelayPortOpened(token, self._turn_ports.open(port)))
            case CloseRelay(port):
                self._turn_ports.close(port)
            case TurnRelay(port, peer, data):
                self._turn_ports.send(port, peer, data)

    def _relayed_goes(self, relayed: Address, remote: Address, data: bytes) -> None:
        self._tell(RelayedGoes(relayed, remote, data))

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Links

    def _write(self, number: int, data: bytes, *, is_to_be_fresh: bool) -> None:
        stream = self._streams.get(number)
        if stream is None or (is_to_be_fresh and stream.backlog_bytes > BACKLOG_FRESH_BYTES):
            return
        stream.write(data)
        if stream.backlog_bytes > BACKLOG_NORMAL_BYTES:
            backlogs = {each: each.backlog_bytes for each in self._up}
            if sum(backlogs.values()) > BACKLOGS_MAX_BYTES:
                max(backlogs, key=lambda each: backlogs[each]).abort("the other end does not read")

    def _write_fresh(self, number: int, data: bytes) -> None:
        if (stream := self._streams.get(number)) is None:
            return
        if stream.backlog_bytes <= (BACKLOG_FRESH_BYTES if carries_data(data) else BACKLOG_NORMAL_BYTES):
            stream.write(data)
        elif not carries_data(data):
            # It asks and asks, and takes no answers.
            stream.abort("the other end does not read")

    def _listen_tls(self, address: Address) -> StreamListener:
        def accept() -> TlsStream:
            stream = TlsStream(self._contexts.tls, self, is_server=True, takes_turn_in_clear=True)
            self._register(stream, next(self._accepted))
            return stream

        server = StreamListener.bind(address, accept, partial(self._not_accepted, address), self._settings.path_mtu)
        self._servers.append(server)
        return server

    def _not_accepted(self, address: Address, reason: str) -> None:
        facts = {"at": f"tcp {address}", "reason": reason}
        self._other(Note("connections are not accepted", facts, is_warning=True))

    def _accept_dtls(self, association: DtlsAssociation, ours: DtlsAssociation | None) -> None:
        """Somebody begins an association, or one that we have begun goes on as theirs."""
        number = next(self._accepted) if ours is None else self._unregister(ours)
        self._register(association, number)

    def _stun_arrived(self, local: Address, remote: Address, data: bytes) -> None:
        if self._core.node.own_relay.is_offered and kind_of(data) is DatagramKind.CHANNEL:
            self._pass_through(StunArrived(local, remote, data))
        else:
            self._tell(StunArrived(local, remote, data))

    def _at_relay_port(self, port: Address, remote: Address, data: bytes) -> None:
        self._pass_through(AtRelayPort(port, remote, data))

    def _pass_through(self, event: StunArrived | AtRelayPort | RelayStreamCame) -> None:
        """What is relayed goes straight from socket to socket: nothing else in the node waits for it."""
        if self._is_closed:
            return
        relay = self._core.node.own_relay
        relay.pass_on(event, boot_time())
        for effect in relay.drain():
            self._do(effect)

    def _register(self, stream: SocketStream, number: int) -> None:
        self._streams[number], self._numbers[stream] = stream, number
        self._alive.add(stream)

    def _unregister(self, stream: SocketStream) -> int:
        """The number that it had."""
        number = self._numbers.pop(stream)
        del self._streams[number]
        self._up.discard(stream)
        self._ended(stream)
        return number

    def _ended(self, stream: SocketStream) -> None:
        self._alive.discard(stream)
        if not self._alive:
            self._is_quiet.set()

    def _own_datagram_context(self) -> SSL.Context:
        assert self._contexts.dtls is not None, "no DTLS without a context for it"
        return self._contexts.dtls

    async def _open(self, wanted: Open) -> None:
        """Connect; the handshake begins when this connection is the one that is chosen."""
        path, candidate = wanted.path, wanted.candidate
        try:
            hosts = zoned(candidate.address)
            if hosts != (candidate.address,):
                del self._opening[path]
                self._tell(Zoned(path, hosts))
            elif candidate.is_stream:
                await self._open_tls(wanted)
            else:
                await self._open_dtls(path, candidate)
        except ConnectionError as error:
            reason = str(error)
            del self._opening[path]
            self.call(lambda now: self._core.handle_link_down(path, reason, now))

    async def _open_tls(self, wanted: Open) -> None:
        path, candidate, protocol = wanted.path, wanted.candidate, wanted.protocol
        make = partial(
            TlsStream, self._contexts.tls, self, is_server=wanted.is_server, is_dialled=True, protocol=protocol
        )
        path_mtu = self._bytes_to(is_narrow=candidate.is_narrow)
        stream = await connect_tcp(make, candidate.address, path_mtu, candidate.local)
        if not stream.is_connected:
            raise ConnectionError("closed by the other end")
        del self._opening[path]
        self._register(stream, path)
        self._tell(Opened(path, Address(*stream.local)))

    async def _open_dtls(self, path: int, candidate: Candidate) -> None:
        datagram_bytes = self._bytes_to(is_narrow=candidate.is_narrow) - IP_UDP_BYTES
        association = await self._dtls.connect(candidate.address, datagram_bytes, candidate.local)
        del self._opening[path]
        if association in self._numbers:
            # The other end is dialling us just now, and has not shown a certificate yet: that is it.
            accepted = self._unregister(association)
            self.call(lambda now: self._core.handle_link_down(accepted, "it was dialled as well", now))
        self._register(association, path)
        association.answered.add_done_callback(lambda answered: self._answered(path, answered))

    def _answered(self, path: int, answered: asyncio.Future[None]) -> None:
        """Where nobody answers, the association goes down by itself."""
        if answered.exception() is None and (stream := self._streams.get(path)) is not None:
            self._tell(Opened(path, Address(*stream.local)))

    def _tell(self, event: PathEvent) -> None:
        self.call(lambda now: self._core.handle_path(event, now))

    def hosts_gone(self, hosts: Collection[str]) -> None:
        """This machine does not have these addresses any more: a connection from one of them hears nothing again.

        With ICE an association may go on from another address: that is the core's to say.
        """
        for stream in [each for each in self._numbers if each.local[0] in hosts]:
            if not (isinstance(stream, DtlsAssociation) and OverlayLinkType.DTLS_UDP_SR in self._core.node.link_types):
                stream.abort("the address of this end is gone")

    def stream(self, number: int) -> TlsStream | None:
        """The TLS connection with this number, while it is up."""
        found = self._streams.get(number)
        return found if isinstance(found, TlsStream) and found.is_up else None

    def _bytes_to(self, *, is_narrow: bool) -> int:
        return min(self._settings.path_mtu, NARROW_BYTES) if is_narrow else self._settings.path_mtu

    def _limit_accepted(self, path_mtu: int) -> None:
        for server in self._servers:
            server.limit_packets(path_mtu)
        self._dtls.limit_packets(path_mtu - IP_UDP_BYTES)

    def _hang_up(self, number: int, reason: str) -> None:
        if (task := self._opening.pop(number, None)) is not None:
            task.cancel()
        if (stream := self._streams.pop(number, None)) is not None:
            del self._numbers[stream]
            is_up = stream in self._up
            self._up.discard(stream)
            # Who has shown no certificate has been told nothing that it might miss. Of DTLS goodbye is one datagram.
            is_short = isinstance(stream, DtlsAssociation)
            if is_short or (is_up and len(self._alive) - len(self._numbers) <= CLOSING_MAX):
                stream.close(reason)
            else:
                stream.abort(reason)

    def stream_accepted(self, stream: SocketStream) -> None:
        """net.tls: somebody has connected, and has yet to say who."""
        self._tell(Accepted(self._numbers[stream], Address(*stream.remote)))

    def stream_up(self, stream: SocketStream, certificates: tuple[bytes, ...]) -> None:
        """net.tls: the handshake is done."""
        self._up.add(stream)
        number, remote, local = self._numbers[stream], Address(*stream.remote), Address(*stream.local)
        if isinstance(stream, TlsStream) and stream.protocol:
            stream.keep_fresh()
        if stream.protocol == STUN_TURN:
            self._tell(RelayStreamUp(number, local, remote))
            return
        link = LinkUp(number, certificates, remote, local, stream.datagram_bytes, protocol=stream.protocol)
        self.call(lambda now: self._core.handle_link_up(link, now))

    def stream_data(self, stream: SocketStream, data: bytes) -> None:
        """net.tls: bytes came."""
        if (number := self._numbers.get(stream)) is None:
            return
        if stream.protocol != STUN_TURN:
            self.call(lambda now: self._core.handle_link_data(number, data, now))
        elif number in self._core.node.own_relay.streams:
            self._pass_through(RelayStreamCame(number, data))
            # It may be a request, after which the relay has something to do at another time.
            self._arm()
        else:
            self._tell(RelayStreamCame(number, data))

    def stream_down(self, stream: SocketStream, reason: str) -> None:
        """net.tls: the connection is gone."""
        if stream in self._numbers:
            number = self._unregister(stream)
            if stream.is_stalled:
                self._tell(Stalled(number, Address(*stream.remote), _kind_of(stream)))
            self.call(lambda now: self._core.handle_link_down(number, reason, now))
        else:
            self._ended(stream)

    async def _ask_stream(self, remote: Address, request: bytes) -> None:
        self._tell(StreamAnswered(request, await answer_on_stream(remote, request)))

    # Disk and date

    def _commit(self, token: int, commit: Commit) -> None:
        def done(future: Future[CommitAnswer]) -> None:
            # In the thread that writes; what is wrong with the answer is to be seen in ours.
            self._loop.call_soon_threadsafe(self._committed, token, future)

        self._settings.store.commit(commit).add_done_callback(done)

    def _committed(self, token: int, future: Future[CommitAnswer]) -> None:
        answer = future.result()
        self.call(lambda now: self._core.handle_answer(token, answer, now))

    def _watch_wall_clock(self) -> None:
        wall, known = read_wall_clock(self._settings.overlay_began, self.own_certificate_ends), self._core.node.wall
        if wall.is_trusted != known.is_trusted or abs(wall.offset - known.offset) > WALL_JUMP_S:
            self._other(Note("the date has changed", {"is_trusted": wall.is_trusted}))
            self.call(lambda now: self._core.set_wall_clock(wall, now))
        self._lan.refresh()
        # The loop's clock stands still while the machine sleeps, the peer's does not.
        self._arm()
        self._wall_timer = self._loop.call_later(WALL_CHECK_S, self._watch_wall_clock)


def _kind_of(stream: SocketStream) -> OverlayLinkType:
    is_tls = isinstance(stream, TlsStream)
    return OverlayLinkType.TLS_TCP_FH_NO_ICE if is_tls else OverlayLinkType.DTLS_UDP_SR_NO_ICE


def _nothing(now: float) -> None:
    """No input: what is left to be done is done."""

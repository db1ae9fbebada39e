"""Whatever a machine or a remote can make fail: each socket call of the driver fails in turn, in each way that it can.

A peer's driver does everything that it ever does with sockets, with another one in a thread of its own. A clean run
shows where it calls the system. Then each of these calls fails, once or from then on, and the driver has to live.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

import pytest
from candidates import dtls, tls
from driver_bench import HERE, Disk, Notes, context, datagram_context
from free_ports import free_port
from phone_certificates import PhoneAuthority

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect
from p2psip.base.timers import Deadline
from p2psip.coupling.peer import Peer
from p2psip.media.session import SendRtp
from p2psip.net.node_host import HostSettings, LinkContexts, boot_time
from p2psip.net.peer_host import Endpoints, PeerHost
from p2psip.net.sockets import tcp
from p2psip.net.sockets.phone_tls import client_context, server_context
from p2psip.reload.node.effects import Write
from p2psip.reload.paths.values import HangUp
from p2psip.reload.wire.link_messages import OverlayLinkType
from p2psip.sim.membership import DATE
from p2psip.sip.entities.agents.types import CallId, MediaReleased, MediaWanted
from p2psip.sip.transports.effects import CloseFlow, OpenFlow, SendFlow, SendUdp
from p2psip.sip.transports.hops import StreamTransport

SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
GONE = (errno.ENOTCONN, errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT)
NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EPERM, errno.ENETDOWN)

FAILURES: dict[str, tuple[int, ...]] = {
    "socket": SHORT,
    "setsockopt": (errno.ENOBUFS, errno.EINVAL, errno.ENOPROTOOPT),
    "bind": (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.ENOBUFS),
    "connect": (*NO_WAY, errno.ECONNREFUSED, errno.EADDRNOTAVAIL, errno.EINVAL, errno.EAGAIN, errno.ETIMEDOUT),
    "accept": (*SHORT, *NO_WAY, errno.ECONNABORTED, errno.EPROTO),
    "getsockname": (errno.ENOBUFS, errno.ENOTCONN),
    "getpeername": (errno.ENOTCONN, errno.EINVAL),
    "send": (*GONE, *NO_WAY, errno.ENOBUFS),
    "sendmsg": (*NO_WAY, errno.ENOBUFS, errno.EMSGSIZE, errno.EINVAL, errno.EAGAIN),
    "recv": GONE,
    "recv_into": (*GONE, errno.EHOSTUNREACH),
    "recvmsg": (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENOMEM),
    "shutdown": GONE,
}
"""What Linux may say, by its manual pages and by what others have met."""

QUIET_S = 0.03
LIMIT_S = 15.0

MORE_THAN_A_SOCKET_TAKES = 3_500_000

Site = tuple[str, str, str]
"""Which call, from which function, on what kind of socket."""


@dataclass
class Faults:
    """The calls of the system that the thread of one run makes; those at `site` fail."""

    site: Site | None = None
    errno: int = 0
    is_lasting: bool = False
    hits: int = 0
    seen: dict[Site, None] = field(default_factory=dict)

    def call(self, name: str, sock: socket.socket, caller: str) -> None:
        if sock.family == socket.AF_UNIX:
            return
        site = (name, caller, "TCP" if sock.type == socket.SOCK_STREAM else "UDP")
        self.seen[site] = None
        if site == self.site and (self.is_lasting or not self.hits):
            self.hits += 1
            raise OSError(self.errno, "injected")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """What this thread calls meanwhile."""
        _watching[threading.get_ident()] = self
        try:
            yield
        finally:
            del _watching[threading.get_ident()]


_watching: dict[int, Faults] = {}
"""Who looks at the calls of a thread: several play side by side, as what they do most is wait."""

SIDE_BY_SIDE = 6


@pytest.fixture(scope="module", autouse=True)
def _calls_are_seen() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in FAILURES:
            if name == "socket":
                patch.setattr(socket.socket, "__init__", _seen("socket", socket.socket.__init__))
            else:
                patch.setattr(socket.socket, name, _seen(name, getattr(socket.socket, name)))
        yield


def _seen(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(sock: socket.socket, *arguments: Any, **named: Any) -> Any:
        faults, frame = _watching.get(threading.get_ident()), sys._getframe(1)
        if faults is None:
            return real(sock, *arguments, **named)
        if name != "socket":
            faults.call(name, sock, frame.f_code.co_name)
        elif "fileno" not in named and len(arguments) < 4:
            real(sock, *arguments, **named)
            try:
                faults.call(name, sock, frame.f_code.co_name)
            except OSError:
                sock.close()
                raise
            return None
        return real(sock, *arguments, **named)

    return call


AUTHORITY = PhoneAuthority()
PHONES = AUTHORITY.issue(HERE)


@dataclass
class End:
    """A driver, and what its core is told."""

    host: PeerHost
    core: Notes
    at: Endpoints
    others: list[Effect]

    def do(self, *effects: Effect) -> None:
        def want(now: float) -> None:
            self.core.wanted.extend(effects)
            for effect in effects:
                if isinstance(effect, HangUp):
                    # Whoever wants that has forgotten it already, and may dial the same address again.
                    self.core.down(self.core.path_of(effect.link), effect.reason, now)

        self.host.call(want)

    def dial(self, number: int, candidates: Any) -> None:
        self.host.call(lambda now: self.core.dial(number, candidates, now))

    def count(self, *whats: str) -> int:
        return sum(1 for told in list(self.core.told) if told[0] in whats)

    def summary(self) -> list[tuple[object, ...]]:
        return [tuple(str(part)[:40] for part in told) for told in list(self.core.told)]

    @classmethod
    async def begin(cls, number: int) -> End:
        addresses = [(Address(HERE, free_port()),) for _ in range(4)]
        overlay, sip, phones, secured = addresses
        endpoints = Endpoints(overlay, overlay, sip, phones, phones, secured)
        core, others = Notes(), list[Effect]()
        settings = HostSettings(LinkContexts(context(number), datagram_context(number)), Disk(), DATE)
        host = PeerHost(cast(Peer, core), settings, others.append)
        host.use_phone_tls(server_context([PHONES.der], PHONES.key), client_context([AUTHORITY.der]))
        await host.listen(endpoints)
        return cls(host, core, endpoints, others)


class Far:
    """The other peer's driver, in a loop and a thread of its own, so that nothing there fails."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.end = self._run(End.begin(2)).result(LIMIT_S)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def do(self, *effects: Effect) -> None:
        self._loop.call_soon_threadsafe(self.end.do, *effects)

    def dial(self, number: int, candidates: Any) -> None:
        self._loop.call_soon_threadsafe(self.end.dial, number, candidates)

    def link(self) -> int:
        """The number of the last link that came up there."""
        return next(cast(int, told[1]) for told in reversed(list(self.end.core.told)) if told[0] == "up")

    def abort_links(self) -> None:
        """As a machine does that is started anew."""
        self._loop.call_soon_threadsafe(lambda: [each.abort("killed") for each in list(self.end.host._numbers)])

    @contextmanager
    def reading_nothing(self) -> Iterator[None]:
        """What is sent there meanwhile stays in the sockets, which take no more than they hold."""
        is_held, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            is_held.set()
            go_on.wait(LIMIT_S)

        self._loop.call_soon_threadsafe(hold)
        assert is_held.wait(LIMIT_S)
        try:
            yield
        finally:
            go_on.set()

    def close(self) -> None:
        async def close() -> None:
            self.end.host.close()
            await asyncio.sleep(0.02)

        self._run(close()).result(LIMIT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass
class Scene:
    """Everything that a driver does, step by step; a step is over when it has worked, or the fault has struck."""

    near: End
    far: Far
    faults: Faults

    async def until(self, what: str, holds: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        began, struck_at = loop.time(), None
        while not holds():
            now = loop.time()
            if struck_at is None and self.faults.hits:
                struck_at = now
            if struck_at is not None and now > struck_at + QUIET_S and now > began + QUIET_S:
                return
            assert now < began + LIMIT_S, f"{what}: {self.near.summary()}, and there {self.far.end.summary()}"
            await asyncio.sleep(0.002)

    async def play(self) -> None:
        for number, kind in ((2, tls), (4, dtls)):
            await self._dialled_by_us(number, kind(self.far.end.at.overlay[0]))
        for number, kind in ((2, tls), (4, dtls)):
            await self._dialled_by_them(number, kind(self.near.at.overlay[0]))
        await self._gone_when_we_hang_up()
        await self._flows()
        await self._datagrams()

    async def _dialled_by_us(self, number: int, candidates: Any) -> None:
        near, far = self.near, self.far.end
        ups, theirs, data, heard = near.count("up"), far.count("up"), near.count("data"), far.count("data")
        near.dial(number, candidates)
        await self.until("up", lambda: near.count("up") > ups and far.count("up") > theirs)
        near.do(Write(number, b"question"))
        await self.until("heard", lambda: far.count("data") > heard)
        if far.count("data") > heard:
            self.far.do(Write(self.far.link(), b"answer"))
        await self.until("answered", lambda: near.count("data") > data)
        downs = far.count("down")
        is_stream = candidates[0].link_type is OverlayLinkType.TLS_TCP_FH_NO_ICE
        with self.far.reading_nothing():
            near.do(Write(number, bytes(MORE_THAN_A_SOCKET_TAKES if is_stream else 10)), HangUp(number, "enough"))
        await self.until("down there", lambda: far.count("down") > downs)

    async def _dialled_by_them(self, number: int, candidates: Any) -> None:
        near, far = self.near, self.far.end
        ups, theirs, downs = near.count("up"), far.count("up"), near.count("down")
        data, heard = near.count("data"), far.count("data")
        self.far.dial(number, candidates)
        await self.until("up", lambda: near.count("up") > ups and far.count("up") > theirs)
        self.far.do(Write(number, b"question"))
        await self.until("heard", lambda: near.count("data") > data)
        if near.count("data") > data:
            near.do(Write(cast(int, near.core.told[-1][1]), b"answer"))
        await self.until("answered", lambda: far.count("data") > heard)
        self.far.do(HangUp(number, "enough"))
        await self.until("down here", lambda: near.count("down") > downs)

    async def _gone_when_we_hang_up(self) -> None:
        near = self.near
        ups = near.count("up")
        near.dial(6, tls(self.far.end.at.sip[0]))
        await self.until("up", lambda: near.count("up") > ups)
        self.far.abort_links()
        near.do(Write(6, b"anybody?"), HangUp(6, "they are gone"))

    async def _flows(self) -> None:
        await self._flow("TCP", 2, self.near.at.phone_tcp[0], self.far.end.at.phone_tcp[0])
        await self._flow("TLS", 6, self.near.at.phone_tls[0], self.far.end.at.phone_tls[0])

    async def _flow(self, transport: StreamTransport, number: int, here: Address, there: Address) -> None:
        near, far = self.near, self.far.end
        flows, theirs = near.count("flow"), far.count("flow")
        data, heard = near.count("flow data"), far.count("flow data")
        gone = far.count("flow closed")
        near.do(OpenFlow(number, transport, there))
        await self.until("flow", lambda: near.count("flow") > flows and far.count("flow") > theirs)
        near.do(SendFlow(number, b"INVITE"))
        await self.until("sent", lambda: far.count("flow data") > heard)
        near.do(CloseFlow(number))
        await self.until("closed", lambda: far.count("flow closed") > gone)
        flows, theirs, heard = near.count("flow"), far.count("flow"), far.count("flow data")
        self.far.do(OpenFlow(number + 2, transport, here))
        await self.until("flow here", lambda: near.count("flow") > flows and far.count("flow") > theirs)
        self.far.do(SendFlow(number + 2, b"REGISTER"))
        await self.until("sent here", lambda: near.count("flow data") > data)
        for told in [told for told in near.core.told if told[0] == "flow data"]:
            near.do(SendFlow(cast(int, told[1]), b"200 OK"))
        await self.until("answered there", lambda: far.count("flow data") > heard)
        closed = near.count("flow closed")
        self.far.do(CloseFlow(number + 2))
        await self.until("closed here", lambda: near.count("flow closed") > closed)

    async def _datagrams(self) -> None:
        near, far = self.near, self.far.end
        ours, theirs = near.at.phone_udp[0], far.at.phone_udp[0]
        near.do(SendUdp(ours, theirs, b"OPTIONS"))
        await self.until("datagram there", lambda: far.count("datagram") > 0)
        self.far.do(SendUdp(theirs, ours, b"200 OK"))
        await self.until("datagram here", lambda: near.count("datagram") > 0)
        near.do(Ask(7, MediaWanted(CallId(1), HERE), boot_time() + LIMIT_S))
        await self.until("media", lambda: near.count("answer") > 0)
        for _, _, local in [told for told in near.core.told if told[0] == "answer" and told[2] is not None]:
            near.do(SendRtp(cast(Address, local), theirs, b"tone"), MediaReleased(cast(Address, local)))

    async def check_alive(self) -> None:
        """All of it works again, and the timer is set."""
        self.faults.site = None
        near, far, loop = self.near, self.far.end, asyncio.get_running_loop()
        datagrams = far.count("datagram")
        for number, kind in ((100, tls), (102, dtls)):
            near.dial(number, kind(far.at.overlay[0]))
        self.far.dial(100, tls(near.at.overlay[0]))
        near.core.deadline = Deadline(boot_time() + 0.01, "alive")
        near.do(SendUdp(near.at.phone_udp[0], far.at.phone_udp[0], b"OPTIONS"))
        deadline = loop.time() + LIMIT_S
        while not (
            {("up", 100), ("up", 102)} <= {told[:2] for told in near.core.told}
            and ("up", 100) in {told[:2] for told in list(far.core.told)}
            and near.count("timeout")
            and far.count("datagram") > datagrams
        ):
            assert loop.time() < deadline, f"{near.summary()}, and there {far.summary()}"
            await asyncio.sleep(0.005)


def play(faults: Faults) -> None:
    """One run. Nothing may reach the loop's exception handler, which ends a peer."""

    async def main() -> None:
        unhandled: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: unhandled.append(fault))
        near = await End.begin(1)
        far = Far()
        try:
            with faults.watching():
                scene = Scene(near, far, faults)
                await scene.play()
                await scene.check_alive()
                near.host.close()
                await near.host.wait_closed()
        finally:
            near.host.close()
            far.close()
        await asyncio.sleep(0)
        assert not unhandled, (faults, unhandled)

    asyncio.run(main())


@cache
def sites() -> tuple[Site, ...]:
    """Where a driver calls the system, in a run in which nothing fails."""
    faults = Faults()
    play(faults)
    return tuple(faults.seen)


def test_the_run_calls_the_system_in_every_way() -> None:
    """Were one of them not made, its failures would not be tried."""
    assert {name for name, _, _ in sites()} == FAILURES.keys()
    assert {name for name, _, kind in sites() if kind == "UDP"} >= {"socket", "bind", "connect", "sendmsg", "recvmsg"}


@pytest.mark.long
@pytest.mark.parametrize("is_lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("name", FAILURES)
def test_a_call_that_fails_does_not_end_the_driver(
    name: str, is_lasting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "ACCEPT_PAUSE_S", 0.02)
    tried = [Faults(site, number, is_lasting) for site in sites() if site[0] == name for number in FAILURES[name]]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(play, tried))
    assert not [faults.site for faults in tried if not faults.hits], "was not called"

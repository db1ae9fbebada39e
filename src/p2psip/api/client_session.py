"""What is under an `Overlay`: a client node on sockets, and who waits for what it says."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from p2psip.api.app_streams import Stream
from p2psip.base.effects import Effect, Note
from p2psip.base.errors import Cause, LocalMisuse, RequestFailed
from p2psip.base.ids import NodeId
from p2psip.daemon.log.limits import LogLimits, clean, kind_of, size_of, source_of
from p2psip.net.node_host import LinkContexts, NodeHost, boot_time
from p2psip.net.sockets.dtls import require_cookies
from p2psip.net.sockets.tls import make_context
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.config.document import Document
from p2psip.reload.node.application import AppData, ApplicationNode
from p2psip.reload.node.effects import AppLinkDown, AppLinkFailed, AppLinkUp, ConfigurationChanged, Done, RingChanged
from p2psip.reload.node.node import Node
from p2psip.reload.node.service_discovery import (
    ServiceContext,
    ServiceDiscovery,
    ServiceFailed,
    ServiceRegistered,
    ServicesFound,
    ServicesWithdrawn,
)
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.usages.redir import Provider
from p2psip.reload.wire.header import Destination

BACKLOG = 64
"""Streams of others that wait for the application to take them."""

WITHDRAW_MAX_S = 5.0

LOG = logging.getLogger("p2psip")


@dataclass(frozen=True, slots=True)
class _Attaching:
    """An AppAttach whose connection has neither come nor failed; `waiting` is cancelled if nobody waits any more."""

    waiting: asyncio.Future[Stream]
    is_over: asyncio.Event = field(default_factory=asyncio.Event)


class ClientSession:
    """A client node at work."""

    def __init__(self, core: ApplicationNode, identity: CertifiedIdentity, keep: Callable[[Document], None]) -> None:
        self.node: Node = core.node
        self.identity = identity
        self.connected = asyncio.Event()
        self.last_problem = ""
        self._core = core
        self._keep = keep
        self._host: NodeHost | None = None
        self._open: set[asyncio.Future[Any]] = set()
        """What somebody waits for: the context of a request or a search of ours."""
        self._attaching: dict[NodeId, _Attaching] = {}
        self._streams: dict[int, Stream] = {}
        self._waiting: dict[int, asyncio.Queue[Stream]] = {}
        self._announcing: dict[str, list[asyncio.Future[None]]] = {}
        self._withdrawn = asyncio.Event()
        self._limits = LogLimits()

    @property
    def configuration(self) -> OverlayConfiguration:
        """What the overlay's configuration says."""
        return self.node.configuration

    @property
    def host(self) -> NodeHost:
        """The sockets."""
        assert self._host is not None, "the session was given its host when it began"
        return self._host

    def use_host(self, host: NodeHost) -> None:
        """Its sockets, whose effects come to `handle_effect`."""
        self._host = host

    def use_identity(self, identity: CertifiedIdentity) -> None:
        """Sign with a renewed certificate from now on, and show it on connections that begin; the others stay."""
        self.identity = identity
        self.host.call(lambda now: self.node.use_identity(identity, now))
        self.host.use_contexts(contexts(identity, self.configuration))

    def now(self) -> float:
        """The time of the node's clock."""
        return boot_time()

    async def request(self, asked: OverlayRequest) -> Answer:
        """Have the node make a request; its answer. Raises RequestFailed."""
        return await self.run(lambda context, now: self.node.request(asked, context, now))

    async def run(self, begin: Callable[[object, float], None]) -> Answer:
        """Have the node begin a command; its answer. Raises RequestFailed."""
        waiting: asyncio.Future[Answer] = self._expect()
        self.host.call(lambda now: begin(waiting, now))
        return await waiting

    def _expect(self) -> asyncio.Future[Any]:
        """The context of a command: its caller waits for it."""
        waiting: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._open.add(waiting)
        waiting.add_done_callback(self._open.discard)
        return waiting

    async def app_attach(self, route: Sequence[Destination], application: int) -> Stream:
        """Ask the last of `route` for a connection. Raises RequestFailed.

        One at a time to each node: nothing in a connection says which request it is for. One that is not waited for any
        more is under way all the same.
        """
        node = route[-1].node_id
        assert node is not None, "AppAttach goes to a node"
        while (earlier := self._attaching.get(node)) is not None:
            await earlier.is_over.wait()
        waiting: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
        self._attaching[node] = _Attaching(waiting)
        self.host.call(lambda now: self.node.app_attach(route, node, now, application))
        try:
            return await waiting
        except asyncio.CancelledError:
            if not waiting.cancelled() and waiting.exception() is None:
                waiting.result().close()
            raise

    @contextmanager
    def listening(self, application: int) -> Iterator[asyncio.Queue[Stream]]:
        """Let others connect to us for `application`."""
        if application in self._waiting:
            raise LocalMisuse(f"application {application} is listened for already")
        queue = self._waiting[application] = asyncio.Queue(BACKLOG)
        self.node.offer_application(application)
        try:
            yield queue
        finally:
            self.node.withdraw_application(application)
            del self._waiting[application]
            while not queue.empty():
                queue.get_nowait().close()

    def close(self) -> None:
        """Whoever still waits is told that it is over."""
        over = RequestFailed("the connection to the overlay was closed")
        for waiting in [each for each in self._open if not each.done()]:
            waiting.set_exception(over)
        for node in list(self._attaching):
            if (attaching := self._attached(node)) is not None:
                attaching.set_exception(over)
        for announcing in self._announcing.values():
            for each in announcing:
                if not each.done():
                    each.set_exception(over)
        for stream in self._streams.values():
            stream.ended()
        self._tell(self._limits.take())

    # Services

    async def register_service(self, name: str, register: Callable[[ServiceDiscovery, float], None]) -> None:
        """Announce a service; done when it is in the overlay for the first time. Raises RequestFailed."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def run(now: float) -> None:
            register(self._core.services, now)
            self._announcing.setdefault(name, []).append(waiting)

        self.host.call(run)
        await waiting

    def unregister_service(self, name: str) -> None:
        """Announce it no more."""
        self.host.call(lambda now: self._core.services.unregister(name, now))

    async def find_services(self, name: str, near: bytes, want: int) -> tuple[Provider, ...]:
        """The closest providers. Raises LocalMisuse or RequestFailed."""
        waiting: asyncio.Future[ServicesFound] = self._expect()
        self.host.call(lambda now: self._core.services.find(name, near, want, waiting, now))
        found = await waiting
        if found.error is not None:
            raise found.error
        return found.providers

    async def withdraw_services(self) -> None:
        """RFC 7374 section 4.6: before we leave."""
        self._withdrawn.clear()
        self.host.call(self._core.services.unregister_all)
        if self._core.services.is_withdrawing:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WITHDRAW_MAX_S):
                    await self._withdrawn.wait()

    def _announced(self, name: str, what: Effect) -> None:
        for waiting in self._announcing.pop(name, []):
            if waiting.done():
                continue
            if isinstance(what, ServiceFailed):
                waiting.set_exception(what.error)
            else:
                waiting.set_result(None)

    # What the node has to say

    def handle_effect(self, effect: Effect) -> None:
        """net.node_host: an effect that is for us."""
        match effect:
            case Done(ServiceContext() as context, result):
                self.host.call(lambda now: self._core.services.handle_done(context, result, now))
            case Done(asyncio.Future() as waiting, result):
                _finish(waiting, result)
            case ServiceRegistered(name) | ServiceFailed(name):
                self._announced(name, effect)
            case ServicesFound(asyncio.Future() as waiting):
                if not waiting.done():
                    waiting.set_result(effect)
            case ServicesWithdrawn():
                self._withdrawn.set()
            case RingChanged(True):
                self.connected.set()
            case RingChanged():
                self.connected.clear()
            case ConfigurationChanged(document):
                self._keep(document)
            case AppLinkUp():
                self._app_link_up(effect)
            case AppData(link, data):
                self._streams[link].feed(data)
            case AppLinkDown(link):
                if (stream := self._streams.pop(link, None)) is not None:
                    stream.ended()
            case AppLinkFailed(node, error):
                if (attaching := self._attached(node)) is not None:
                    attaching.set_exception(error)
            case Note():
                self._note(effect)

    def _app_link_up(self, up: AppLinkUp) -> None:
        stream = Stream(self._core, self.host, up.link, up.node, up.application)
        is_ours = bool(up.link % 2)
        waiting = self._attached(up.node) if is_ours else None
        queue = None if is_ours else self._waiting.get(up.application)
        if waiting is not None:
            self._streams[up.link] = stream
            waiting.set_result(stream)
        elif queue is not None and not queue.full():
            self._streams[up.link] = stream
            queue.put_nowait(stream)
        else:
            self._core.hang_up(up.link, "nobody waits for it here")

    def _attached(self, node: NodeId) -> asyncio.Future[Stream] | None:
        """An AppAttach of ours is over, and the next one to that node may begin: who still waits for it."""
        attaching = self._attaching.pop(node, None)
        if attaching is None:
            return None
        attaching.is_over.set()
        return None if attaching.waiting.done() else attaching.waiting

    # renewal.Log

    def info(self, event: str, **facts: object) -> None:
        """Something that went as it should."""
        self._log(logging.INFO, event, facts)

    def warning(self, event: str, **facts: object) -> None:
        """Something that somebody should see."""
        self._log(logging.WARNING, event, facts)

    def _note(self, note: Note) -> None:
        self._log(logging.WARNING if note.is_warning else logging.DEBUG, note.event, note.facts)
        if note.event in ("no way into the overlay yet", "joining failed"):
            self.last_problem = str(note.facts.get("reason", ""))

    def why_not_connected(self) -> tuple[Cause, ...]:
        """What was in the way, the last time that the node tried."""
        return (Cause("this node", self.last_problem, self.now()),) if self.last_problem else ()

    def _log(self, level: int, event: str, facts: Mapping[str, object]) -> None:
        """Within the limits of a peer's log: others cause most of it."""
        now, whole = self.now(), {"event": event, **facts}
        self._tell(self._limits.due(now))
        if level == logging.DEBUG or self._limits.admits(kind_of(whole), source_of(whole), now, size_of(whole)):
            _write(level, event, facts)

    @staticmethod
    def _tell(left_out: Mapping[str, int]) -> None:
        for kind, count in left_out.items():
            _write(logging.WARNING, "lines left out", {"of": kind, "count": count})


def _write(level: int, event: str, facts: Mapping[str, object]) -> None:
    LOG.log(level, "%s %s", event, " ".join(f"{name}={clean(str(value))}" for name, value in facts.items()))


def contexts(identity: CertifiedIdentity, configuration: OverlayConfiguration) -> LinkContexts:
    """What connections show of us and ask of others."""
    streams, datagrams = (
        make_context(identity.chain, identity.key, is_datagram=is_datagram, shared_secret=configuration.shared_secret)
        for is_datagram in (False, True)
    )
    require_cookies(datagrams)
    return LinkContexts(streams, datagrams)


def _finish(waiting: asyncio.Future[Answer], result: Answer | RequestFailed) -> None:
    if waiting.done():
        # Whoever asked does not wait any more.
        return
    if isinstance(result, Answer):
        waiting.set_result(result)
    else:
        waiting.set_exception(result)

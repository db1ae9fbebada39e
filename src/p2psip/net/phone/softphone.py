"""A test phone: the user agent and the media engine, driven by asyncio on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
from dataclasses import dataclass, field
from typing import Literal

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect
from p2psip.base.errors import LocalMisuse
from p2psip.base.timers import earliest
from p2psip.media.engine import MediaEngine, Performance
from p2psip.media.session import SendRtp
from p2psip.net.phone.events import PhoneEvent, Storyteller, heard, not_accepted
from p2psip.net.sip_sockets import Flows, MediaSockets, local_host_towards, send_datagram
from p2psip.net.sockets.addresses import address_of
from p2psip.net.sockets.datagrams import DatagramSocket
from p2psip.net.sockets.phone_tls import client_context
from p2psip.sip.entities.agents.types import AgentConfig, CallEnded, CallEstablished, CallId, MediaChanged, MediaWanted
from p2psip.sip.entities.agents.user_agent import UserAgent
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.uri import SipUri, escape_user, parse_sip_uri
from p2psip.sip.transports.arrivals import Arrival, Datagram
from p2psip.sip.transports.effects import CloseFlow, OpenFlow, SendFlow, SendUdp
from p2psip.sip.transports.hops import Hop, StreamHop, UdpHop
from p2psip.sip.transports.layer import Listener
from p2psip.sip.transports.own_addresses import as_host

_host_port = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[^\s\]]+)?)\]|([^\s:\[\]]+))(?::([0-9]{1,5}))?")

PORT_TRIES = 10
"""How many ports of the kernel's choice are looked at for one that is free for TCP as well."""

CLOSE_S = 2.0
"""How long a phone that goes waits for the answers to its last words."""


@dataclass(frozen=True, slots=True)
class PhoneSettings:
    """What one sets in a phone: server, user, password; and what it does by itself."""

    user: str
    server: Address
    password: str = field(default="", repr=False)
    transport: Literal["UDP", "TCP", "TLS"] = "UDP"
    trusts: tuple[bytes, ...] = ()
    """Over TLS: certificates (DER) of those whose word for the server is taken."""
    listen: Address | None = None
    performance: Performance = field(default_factory=Performance)
    auto_answer_s: float | None = None
    calls_max: int = 4
    expires_s: int = 300


class SoftPhone:
    """One phone on this host. Its events come in order from `events`."""

    def __init__(self, settings: PhoneSettings, rng: random.Random | None = None) -> None:
        self.settings = settings
        self.events: asyncio.Queue[PhoneEvent] = asyncio.Queue()
        self._rng = rng or random.SystemRandom()
        self._story = Storyteller(settings.server)
        self._media = MediaEngine(settings.performance, self._rng)
        self._flows = Flows(self._sip_arrived, self._not_accepted)
        self._sip_sockets: dict[Address, DatagramSocket] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    async def open(self) -> None:
        """Take the sockets."""
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()
        wish = self.settings.listen or Address(local_host_towards(self.settings.server), 0)
        if wish.host in ("0.0.0.0", "::"):
            raise LocalMisuse(f"--listen {wish.host}: write the address that the server reaches this phone at")
        if self.settings.transport == "TLS":
            self._flows.trust_server(client_context(self.settings.trusts))
        sip = await self._bind(wish)
        self._sip_sockets[sip.local] = sip
        self._media_sockets = MediaSockets(sip.local.host, self._rtp_arrived)
        self._media_locals: dict[CallId, Address] = {}
        self.agent = UserAgent(_agent_config(self.settings, sip.local), self._rng)

    async def _bind(self, wish: Address) -> DatagramSocket:
        """The UDP socket is there with TCP as well: it finds a port that is free, and phones call over UDP too."""
        for tries_left in reversed(range(PORT_TRIES if wish.port == 0 else 1)):
            sip = await DatagramSocket.bind(wish.host, wish.port, self._datagram)
            if self.settings.transport != "TCP":
                break
            try:
                self._flows.listen("TCP", sip.local)
                break
            except LocalMisuse:
                # The kernel knows which port is free for UDP; over TCP somebody may have the same.
                sip.close()
                if not tries_left:
                    raise
        return sip

    async def close(self) -> None:
        """Hang up, and give the sockets back."""
        for call in self.agent.calls:
            self.hang_up(call)
        # A BYE that got lost is sent again meanwhile.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), CLOSE_S)
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        self._flows.close()
        self._media_sockets.close_all()
        for sip in self._sip_sockets.values():
            sip.close()

    # Commands

    def register(self) -> None:
        """Register, and stay registered."""
        self.agent.register(self._now())
        self._run()

    def unregister(self) -> None:
        """Tell the server that we go."""
        self.agent.unregister(self._now())
        self._run()

    def call(self, target: str) -> CallId:
        """Call a SIP URI, or a number or name at the server."""
        uri = target_uri(target, self.settings.server)
        call = self.agent.call(uri, self._now())
        self.events.put_nowait(self._story.dialled(call, str(uri), self._since_start()))
        self._run()
        return call

    def answer(self, call: CallId) -> None:
        """Pick up."""
        self.agent.answer(call, self._now())
        self._run()

    def reject(self, call: CallId, status: int) -> None:
        """Refuse a call that rings."""
        self.agent.reject(call, status, self._now())
        self._run()

    def hold(self, call: CallId, on: bool) -> None:
        """Hold, or resume."""
        self.agent.hold(call, on, self._now())
        self._run()

    def hang_up(self, call: CallId) -> None:
        """End a call."""
        self.agent.hang_up(call, self._now())
        self._run()

    # What the sockets say

    def _sip_arrived(self, arrival: Arrival) -> None:
        self.agent.handle(arrival, self._now())
        self._run()

    def _datagram(self, local: Address, remote: Address, data: bytes) -> None:
        self._sip_arrived(Datagram(local, remote, data))

    def _rtp_arrived(self, local: Address, remote: Address, data: bytes) -> None:
        self._media.handle_datagram(local, remote, data, self._now())
        self._run()

    # One input, drain the effects, re-arm, next

    def _run(self) -> None:
        while effects := [*self.agent.drain(), *self._media.drain()]:
            for effect in effects:
                self._do(effect)
        if self.agent.is_waiting:
            self._idle.clear()
        else:
            self._idle.set()
        if self._timer is not None:
            self._timer.cancel()
        deadline = earliest([self.agent.next_deadline(), self._media.next_deadline()])
        self._timer = None if deadline is None else self._loop.call_at(deadline.at, self._on_timer)

    def _on_timer(self) -> None:
        self.agent.handle_timeout(self._now())
        self._media.handle_timeout(self._now())
        self._run()

    def _do(self, effect: Effect) -> None:
        match effect:
            case SendRtp(local, remote, data):
                self._media_sockets.send(local, remote, data)
            case SendUdp():
                send_datagram(self._sip_sockets, effect)
            case OpenFlow() | SendFlow() | CloseFlow():
                self._flows.do(effect)
            case Ask(token, MediaWanted(call)):
                task = self._loop.create_task(self._open_media(token, call))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case _:
                self._tell(effect)

    def _tell(self, effect: Effect) -> None:
        match effect:
            case CallEstablished(call, local, agreement) | MediaChanged(call, local, agreement):
                self._media.start(call, local, agreement, self._now())
            case CallEnded(call):
                self._end_media(call)
        event = self._story.tell(effect, self._since_start())
        if event is not None:
            self.events.put_nowait(event)

    def _not_accepted(self, local: Address, reason: str) -> None:
        self.events.put_nowait(not_accepted(local, reason, self._since_start()))

    async def _open_media(self, token: int, call: CallId) -> None:
        try:
            local = await self._media_sockets.open()
        except LocalMisuse:
            self.agent.handle_answer(token, None, self._now())
        else:
            if call in self.agent.calls:
                self._media_locals[call] = local
            else:
                self._media_sockets.close(local)
            self.agent.handle_answer(token, local, self._now())
        self._run()

    def _end_media(self, call: CallId) -> None:
        local = self._media_locals.pop(call, None)
        if local is not None:
            self._media_sockets.close(local)
        report = self._media.stop(call)
        if report is not None:
            self.events.put_nowait(heard(call, report, self._since_start()))

    def _now(self) -> float:
        return self._loop.time()

    def _since_start(self) -> float:
        return self._now() - self._started_at


def resolve(text: str, default_port: int) -> Address:
    """The address that `HOST`, `HOST:PORT` or `[IPv6]:PORT` means; IPv4 first, as most phones do."""
    match = _host_port.fullmatch(text)
    if match is None or int(match[3] or 0) > 65535:
        raise LocalMisuse(f"{text!r}: write HOST, HOST:PORT or [IPV6]:PORT")
    try:
        found = socket.getaddrinfo(match[1] or match[2], int(match[3] or default_port), type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        raise LocalMisuse(f"{text!r}: no host of that name is known here") from None
    found.sort(key=lambda one: one[0] != socket.AF_INET)
    return address_of(found[0][4])


def target_uri(target: str, server: Address) -> SipUri:
    """Whom a user means: a SIP URI, `name@host`, or a number or name at the server."""
    if not target.strip():
        raise LocalMisuse("say whom to call: cannot call nobody; write sip:NAME@HOST, or a number")
    if ":" not in target and "@" not in target:
        return SipUri(as_host(server.host), escape_user(target), None if server.port == 5060 else server.port)
    try:
        return parse_sip_uri(target if ":" in target.partition("@")[0] else f"sip:{target}")
    except BadMessage as error:
        raise LocalMisuse(f"cannot call {target!r}: {error.what}; write sip:NAME@HOST, or a number") from None


def _agent_config(settings: PhoneSettings, local: Address) -> AgentConfig:
    transport = settings.transport
    hop: Hop = UdpHop(settings.server) if transport == "UDP" else StreamHop(transport, settings.server)
    user, params = escape_user(settings.user), () if transport == "UDP" else (("transport", transport.lower()),)
    server_port = None if settings.server.port == 5060 else settings.server.port
    listeners = (Listener("UDP", local), *(() if transport == "UDP" else (Listener(transport, local),)))
    return AgentConfig(
        address_of_record=SipUri(as_host(settings.server.host), user, server_port),
        contact=SipUri(as_host(local.host), user, local.port, params),
        server=hop,
        listeners=listeners,
        auth_user=settings.user,
        password=settings.password,
        auto_answer_s=settings.auto_answer_s,
        calls_max=settings.calls_max,
        register_expires_s=settings.expires_s,
    )

"""One SIP server on loopback sockets, in a thread of its own: a PBX without an overlay, for tests of phones.

It knows its accounts, finds users among the phones that are registered with it, and has the echo number.
"""

from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from free_ports import free_port

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect
from p2psip.media.session import SendRtp
from p2psip.net.sip_sockets import Flows, MediaSockets
from p2psip.net.sockets.datagrams import DatagramSocket
from p2psip.sip.entities.agents.own_agents import agents_of
from p2psip.sip.entities.agents.types import MediaReleased, MediaWanted
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.handling.handlings import Handlings
from p2psip.sip.entities.questions import (
    Answer,
    Credential,
    FindCredential,
    Located,
    LocateUser,
    NoCredential,
    NotLocated,
    ResolveUri,
)
from p2psip.sip.entities.registrar.bindings import Binding
from p2psip.sip.entities.server import SipServer
from p2psip.sip.message.digest import ha1_by_algorithm
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.arrivals import Arrival, Datagram
from p2psip.sip.transports.effects import CloseFlow, OpenFlow, SendFlow, SendUdp
from p2psip.sip.transports.layer import Listener

REALM = "demo.example"
ECHO = "*43"


class LoopbackServer:
    """A registrar and proxy at `address`; `accounts` are user names and passwords."""

    def __init__(self, accounts: dict[str, str]) -> None:
        self._local = Address("127.0.0.1", free_port())
        self._accounts = accounts
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._is_up = threading.Event()

    @property
    def address(self) -> str:
        """What one sets as server in a phone."""
        return str(self._local)

    def bindings(self, user: str) -> tuple[Binding, ...]:
        """The phones of a user, as they are now."""
        found: Future[tuple[Binding, ...]] = Future()
        self._loop.call_soon_threadsafe(lambda: found.set_result(self._server.bindings(user, self._loop.time())))
        return found.result(10)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_up.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)

    async def _main(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        config = ServerConfig(
            realm=REALM,
            domains=frozenset({REALM, "127.0.0.1"}),
            listeners=(Listener("UDP", self._local), Listener("TCP", self._local)),
            peer_side=SipUri(REALM, "0" * 32),
        )
        self._server = SipServer(config, random.Random(1), agents_of(config, Handlings(), random.Random(2)))
        self._flows = Flows(self._arrived, self._not_accepted)
        self._media = MediaSockets("127.0.0.1", self._media_arrived)
        self._udp = await DatagramSocket.bind(*self._local, self._sip_arrived)
        self._flows.listen("TCP", self._local)
        self._is_up.set()
        await self._ended.wait()
        self._udp.close()
        self._flows.close()
        self._media.close_all()

    # What the sockets say

    def _arrived(self, arrival: Arrival) -> None:
        self._server.handle(arrival, self._loop.time())
        self._run()

    def _not_accepted(self, local: Address, reason: str) -> None:
        raise AssertionError(f"connections at {local} are not accepted: {reason}")

    def _sip_arrived(self, local: Address, remote: Address, data: bytes) -> None:
        self._arrived(Datagram(local, remote, data))

    def _media_arrived(self, local: Address, remote: Address, data: bytes) -> None:
        self._server.handle_media(local, remote, data, self._loop.time())
        self._run()

    def _on_timer(self) -> None:
        self._server.handle_timeout(self._loop.time())
        self._run()

    # One input, drain the effects, re-arm, next

    def _run(self) -> None:
        while effects := self._server.drain():
            for effect in effects:
                self._do(effect, self._loop.time())
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._server.next_deadline()
        self._timer = None if deadline is None else self._loop.call_at(deadline.at, self._on_timer)

    def _do(self, effect: Effect, now: float) -> None:
        match effect:
            case SendUdp(_, remote, data):
                self._udp.send(remote, data)
            case OpenFlow() | SendFlow() | CloseFlow():
                self._flows.do(effect)
            case SendRtp(local, remote, data):
                self._media.send(local, remote, data)
            case MediaReleased(local):
                self._media.close(local)
            case Ask(token, MediaWanted()):
                self._opening = self._loop.create_task(self._open_media(token))
            case Ask(token, question):
                self._server.handle_answer(token, self._answer(question, now), now)

    async def _open_media(self, token: int) -> None:
        self._server.handle_answer(token, await self._media.open(), self._loop.time())
        self._run()

    def _answer(self, question: object, now: float) -> Answer:
        match question:
            case FindCredential(user, realm):
                password = self._accounts.get(user)
                if password is None:
                    return NoCredential(f"{user} has no line on this peer")
                return Credential(user, (ha1_by_algorithm(user, realm, password),))
            case LocateUser(_, user):
                targets = self._server.targets(user, now)
                return Located(targets) if targets else NotLocated(480, "Not Registered", f"{user} has no phone here")
            case ResolveUri(uri):
                return NotLocated(404, "Not Found", f"{uri} is not of this overlay")
        raise AssertionError(f"no answer to {question}")

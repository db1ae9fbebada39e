"""As whom others see us: each node that we dial is a STUN server for us (RFC 6940 section 6.5.1.4).

"Only peers to which the peer currently has connections may be used": one is asked when it is dialled, so that what it
says is there when the connection is; and then as often as the path is to be kept open, as nothing else does that on a
connection that was made without an Attach.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.paths.ice.candidate_addresses import Mapped
from p2psip.reload.paths.ice.checks import (
    RTO_S,
    TRANSACTION_BYTES,
    TRANSMISSIONS_MAX,
    CheckAnswer,
    read,
    rtos_to_wait,
)
from p2psip.reload.paths.ice.consent import IDLE_S
from p2psip.reload.paths.values import SendStun
from p2psip.stun.message import BINDING, MessageClass, StunMessage

_TRANSACTION = slice(8, 8 + TRANSACTION_BYTES)


@dataclass(slots=True)
class _Question:
    server: Address
    request: bytes
    transmissions: int = 1


class Reflexive:
    """What the nodes that we have dialled say of our addresses."""

    def __init__(self, rng: random.Random, queue: TimerQueue | None = None) -> None:
        self._rng = rng
        self._questions: dict[bytes, _Question] = {}
        self._kept: dict[int, Address] = {}
        """Who is at the other end of links, by their numbers."""
        self._locals: dict[Address, Address] = {}
        """From where a server is asked, if not from where links are dialled."""
        self._seen: dict[Address, Mapped] = {}
        """By server."""
        self._timers: Timers[bytes | int] = Timers(queue)
        self._effects: list[Effect] = []

    def __contains__(self, message: bytes) -> bool:
        """True of a STUN message that answers one of our questions, or pretends to."""
        return message[_TRANSACTION] in self._questions

    def mapped(self) -> list[Mapped]:
        """As whom each of them sees us."""
        return list(self._seen.values())

    def forget_seen(self) -> None:
        """What they have said holds no more."""
        self._seen.clear()

    def has_answered(self, server: Address) -> bool:
        """True if it has said that."""
        return server in self._seen

    def ask_from(self, local: Address, server: Address) -> None:
        """It is asked from this port, as long as there is a connection with it."""
        self._locals[server] = local

    def ask(self, server: Address, now: float) -> None:
        """Somebody is being dialled there."""
        number = self._rng.randbytes(TRANSACTION_BYTES)
        request = StunMessage(MessageClass.REQUEST, BINDING, number, has_fingerprint=True).encode()
        self._questions[number] = _Question(server, request)
        self._send(number, now)

    def keep(self, link: int, server: Address, now: float) -> None:
        """A connection with it is up."""
        self._kept[link] = server
        self._again(link, now)

    def forget(self, link: int) -> None:
        """That connection is down. "If the connection to that host is lost, it MUST be removed"."""
        server = self._kept.pop(link, None)
        self._timers.cancel(link)
        if server is not None and server not in self._kept.values():
            self._seen.pop(server, None)
            if self._locals.pop(server, None) is not None:
                for number in [number for number, each in self._questions.items() if each.server == server]:
                    self._drop(number)

    def use_hosts(self, hosts: Collection[str], now: float) -> None:
        """Our addresses are these from now on: as whom we are seen is asked anew."""
        self._seen = {server: mapped for server, mapped in self._seen.items() if mapped.base.host in hosts}
        self.ask_all(now)

    def ask_all(self, now: float) -> None:
        """Ask all with whom there is a connection, unless that is under way."""
        asked = {question.server for question in self._questions.values()}
        for server in dict.fromkeys(self._kept.values()):
            if server not in asked:
                self.ask(server, now)

    def links_with(self, server: Address) -> list[int]:
        """The links with this server."""
        return [link for link, kept in self._kept.items() if kept == server]

    def handle_answer(self, local: Address, remote: Address, data: bytes) -> bool:
        """What one of them says; from elsewhere nobody is believed. True if it has said something else before."""
        number, answer = data[_TRANSACTION], read(data)
        question = self._questions[number]
        if remote != question.server or not isinstance(answer, CheckAnswer):
            return False
        self._drop(number)
        if answer.mapped is None:
            return False
        before = self._seen.get(remote)
        self._seen[remote] = Mapped(answer.mapped, local, remote)
        return before is not None and before != self._seen[remote]

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Ask again."""
        for key in self._timers.pop_due(now):
            if isinstance(key, int):
                self.ask(self._kept[key], now)
                self._again(key, now)
                continue
            question = self._questions[key]
            if question.transmissions < TRANSMISSIONS_MAX:
                question.transmissions += 1
                self._send(key, now)
            else:
                self._drop(key)
                if question.server not in self._kept.values():
                    self._seen.pop(question.server, None)

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    def _send(self, number: bytes, now: float) -> None:
        question = self._questions[number]
        waits = rtos_to_wait(question.transmissions)
        self._effects.append(SendStun(self._locals.get(question.server), question.server, question.request))
        self._timers.set(number, now + waits * RTO_S, "no word on our address")

    def _again(self, link: int, now: float) -> None:
        self._timers.set(link, now + IDLE_S * self._rng.uniform(0.8, 1.2), "keep a path open")

    def _drop(self, number: bytes) -> None:
        del self._questions[number]
        self._timers.cancel(number)

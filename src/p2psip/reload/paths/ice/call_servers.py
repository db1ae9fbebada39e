"""As whom others see the port of calls (docs/decisions/call-paths.md): asked of those with whom we are linked.

What keeps the path of a link open does nothing for another port, so that one is asked for at some of them: who does not
answer soon, as it is behind a NAT itself, gives way to the next.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Final

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.timers import Deadline, TimerQueue, Timers, earliest
from p2psip.reload.paths.ice.candidate_addresses import Mapped
from p2psip.reload.paths.ice.reflexive import Reflexive
from p2psip.reload.paths.limits import CALL_SERVERS_MAX

PATIENCE_S: Final = 4.0
"""How long one may take for its first answer: three repetitions, and a long way."""


class CallServers:
    """Those who say as whom they see our port of calls."""

    def __init__(self, rng: random.Random, queue: TimerQueue | None = None) -> None:
        self._asked = Reflexive(rng, queue)
        self._links: dict[int, Address] = {}
        """Who is at the other end of each link."""
        self._next: dict[Address, tuple[int, Address]] = {}
        """Those who may be asked next: by which number, and from where."""
        self._in_use: dict[Address, int] = {}
        self._timers: Timers[Address | None] = Timers(queue)

    def __contains__(self, message: bytes) -> bool:
        """True of a STUN message that answers one of our questions, or pretends to."""
        return message in self._asked

    def mapped(self) -> list[Mapped]:
        """As whom each of them sees us."""
        return self._asked.mapped()

    def forget_seen(self) -> None:
        """What they have said holds no more."""
        self._asked.forget_seen()

    def linked(self, link: int, local: Address, server: Address, now: float) -> None:
        """A link with it is up; `local` is our port of calls as it would see it."""
        self._links[link] = server
        if server not in self._in_use:
            self._next[server] = link, local
        self._fill(now)

    def down(self, link: int) -> None:
        """That link is down."""
        server = self._links.pop(link, None)
        if server is None or server in self._links.values():
            return
        self._next.pop(server, None)
        if server in self._in_use:
            self._give_up(server)
            self._timers.set(None, 0.0, "another server for the port of calls")

    def use_hosts(self, hosts: Collection[str], now: float) -> None:
        """Our addresses are these from now on: as whom we are seen is asked anew."""
        self._asked.use_hosts(hosts, now)

    def ask_all(self, now: float) -> None:
        """Ask them now, unless that is under way."""
        self._asked.ask_all(now)

    def handle_answer(self, local: Address, remote: Address, data: bytes) -> None:
        """What one of them says."""
        self._asked.handle_answer(local, remote, data)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest((self._asked.next_deadline(), self._timers.next_deadline()))

    def handle_timeout(self, now: float) -> None:
        """Ask again; others, where one does not answer."""
        self._asked.handle_timeout(now)
        for server in self._timers.pop_due(now):
            if server is not None and not self._asked.has_answered(server):
                self._give_up(server)
        self._fill(now)

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        return self._asked.drain()

    def _fill(self, now: float) -> None:
        while self._next and len(self._in_use) < CALL_SERVERS_MAX:
            server = next(iter(self._next))
            number, local = self._next.pop(server)
            self._in_use[server] = number
            self._asked.ask_from(local, server)
            self._asked.ask(server, now)
            self._asked.keep(number, server, now)
            self._timers.set(server, now + PATIENCE_S, "does a server see the port of calls")

    def _give_up(self, server: Address) -> None:
        self._asked.forget(self._in_use.pop(server))
        self._timers.cancel(server)

"""Ports of this node that its router maps (p2psip.portmap), where its operator allows that the router is asked.

A mapped address is told to others as one that a router passes on: it is dialled, and checked by ICE, as the others are.
Whether it can be reached is for surveys to say.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from p2psip.base.address import Address
from p2psip.base.timers import Deadline
from p2psip.portmap.mapper import PortMapper
from p2psip.portmap.values import AskRouter, HomeRouter, PortKind, RouterLeft, WantedPort
from p2psip.reload.node.connecting.nat.surveying import Surveying
from p2psip.reload.node.exchange import Exchange
from p2psip.reload.paths.candidates import OwnPort, Whereabouts
from p2psip.reload.paths.ice.candidate_addresses import Mapped
from p2psip.reload.paths.values import (
    ROUTER_SPARE,
    AskStream,
    CloseSpare,
    Purpose,
    SendSpare,
    SpareArrived,
    SpareOpened,
    StreamAnswered,
)
from p2psip.turn.peers import Scope, scope_of


@dataclass(frozen=True, slots=True)
class PortMappingFacts:
    """What came of asking the router; `router` is "" where there is none."""

    is_allowed: bool
    router: str = ""
    language: str = ""
    given: tuple[tuple[str, Address], ...] = ()
    """Our ports in words ("UDP 6084"), and their outside addresses."""
    refusals: tuple[tuple[str, str], ...] = ()
    """By language, why nothing was given."""
    refused: tuple[tuple[str, str], ...] = ()
    """Ports that were not given where others were, and why."""
    is_asking: bool = False
    inner_address: str = ""
    """The router's own address, where that is one inside of a further NAT."""


class PortMapping:
    """Those of one node; with no `secret` no router is asked."""

    def __init__(
        self, exchange: Exchange, whereabouts: Whereabouts, surveying: Surveying, secret: bytes, rng: random.Random
    ) -> None:
        self._exchange = exchange
        self._whereabouts = whereabouts
        self._surveying = surveying
        self._is_allowed = bool(secret)
        self._mapper = PortMapper(secret, rng, exchange.queue)
        self._router: HomeRouter | None = None
        self._refusals: dict[str, str] = {}
        """Those that the log has been told of."""

    @property
    def facts(self) -> PortMappingFacts:
        """What there is to tell."""
        mapper, outside = self._mapper, self._mapper.outside_host
        return PortMappingFacts(
            self._is_allowed,
            "" if self._router is None else self._router.host,
            mapper.language,
            tuple((str(wish), outside) for wish, outside in mapper.given.items()),
            tuple(mapper.refusals.items()),
            tuple((str(wish), why) for wish, why in mapper.refused.items()),
            mapper.is_asking,
            outside if outside and scope_of(outside) is not Scope.GLOBAL else "",
        )

    @property
    def is_withdrawing(self) -> bool:
        """True while a router has not heard yet that we need its ports no more."""
        return self._mapper.is_withdrawing

    def use_router(self, router: HomeRouter | None, now: float) -> None:
        """The machine has this router from now on."""
        self._router = router
        if not self._is_allowed:
            return
        # What a router is asked to send to an address at which nobody listens is of no use.
        is_heard = router is not None and router.local in {own.host for own in self._whereabouts.own(Purpose.RELOAD)}
        self._mapper.use(router, tuple(self._wishes().values()) if is_heard else (), now)
        self._settle(now)

    def handle_spare(self, event: SpareOpened | SpareArrived, now: float) -> None:
        """Something has happened at the port from which the router is asked."""
        if isinstance(event, SpareArrived):
            self._mapper.handle_datagram(event.remote, event.data, now)
            self._settle(now)

    def handle_stream(self, event: StreamAnswered, now: float) -> None:
        """What the router has said on a stream."""
        self._mapper.handle_stream(event.request, event.answer, now)
        self._settle(now)

    def withdraw(self, now: float) -> None:
        """Have nothing mapped any more."""
        self._mapper.withdraw(now)
        self._settle(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._mapper.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Ask again, or for what is due."""
        self._mapper.handle_timeout(now)
        self._settle(now)

    def _wishes(self) -> dict[OwnPort, WantedPort]:
        return {
            own: WantedPort(PortKind.TCP if own.is_stream else PortKind.UDP, port)
            for own, port in self._whereabouts.ports().items()
        }

    def _settle(self, now: float) -> None:
        """Do what the mapper wants done, and tell of what it has, if that is something else than before."""
        for effect in self._mapper.drain():
            if isinstance(effect, AskRouter) and effect.outgoing.is_stream:
                self._exchange.emit(AskStream(effect.address, effect.outgoing.data))
            elif isinstance(effect, AskRouter):
                self._exchange.emit(SendSpare(ROUTER_SPARE, effect.address, effect.outgoing.data))
            else:
                assert isinstance(effect, RouterLeft), "a mapper wants nothing else"
                self._exchange.emit(CloseSpare(ROUTER_SPARE))
        given, router = self._mapper.given, self._router
        mapped = {
            own: Mapped(given[wish], Address(router.local, wish.port), Address(router.host, wish.port))
            for own, wish in self._wishes().items()
            if router is not None and wish in given
        }
        if mapped != self._whereabouts.mapped:
            self._whereabouts.mapped = mapped
            self._exchange.note("the router has mapped ports", ports=[f"{wish} as {at}" for wish, at in given.items()])
            self._surveying.addresses_changed(now)
        refusals = dict(self._mapper.refusals)
        if refusals and not self._mapper.language and refusals != self._refusals:
            self._refusals = refusals
            reason = "; ".join(f"{language}: {why}" for language, why in refusals.items())
            self._exchange.warn("the router maps no ports", reason=reason)

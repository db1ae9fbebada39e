"""What the services of a peer say to each other: those that it announces, and those that it finds and chooses."""

from __future__ import annotations

from p2psip.base.effects import Effect
from p2psip.base.errors import RequestFailed
from p2psip.coupling.numbers.dundi_numbers import DundiNumbers
from p2psip.coupling.numbers.gateways import SERVICE as GATEWAY
from p2psip.coupling.numbers.gateways import Gateways
from p2psip.coupling.services.rooms import SERVICE as CONFERENCE
from p2psip.coupling.services.rooms import NoRoom, Rooms
from p2psip.reload.node.choosing.service_chooser import (
    ProviderPinged,
    ProvidersKnown,
    ProvidersSought,
    ServiceChooser,
)
from p2psip.reload.node.service_discovery import ServiceContext, ServiceDiscovery, ServicesFound
from p2psip.reload.transport.outcome import Answer
from p2psip.sip.entities.conference.room_caller import RoomLeft
from p2psip.sip.entities.conference.room_mixer import RoomsChanged
from p2psip.sip.entities.gateway.terms import TrunkChanged
from p2psip.sip.entities.questions import FindGateway, FindMixer

OF_THEIR_OWN = frozenset({GATEWAY, CONFERENCE})
"""Services that are announced as long as there is what they offer, and not because an operator has said so."""


class ServiceUsers:
    """Carries the effects of one to the others."""

    def __init__(
        self,
        services: ServiceDiscovery,
        chooser: ServiceChooser,
        gateways: Gateways,
        dundi: DundiNumbers,
        rooms: Rooms,
    ) -> None:
        self._services = services
        self._chooser = chooser
        self._gateways = gateways
        self._dundi = dundi
        self._rooms = rooms

    def locate(self, token: int, question: FindGateway | FindMixer, now: float) -> None:
        """Find who calls a number that nobody has, or mixes a room; the answer may come at once."""
        if isinstance(question, FindMixer):
            self._rooms.find(token, question, now)
        elif not self._rooms.locate(token, question, now):
            self._dundi.locate(token, question, now)

    def cancel(self, token: int) -> None:
        """Nobody waits for that any more."""
        for part in (self._dundi, self._gateways, self._rooms):
            part.cancel(token)

    def handle(self, effect: Effect, now: float) -> bool:
        """True if it was for one of them."""
        match effect:
            case ServicesFound(ProvidersSought()):
                self._chooser.handle_found(effect, now)
            case ProvidersKnown(service) if service == GATEWAY:
                self._gateways.handle_known(now)
            case ProvidersKnown(service) if service == CONFERENCE:
                self._rooms.handle_known(now)
            case NoRoom(token, question):
                self._dundi.locate(token, question, now)
            case RoomsChanged() | RoomLeft():
                self._rooms.handle(effect, now)
            case TrunkChanged():
                self._gateways.announce(now)
            case _:
                return False
        return True

    def tell_loads(self, now: float) -> None:
        """What has just happened may have changed how much of our services is taken."""
        self._gateways.tell_load(now)
        self._rooms.tell_load(now)

    def handle_done(self, context: object, result: Answer | RequestFailed, now: float) -> None:
        """A request of one of them is over."""
        if isinstance(context, ProviderPinged):
            self._chooser.handle_pinged(context, result)
        else:
            assert isinstance(context, ServiceContext), f"nobody waits for {context}"
            self._services.handle_done(context, result, now)

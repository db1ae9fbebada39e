"""Rooms of conferences: which numbers are rooms, where each is mixed, and what this peer mixes itself.

Theory of operation. Who mixes announces one service, `conference` (RFC 7374), with the numbers of its rooms in the
offer, and in which of them somebody is. All who call a room are to come to one mixer. It is the one that says that
somebody is in it; where none says so, it is chosen by a hash that gives everybody the same (service_choice.py). So also
after a mixer has died: whoever was there has noticed, and goes to the next of that order at once, with what is known.

Two mixers may all the same have one room, where two islands meet, or one could not be reached from somewhere. Each
looks now and then who else has a room of its own, is there, and comes before it in the order; to that one it leaves it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from p2psip.base.effects import AskAnswered, Effect, Note
from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.coupling.gruu import make_gruu
from p2psip.reload.config.configuration import ANY_SERVICE
from p2psip.reload.node.choosing.service_chooser import ServiceChooser
from p2psip.reload.node.node import Node
from p2psip.reload.node.service_discovery import ServiceDiscovery
from p2psip.reload.usages.redir import Provider
from p2psip.reload.wire.header import Destination
from p2psip.sip.entities.agents.agent_table import AgentCore
from p2psip.sip.entities.conference.by_room import MIXER, room_target
from p2psip.sip.entities.conference.room_caller import RoomCaller, RoomLeft, RoomSeen
from p2psip.sip.entities.conference.room_mixer import Dissolve, RoomMixer, RoomsChanged
from p2psip.sip.entities.conference.room_terms import (
    MIXER_PARAM,
    WHO_PARAM,
    Close,
    OfferedRooms,
    read_rooms,
    write_rooms,
)
from p2psip.sip.entities.questions import FindGateway, FindMixer, Located, NotLocated, Target
from p2psip.sip.entities.server import SipServer
from p2psip.sip.message.build import phrase_of
from p2psip.sip.message.uri import SipUri, escape_user
from p2psip.sip.transports.hops import LocalHop

SERVICE = "conference"

FRESH_S = 2.0
"""Who comes into a room is to know where the others went a moment ago."""

LIFETIME_S = 120
"""Of the offer: so long others may believe that a mixer is there which has died."""

ANNOUNCE_S = 1.0
"""How long after a room has been opened or closed that is announced: several may be."""

MEETS_S = 10.0
"""How often a mixer looks whether others have rooms of its own."""

ALONE_S = 60.0
"""The same of one that knows no other."""

LEFT_S = 600.0
"""So long a room is not left once more to somebody from whom it has come back."""

ATTEMPTS_MAX = 1024
"""Calls to rooms of which it is remembered where they went."""

WAITING_MAX = 256


@dataclass(frozen=True, slots=True)
class NoRoom(Effect):
    """A number of which it was asked is that of no room: gateways may have it."""

    token: int
    question: FindGateway


class Rooms:
    """Answers FindMixer, and FindGateway where a number is a room; announces what this peer mixes."""

    def __init__(
        self,
        node: Node,
        services: ServiceDiscovery,
        chooser: ServiceChooser,
        server: SipServer,
        agents: Sequence[AgentCore],
        overlay: str,
        queue: TimerQueue | None = None,
    ) -> None:
        """Among the `agents` of the server is one that mixes, if its operator wants that."""
        self._node = node
        self._services = services
        self._chooser = chooser
        self._server = server
        self._mixer = next((agent for agent in agents if isinstance(agent, RoomMixer)), None)
        self._caller = next((agent for agent in agents if isinstance(agent, RoomCaller)), None)
        self._overlay = overlay
        self._waiting: dict[int, FindMixer | FindGateway] = {}
        self._went: OrderedDict[str, NodeId] = OrderedDict()
        """Where each call to a room has gone, by the number of the attempt."""
        self._lost: set[str] = set()
        """Rooms whose mixer has just failed: no time is lost with asking again who there is."""
        self._left: dict[tuple[str, NodeId], float] = {}
        self._is_meeting = self._is_stopping = False
        self._is_refused = False
        """True once it has been said that this peer may not announce what it mixes."""
        self._timers: Timers[str] = Timers(queue)
        self._effects: list[Effect] = []

    # What this peer mixes

    def start(self, now: float) -> None:
        """Announce it."""
        if self._mixer is not None:
            self._announce(now)

    def stop(self, now: float) -> None:
        """This peer stops: who is in its rooms is told, and goes to another mixer at once; so are its phones, whose
        calls to rooms end.
        """
        self._is_stopping, self._is_meeting = True, False
        self._timers.clear()
        if self._caller is not None:
            self._server.order(self._caller.name, Close(), now)
        if self._mixer is not None:
            self._server.order(self._mixer.name, Close(), now)

    def handle(self, effect: RoomsChanged | RoomLeft, now: float) -> None:
        """An agent tells something of rooms."""
        match effect:
            case RoomsChanged():
                if not self._is_stopping and "announce" not in self._timers:
                    self._timers.set("announce", now + ANNOUNCE_S, "say which rooms are open")
            case RoomLeft():
                self._room_left(effect, now)

    def tell_load(self, now: float) -> None:
        """How many of its places are taken."""
        if self._mixer is not None:
            self._services.tell_load(SERVICE, self._load, now)

    @property
    def mixed(self) -> dict[str, tuple[str, ...]]:
        """Who is in the rooms that this peer mixes."""
        return {} if self._mixer is None else self._mixer.rooms

    # Which numbers are rooms

    @property
    def seen(self) -> list[tuple[RoomSeen, NodeId | None]]:
        """The rooms that phones of this peer are in, and where each is mixed."""
        seen = [] if self._caller is None else self._caller.seen
        return [(each, self._went.get(each.attempt)) for each in seen]

    def locate(self, token: int, question: FindGateway, now: float) -> bool:
        """True if it is or may be that of a room, and is answered here, or handed on by `NoRoom`."""
        if question.is_here or question.is_emergency or question.tried or not self.has_mixers:
            return False
        self._ask(token, question, now, fresh_s=LIFETIME_S)
        return True

    def find(self, token: int, question: FindMixer, now: float) -> None:
        """Where a room is mixed."""
        has_another = any(
            offered.has(question.room) and not self._chooser.has_failed(SERVICE, node, now)
            for node, offered in self._offered().items()
        )
        is_known = question.room in self._lost and has_another
        self._ask(token, question, now, fresh_s=inf if is_known else FRESH_S)

    def cancel(self, token: int) -> None:
        """Nobody waits for that any more."""
        self._waiting.pop(token, None)

    def handle_known(self, now: float) -> None:
        """Who mixes is known now, as far as can be."""
        waiting, self._waiting = self._waiting, {}
        for token, question in waiting.items():
            if isinstance(question, FindMixer):
                self._effects.append(AskAnswered(token, self._mixer_of(question, now)))
            elif any(offered.has(question.number) for offered in self._offered().values()):
                room = SipUri(self._overlay, escape_user(question.number))
                self._effects.append(AskAnswered(token, Located((room_target(room),))))
            else:
                self._effects.append(NoRoom(token, question))
        if self._is_meeting:
            self._is_meeting = False
            self._leave_to_others(now)

    def handle_timeout(self, now: float) -> None:
        """Announce what is open, and look who else has it."""
        for what in self._timers.pop_due(now):
            if what == "announce":
                self._announce(now)
            else:
                self._meet(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def drain(self) -> list[Effect]:
        """Answers and news since the last call."""
        effects, self._effects = self._effects, []
        return effects

    # Inside: who mixes

    @property
    def has_mixers(self) -> bool:
        """True if somebody may mix: else nobody is asked about numbers."""
        return self._mixer is not None or any(
            permission.name in (SERVICE, ANY_SERVICE) for permission in self._node.configuration.services
        )

    def _ask(self, token: int, question: FindMixer | FindGateway, now: float, *, fresh_s: float) -> None:
        self._waiting[token] = question
        if self._chooser.seek(SERVICE, now, fresh_s=fresh_s) or len(self._waiting) > WAITING_MAX:
            self.handle_known(now)

    def _offered(self) -> dict[NodeId, OfferedRooms]:
        """What all say that they mix; of ourselves as it is."""
        providers = self._chooser.providers(SERVICE)
        offered = {node: rooms_offered(provider) for node, provider in providers.items()}
        if self._mixer is not None:
            offered[self._node.node_id] = OfferedRooms(self._mixer.terms.numbers, frozenset(self._mixer.rooms))
        return offered

    def _order(self, room: str, now: float) -> list[NodeId]:
        """Those that mix a room in the order in which everybody goes to them, ourselves last if nobody finds us."""
        offered = self._offered()
        order = self._chooser.order_for_all(SERVICE, room.encode(), now)
        return [node for node in dict.fromkeys((*order, *offered)) if node in offered and offered[node].has(room)]

    def _mixer_of(self, question: FindMixer, now: float) -> Located | NotLocated:
        room, own, offered = question.room, self._node.node_id, self._offered()
        self._lost.discard(room)
        nodes = [node for node in self._order(room, now) if node == own or self._node.is_connected]
        if not nodes:
            return NotLocated(480, phrase_of(480), f"no peer that can be reached mixes room {room}")
        node = min(
            nodes,
            key=lambda node: (
                self._chooser.has_failed(SERVICE, node, now),
                node != own and self._chooser.rtt_s(SERVICE, node) is None,
                room not in offered[node].present,
            ),
        )
        self._went[question.attempt] = node
        if len(self._went) > ATTEMPTS_MAX:
            self._went.popitem(last=False)
        return Located((self._target(node, question),))

    def _target(self, node: NodeId, question: FindMixer) -> Target:
        provider = self._chooser.providers(SERVICE).get(node)
        route = (Destination.node(node),) if provider is None else provider.destination_list
        gruu = make_gruu(question.room, self._overlay, route)
        uri = gruu.replace(params=(*gruu.params, (MIXER_PARAM, None), (WHO_PARAM, question.who)))
        if node == self._node.node_id:
            return Target(uri, (LocalHop(MIXER),), f"room {question.room}")
        return Target(uri, None, f"room {question.room} at peer {node.short}")

    def _room_left(self, left: RoomLeft, now: float) -> None:
        node = self._went.pop(left.attempt, None)
        if node is not None and left.stops:
            self._chooser.stopped(SERVICE, node, now)
            self._lost.add(left.room)
        elif not left.is_fault:
            # The mixer itself has sent us away, to one that we have perhaps lost before.
            self._chooser.forget_failures(SERVICE)
        elif node is not None:
            self._chooser.failed(SERVICE, node, now)
            self._lost.add(left.room)

    # Inside: our own

    @property
    def _load(self) -> int:
        """In percent."""
        assert self._mixer is not None, "who mixes has a load"
        return min(100, 100 * self._mixer.taken // self._mixer.terms.participants)

    def _announce(self, now: float) -> None:
        assert self._mixer is not None, "who mixes announces it"
        terms, rooms = self._mixer.terms, self._mixer.rooms
        policy = write_rooms(terms, rooms)
        if rooms and "meet" not in self._timers:
            self._timers.set("meet", now + MEETS_S, "who else has our rooms?")
        try:
            self._services.register(
                SERVICE, now, capacity=terms.participants, load=self._load, policy=policy, lifetime_s=LIFETIME_S
            )
        except LocalMisuse as error:
            if not self._is_refused:
                means = "phones of this peer alone meet in its rooms"
                facts = {"reason": str(error), "means": means}
                self._effects.append(Note("conference not announced", facts, is_warning=True))
            self._is_refused = True

    def _meet(self, now: float) -> None:
        if self._mixer is None or not self._mixer.rooms:
            return
        others = len(self._chooser.providers(SERVICE)) > 1
        self._timers.set("meet", now + (MEETS_S if others else ALONE_S), "who else has our rooms?")
        if self._chooser.seek(SERVICE, now, fresh_s=FRESH_S):
            self._leave_to_others(now)
        else:
            self._is_meeting = True

    def _leave_to_others(self, now: float) -> None:
        """Leave each room to who has it as well and comes before us."""
        assert self._mixer is not None, "who mixes looks for others"
        own, offered = self._node.node_id, self._offered()
        self._left = {key: at for key, at in self._left.items() if now < at + LEFT_S}
        for room in self._mixer.rooms:
            order = self._chooser.order_for_all(SERVICE, room.encode(), now)
            before = order[: order.index(own)] if own in order else []
            for node in before:
                is_there = self._chooser.rtt_s(SERVICE, node) is not None
                if is_there and room in offered[node].present and (room, node) not in self._left:
                    self._left[room, node] = now
                    self._server.order(MIXER, Dissolve(room), now)
                    break


def rooms_offered(provider: Provider) -> OfferedRooms:
    """What a provider of the service says that it mixes."""
    return read_rooms("" if provider.offer is None else provider.offer.policy.decode(errors="replace"))

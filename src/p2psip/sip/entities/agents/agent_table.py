"""The agents of a peer: whoever is reached by dialling and is no phone.

Theory of operation. An agent is a core of its own that speaks SIP, with no socket below it: what the server delivers to
it comes in by `handle_message`, and what it says leaves as `ToServer`. It answers calls, and places them if it
likes: the server carries its requests as those of anybody who has proved himself. What it asks is answered by the
outside, what it wants to send as media is sent. Neither the server nor what is around it knows one by name: they
stand in a table, and one that is new is one line more in `agents_of` (own_agents.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from p2psip.base.address import Address
from p2psip.base.effects import Ask, CancelAsk, Effect
from p2psip.base.frozen import frozen
from p2psip.base.timers import Deadline, earliest
from p2psip.sip.entities.agents.types import MediaReleased, ToServer
from p2psip.sip.transports.arrivals import Arrival, FromAgent


class AgentCore(Protocol):
    """One user agent, or several behind one name."""

    @property
    def name(self) -> str:
        """By which messages find it; no other in a table has it."""

    def is_meant(self, user: str) -> bool:
        """True if it is called by the user part of this URI of the overlay."""

    def handle_message(self, data: bytes, now: float) -> None:
        """The server delivers a SIP message."""

    def handle_media(self, local: Address, remote: Address, data: bytes, now: float) -> None:
        """A datagram came to a media address that it was given."""

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        """The answer to an Ask; an Address is one for its media, until MediaReleased."""

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""

    def drain(self) -> list[Effect]:
        """What is to be done, in order, ToServer among it."""


@runtime_checkable
class WiredAgent(Protocol):
    """One that has sockets of its own as well, towards somebody who is neither a phone of this peer nor of another."""

    @property
    def facing(self) -> tuple[str, str] | None:
        """Our address as that somebody knows it, and his: media of calls with him goes through here. None: unknown."""

    def start(self, now: float) -> None:
        """Begin."""

    def stop(self, now: float) -> None:
        """The peer is about to end."""

    def handle_wire(self, arrival: Arrival, now: float) -> None:
        """Something came in at its sockets."""


@runtime_checkable
class OrderedAgent(Protocol):
    """One that whoever is around the server tells to do something, beside what is dialled."""

    def handle_order(self, order: object, now: float) -> None:
        """Do it."""


@frozen
class AgentWishes:
    """What agents want: these messages taken by the server, these effects done by whoever drives it."""

    said: tuple[FromAgent, ...]
    effects: tuple[Effect, ...]


_NOTHING = AgentWishes((), ())


class AgentTable:
    """All agents of one peer, as one core. Of the questions of several the tokens differ."""

    def __init__(self, agents: Sequence[AgentCore] = ()) -> None:
        self._agents = tuple(agents)
        self._by_name = {agent.name: agent for agent in agents}
        assert len(self._by_name) == len(self._agents), "two agents have one name"
        self._wired = tuple(agent for agent in agents if isinstance(agent, WiredAgent))
        self._media: dict[Address, AgentCore] = {}
        self._is_quiet = False
        """True if none of them has heard anything since the last drain: most requests are not for them."""
        self._has_plan = False
        """True if `_next` is when one of them wants to be woken: none has heard anything since."""
        self._next: Deadline | None = None

    def meant(self, user: str) -> str | None:
        """The name of the agent that is called by this user part; the first of them, None if there is none."""
        return next((agent.name for agent in self._agents if agent.is_meant(user)), None)

    def handle_message(self, name: str, data: bytes, now: float) -> None:
        """The server delivers a SIP message. Of an agent that there was in an earlier run there is none."""
        self._stir()
        if (agent := self._by_name.get(name)) is not None:
            agent.handle_message(data, now)

    def handle_wire(self, name: str, arrival: Arrival, now: float) -> None:
        """Something came in at the sockets of one that has some of its own."""
        self._stir()
        if isinstance(agent := self._by_name.get(name), WiredAgent):
            agent.handle_wire(arrival, now)

    def handle_order(self, name: str, order: object, now: float) -> None:
        """Somebody around the server wants something done by one that there is."""
        self._stir()
        agent = self._by_name[name]
        assert isinstance(agent, OrderedAgent), f"{name} takes no orders"
        agent.handle_order(order, now)

    def start(self, now: float) -> None:
        """Those with sockets of their own begin."""
        self._stir()
        for agent in self._wired:
            agent.start(now)

    def stop(self, now: float) -> None:
        """The peer is about to end."""
        self._stir()
        for agent in self._wired:
            agent.stop(now)

    @property
    def has_wired(self) -> bool:
        """True if there is one with sockets of its own."""
        return bool(self._wired)

    def facing(self, name: str) -> tuple[str, str] | None:
        """Between which addresses the media of its calls goes on; None if it has its media in here."""
        agent = self._by_name.get(name)
        return agent.facing if isinstance(agent, WiredAgent) else None

    def handle_media(self, local: Address, remote: Address, data: bytes, now: float) -> None:
        """A datagram came to a media address."""
        self._stir()
        if (agent := self._media.get(local)) is not None:
            agent.handle_media(local, remote, data, now)

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        """The answer to an Ask."""
        self._stir()
        own, index = divmod(token, len(self._agents))
        agent = self._agents[index]
        if isinstance(answer, Address):
            self._media[answer] = agent
        agent.handle_answer(own, answer, now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self._stir()
        for agent in self._agents:
            agent.handle_timeout(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        if not self._has_plan:
            self._next, self._has_plan = earliest(agent.next_deadline() for agent in self._agents), True
        return self._next

    def drain(self) -> AgentWishes:
        """What all of them want since the last call, of each in its order."""
        if self._is_quiet:
            return _NOTHING
        self._is_quiet = True
        said: list[FromAgent] = []
        effects: list[Effect] = []
        for index, agent in enumerate(self._agents):
            for effect in agent.drain():
                match effect:
                    case ToServer(data):
                        said.append(FromAgent(agent.name, data))
                    case Ask(token, question, deadline):
                        effects.append(Ask(self._outer(token, index), question, deadline))
                    case CancelAsk(token):
                        effects.append(CancelAsk(self._outer(token, index)))
                    case _:
                        if isinstance(effect, MediaReleased):
                            self._media.pop(effect.local, None)
                        effects.append(effect)
        return AgentWishes(tuple(said), tuple(effects))

    def _stir(self) -> None:
        """One of them may want something now, or at another time."""
        self._is_quiet = self._has_plan = False

    def _outer(self, token: int, index: int) -> int:
        return token * len(self._agents) + index

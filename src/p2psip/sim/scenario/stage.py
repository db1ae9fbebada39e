"""Where a scenario is played: peers, users with their phones, and what can be done to them, in whichever world."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from p2psip.base.effects import Effect
from p2psip.base.ids import NodeId
from p2psip.coupling.enquiries.lookup import LookedUp
from p2psip.coupling.peer import Peer
from p2psip.reload.node.node import Node
from p2psip.reload.usages.sip_registration import Registrations
from p2psip.sim.clock import VirtualClock
from p2psip.sim.sites.making import OVERLAY
from p2psip.sim.sites.phone import VirtualPhone
from p2psip.sip.entities.agents.types import Ending

MAIN_ISLAND = 0


@dataclass(eq=False)
class PhoneUser:
    """Somebody with a line and a phone at a peer."""

    name: str
    home: int
    """The number of the peer."""
    phone: VirtualPhone | None = None
    """None once the line was given up."""


@dataclass(eq=False)
class Lookup:
    """A user was looked up at a peer; `result` follows."""

    user: PhoneUser
    at: int
    began_at: float
    was_there: bool
    """Whether the user had a line, at a peer that was up, when it began."""
    result: LookedUp | None = None

    @property
    def is_found(self) -> bool:
        """True if somebody has registered the name."""
        found = self.result.registrations if self.result is not None else None
        return isinstance(found, Registrations) and bool(found.entries)


@dataclass(eq=False)
class DialledCall:
    """One user called another."""

    caller: PhoneUser
    callee: PhoneUser
    phone: VirtualPhone
    number: int
    """The phone's of it."""
    began_at: float
    phone_began_s: float
    """The same on the phone's clock."""
    was_there: bool
    """Whether the callee had a phone at a peer that was up."""

    @property
    def setup_s(self) -> float | None:
        """After how long it was answered; None if it was not."""
        return self.phone.established_after(self.number, self.phone_began_s)

    @property
    def ending(self) -> Ending | None:
        """How it ended; None while it lasts."""
        return self.phone.ending(self.number)


class Stage(ABC):
    """Peers by number. What happens to one that is down already, or is not there, does not happen."""

    clock: VirtualClock

    def __init__(self) -> None:
        self.up: set[int] = set()
        """The peers that run."""
        self.known: set[int] = set()
        """Those that have ever been there."""
        self.by_node: dict[NodeId, int] = {}
        """The same by their Node-IDs."""
        self.users: dict[str, PhoneUser] = {}
        self.lookups: list[Lookup] = []
        self.calls: list[DialledCall] = []
        self._looking: dict[object, Lookup] = {}

    # Of its world

    @abstractmethod
    def run(self, seconds: float, stop: Callable[[], bool] | None = None) -> bool:
        """Let time go on; True as soon as `stop` says so."""

    @abstractmethod
    def add(self, number: int) -> None:
        """A peer that was never there starts."""

    @abstractmethod
    def crash(self, number: int) -> None:
        """Its program is killed: its machine says so to whom it had connections with."""

    @abstractmethod
    def cut_power(self, number: int) -> None:
        """Its machine is off, which nobody is told."""

    @abstractmethod
    def leave(self, number: int) -> None:
        """It begins to end cleanly; it is down a little later."""

    @abstractmethod
    def start(self, number: int) -> None:
        """It runs again, with what it had kept."""

    @abstractmethod
    def part(self, numbers: Iterable[int]) -> None:
        """These reach each other, and nobody else."""

    @abstractmethod
    def heal(self) -> None:
        """All reach each other."""

    @abstractmethod
    def peer(self, number: int) -> Peer:
        """The core of one that runs."""

    @abstractmethod
    def give(self, number: int, run: Callable[[float], object]) -> None:
        """One input for a core."""

    @abstractmethod
    def take_events(self, number: int) -> Sequence[Effect]:
        """What a core has told since the last call."""

    @abstractmethod
    def woken(self) -> Iterable[int]:
        """To which peers something has happened since the last call."""

    @abstractmethod
    def island_of(self, number: int) -> int:
        """Where it is, while some do not reach others."""

    @abstractmethod
    def node_id(self, number: int) -> NodeId:
        """Who a peer is, there yet or not."""

    @abstractmethod
    def are_linked(self, node: NodeId, other: NodeId) -> bool:
        """True if there is a link between two peers that works, whatever they know of it."""

    @abstractmethod
    def bytes_sent(self, number: int) -> int:
        """By a peer to others, since it was first there."""

    @abstractmethod
    def add_line(self, number: int, user: str) -> None:
        """A user has a line at a peer."""

    @abstractmethod
    def remove_line(self, number: int, user: str) -> None:
        """A user has none there any more."""

    @abstractmethod
    def add_phone(self, number: int, user: str) -> VirtualPhone:
        """And a phone, which registers."""

    # Of every world

    @property
    def now(self) -> float:
        """Seconds since the world began."""
        return self.clock.now

    def node(self, number: int) -> Node:
        """Of a peer that runs."""
        return self.peer(number).node

    def islands(self) -> dict[int, list[int]]:
        """The peers that run, by where they are."""
        found: dict[int, list[int]] = {}
        for number in sorted(self.up):
            found.setdefault(self.island_of(number), []).append(number)
        return found

    def is_new(self, number: int) -> None:
        """A peer has started that was never there."""
        self.up.add(number)
        self.known.add(number)
        self.by_node[self.node_id(number)] = number

    def add_user(self, name: str, home: int) -> None:
        """Somebody new, at a peer that runs."""
        self.add_line(home, name)
        self.users[name] = PhoneUser(name, home, self.add_phone(home, name))

    def is_there(self, user: PhoneUser) -> bool:
        """True if a user has a phone at a peer that runs."""
        return user.phone is not None and user.home in self.up

    def move(self, name: str, home: int) -> bool:
        """A user takes the phone to another peer, and has the line there; False if that cannot be."""
        user = self.users.get(name)
        if user is None or user.phone is None or home == user.home or not {home, user.home} <= self.up:
            return False
        self._unplug(user)
        self.add_line(home, name)
        user.home, user.phone = home, self.add_phone(home, name)
        return True

    def remove(self, name: str) -> bool:
        """A user has no line any more; False if there was none to give up."""
        user = self.users.get(name)
        if user is None or not self.is_there(user):
            return False
        self._unplug(user)
        user.phone = None
        return True

    def _unplug(self, user: PhoneUser) -> None:
        assert user.phone is not None, "somebody with a phone"
        user.phone.unplug()
        self.remove_line(user.home, user.name)

    def look_up(self, name: str, at: int) -> Lookup | None:
        """A user is looked up at a peer that runs; None if there is none."""
        user = self.users.get(name)
        if user is None or at not in self.up:
            return None
        lookup, context, peer = Lookup(user, at, self.now, self.is_there(user)), object(), self.peer(at)
        self._looking[context] = lookup
        self.lookups.append(lookup)
        self.give(at, lambda now: peer.look_up(f"{name}@{OVERLAY}", context, now))
        return lookup

    def call(self, name: str, to: str) -> DialledCall | None:
        """A user calls another; None if the caller has no phone, or it is not registered."""
        caller, callee = self.users.get(name), self.users.get(to)
        if caller is None or callee is None or caller.phone is None or not caller.phone.is_registered:
            return None
        if caller.home not in self.up:
            return None
        phone = caller.phone
        began_s = phone.now
        call = DialledCall(caller, callee, phone, phone.dial(to), self.now, began_s, self.is_there(callee))
        self.calls.append(call)
        return call

    def collect(self) -> None:
        """Take in what the peers have told."""
        for number in sorted(self.up):
            for event in self.take_events(number):
                if isinstance(event, LookedUp) and (lookup := self._looking.pop(event.context, None)) is not None:
                    lookup.result = event

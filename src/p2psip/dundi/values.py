"""What an operator sets for this peer as an entity of DUNDi, what it asks of the outside, and what it tells."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.dundi.elements import E164, Eid
from p2psip.dundi.session_keys import EntityKeys

IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

PORT: Final = 4520

_PLACE: Final = re.compile(
    r"(?P<user>[A-Za-z0-9+*#._~-]{1,64})@(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]{1,128})(?::(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class OfferedContext:
    """Numbers of the overlay that neighbours may ask for: how they begin, as a neighbour writes them; "" is any."""

    name: str
    prefixes: tuple[str, ...]
    weight: int = 0


@dataclass(frozen=True, slots=True)
class NeighbourTerms:
    """One entity that we trust, and that trusts us.

    `include` are the contexts in which it is asked, `permit` those in which it may ask; `calls` are the networks in
    which the SIP servers are that it may name, `names` those that it may name by a name. Without `keys` nothing is
    encrypted, and it is known by its address.
    """

    name: str
    eid: Eid
    address: Address
    keys: EntityKeys | None
    include: tuple[str, ...]
    permit: frozenset[str]
    calls: tuple[IpNetwork, ...]
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class EntityTerms:
    """This peer as an entity. `host` is by which SIP servers call in, with a port if it is not the usual one. Numbers
    that begin as in `reaches` are called for other members, who prefer this peer by `preference` to others that do.

    `about` is what an EIDQUERY is told: department, organization, locality, state_province, country, email, phone.
    """

    eid: Eid
    local: Address
    host: str
    neighbours: tuple[NeighbourTerms, ...]
    contexts: tuple[OfferedContext, ...] = ()
    ttl: int = 8
    expiration_s: int = 300
    reaches: tuple[str, ...] = ()
    preference: int = 50
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def calls(self) -> tuple[IpNetwork, ...]:
        """The networks in which SIP servers of neighbours are."""
        return tuple(dict.fromkeys(network for each in self.neighbours for network in each.calls))


@dataclass(frozen=True, slots=True)
class NumberPlace:
    """Where a number is called by SIP, and by whose word."""

    neighbour: str
    weight: int
    user: str
    host: str
    port: int
    """0 for the usual one."""

    def __str__(self) -> str:
        return f"{self.user}@{self.host}" + (f":{self.port}" if self.port else "")


@dataclass(frozen=True, slots=True)
class SendDundi(Effect):
    """A datagram for a neighbour."""

    remote: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class FindOwn:
    """Who in the overlay is meant by this number? Answered by the user part of a SIP URI; "" if nobody is."""

    number: str


@dataclass(frozen=True, slots=True)
class NumberSought(Effect):
    """What the neighbours have said of a number: the best place first; `said` are their words, for people."""

    context: object
    number: str
    places: tuple[NumberPlace, ...]
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NeighbourFacts:
    """How it goes with a neighbour. `rtt_s` is None as long as it has not answered."""

    terms: NeighbourTerms
    is_up: bool
    since: float
    rtt_s: float | None
    asked: int
    answered: int
    dropped: int
    failure: str

    @property
    def state(self) -> str:
        """In a word."""
        if not self.is_up:
            return "silent"
        return "not heard yet" if self.rtt_s is None else "answers"


def number_in(context: str, dialled: str) -> str | None:
    """A number as it is written in a context; None for what is none there.

    In e164 numbers have their country code and no plus, by which they are told from others here.
    """
    if context.lower() == E164:
        is_there = dialled.startswith("+") and dialled[1:].isascii() and dialled[1:].isdigit()
        return dialled[1:] if is_there else None
    return dialled


def name_of(context: str, number: str) -> str:
    """The other way round: as whom the overlay knows a number of a context."""
    return f"+{number}" if context.lower() == E164 else number


def read_place(destination: str, neighbour: NeighbourTerms, weight: int) -> NumberPlace | None:
    """Where an answer leads; None if it is nowhere that this neighbour may send calls to."""
    found = _PLACE.fullmatch(destination.removeprefix("sip:"))
    if found is None or int(found["port"] or 0) > 65535 or not _may_name(found["host"].lower(), neighbour):
        return None
    return NumberPlace(neighbour.name, weight, found["user"], found["host"].lower(), int(found["port"] or 0))


def _may_name(host: str, neighbour: NeighbourTerms) -> bool:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host in neighbour.names
    return any(address in network for network in neighbour.calls)

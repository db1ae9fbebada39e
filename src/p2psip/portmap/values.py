"""What a router is asked for, what it says, and the language in which both stand."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from p2psip.base.address import Address
from p2psip.base.effects import Effect

ROUTER_PORT: Final = 5351
"""RFC 6886 section 3, RFC 6887 section 19.1: where a router is asked, in both languages."""

NOWHERE: Final = Address("", 0)


class PortKind(enum.IntEnum):
    """What a port is of, by its number in IP (RFC 6887 section 11.1)."""

    TCP = 6
    UDP = 17


class WantedPort(NamedTuple):
    """A port of this machine that is to be reached from outside."""

    kind: PortKind
    port: int

    def __str__(self) -> str:
        return f"{self.kind.name} {self.port}"


class HomeRouter(NamedTuple):
    """The default gateway, and the address of this machine that it sees."""

    host: str
    local: str


@dataclass(frozen=True, slots=True)
class RouterAnswer:
    """What a router says of a wish, or, `wish` being None, of itself. `outside` is "" or 0 where it says none."""

    wish: WantedPort | None
    epoch_s: int | None
    """For how long the router has known what it knows; None in what has no such figure."""
    outside: Address = NOWHERE
    lifetime_s: int = 0
    refusal: str = ""
    """Why it does not, in words."""
    is_foreign: bool = False
    """True if it does not speak this language."""
    is_proven: bool = False
    """True if only who has been asked can have said it."""


class Outgoing(NamedTuple):
    """A question as it goes to a port of the router: a datagram, or a stream on which the answer comes, to its end."""

    port: int
    data: bytes
    waits_s: Sequence[float]
    """After how long it goes out again, and how long the last one is waited for."""
    is_stream: bool = False


class Dialect(Protocol):
    """A language of routers: it makes questions and reads answers."""

    name: str
    answers_from: int | None
    """The port from which the router's datagrams come; None if it may be any, and then to a question only."""
    is_greeted: bool
    """True if the router is asked for itself before it is asked for ports."""

    def ask(self, wish: WantedPort, lifetime_s: int, outside: Address) -> Outgoing:
        """Have a port mapped, to this outside address if possible; for no time: have it mapped no more."""

    def greet(self) -> Outgoing:
        """Ask the router for itself."""

    def read(self, data: bytes) -> RouterAnswer | Outgoing | None:
        """What it says, or what is to be asked next; None for what is no answer to anything that we ask."""


@dataclass(frozen=True, slots=True)
class AskRouter(Effect):
    """Send a datagram to the router, from a port of our own that stays open until `RouterLeft`; or, on a stream, a
    request, of which `handle_stream` is told what came until its end, or nothing.
    """

    router: HomeRouter
    outgoing: Outgoing

    @property
    def address(self) -> Address:
        """Where it goes."""
        return Address(self.router.host, self.outgoing.port)


@dataclass(frozen=True, slots=True)
class RouterLeft(Effect):
    """There is nothing more to hear from it: that port may be closed."""


def is_of_a_host(host: str) -> bool:
    """True of an address of IPv4 that some machine may have, and be reached at from elsewhere."""
    try:
        ip = ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return not (ip.is_unspecified or ip.is_loopback or ip.is_multicast or ip.is_reserved)

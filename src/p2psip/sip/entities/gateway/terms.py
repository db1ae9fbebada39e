"""What an operator sets for a trunk, what it is asked of the outside, and what it tells."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.sip.message.uri import SipUri

EVERYBODY = "*"
"""As a line: every member of the overlay."""

GATEWAY_PARAM = "gateway"
"""The parameter of a URI whose number is to be called through a gateway of the peer that its `gr` leads to."""

_NUMBER = re.compile(r"\+?[0-9*#]{1,32}")

TrunkTransport = Literal["UDP", "TCP", "TLS"]


def is_number(text: str) -> bool:
    """True for what can be dialled through a trunk."""
    return _NUMBER.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class TrunkTerms:
    """One trunk, as its operator has set it up (docs/operating.md says of each what it means).

    `numbers` are the numbers of ours that the trunk calls, and whose line each is; `incoming` is the line for any
    other, "" to refuse it. `also_from` are networks from which the trunk may call, beside the addresses of its server.
    """

    name: str
    host: str
    user: str
    port: int = 0
    transport: TrunkTransport = "UDP"
    auth_user: str = ""
    password: str = field(default="", repr=False)
    domain: str = ""
    registers: bool = True
    expires_s: int = 300
    keep_alive_s: int = 30
    prefixes: tuple[str, ...] = ()
    strip: int = 0
    prepend: str = ""
    emergency: tuple[str, ...] = ()
    calls_max: int = 2
    lines: frozenset[str] = frozenset()
    preference: int = 50
    shows_number: bool = False
    numbers: Mapping[str, str] = field(default_factory=dict)
    incoming: str = ""
    caller_prefix: str = ""
    also_from: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    local_port: int = 0
    ca_file: str = ""

    @property
    def agent(self) -> str:
        """The name of the agent that is this trunk."""
        return f"trunk-{self.name}"

    @property
    def realm(self) -> str:
        """The domain of the account."""
        return self.domain or self.host

    @property
    def account(self) -> SipUri:
        """Who we are there."""
        return SipUri(self.realm, self.user)

    def reach(self, number: str) -> int | None:
        """How many digits of a number this trunk is for; None if it is not for it at all."""
        if number in self.emergency:
            return len(number)
        return max((len(prefix) for prefix in self.prefixes if number.startswith(prefix)), default=None)

    def outgoing(self, number: str) -> str:
        """A number as the trunk wants it. Emergency numbers are what they are."""
        return number if number in self.emergency else self.prepend + number[self.strip :]

    def may_call(self, user: str, *, is_member: bool, number: str) -> bool:
        """True if this line may call that number, or a member who is not named; an emergency number everybody may."""
        if number in self.emergency:
            return True
        return user in self.lines or (EVERYBODY in self.lines and (bool(user) or is_member))

    def line_of(self, called: str) -> str:
        """Whose line rings for a number that the trunk calls; "" if nobody's."""
        return self.numbers.get(called) or self.incoming

    def number_of(self, line: str) -> str:
        """The number of ours that a line shows who it calls; "" if it has none."""
        return next((number for number, user in self.numbers.items() if user == line), "")


@dataclass(frozen=True, slots=True)
class FindTrunk:
    """Where is the server of a trunk, and from where do we speak to it? Answered by TrunkFound or TrunkNotFound.

    Who answers has a socket for this trunk from then on, for what `ForTrunk` says.
    """

    terms: TrunkTerms


@dataclass(frozen=True, slots=True)
class TrunkFound:
    """The addresses of the server, to be tried in order, and ours: where the trunk's datagrams come in."""

    remotes: tuple[Address, ...]
    local: Address


@dataclass(frozen=True, slots=True)
class TrunkNotFound:
    """There is none, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class ForTrunk(Effect):
    """What a trunk wants of its own sockets: SendUdp, OpenFlow, SendFlow, CloseFlow."""

    trunk: str
    effect: Effect


@dataclass(frozen=True, slots=True)
class TrunkChanged(Effect):
    """A trunk is up, or is not any more; `why` in words."""

    trunk: str
    is_up: bool
    why: str


@dataclass(frozen=True, slots=True)
class TrunkFacts:
    """How a trunk does. `failure` is the last one in words, `failed_at` when that was."""

    terms: TrunkTerms
    is_up: bool
    is_registered: bool
    since: float
    calls: int
    served: int
    failure: str
    failed_at: float | None
    strangers: int
    remote: Address | None

    @property
    def state(self) -> str:
        """In a few words."""
        if not self.is_up:
            return "down"
        return "registered" if self.is_registered else "answers"

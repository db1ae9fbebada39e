"""An Allocate request until its ports are open (RFC 8656 section 7.2)."""

from __future__ import annotations

import random
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Final

from p2psip.base.address import Address
from p2psip.stun.attributes import (
    ADDITIONAL_ADDRESS_FAMILY,
    ADDRESS_ERROR_CODE,
    ERROR_CODE,
    EVEN_PORT,
    LIFETIME,
    REQUESTED_ADDRESS_FAMILY,
    REQUESTED_TRANSPORT,
    RESERVATION_TOKEN,
    XOR_MAPPED_ADDRESS,
    XOR_RELAYED_ADDRESS,
    AddressError,
    Family,
    StunErrorCode,
)
from p2psip.stun.credentials import Attributes, StunAdmitted
from p2psip.stun.message import StunMessage
from p2psip.turn.allocations import Allocation
from p2psip.turn.limits import OPENING_TRIES_MAX, lifetime_s
from p2psip.turn.methods import UDP
from p2psip.turn.values import Flow

PORTS: Final = range(49152, 65536)
"""7.2: "the server SHOULD only allocate ports from the range 49152 - 65535"."""


class Rejected(Exception):
    """A request of an admitted user that is answered with an error."""

    def __init__(self, code: int, reason: str, *more: tuple[int, bytes]) -> None:
        super().__init__(f"{code} {reason}")
        self.attributes: Attributes = (ERROR_CODE.of(StunErrorCode(code, reason)), *more)


@dataclass(frozen=True, slots=True)
class Wish:
    """What an Allocate request asks for that can be had: on which hosts, for how long."""

    hosts: tuple[str, ...]
    error: AddressError | None
    is_even: bool
    lifetime_s: int


def wish_of(request: StunMessage, relays: tuple[str, ...], lifetime_max_s: int) -> Wish:
    """The checks 3 to 9. Raises Rejected, and NotStun."""
    transport = REQUESTED_TRANSPORT.first(request)
    if transport is None:
        raise Rejected(400, "Bad Request")
    if transport != UDP:
        raise Rejected(442, "Unsupported Transport Protocol")
    requested, additional = REQUESTED_ADDRESS_FAMILY.first(request), ADDITIONAL_ADDRESS_FAMILY.first(request)
    keeps_next = EVEN_PORT.first(request)
    if RESERVATION_TOKEN.within(request):
        if keeps_next is not None or requested is not None or additional is not None:
            raise Rejected(400, "Bad Request")
        raise Rejected(508, "Insufficient Capacity")
    if additional is not None and (requested is not None or keeps_next or additional == Family.IPV4):
        raise Rejected(400, "Bad Request")
    if keeps_next:
        raise Rejected(508, "Insufficient Capacity")
    wanted = [Family(requested or Family.IPV4), *([Family.IPV6] if additional is not None else [])]
    hosts = {Family.of(host): host for host in relays}
    missing = [family for family in wanted if family not in hosts]
    if len(missing) == len(wanted):
        raise Rejected(440, "Address Family not Supported")
    # 9: "If the server can partially meet the request, [...] it includes ADDRESS-ERROR-CODE attribute in the success
    # response".
    error = AddressError(missing[0], 440, "Address Family not Supported") if missing else None
    granted_s = lifetime_s(LIFETIME.first(request), lifetime_max_s)
    there = tuple(hosts[family] for family in wanted if family in hosts)
    return Wish(there, error, keeps_next is not None, granted_s)


@dataclass(slots=True, eq=False)
class Opening:
    """A wish whose ports are being opened, one after another."""

    flow: Flow
    request: StunMessage
    who: StunAdmitted
    wish: Wish
    asked: Address = field(init=False)
    relayed: dict[Family, Address] = field(default_factory=dict)
    _tries: int = 0
    _at: int = 0
    _error: AddressError | None = None

    @property
    def wants_more(self) -> bool:
        """True if another port is to be opened."""
        return self._at < len(self.wish.hosts)

    def next_port(self, rng: random.Random, taken: Container[Address]) -> Address:
        """Which is to be opened next; RFC 6056: at random, so that nobody guesses it."""
        host = self.wish.hosts[self._at]
        while True:
            port = rng.choice(PORTS)
            self.asked = Address(host, port - port % 2 if self.wish.is_even else port)
            if self.asked not in taken:
                return self.asked

    def answered(self, is_open: bool) -> None:
        """The driver has opened the port, or could not."""
        self._tries += 1
        family = Family.of(self.asked.host)
        if is_open:
            self.relayed[family] = self.asked
        elif self._tries < OPENING_TRIES_MAX:
            return
        else:
            self._error = AddressError(family, 508, "Insufficient Capacity")
        self._tries = 0
        self._at += 1

    def allocation(self, now: float) -> Allocation:
        """What has come of it."""
        until = dict.fromkeys(self.relayed, now + self.wish.lifetime_s)
        error = self.wish.error or self._error
        return Allocation(self.flow, self.who.owner, self.request.transaction, dict(self.relayed), error, until, now)


def success(allocation: Allocation, now: float) -> Attributes:
    """What a success response says of an allocation (7.2)."""
    transaction = allocation.transaction
    attributes = [XOR_RELAYED_ADDRESS.of(relayed, transaction) for relayed in allocation.relayed.values()]
    attributes.append(LIFETIME.of(round(min(allocation.until.values()) - now)))
    attributes.append(XOR_MAPPED_ADDRESS.of(allocation.flow.remote, transaction))
    if allocation.error is not None:
        attributes.append(ADDRESS_ERROR_CODE.of(allocation.error))
    return tuple(attributes)

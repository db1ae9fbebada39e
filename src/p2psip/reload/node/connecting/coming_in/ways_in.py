"""By which ways the overlay is sought, and what came of each (RFC 6940 section 11.4; concepts draft section 5.4)."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from p2psip.base.address import Address, without_zone
from p2psip.reload.node.limits import WAYS_TRIED_MAX
from p2psip.reload.paths.dialling import SLOWER
from p2psip.reload.paths.values import Refusal

BEING_DIALLED: Final = "being dialled"


class WayIn(enum.Enum):
    """From where the address of a node is known that may be in the overlay; the values are words for people."""

    REMEMBERED = "remembered"
    CONFIGURED = "configured"
    LOST = "lost neighbour"
    MULTICAST = "multicast"
    MDNS = "mDNS"
    DNS = "DNS"


@dataclass(frozen=True, slots=True)
class WayTried:
    """One way, an address that it has given, if it has, and what came of it last, in words."""

    way: WayIn
    address: Address | None
    at: float
    """When that was, or when it was begun."""
    result: str
    is_winner: bool = False
    """True if we came in by it the last time, or looked into the overlay from there."""


class WaysTried:
    """What came last of each address of each way; of so many of them, the one that was tried last comes last."""

    def __init__(self) -> None:
        self._tried: dict[tuple[WayIn, Address | None], WayTried] = {}

    def __iter__(self) -> Iterator[WayTried]:
        return iter(self._tried.values())

    def begun(self, ways: Mapping[Address, WayIn], now: float) -> None:
        """These are dialled together."""
        for address, way in ways.items():
            self._enter(WayTried(way, address, now, BEING_DIALLED))

    def nobody(self, way: WayIn, reason: str, now: float) -> None:
        """A way has given no address."""
        self._enter(WayTried(way, None, now, reason))

    def answered(self, way: WayIn) -> None:
        """It has given one now."""
        self._tried.pop((way, None), None)

    def failed(self, refusals: Iterable[Refusal], reason: str, now: float) -> None:
        """None of those that are being dialled is a way in, for these reasons; where none is known, for `reason`."""
        refusals = list(refusals)
        self._refused(refusals, now)
        # Beside these others may be under way.
        for each in () if refusals else self._dialled():
            self._enter(WayTried(each.way, each.address, now, reason))

    def won(self, address: Address, refusals: Iterable[Refusal], now: float) -> None:
        """A node of the overlay is there, and no more is dialled."""
        self._refused([each for each in refusals if not _is_same(each.candidate.address, address)], now)
        for key, each in list(self._tried.items()):
            if each.address is not None and _is_same(each.address, address):
                self._enter(WayTried(each.way, each.address, now, "linked", is_winner=True))
            elif each.result == BEING_DIALLED:
                self._enter(WayTried(each.way, each.address, now, SLOWER))
            elif each.is_winner:
                self._tried[key] = WayTried(each.way, each.address, each.at, each.result)

    def _refused(self, refusals: Iterable[Refusal], now: float) -> None:
        reasons: dict[Address, list[str]] = {}
        for candidate, reason in refusals:
            over = "TLS" if candidate.is_stream else "DTLS"
            words = reason if reason == SLOWER else f"{over}: {reason}"
            reasons.setdefault(_plain(candidate.address), []).append(words)
        for each in self._dialled():
            if each.address is not None and (why := reasons.get(_plain(each.address))) is not None:
                self._enter(WayTried(each.way, each.address, now, "; ".join(dict.fromkeys(why))))

    def _dialled(self) -> list[WayTried]:
        return [each for each in self if each.result == BEING_DIALLED]

    def _enter(self, tried: WayTried) -> None:
        self._tried.pop((tried.way, tried.address), None)
        self._tried[tried.way, tried.address] = tried
        if len(self._tried) > WAYS_TRIED_MAX:
            del self._tried[next(iter(self._tried))]


def _plain(address: Address) -> Address:
    """A link-local address is dialled on each link where none is named."""
    return Address(without_zone(address.host), address.port)


def _is_same(one: Address, other: Address) -> bool:
    return _plain(one) == _plain(other)

"""What a gateway offers, as words in its announcement: `+49:50 00:20 sos=112:50` (docs/decisions/gateways.md)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from p2psip.sip.entities.gateway.limits import PREFIXES_MAX
from p2psip.sip.entities.gateway.terms import TrunkTerms

PREFERENCE_MAX = 100

_WORD = re.compile(r"(sos=)?(\+?[0-9*#]{1,32}):([0-9]{1,3})")


@dataclass(frozen=True, slots=True)
class OfferedNumbers:
    """Numbers with a prefix, or one emergency number; of several gateways with one prefix the greater preference."""

    prefix: str
    preference: int
    is_emergency: bool = False

    def reaches(self, number: str, *, is_emergency: bool) -> bool:
        """True if a number can be called by this; `is_emergency` of what is an emergency call where it is dialled.

        A service of RFC 5031 has no digits: any emergency number is meant by it.
        """
        if self.is_emergency:
            return number == self.prefix or (is_emergency and not number.lstrip("+").isdigit())
        return number.startswith(self.prefix)


def offer_of(terms: TrunkTerms) -> Iterator[OfferedNumbers]:
    """What a trunk offers."""
    for prefix in terms.prefixes:
        yield OfferedNumbers(prefix, terms.preference)
    for number in terms.emergency:
        yield OfferedNumbers(number, terms.preference, is_emergency=True)


def write_offer(offered: Iterable[OfferedNumbers]) -> str:
    """In words; of several trunks with one prefix the most preferred."""
    best: dict[tuple[bool, str], int] = {}
    for each in offered:
        key = (each.is_emergency, each.prefix)
        best[key] = max(best.get(key, 0), each.preference)
    return " ".join(f"{'sos=' * is_sos}{prefix}:{preference}" for (is_sos, prefix), preference in best.items())


def read_offer(text: str) -> tuple[OfferedNumbers, ...]:
    """The words that can be read, up to a bound; a later release may say more."""
    found = [match for word in text.split(" ", PREFIXES_MAX)[:PREFIXES_MAX] if (match := _WORD.fullmatch(word))]
    return tuple(OfferedNumbers(one[2], min(PREFERENCE_MAX, int(one[3])), one[1] is not None) for one in found)

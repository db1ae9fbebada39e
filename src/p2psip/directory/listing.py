"""What a directory says of a line, and whether it can be reached."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

TEXT_MAX = 64
"""Characters in each word of a card."""


@dataclass(frozen=True, slots=True)
class Card:
    """What the owner of a line says of himself; "" for what he does not say. Nobody has proved any of it."""

    name: str = ""
    number: str = ""
    site: str = ""
    callsign: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError, in words."""
        for field in ("name", "number", "site", "callsign"):
            word = getattr(self, field)
            if len(word) > TEXT_MAX or not word.isprintable():
                raise ValueError(f"{field}: {word[:TEXT_MAX]!r} is not {TEXT_MAX} characters of text at the most")

    @property
    def label(self) -> str:
        """What a phone shows of it: name and callsign; "" where there is neither."""
        is_said = self.callsign.casefold() in self.name.casefold()
        return self.name if is_said else f"{self.name} {self.callsign}".strip()


NO_CARD = Card()


class ReachState(Enum):
    """Whether a call would ring, as far as it is known without asking."""

    HERE = "here"
    """A phone of this line is registered with this very peer."""
    PHONE = "phone"
    """Its peer has said that there is a phone."""
    NO_PHONE = "no phone"
    """Its peer, or this one, says that there is none."""
    UNKNOWN = "unknown"
    """Nobody has heard of its peer for half an hour."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One line in the directory. Its user name is proven: the entry is signed with the line's key."""

    aor: str
    card: Card
    line: str
    peer: str
    """Node-IDs in hexadecimal."""
    reach: ReachState
    heard_s: float | None
    """How long ago its peer said so; None where nobody did."""
    dial: str
    """What a phone here dials to reach it."""

    @property
    def user(self) -> str:
        """The name of the line, without its overlay."""
        return self.aor.rpartition("@")[0]

    @property
    def shown(self) -> str:
        """What is called its name: what its owner says, or the name of the line."""
        return self.card.name or self.user

    @property
    def is_reachable(self) -> bool:
        """True if its peer said within the last half hour that there is a phone."""
        return self.reach in (ReachState.HERE, ReachState.PHONE)

    def matches(self, text: str) -> bool:
        """True if each word of a search is in something that is said of it."""
        said = " ".join((self.aor, self.card.name, self.card.number, self.card.site, self.card.callsign)).casefold()
        return all(word in said for word in text.casefold().split())


def in_order(entries: Iterable[Listed]) -> list[Listed]:
    """By name, as people look for it."""
    return sorted(entries, key=lambda entry: (entry.shown.casefold(), entry.aor, entry.line))


def one_a_user(entries: Iterable[Listed]) -> list[Listed]:
    """Of lines with the same user name one, which can be reached if any can: who calls it calls them all."""
    best: dict[str, Listed] = {}
    for entry in entries:
        known = best.get(entry.aor)
        if known is None or _rank(entry) < _rank(known):
            best[entry.aor] = entry
    return in_order(best.values())


def _rank(entry: Listed) -> tuple[bool, bool, str]:
    return not entry.is_reachable, not entry.card.name, entry.line

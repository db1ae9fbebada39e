"""What a peer's operator has set of numbers, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from p2psip.sip.entities.conference.room_terms import RoomTerms
from p2psip.sip.entities.handling.star_codes import StarCodes
from p2psip.sip.entities.numbers.dial_plan import DialPlan
from p2psip.sip.entities.numbers.groups import Group
from p2psip.sip.entities.paging.page_terms import Page
from p2psip.sip.message.urgency import is_sos


@dataclass(frozen=True, slots=True)
class Emergency:
    """Which numbers are emergency numbers beside the service of RFC 5031, and the users who answer, in this order."""

    numbers: frozenset[str] = field(default_factory=frozenset)
    to: tuple[str, ...] = ()

    def is_meant(self, number: str) -> bool:
        """True for an emergency number."""
        return number in self.numbers or is_sos(number.lower())


@dataclass(frozen=True, slots=True)
class Numbering:
    """The dial plan, star codes, emergency numbers, groups, rooms, pages, and where messages are heard."""

    plan: DialPlan = field(default_factory=DialPlan)
    codes: StarCodes = field(default_factory=StarCodes)
    emergency: Emergency = field(default_factory=Emergency)
    groups: Mapping[str, Group] = field(default_factory=dict)
    mailbox: str = ""
    """The user who is called by the mailbox's code; "" if there is none."""
    rooms: RoomTerms | None = None
    """What this peer mixes; None if it does not."""
    pages: tuple[Page, ...] = ()
    """By which numbers one speaks to many phones at once."""

    def is_emergency(self, dialled: str, user: str | None) -> bool:
        """True if this is an emergency number, or what the dial plan makes one of for who dials it."""
        ruled = self.plan.ruled(dialled, user)
        return self.emergency.is_meant(dialled) or (ruled is not None and self.emergency.is_meant(ruled.number))

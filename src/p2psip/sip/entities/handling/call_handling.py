"""What the owner of a line wants of the calls to it, and what that means for one call.

Theory of operation. It is one value a line, which its owner changes by dialling and by the command line; what it means
is decided from it, the caller and the time of day alone, and again when a call has failed (`decide`). In this order:
who is denied is refused; where all calls are forwarded, nothing else counts; who does not want to be disturbed is busy;
then the phones ring, for as long as the owner gives them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

RING_S = 25
"""How long it rings before a call counts as not answered, where its owner has not said: five times, about."""

RING_S_LEAST, RING_S_MOST = 5, 170
"""Less than timer C, by which the proxy ends every call that rings (RFC 3261 section 16.6 step 11)."""

HOMES_MAX = 4
"""How many home peers a line may have."""

NAMES_MAX = 64
"""How many callers a list may have."""

ANONYMOUS = "anonymous"
"""In a list: whoever does not say who he is."""

When: TypeAlias = Literal["always", "busy", "no-answer"]
WHENS: tuple[When, ...] = ("always", "busy", "no-answer")

ANYBODY = "*"
"""In a list: whoever says who he is."""

_HOURS = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])-([01]?[0-9]|2[0-3]):([0-5][0-9])")
_DAY_MIN = 24 * 60


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From when to when, in minutes since midnight; over midnight if the end is before the beginning."""

    begin_min: int
    end_min: int

    @classmethod
    def parse(cls, text: str) -> QuietHours:
        """`22:00-07:00`. Raises ValueError, in words."""
        found = _HOURS.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"{text!r} are no hours: write them as 22:00-07:00")
        hour, minute, end_hour, end_minute = map(int, found.groups())
        hours = cls(60 * hour + minute, 60 * end_hour + end_minute)
        if hours.begin_min == hours.end_min:
            raise ValueError(f"{text!r} have no end: for the whole day there is do not disturb")
        return hours

    def has(self, minute: float) -> bool:
        """True if it is quiet at this minute of the day."""
        if self.begin_min < self.end_min:
            return self.begin_min <= minute < self.end_min
        return minute >= self.begin_min or minute < self.end_min

    def __str__(self) -> str:
        return "-".join(f"{at // 60:02}:{at % 60:02}" for at in (self.begin_min, self.end_min))


@dataclass(frozen=True, slots=True)
class CallHandling:
    """All of it. Users are named as the overlay has them; "" and 0 stand for nothing."""

    always: str = ""
    busy: str = ""
    no_answer: str = ""
    ring_s: int = 0
    do_not_disturb: bool = False
    allow: tuple[str, ...] = ()
    """Who gets through in quiet hours and where nobody else may disturb."""
    only_allowed: bool = False
    """True if nobody else gets through ever."""
    deny: tuple[str, ...] = ()
    quiet: tuple[QuietHours, ...] = ()
    homes: tuple[str, ...] = ()
    """The home peers that its owner has chosen, the preferred one first, by what the overlay calls peers."""
    pick_up: tuple[str, ...] = ()
    """Who may answer a call that rings here at another phone; "*": every member. None: who has a line here too."""
    intercom: tuple[str, ...] = ()
    """For whom the phone may answer by itself; "*" is every member."""
    mailbox: bool | None = None
    """Whether who does not reach the owner may leave a message; None: as at other peers where he has a line."""

    @property
    def is_usual(self) -> bool:
        """True if its owner wants nothing in particular to become of them."""
        return replace(self, homes=()) == CallHandling()

    @property
    def in_record(self) -> str:
        """To whom the line's record may lead callers at once, so that this peer need not be asked; "" to nobody."""
        return "" if self.deny or self.only_allowed else self.always

    def target(self, when: When) -> str:
        """To whom calls are forwarded; "" to nobody."""
        return str(getattr(self, when.replace("-", "_")))

    def forwarded(self, when: When, to: str) -> CallHandling:
        """The same with calls forwarded there; with "" not any more."""
        return replace(self, **{when.replace("-", "_"): to})  # type: ignore[arg-type]

    def in_words(self) -> list[str]:
        """What is not usual, for people."""
        words = [f"{when}: forwarded to {self.target(when)}" for when in WHENS if self.target(when)]
        words += [f"rings for {self.ring_s} s"] if self.ring_s else []
        words += ["do not disturb"] if self.do_not_disturb else []
        words += [f"quiet {', '.join(map(str, self.quiet))}"] if self.quiet else []
        words += [f"denied: {', '.join(self.deny)}"] if self.deny else []
        words += [f"home: {', '.join(self.homes)}"] if self.homes else []
        only = "nobody else gets through" if self.only_allowed else "also when quiet"
        words += [f"allowed: {', '.join(self.allow) or 'nobody'} ({only})"] if self.allow or self.only_allowed else []
        words += [f"picked up by: {', '.join(self.pick_up)}"] if self.pick_up else []
        words += [f"answers by itself to: {', '.join(self.intercom)}"] if self.intercom else []
        words += [] if self.mailbox is None else ["takes messages" if self.mailbox else "takes no messages"]
        return words

    def may_pick_up(self, who: str, *, is_here: bool) -> bool:
        """True if this user may answer a call that rings for another one; `is_here` says that he has a line here."""
        return is_here if not self.pick_up else bool(who) and bool({who, ANYBODY} & set(self.pick_up))

    def may_speak(self, who: str) -> bool:
        """True if the phone may answer by itself when this user calls."""
        return bool(who) and bool({who, ANYBODY} & set(self.intercom))


@dataclass(frozen=True, slots=True)
class CallMoment:
    """What a decision depends on beside the owner's wishes: who calls (the user's name, "" if nobody is to know), at
    which minute of the day (None where the date is not to be trusted), and how the call has failed so far, if it has.
    """

    caller: str
    minute: float | None = None
    status: int | None = None
    is_urgent: bool = False
    """True for what is of an emergency: it rings somewhere, whomever the owner wants to be left alone by."""


@dataclass(frozen=True, slots=True)
class RefuseCall:
    """Answer this, and why."""

    status: int
    why: str


@dataclass(frozen=True, slots=True)
class Divert:
    """Call somebody else, and why: in words, and by RFC 5806 section 4."""

    to: str
    why: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ring:
    """Ring for so long; then decide anew."""

    for_s: int
    why: str


@dataclass(frozen=True, slots=True)
class Enough:
    """It has rung for as long as the owner wants."""

    why: str


Decision: TypeAlias = RefuseCall | Divert | Ring | Enough

_BUSY = 486
_NO_ANSWER = 408
_NOT_THERE = frozenset({408, 430, 480})


def decide(handling: CallHandling, user: str, moment: CallMoment) -> Decision | None:
    """What becomes of a call for `user`; None if nothing in particular."""
    if moment.status is not None:
        return _after(handling, user, moment.status)
    if (refusal := denied(handling, user, moment)) is not None:
        return refusal
    if handling.always:
        return Divert(handling.always, f"{user} forwards all calls to {handling.always}", "unconditional")
    quiet = _quiet(handling, moment.minute)
    if quiet and not _is_allowed(handling, moment):
        if handling.busy:
            return Divert(handling.busy, f"{user} {quiet}, and forwards to {handling.busy}", "do-not-disturb")
        return RefuseCall(_BUSY, f"{user} {quiet}")
    return _ring(handling, user)


def denied(handling: CallHandling, user: str, moment: CallMoment) -> RefuseCall | None:
    """The refusal of a caller whom its owner does not want to hear of at all, by calls or by messages."""
    caller, is_allowed = moment.caller or ANONYMOUS, _is_allowed(handling, moment)
    is_denied = (caller in handling.deny or (handling.only_allowed and not is_allowed)) and not moment.is_urgent
    return RefuseCall(603, f"{user} takes no calls of {caller}") if is_denied else None


def _is_allowed(handling: CallHandling, moment: CallMoment) -> bool:
    return moment.is_urgent or (moment.caller or ANONYMOUS) in handling.allow


def _quiet(handling: CallHandling, minute: float | None) -> str:
    """Why its owner is not to be disturbed now; "" if he may be."""
    if handling.do_not_disturb:
        return "does not want to be disturbed"
    # Where nobody knows how late it is, it rings: rather that than a call that is lost.
    hours = next((hours for hours in handling.quiet if minute is not None and hours.has(minute)), None)
    return "" if hours is None else f"has quiet hours ({hours})"


def _ring(handling: CallHandling, user: str) -> Ring | None:
    if not (handling.no_answer or handling.ring_s or handling.mailbox):
        return None
    for_s = handling.ring_s or RING_S
    otherwise = "then a message can be left" if handling.mailbox else "then no more"
    then = f"then {handling.no_answer} is called" if handling.no_answer else otherwise
    return Ring(for_s, f"{user} rings for {for_s} s, {then}")


def _after(handling: CallHandling, user: str, status: int) -> Decision | None:
    if status == _BUSY and handling.busy:
        return Divert(handling.busy, f"{user} is busy, and forwards to {handling.busy}", "user-busy")
    if status in _NOT_THERE and handling.no_answer:
        reason = "no-answer" if status == _NO_ANSWER else "unavailable"
        return Divert(handling.no_answer, f"{user} does not answer, and forwards to {handling.no_answer}", reason)
    if status == _NO_ANSWER and handling.ring_s and not handling.mailbox:
        return Enough(f"{user} has not answered in {handling.ring_s} s")
    return None

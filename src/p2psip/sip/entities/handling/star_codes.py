"""Star codes: services that one dials, as people know them from other PBXs; which code is which, the operator says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from p2psip.sip.entities.handling.call_handling import CallHandling, When


class DialledService(NamedTuple):
    """What a code does: `sets` forwarding or `disturbs` what it says, or neither."""

    code: str
    what: str
    takes_number: bool = False
    sets: When | None = None
    disturbs: bool | None = None

    @property
    def changes(self) -> bool:
        """True if it changes what a line wants of its calls."""
        return self.sets is not None or self.disturbs is not None

    def changed(self, handling: CallHandling, number: str) -> CallHandling:
        """What a line wants once its owner has dialled this."""
        if self.sets is not None:
            return handling.forwarded(self.sets, number)
        assert self.disturbs is not None, "only what changes something is asked"
        return replace(handling, do_not_disturb=not self.disturbs)


ECHO, TIME, OWN_NUMBER, INTERCOM, MAILBOX = "echo", "time", "own-number", "intercom", "mailbox"
PICK_UP, PICK_UP_GROUP, PARK = "pick-up", "pick-up-group", "park"

SERVICES: Mapping[str, DialledService] = {
    PICK_UP_GROUP: DialledService("*8", "a call that rings in a group of yours is answered"),
    PICK_UP: DialledService("**", "a call that rings there is answered", takes_number=True),
    ECHO: DialledService("*43", "your own voice comes back"),
    TIME: DialledService("*60", "the time, on the display and in Morse code"),
    OWN_NUMBER: DialledService("*65", "the phone's own number, on the display and in Morse code"),
    "forward": DialledService("*72", "all calls are forwarded", takes_number=True, sets="always"),
    "forward-off": DialledService("*73", "calls are not forwarded any more", sets="always"),
    "forward-busy": DialledService("*90", "calls are forwarded when it is busy", takes_number=True, sets="busy"),
    "forward-busy-off": DialledService("*91", "calls are not forwarded any more when it is busy", sets="busy"),
    "forward-no-answer": DialledService(
        "*52", "calls are forwarded when nobody answers", takes_number=True, sets="no-answer"
    ),
    "forward-no-answer-off": DialledService(
        "*53", "calls are not forwarded any more when nobody answers", sets="no-answer"
    ),
    "do-not-disturb": DialledService("*78", "no call rings", disturbs=False),
    "do-not-disturb-off": DialledService("*79", "calls ring again", disturbs=True),
    INTERCOM: DialledService("*80", "the phone that is called answers by itself", takes_number=True),
    PARK: DialledService("*85", "the call that is parked at this place, 1 to 9", takes_number=True),
    MAILBOX: DialledService("*97", "the mailbox"),
}
"""All of them, with the codes that people know from FreePBX and Asterisk."""

SLOT = re.compile(r"[1-9]")
"""A place where a call is parked."""

_CODE = re.compile(r"[*#][0-9*#]{1,7}")
_NUMBER = re.compile(r"[a-z0-9+](?:[a-z0-9._+-]{0,62}[a-z0-9])?(?:@[a-z0-9.-]{1,253})?")


class BadCode(ValueError):
    """A code that cannot be meant; `service` is whose."""

    def __init__(self, service: str, why: str) -> None:
        super().__init__(why)
        self.service = service


@dataclass(frozen=True)
class StarCodes:
    """Which code is for which service; `changed` by the operator, "" where a service has none. Raises BadCode."""

    changed: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Two services of one code are a mistake of whoever wrote them."""
        seen: dict[str, str] = {}
        for service, code in self.codes.items():
            if code and not _CODE.fullmatch(code):
                raise BadCode(service, f"{code!r} is no star code: write * or #, and one to seven digits, * and #")
            if code and (other := seen.setdefault(code, service)) != service:
                raise BadCode(service if service in self.changed else other, f"{code} is for {other} and {service}")
        for service, code in self.codes.items():
            longer = re.compile(rf"{re.escape(code)}[0-9]")
            for other, each in self.codes.items():
                if code and SERVICES[service].takes_number and longer.match(each):
                    why = f"{code} with a number behind it, for {service}, may be {each}, for {other}"
                    raise BadCode(service if service in self.changed else other, why)

    @cached_property
    def codes(self) -> dict[str, str]:
        """By service."""
        return {name: self.changed.get(name, service.code) for name, service in SERVICES.items()}

    def read(self, dialled: str) -> tuple[str, str] | None:
        """The service that is dialled, and the number behind its code; None if it is no code."""
        if not dialled.startswith(("*", "#")):
            return None
        for name, code in sorted(self.codes.items(), key=lambda item: -len(item[1])):
            if code and (dialled == code or (SERVICES[name].takes_number and dialled.startswith(code))):
                return name, dialled.removeprefix(code)
        return None


def is_number(text: str) -> bool:
    """True for what can be a user's name, and so be forwarded to."""
    return _NUMBER.fullmatch(text) is not None

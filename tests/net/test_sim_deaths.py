"""What dies at any moment of a call, in virtual time: who is told what, and when (docs/when-things-die.md)."""

from __future__ import annotations

import re

import pytest
from deaths import MOMENTS, PAGE, VICTIMS, Fate, Moment, Outcome, Victim, outcome, page

NOT_KNOWN_S = 8.0
KNOWN_S = 3.0
GUARDED_S = 400.0
"""Who talks with nobody is told by then (docs/decisions/when-the-other-end-dies.md)."""

ACKNOWLEDGED_S = 40.0
"""A phone that is picked up in vain rings for six seconds, and waits for its ACK for 32."""

_SECONDS = re.compile(r"\b\d+(?:\.\d+)?(?= s\b| \|)")

IS_UP = {moment: number >= 4 for number, moment in enumerate(MOMENTS)}
"""At which moments the call has been answered."""

CELLS = [(moment, victim) for victim in VICTIMS for moment in MOMENTS]


def identify(value: Moment | Victim) -> str:
    return value.title if isinstance(value, Victim) else value.name


@pytest.mark.long
@pytest.mark.parametrize(("moment", "victim"), CELLS, ids=identify)
def test_the_call_goes_on_or_whoever_is_left_is_told_why(moment: Moment, victim: Victim) -> None:
    became = outcome(moment, victim)
    if not victim.side:
        assert goes_on(became) or is_told(became, victim) or is_hung_up(became)
    elif victim.side == "bob":
        check_caller(became, moment, victim)
    else:
        check_callee(became, moment)
    if victim.is_known and victim.side == "alice" and not IS_UP[moment]:
        assert became.caller.words == "503 Service Unavailable; this peer is being stopped"
    shown = PAGE.read_text().split(f"## {victim.title}\n")[1].split("##")[0].splitlines()
    assert any(is_like(became.row(moment), row) for row in shown), "make deaths"


def is_like(row: str, shown: str) -> bool:
    """True if two rows say the same in about the same seconds: a message more or less makes no other page."""
    if _SECONDS.sub("", row) != _SECONDS.sub("", shown):
        return False
    pairs = zip(_SECONDS.findall(row), _SECONDS.findall(shown), strict=True)
    return all(float(one) == pytest.approx(float(other), rel=0.1, abs=1.0) for one, other in pairs)


def goes_on(became: Outcome) -> bool:
    return became.caller.words == became.callee.words == "talks"


def is_hung_up(became: Outcome) -> bool:
    """Alice has said goodbye, and bob has heard it."""
    return (
        became.caller.words == "hung up" and became.callee.after_s is not None and became.callee.after_s < NOT_KNOWN_S
    )


def is_told(became: Outcome, victim: Victim) -> bool:
    """The caller has a final answer in time, with its reason."""
    status, _, reason = became.caller.words.partition(" ")
    limit_s = KNOWN_S if victim.is_known else NOT_KNOWN_S
    in_time = became.caller.after_s is not None and became.caller.after_s <= limit_s
    return status in ("404", "480") and bool(reason) and in_time and became.callee.words != "talks"


def check_caller(became: Outcome, moment: Moment, victim: Victim) -> None:
    """The callee's peer or phone is dead."""
    if became.caller == Fate("hung up", 0.0):
        return
    if became.caller.words.startswith("408 ") and moment.name == "a re-INVITE is under way":
        # Her phone ends a call within which nobody answers (RFC 3261 section 12.2.1.2).
        assert "no answer to INVITE" in became.caller.words
        assert became.caller.after_s is not None
        assert became.caller.after_s < ACKNOWLEDGED_S
    elif IS_UP[moment]:
        assert "not been reached" in became.caller.words or "does not know this call" in became.caller.words
        assert became.caller.after_s is not None
        assert became.caller.after_s < GUARDED_S
    elif "phone" in victim.name:
        assert became.caller.after_s is not None
        assert became.caller.after_s < 185.0, "timer B, or as long as it would ring anyway"
    else:
        assert is_told(became, victim)


def check_callee(became: Outcome, moment: Moment) -> None:
    """The caller's peer or phone is dead: nobody rings or talks for ever at the other end."""
    if became.callee.words != "hears nothing":
        assert became.callee.after_s is not None
        assert became.callee.after_s < (GUARDED_S if IS_UP[moment] else ACKNOWLEDGED_S)


def test_the_page_has_every_cell() -> None:
    shown = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and not line.startswith("| when")]
    names = [line.split(" | ")[0].removeprefix("| ") for line in shown]
    assert names == [moment.name for _ in VICTIMS for moment in MOMENTS]
    rows = dict(zip([(moment, victim) for victim in VICTIMS for moment in MOMENTS], shown, strict=True))
    assert page(rows) == PAGE.read_text(), "make deaths"

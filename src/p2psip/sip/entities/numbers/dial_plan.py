"""The operator's dial plan: which number means whom, and who may dial it.

Theory of operation. A plan is a list of rules, asked in the order of their priority and then of the file. The first
that matches the number, and is for the line that dials, decides: it rewrites the number, or refuses it. A number that
rules match, but none for this line, is refused as well; one that no rule matches stays what it is, the name of a user.
What a rule has made of a number is not looked up in the plan again.

Patterns are those of Asterisk, as most people know them: `X` any digit, `Z` 1 to 9, `N` 2 to 9, `[3-57]` one of these,
`.` one character or more, `!` any number of them, at the end; everything else is itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

FIRST, USUAL, LAST = 0, 100, 1000
"""Priorities: of extensions, of rules that say nothing, of numbers spelt on the keypad."""

NUMBER_MAX = 64
"""What is longer is no number that somebody has dialled."""

_PIECE = re.compile(r"(?P<wild>[XZN])|\[(?P<set>[0-9](?:-[0-9])?(?:[0-9](?:-[0-9])?)*)\]|(?P<literal>[0-9a-z*#+_-])")
_WILD = {"X": "[0-9]", "Z": "[1-9]", "N": "[2-9]"}
_TAILS = {".": ".+", "!": ".*"}


class BadRule(ValueError):
    """A rule that cannot be meant; `what` names the setting of it that is wrong, "" if it is the rule as a whole."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(why)
        self.what = what


@dataclass(frozen=True)
class Rule:
    """One rule. `where` is how people find it; with no `lines` it is for all. Raises BadRule."""

    pattern: str
    where: str
    strip: int = 0
    prepend: str = ""
    to: str = ""
    refuse: str = ""
    lines: frozenset[str] = field(default_factory=frozenset)
    priority: int = USUAL

    def __post_init__(self) -> None:
        """Whatever could only show when somebody dials, is found here."""
        if self.strip > self._shortest:
            raise BadRule("strip", f"strip is {self.strip}, and {self.pattern} matches {self._shortest} characters")
        if self.strip and self.strip == self._shortest and not self.prepend:
            raise BadRule("strip", f"strip is {self.strip}, which leaves nothing of what {self.pattern} matches")
        if self.refuse and (self.to or self.strip or self.prepend):
            raise BadRule("refuse", "a rule that refuses rewrites nothing: leave to, strip and prepend out")
        if self.to and (self.strip or self.prepend):
            raise BadRule("to", "a rule has to, or strip and prepend, not both")

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        body, tail = self._body_and_tail
        at, parts = 0, []
        while at < len(body):
            piece = _PIECE.match(body, at)
            if piece is None:
                raise BadRule(
                    "pattern",
                    f"{body[at:]!r} is in no pattern: write digits, lower-case letters, * # + - _, X (0 to 9), "
                    "Z (1 to 9), N (2 to 9), [3-57], and . or ! at the end",
                )
            if any(first > last for first, last in re.findall("(.)-(.)", piece["set"] or "")):
                raise BadRule("pattern", f"{piece[0]} runs backwards: write the smaller digit first")
            parts.append(_WILD.get(piece[0], f"[{piece['set']}]" if piece["set"] else re.escape(piece[0])))
            at = piece.end()
        if not parts and not tail:
            raise BadRule("pattern", "a pattern is empty: write a number")
        return re.compile("".join(parts) + _TAILS.get(tail, ""))

    @property
    def _body_and_tail(self) -> tuple[str, str]:
        return (self.pattern[:-1], self.pattern[-1]) if self.pattern[-1:] in _TAILS else (self.pattern, "")

    @property
    def _shortest(self) -> int:
        """How many characters the shortest number has that it matches."""
        self._compiled  # noqa: B018 - a pattern that is none is said before its length
        body, tail = self._body_and_tail
        return len(_PIECE.findall(body)) + (tail == ".")

    def matches(self, number: str) -> bool:
        """True if the number is of its pattern."""
        return self._compiled.fullmatch(number) is not None

    def is_for(self, line: str | None) -> bool:
        """True if this line may use it; None is whoever has no line here."""
        return not self.lines or line in self.lines

    def rewritten(self, number: str) -> str:
        """What it makes of a number that it matches."""
        return self.to or f"{self.prepend}{number[self.strip :]}"


@dataclass(frozen=True, slots=True)
class Ruled:
    """What the plan says of a number: dial `number` instead, or, with a `refusal`, not at all; and why."""

    number: str
    why: str
    refusal: str = ""


@dataclass(frozen=True)
class DialPlan:
    """All rules. Raises BadRule."""

    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        """Two that are for the same numbers and the same lines are a mistake of whoever wrote them."""
        seen: dict[tuple[str, frozenset[str]], Rule] = {}
        for rule in self._in_order:
            if (other := seen.setdefault((rule.pattern, rule.lines), rule)) is not rule:
                raise BadRule("", f"{rule.where} can never be used: {other.where} is for {rule.pattern} already")

    @cached_property
    def _in_order(self) -> tuple[Rule, ...]:
        return tuple(sorted(self.rules, key=lambda rule: rule.priority))

    def ruled(self, number: str, line: str | None) -> Ruled | None:
        """What becomes of a number that this line dials; None if no rule is about it."""
        matching = [rule for rule in self._in_order if rule.matches(number)] if len(number) <= NUMBER_MAX else []
        rule = next((rule for rule in matching if rule.is_for(line)), None)
        if rule is None:
            if not matching:
                return None
            names = ", ".join(sorted({name for rule in matching for name in rule.lines}))
            why = f"{line or 'who has no line here'} may not dial {number}: {matching[0].where} is for {names}"
            return Ruled(number, why, why)
        if rule.refuse:
            return Ruled(number, f"{rule.where} refuses {rule.pattern}", rule.refuse)
        meant = rule.rewritten(number)
        return Ruled(meant, f"{rule.where} is for {rule.pattern}: {meant} is called")

"""Who may watch which line (RFC 6665 section 4.2.1.3): every member, unless the operator of its peer says who."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

EVERYBODY = ("*",)

_NAMES = re.compile(r"[a-z0-9+*?\[](?:[a-z0-9._+*?!\[\]-]*[a-z0-9*?\]])?")
"""A user's name, or a pattern of names: `*` any characters, `?` one, `[abc]` one of these, `[!abc]` none of them."""


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who asks; `sees_calls` if he may know with whom a line talks, and pick its calls up."""

    name: str
    sees_calls: bool


class WatchRules:
    """Rules such as `reception` (may watch every line here), `carol>bob` (carol may watch bob), `*>info`."""

    def __init__(self, rules: Iterable[str] = EVERYBODY) -> None:
        """Raises ValueError if one of them is none."""
        self._rules = tuple(_parse(rule) for rule in rules)

    def unknown(self, lines: Iterable[str]) -> list[str]:
        """The rules about lines that none of these is: nobody watches anything by them."""
        known = tuple(lines)
        rules = [(who, of) for who, of in self._rules if of != "*"]
        return [f"{who}>{of}" for who, of in rules if not any(fnmatchcase(line, of) for line in known)]

    def permit(self, watcher: str, line: str) -> bool:
        """True if that user may watch that line: its own always."""
        return watcher == line or any(
            fnmatchcase(watcher, watchers) and fnmatchcase(line, lines) for watchers, lines in self._rules
        )


def _parse(rule: str) -> tuple[str, str]:
    watchers, arrow, lines = (part.strip().lower() for part in rule.partition(">"))
    is_rule = all(map(_NAMES.fullmatch, (watchers, lines) if arrow else (watchers,)))
    if not is_rule:
        raise ValueError(f'{rule!r} says not who may watch: write a user name, "*", or WATCHER>LINE as in "carol>bob"')
    return watchers, lines or "*"

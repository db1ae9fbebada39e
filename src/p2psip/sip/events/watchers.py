"""Who may watch which line (RFC 6665 section 4.2.1.3): every member, unless the operator of its peer says who."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

EVERYBODY = ("*",)


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

    def permit(self, watcher: str, line: str) -> bool:
        """True if that user may watch that line: its own always."""
        return watcher == line or any(
            fnmatchcase(watcher, watchers) and fnmatchcase(line, lines) for watchers, lines in self._rules
        )


def _parse(rule: str) -> tuple[str, str]:
    watchers, arrow, lines = (part.strip().lower() for part in rule.partition(">"))
    if not watchers or bool(arrow) != bool(lines) or ">" in lines or "@" in rule:
        raise ValueError(f'{rule!r} says not who may watch: write a user name, "*", or WATCHER>LINE as in "carol>bob"')
    return watchers, lines or "*"

"""Files of rules in TOML, in which each mistake is told with its line: the dial plan, the trunks.

TOML readers give values and no lines, so a file is read a second time for where sections and settings stand.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping

import msgspec

_SECTION = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]\]?")
_ASSIGNMENT = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_.-]+))\s*=""")


class Mistake(Exception):
    """Where in the file, and what to write."""


def parse_toml(text: str) -> dict[str, object]:
    """What the file says. Raises Mistake where it is no TOML."""
    try:
        return tomllib.loads(f"{text}\n")
    except tomllib.TOMLDecodeError as error:
        raise Mistake(_no_toml(error, text)) from None


class TomlLines:
    """In which line of the file what stands: sections by their name and number, settings in them by their name."""

    def __init__(self, text: str) -> None:
        self._at: dict[tuple[str, int, str], int] = {}
        counts: dict[str, int] = {}
        name = ""
        for number, line in enumerate(text.splitlines(), 1):
            if section := _SECTION.match(line):
                name = section[2]
                counts[name] = counts.get(name, -1) + 1
                self._at[name, counts[name], ""] = number
            elif assigned := _ASSIGNMENT.match(line):
                self._at.setdefault((name, counts.get(name, 0), _key(assigned)), number)

    def of(self, section: str, index: int = 0, key: str = "") -> int | None:
        """Of a setting, or where that is not in the file, of its section."""
        return self._at.get((section, index, key)) or self._at.get((section, index, ""))

    def starting(self, beginning: str) -> list[str]:
        """The sections that begin so."""
        return [name for name, _, key in self._at if not key and name.startswith(beginning)]

    def assigned(self, section: str, key: str) -> str:
        """Where a setting is, for people; "" if it is not in that section."""
        number = self._at.get((section, 0, key))
        return "" if number is None else f"line {number}: "

    def words(self, section: str, index: int = 0, key: str = "") -> str:
        """The same for people; "" if nobody knows."""
        number = self.of(section, index, key)
        return "" if number is None else f"line {number}: "


def described(
    error: str, lines: TomlLines, wanted: Mapping[str, str], kinds: Mapping[str, type[msgspec.Struct]]
) -> str:
    """A setting of a wrong kind, of which msgspec has said `error`: where it is, and what it takes.

    `wanted` says that of each setting, `kinds` what there is in which section; "" is what stands above all sections.
    """
    found = re.search(r" - at `\$\.?(\w*)(?:\[(\d+)\])?(?:\.(\w+))?", error)
    section, index, key = (found[1], int(found[2] or 0), found[3] or "") if found else ("", 0, "")
    if unknown := re.search(r"unknown field `(.+?)`", error):
        known = kinds.get(section, kinds[""])
        where = lines.words(section, index, unknown[1]) or lines.words(unknown[1])
        return f"{where}there is no setting {unknown[1]}; there are {', '.join(known.__struct_fields__)}"
    if missing := re.search(r"missing required field `(.+?)`", error):
        return f"{lines.words(section, index)}there is no {missing[1]} in it: write {wanted[missing[1]]}"
    where = lines.words(section, index, key) or lines.words("", 0, section)
    name = key if key in wanted else section
    return f"{where}{name}: write {wanted.get(name, error)}"


def _no_toml(error: tomllib.TOMLDecodeError, text: str) -> str:
    """A text that is no TOML: where, and where it can be said, what to write."""
    of_file = text.splitlines() or [""]
    at = re.search(r" \(at line (\d+), column \d+\)$", str(error))
    number = min(int(at[1]), len(of_file)) if at else len(of_file)
    line, reason = of_file[number - 1], re.sub(r" [(]at .*[)]$", "", str(error))
    where, assigned = f"line {number}: ", _ASSIGNMENT.match(line)
    if quote := re.search("[\u2018-\u201f\u00ab\u00bb]", line):
        return f'{where}{quote[0]} is no quotation mark here: write straight ones, as "bob"'
    if assigned and "overwrite" in reason:
        key = _key(assigned)
        first = next(
            (at for at, other in enumerate(of_file, 1) if (a := _ASSIGNMENT.match(other)) and _key(a) == key), 0
        )
        if 0 < first < number:
            return f"{where}{key} is in line {first} already: leave one of the two out"
    return f'{where}{reason}; write NAME = VALUE, with text in quotes, as 42 = "bob"'


def _key(assigned: re.Match[str]) -> str:
    return next(part for part in assigned.groups() if part is not None)

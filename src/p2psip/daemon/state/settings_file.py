"""A file of settings, in TOML: read, and for each mistake in it one line that says where it is and what to write."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec
import msgspec.inspect

from p2psip.base.errors import LocalMisuse
from p2psip.net.disk.files import read_text

T = TypeVar("T", bound=msgspec.Struct)
Types: TypeAlias = dict[str, msgspec.inspect.Type]

WORDS = {
    "name": "lower-case letters, digits and . _ + - between them, at most 56, in quotes",
    "fingerprint": "the 64 hex digits that `p2psip overlay show` prints, in quotes",
    "listen": "IP addresses",
    "advertise": "IP addresses",
    "phone_listen": "IP addresses",
    "domains": "names",
    "shared_domains": "names",
    "directory_networks": 'networks, as "192.168.7.0/24"',
    "guests": 'networks, as "192.168.7.0/24"',
    "neighbours": 'domains with their servers, as "club-c.example=192.168.7.9:5060"',
    "name_server": 'an IP address, as "192.168.7.1"',
    "domain_anchors": "the name of a file, in quotes",
    "watchers": 'who may watch, as "reception", "*" or "carol>bob"',
    "phone_web_origins": 'addresses of web pages, as "https://phone.example"',
    "who": 'names of peers or users, as "p1" or "u1"',
    "to": 'the name of a user or peer, as "u1" or "p1"',
    "media_engine": 'an IP address and a port, as "127.0.0.1:2223"',
}
"""What settings take that are text."""

_ASSIGNMENT = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=\s*(.*?)\s*(#.*)?$")


def read_values(path: Path, kind: type[msgspec.Struct]) -> tuple[dict[str, object], str]:
    """What the file of settings of this `kind` says, and its text. Raises LocalMisuse where it is no TOML."""
    text = read_text(path)
    try:
        return tomllib.loads(text), text
    except tomllib.TOMLDecodeError as error:
        raise LocalMisuse(f"{path}: {_no_toml(error, text, kind)}") from None


def make(values: Mapping[str, object], kind: type[T], source: str, text: str = "") -> T:
    """Settings of this `kind`. Raises LocalMisuse that names `source`, and the line if `text` is what a file says."""
    try:
        return msgspec.convert(dict(values), kind)
    except msgspec.ValidationError as error:
        raise LocalMisuse(f"{source}: {_described(error, text, kind)}") from None


def _described(error: msgspec.ValidationError, text: str, kind: type[msgspec.Struct]) -> str:
    """Which setting is wrong, and what to write instead."""
    said, types = str(error), _types(kind)
    section = re.search(r" - at `\$\.(\w+)\[(\d+)\]", said)
    if section and (within := _entries(types[section[1]])):
        text, types, said = _only(text, section[1], int(section[2])), within, said.replace(section[0], " - at `$")
    if unknown := re.search(r"unknown field `(.+?)`", said):
        return _quoted(text, unknown[1]) + _unknown(unknown[1], text, types)
    if missing := re.search(r"missing required field `(.+?)`", said):
        where = f"{section[1]} number {int(section[2]) + 1}" if section else "it"
        return f"there is no {missing[1]} in {where}: write {missing[1]} = {_wanted(types[missing[1]], missing[1])}"
    if found := re.search(r" - at `\$\.(\w+)", said):
        of = types[found[1]]
        # What is text where a list is wanted is one of the list.
        is_one = "Expected `array`, got `str`" in said
        sample = _sample(of, _value(text, found[1])) if is_one else ""
        how = f": {found[1]} = {sample}" if sample else ""
        return f"{_quoted(text, found[1])}{found[1]}: write {_wanted(of, found[1])}{how}"
    return said


def _unknown(name: str, text: str, types: Types) -> str:
    if re.search(rf"^\s*\[+\s*{re.escape(name)}\b", text, re.MULTILINE):
        return f"there is no section {name}: leave it out, all settings stand without one"
    near = difflib.get_close_matches(name.lower().replace("-", "_"), types, n=1)
    return f"there is no setting {name}" + (f"; did you mean {near[0]}?" if near else "")


def _only(text: str, section: str, index: int) -> str:
    """A text with nothing in it but the entry of this index of a list of tables, where it was."""
    seen, kept = -1, []
    for line in text.splitlines():
        if line.lstrip().startswith("["):
            seen += re.match(rf"\s*\[\[\s*{re.escape(section)}\s*\]\]", line) is not None
        kept.append(line if seen == index else "")
    return "\n".join(kept)


def _quoted(text: str, name: str) -> str:
    """Where a setting is in the text, and how it reads; empty if it is not found there."""
    for number, line in enumerate(text.splitlines(), 1):
        if (found := _ASSIGNMENT.match(line)) and found[1] == name:
            return f"line {number} has {line.strip()!r}; "
    return ""


def _value(text: str, name: str) -> str:
    """What a setting has in the text; "" if it is not found there."""
    assigned = (found for line in text.splitlines() if (found := _ASSIGNMENT.match(line)) and found[1] == name)
    return next((found[2] for found in assigned), "")


def _no_toml(error: tomllib.TOMLDecodeError, text: str, kind: type[msgspec.Struct]) -> str:
    """What is wrong with a text that is no TOML, in terms of the settings where it is about one."""
    lines = text.splitlines() or [""]
    at = re.search(r" \(at line (\d+), column \d+\)$", str(error))
    number = min(int(at[1]), len(lines)) if at else len(lines)
    line, reason = lines[number - 1], re.sub(r" \(at [^()]*\)$", "", str(error))
    where, types, found = f"line {number} has {line.strip()!r}", _types(kind), _ASSIGNMENT.match(line)
    types |= {name: of for entry in types.values() for name, of in _entries(entry).items()}
    if found is None:
        hint = "" if line.strip() not in types else f"; write {line.strip()} = {_sample(types[line.strip()], '')}"
        return f"{where}: {reason}{hint}"
    name, value = found[1], found[2]
    if name not in types:
        return f"{where}; {_unknown(name, text, types)}"
    before = [place for place, other in enumerate(lines[: number - 1], 1) if _assigns(other, name)]
    if before and "overwrite" in reason:
        return f"{where}, and {name} is in line {before[0]} already: leave one of the two out"
    sample = _sample(types[name], value)
    return f"{where}; {name}: write {_wanted(types[name], name)}" + (f": {name} = {sample}" if sample else "")


def _assigns(line: str, name: str) -> bool:
    found = _ASSIGNMENT.match(line)
    return found is not None and found[1] == name


def _sample(of: msgspec.inspect.Type, value: str) -> str:
    """How what somebody wrote is written as a setting of this type; empty if it cannot be said."""
    bare = value.strip("\"'\u201c\u201d\u201e\u2018\u2019[] ,")
    match of:
        case msgspec.inspect.BoolType():
            known = {"yes": "true", "on": "true", "true": "true", "no": "false", "off": "false", "false": "false"}
            return known.get(bare.lower(), "")
        case msgspec.inspect.StrType() | msgspec.inspect.LiteralType():
            return json.dumps(bare, ensure_ascii=False)
        case msgspec.inspect.VarTupleType(item_type=item):
            words = [word for word in re.split(r"[\s,]+", bare) if word]
            return f"[{', '.join(_sample(item, word) for word in words)}]"
    return ""


def _types(kind: type[msgspec.Struct]) -> Types:
    about = msgspec.inspect.type_info(kind)
    assert isinstance(about, msgspec.inspect.StructType), "settings are a struct"
    return {field.name: field.type for field in about.fields}


def _entries(of: msgspec.inspect.Type) -> Types:
    """What stands in each of a list of tables; nothing, if it is no such list."""
    match of:
        case msgspec.inspect.VarTupleType(item_type=msgspec.inspect.StructType(fields=fields)):
            return {field.name: field.type for field in fields}
    return {}


def _wanted(of: msgspec.inspect.Type, name: str) -> str:
    """What a setting of this type takes, for people."""
    match of:
        case msgspec.inspect.VarTupleType(item_type=item):
            return f"a list of {_wanted(item, name)}"
        case msgspec.inspect.LiteralType(values=values):
            return " or ".join(map(str, values))
        case msgspec.inspect.IntType(ge=int(low), le=int(high)):
            return f"a number from {low} to {high}"
        case msgspec.inspect.IntType(ge=int(low)):
            return f"a number, {low} or more"
        case msgspec.inspect.FloatType(ge=None, gt=None):
            return "a number"
        case msgspec.inspect.FloatType():
            return "a number, not below 0" if of.gt is None else "a number above 0"
        case msgspec.inspect.UnionType(types=types):
            return _wanted(next(each for each in types if not isinstance(each, msgspec.inspect.NoneType)), name)
        case msgspec.inspect.TupleType(item_types=items):
            return f"a list of {len(items)}: {_wanted(items[0], name)}"
        case msgspec.inspect.BoolType():
            return "true or false"
    return WORDS.get(name, "text in quotes")

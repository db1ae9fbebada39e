"""The lexical rules that several header fields share (RFC 3261 section 25.1)."""

from __future__ import annotations

import re
from typing import TypeAlias

from p2psip.sip.message import limits
from p2psip.sip.message.errors import BadMessage

Params: TypeAlias = tuple[tuple[str, str | None], ...]
"""Parameters in order: the name in lower case, the value as on the wire (a quoted string keeps its quotes)."""

TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]+"
QUOTED = r'"(?:[^"\\]|\\[\s\S])*+"'
HOST = r"(?:\[[0-9A-Fa-f:.%a-z]+\]|[A-Za-z0-9_](?:[A-Za-z0-9\-_.]*+))"

_token = re.compile(TOKEN)
_quoted_pair = re.compile(r"\\([\s\S])")
_element = re.compile(rf"(?:[^,\"<]++|{QUOTED}|<[^<>]*+>)++")
# The value of a generic-param is a token, a host or a quoted string; phones also send bare URIs, so be wide here.
_param = re.compile(rf"[ \t]*;[ \t]*({TOKEN})(?:[ \t]*=[ \t]*({QUOTED}|[^;,\"<> \t]++))?+[ \t]*")


def is_token(text: str) -> bool:
    """True if `text` is a `token`."""
    return _token.fullmatch(text) is not None


def split_list(value: str) -> list[str]:
    """The elements of a comma-separated header field, with quoted strings and angle brackets left whole."""
    if "," not in value:
        return [value]
    elements: list[str] = []
    at = 0
    while at <= len(value):
        match = _element.match(value, at)
        if match is None or match[0].isspace() or value[match.end() : match.end() + 1] not in ("", ","):
            raise BadMessage(f"cannot split {value[at:][:40]!r} at its commas")
        elements.append(match.group().strip(" \t"))
        at = match.end() + 1
    if len(elements) > limits.VALUES:
        raise BadMessage(f"more than {limits.VALUES} values in a header field")
    return elements


def parse_params(text: str, what: str) -> Params:
    """`;name=value;flag` to the last character; `what` names the header field in the error."""
    if not text:
        return ()
    params: list[tuple[str, str | None]] = []
    at, end = 0, len(text)
    while at < end:
        match = _param.match(text, at)
        if match is None:
            raise BadMessage(f"{what}: malformed parameter at {text[at:][:40]!r}")
        name, value = match.groups()
        params.append((name.lower(), value))
        at = match.end()
    if len(params) > limits.PARAMETERS:
        raise BadMessage(f"{what}: more than {limits.PARAMETERS} parameters")
    return tuple(params)


def param(params: Params, name: str) -> str | None:
    """The value of a parameter as on the wire; "" for a parameter without a value, None if it is absent."""
    for key, value in params:
        if key == name:
            return value or ""
    return None


def with_param(params: Params, name: str, value: str | None) -> Params:
    """`params` with `name` set to `value`, in its old place or at the end."""
    if all(key != name for key, _ in params):
        return (*params, (name, value))
    return tuple((key, value if key == name else old) for key, old in params)


def format_params(params: Params) -> str:
    """`;name=value;flag`."""
    return "".join([f";{name}" if value is None else f";{name}={value}" for name, value in params])


def unquote(text: str) -> str:
    """The meaning of a quoted string; anything else means itself."""
    if len(text) < 2 or text[0] != '"':
        return text
    inner = text[1:-1]
    return _quoted_pair.sub(r"\1", inner) if "\\" in inner else inner


def quote(text: str) -> str:
    """A quoted string that means `text`."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parse_integer(text: str, what: str, maximum: int = 2**32 - 1) -> int:
    """`1*DIGIT` up to `maximum`."""
    if not text.isdecimal() or not text.isascii():
        raise BadMessage(f"{what}: {text[:40]!r} is not a number")
    digits = text.lstrip("0") or "0"
    if len(digits) > limits.INTEGER_DIGITS or int(digits) > maximum:
        raise BadMessage(f"{what}: {text[:40]} is above {maximum}")
    return int(digits)

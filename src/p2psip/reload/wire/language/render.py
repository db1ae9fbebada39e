"""Decoded values for people (`tree`) and for programs (`to_json`), from the declarations alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntFlag

from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.language.primitives import Codec, Uint, WireEnum

Json = dict[str, "Json"] | list["Json"] | str | int | bool | None

INDENT = "  "
BYTES_SHOWN_MAX = 48
"""How many bytes of an opaque value a tree shows; `to_json` gives all."""


def to_json(value: object) -> Json:
    """The value as JSON has it: structures as objects, bytes as hex, enums by the RFC's name, integers exactly."""
    match value:
        case Struct():
            return {name: to_json(item) for name, _, item in value.items()}
        case Mapping():
            return {str(name): to_json(item) for name, item in value.items()}
        case tuple() | list():
            return [to_json(item) for item in value]
        case WireEnum():
            return value.rfc_name
        case IntFlag():
            return [*_flag_names(value)]
        case bytes():
            return value.hex()
        case bool() | int() | str() | None:
            return value
    raise AssertionError(f"{type(value).__name__} is no value of the wire")


def tree(value: Struct | Mapping[str, object]) -> str:
    """The value as an indented outline, long opaque values cut short."""
    return "\n".join(_lines(value, ""))


def _lines(value: Struct | Mapping[str, object], indent: str) -> Iterator[str]:
    if isinstance(value, Struct):
        for name, codec, item in value.items():
            yield from _entry(f"{name}:", item, codec, indent)
        return
    for name, item in value.items():
        yield from _entry(f"{name}:", item, None, indent)


def _entry(name: str, value: object, codec: Codec[object] | None, indent: str) -> Iterator[str]:
    if isinstance(value, Struct) and (summary := value.summary()) is not None:
        yield f"{indent}{name} {summary}"
    elif isinstance(value, Struct | Mapping):
        title = f" {type(value).__name__}" if isinstance(value, Struct) else ""
        yield f"{indent}{name}{title}"
        yield from _lines(value, indent + INDENT)
    elif isinstance(value, tuple | list):
        yield f"{indent}{name}" + ("" if value else " (none)")
        for index, item in enumerate(value):
            yield from _entry(f"[{index}]", item, None, indent + INDENT)
    else:
        yield f"{indent}{name} {_scalar(value, codec)}"


def _scalar(value: object, codec: Codec[object] | None) -> str:
    match value:
        case WireEnum():
            return f"{value.rfc_name} ({int(value)})"
        case IntFlag():
            return " ".join(_flag_names(value)) or "(none)"
        case bytes():
            return _opaque(value)
        case bool():
            return str(value).lower()
        case int() if isinstance(codec, Uint) and codec.is_hex:
            return f"{value:#0{2 * codec.width + 2}x}"
    return str(value)


def _opaque(value: bytes) -> str:
    if not value:
        return "(empty)"
    if value.isascii() and (text := value.decode("ascii")).isprintable() and len(value) <= 4 * BYTES_SHOWN_MAX:
        return f'"{text}"'
    if len(value) <= BYTES_SHOWN_MAX:
        return value.hex()
    return f"{value[:BYTES_SHOWN_MAX].hex()}... ({len(value)} bytes)"


def _flag_names(value: IntFlag) -> list[str]:
    names = [flag.name or "" for flag in type(value) if flag in value]
    unknown = int(value) & ~sum(type(value))
    return [*names, f"{unknown:#x}"] if unknown else names

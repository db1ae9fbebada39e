"""The declared form as Python: one function each to make, encode and decode a structure, made from its steps.

Theory of operation. A step walked through at every message costs a few calls a field. So for each structure the source
of three functions is written that do what the steps do, with the usual codecs in line: integers, enums and
Booleans in a row are one `struct` format. Whatever is not as expected (a length out of bounds, a value without a name)
is left to the step itself, at the place where it begins: it says what is wrong, or takes it.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from p2psip.base.ids import ResourceId
from p2psip.reload.wire.language.primitives import (
    BooleanCodec,
    Codec,
    Constant,
    DecodeError,
    EnumCodec,
    Flags,
    Nested,
    NodeIdCodec,
    Opaque,
    Reader,
    ResourceIdCodec,
    Uint,
    fill_in_length,
)
from p2psip.reload.wire.language.steps import Field, LengthOfAll, Step

FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}
"""Of `struct`, by width in bytes."""


class _Function:
    """The source of a function, line by line, and what its names mean."""

    def __init__(self, head: str) -> None:
        self._lines = [head]
        self._depth = 1
        # A field may well be called `type`.
        self._names: dict[str, Any] = {"DecodeError": DecodeError, "_type": type, "_len": len}

    def head(self, head: str) -> None:
        """What it is called with, where that is known only now."""
        self._lines[0] = head

    def name(self, meaning: object) -> str:
        """A name for something that is known now."""
        name = f"n{len(self._names)}"
        self._names[name] = meaning
        return name

    def line(self, text: str) -> None:
        """One line."""
        self._lines.append("    " * self._depth + text)

    def block(self, head: str, lines: Iterable[str]) -> None:
        """A line that ends in a colon, and those that belong to it."""
        self.line(head)
        self._lines += ["    " * (self._depth + 1) + line for line in lines]

    def made(self, what: str) -> Callable[..., Any]:
        """The function itself; `what` is for tracebacks."""
        self.line("return None" if len(self._lines) == 1 else "pass")
        source = "\n".join(self._lines)
        exec(compile(source, f"<{what}>", "exec"), self._names)
        made: Callable[..., Any] = self._names["function"]
        return made


def when_called(
    made: type, name: str, compiled: Callable[[], Callable[..., Any]], as_method: Callable[..., object] = lambda f: f
) -> Callable[..., Any]:
    """A function of a structure that is compiled when it is first called, and takes its own place then: who imports
    structures uses few of them, a command hardly any.
    """

    def first(*arguments: Any) -> Any:
        function = compiled()
        type.__setattr__(made, name, as_method(function))
        return function(*arguments)

    return first


def compile_init(made: type, steps: Sequence[Step], *, has_rules: bool) -> Callable[..., None]:
    """Takes the fields as a dataclass does, whose own looks up for each of them how to set it.

    Raises ValueError if a field has a value that cannot be encoded, or the structure's own rules, if it `has_rules`,
    say no.
    """
    function = _Function("")
    heads, sets = ["self"], []
    for field in dataclasses.fields(made):
        if field.kw_only and "*" not in heads:
            heads.append("*")
        default = "" if field.default is dataclasses.MISSING else f"={function.name(field.default)}"
        heads.append(field.name + default)
        sets.append(f"{function.name(vars(made)[field.name].__set__)}(self, {field.name})")
    function.head(f"def function({', '.join(heads)}):")
    for line in sets:
        function.line(line)
    for step in _flat(steps):
        declared = f"{function.name(step.check)}(self)"
        if isinstance(step, Field) and (sure := _sure(step.codec, step.name, function)) is not None:
            function.block(f"if not ({sure}):", [declared])
        else:
            function.line(declared)
    if has_rules:
        function.line("self.validate()")
    init = function.made(f"init of {made.__name__}")
    # Whoever gives too few fields is told of which structure.
    init.__qualname__ = f"{made.__qualname__}.__init__"
    return init


def _sure(codec: Codec[Any], v: str, function: _Function) -> str | None:
    """When the value `v` is certainly good."""
    match codec:
        case Constant():
            return f"{v} == {codec.value}"
        case Uint():
            return f"_type({v}) is int and 0 <= {v} < {codec.limit}"
        case BooleanCodec():
            return f"{v} is True or {v} is False"
        case Opaque():
            return f"_type({v}) is bytes and _len({v}) < {codec.limit}"
        case EnumCodec():
            return f"_type({v}) is {function.name(codec.enum)}"
        case NodeIdCodec():
            return f"_type({v}) is {function.name(codec.type)}"
        case ResourceIdCodec():
            return f"_type({v}) is {function.name(ResourceId)}"
        case Nested():
            return f"_type({v}) is {function.name(codec.struct)}"
    return f"{v} == ()" if codec.takes_nothing else None


def compile_encode(made: type, steps: Sequence[Step]) -> Callable[[Any, bytearray], None]:
    """Appends the structure's bytes."""
    function = _Function("def function(self, out):")
    _encode(function, steps)
    return function.made(f"encode {made.__name__}")


def _encode(function: _Function, steps: Sequence[Step]) -> None:
    for run in _runs(steps):
        step = run[0]
        match step:
            case Field(codec=Uint() | EnumCodec() | BooleanCodec() | Flags()) if _format(step):
                pack = function.name(_struct(run).pack)
                function.line(f"out += {pack}({', '.join(f'self.{field.name}' for field in run)})")
            case Field(codec=Opaque(length_bytes=width)):
                function.line(f"v = self.{step.name}")
                function.line("out.append(len(v))" if width == 1 else f"out += len(v).to_bytes({width}, 'big')")
                function.line("out += v")
            case Field(codec=NodeIdCodec()):
                function.line(f"out += self.{step.name}")
            case Field(codec=Nested()):
                function.line(f"self.{step.name}.encode_to(out)")
            case Field(codec=codec):
                function.line(f"{function.name(codec.encode)}(self.{step.name}, out, self)")
            case LengthOfAll(length_bytes=width):
                start = f"start_{function.name(step)}"
                function.line(f"{start} = len(out)")
                function.line(f"out += {bytes(width)!r}")
                _encode(function, step.steps)
                function.line(f"{function.name(fill_in_length)}(out, {start}, {width})")
            case _:
                function.line(f"{function.name(step.encode)}(self, out)")


def compile_decode(made: type, steps: Sequence[Step], *, has_rules: bool) -> Callable[[type, Reader], Any]:
    """Reads the structure; `has_rules` if it has some of its own, beyond its fields."""
    function = _Function("def function(cls, reader):")
    if has_rules:
        function.line("begin = reader.offset")
    function.line(f"self = {function.name(object.__new__)}({function.name(made)})")
    function.line("data = reader.data")
    _decode(function, made, steps)
    if has_rules:
        function.block("try:", ["self.validate()"])
        function.block("except ValueError as error:", ["raise DecodeError(str(error), begin) from None"])
    function.line("return self")
    return function.made(f"decode {made.__name__}")


def _decode(function: _Function, made: type, steps: Sequence[Step]) -> None:
    for run in _runs(steps):
        step = run[0]
        declared = [f"{function.name(each.decode)}(self, reader)" for each in run]
        match step:
            case Field(codec=Uint() | EnumCodec() | BooleanCodec() | Flags()) if _format(step):
                _decode_fixed(function, made, run, declared)
            case Field(codec=Opaque(length_bytes=width)):
                length = (
                    "data[at - 1]" if width == 1 else f"{function.name(int.from_bytes)}(data[at - {width}:at], 'big')"
                )
                function.line(f"at = reader.offset + {width}")
                function.line(f"to = at + {length} if at <= reader.end else at")
                function.block("if to > reader.end:", declared)
                taken = [f"{_setter(function, made, step)}(self, data[at:to])", "reader.offset = to"]
                function.block("else:", taken)
            case Field(codec=NodeIdCodec(type=node_id)):
                function.line("at = reader.offset")
                function.line("to = at + reader.node_id_length")
                function.block("if to > reader.end:", declared)
                taken = [f"{_setter(function, made, step)}(self, {function.name(node_id)}(data[at:to]))"]
                function.block("else:", [*taken, "reader.offset = to"])
            case Field(codec=codec):
                value = f"{function.name(codec.decode)}(reader, self)"
                if isinstance(codec, Nested):
                    value = f"{function.name(codec.struct)}.decode_from(reader)"
                function.block("try:", [f"{_setter(function, made, step)}(self, {value})"])
                function.block("except DecodeError as error:", [f"raise error.inside({step.name!r}) from None"])
            case LengthOfAll(length_bytes=width):
                outer = f"outer_{function.name(step)}"
                function.line(f"{outer} = reader.enter(reader.uint({width}))")
                _decode(function, made, step.steps)
                function.line(f"reader.leave({outer})")
            case _:
                function.line(declared[0])


def _decode_fixed(function: _Function, made: type, run: Sequence[Field], declared: Sequence[str]) -> None:
    """Fields of fixed lengths in a row."""
    packed = _struct(run)
    values = [f"v{number}" for number in range(len(run))]
    function.line("at = reader.offset")
    function.line(f"if at + {packed.size} > reader.end:")
    function.line("    " + "; ".join(declared))
    function.line("else:")
    function.line(f"    {', '.join(values)}, = {function.name(packed.unpack_from)}(data, at)")
    conditions = []
    for field, value in zip(run, values, strict=True):
        match field.codec:
            case EnumCodec(members=members):
                function.line(f"    {value} = {function.name(members.get)}({value})")
                conditions.append(f"{value} is None")
            case Constant(value=constant):
                conditions.append(f"{value} != {constant}")
            case BooleanCodec():
                conditions.append(f"{value} > 1")
    kept = [
        f"{_setter(function, made, field)}(self, {_kept(function, field, value)})"
        for field, value in zip(run, values, strict=True)
    ]
    kept.append(f"reader.offset = at + {packed.size}")
    if conditions:
        function.line(f"    if {' or '.join(conditions)}:")
        function.line("        " + "; ".join(declared))
        function.line("    else:")
    for line in kept:
        function.line(("        " if conditions else "    ") + line)


def _kept(function: _Function, field: Field, value: str) -> str:
    match field.codec:
        case BooleanCodec():
            return f"{value} == 1"
        case Flags(flags=flags):
            return f"{function.name(flags)}({value})"
    return value


def _setter(function: _Function, made: type, field: Field) -> str:
    """Of a slot of an immutable structure."""
    return function.name(vars(made)[field.name].__set__)


def _flat(steps: Iterable[Step]) -> Iterable[Step]:
    for step in steps:
        if isinstance(step, Field):
            yield step
        else:
            yield from _flat(step.parts)


def _runs(steps: Sequence[Step]) -> list[list[Any]]:
    """The steps; fields of fixed lengths that follow each other are one run."""
    runs: list[list[Any]] = []
    for step in steps:
        if _format(step) and runs and _format(runs[-1][0]):
            runs[-1].append(step)
        else:
            runs.append([step])
    return runs


def _struct(run: Sequence[Field]) -> struct.Struct:
    return struct.Struct("!" + "".join(_format(field) for field in run))


def _format(step: Step) -> str:
    """Of a field that always has the same length; empty for any other."""
    match step:
        case Field(codec=Uint(width=width) | Flags(width=width)):
            return FORMATS.get(width, "")
        case Field(codec=EnumCodec(enum=enum)):
            return FORMATS.get(enum.width, "")
        case Field(codec=BooleanCodec()):
            return FORMATS[1]
    return ""

"""The presentation language (RFC 6940 section 6.3.1): structures declared once, encoded and decoded from that.

    @structure
    class ErrorResponse(Struct):
        error_code: ErrorCode
        error_info: Opaque16

Fields stand in the RFC's order. An annotation names the codec: the `Uint...` and `Opaque...` aliases, `Boolean`,
a `WireEnum`, `NodeId`, `ResourceId`, another structure, or `Annotated[tuple[X, ...], Vector(2)]`. Lengths that
the wire carries are derived, never fields. `Select` is a variant whose type is an earlier field; `When` is a field
that is there for some types only; `ByModel` is a variant whose data model the wire does not carry; `Prefixed` puts
a length in front.

Constructing validates (ValueError), so what exists can be encoded. Decoding raises DecodeError and nothing else.
What decodes encodes to the same bytes again.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Self, TypeVar, dataclass_transform, overload

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.wire.kinds import REGISTERED_MODELS, DataModel, Models
from p2psip.reload.wire.language.compiled import compile_decode, compile_encode, compile_init, when_called
from p2psip.reload.wire.language.primitives import (
    Codec,
    DecodeError,
    EnumCodec,
    Nested,
    NodeIdCodec,
    Reader,
    ResourceIdCodec,
    Rest,
    WireEnum,
    fill_in_length,
    require,
)
from p2psip.reload.wire.language.steps import Field, LengthOfAll, Step

T = TypeVar("T")
S = TypeVar("S", bound="Struct")


class _Vector(Codec[tuple[T, ...]]):
    """X names<0..2^n-1>: a length in bytes, then elements one after the other."""

    def __init__(self, element: Codec[T], length_bytes: int, least: int, lengths_first: bool) -> None:
        self.element = element
        self.length_bytes = length_bytes
        self.least = least
        self.takes_nothing = least == 0
        self.lengths_first = lengths_first

    def check(self, value: tuple[T, ...], owner: object) -> None:
        require(value, tuple)
        for index, item in enumerate(value):
            try:
                self.element.check(item, owner)
            except ValueError as error:
                raise ValueError(f"[{index}]: {error}") from None
        if (value and self.length_bytes < 4) or self.least:
            self._check_size(sum(self.element.size(item, owner) for item in value))

    def _check_size(self, size: int) -> None:
        if not self.least <= size < 1 << 8 * self.length_bytes:
            raise ValueError(f"{size} bytes of elements, {self.least} to {(1 << 8 * self.length_bytes) - 1} fit")

    def encode(self, value: tuple[T, ...], out: bytearray, owner: object) -> None:
        start = len(out)
        out += bytes(self.length_bytes)
        self.encode_elements(value, out, owner)
        fill_in_length(out, start, self.length_bytes)

    def encode_elements(self, value: tuple[T, ...], out: bytearray, owner: object) -> None:
        """The elements without their length."""
        for item in value:
            self.element.encode(item, out, owner)

    def decode(self, reader: Reader, owner: object) -> tuple[T, ...]:
        return self.decode_elements(reader, owner, reader.uint(self.length_bytes))

    def decode_elements(self, reader: Reader, owner: object, size: int) -> tuple[T, ...]:
        """As many elements as `size` bytes hold."""
        if size < self.least:
            raise DecodeError(f"{size} bytes of elements, at least {self.least} wanted", reader.offset)
        outer = reader.enter(size)
        items: list[T] = []
        try:
            while reader.offset < reader.end:
                items.append(self.element.decode(reader, owner))
        except DecodeError as error:
            raise error.inside(f"[{len(items)}]") from None
        reader.leave(outer)
        return tuple(items)


class _LengthTwice(Codec[tuple[T, ...]]):
    """A vector whose length stands in front of it once more, as RFC 7851 has it (ext_length)."""

    def __init__(self, vector: _Vector[T]) -> None:
        self.vector = vector

    def check(self, value: tuple[T, ...], owner: object) -> None:
        self.vector.check(value, owner)

    def encode(self, value: tuple[T, ...], out: bytearray, owner: object) -> None:
        start, width = len(out), self.vector.length_bytes
        out += bytes(width)
        self.vector.encode(value, out, owner)
        out[start : start + width] = out[start + width : start + 2 * width]

    def decode(self, reader: Reader, owner: object) -> tuple[T, ...]:
        start, width = reader.offset, self.vector.length_bytes
        if reader.uint(width) != reader.peek(width):
            raise DecodeError("two lengths of one list that differ", start)
        return self.vector.decode(reader, owner)


class OneOf(Codec[Any]):
    """One of several structures, told apart by how they begin."""

    def __init__(self, *variants: type[Struct]) -> None:
        self.variants = variants

    @abstractmethod
    def choose(self, reader: Reader) -> type[Struct]:
        """The variant that comes next."""

    def check(self, value: Any, owner: object) -> None:
        if not isinstance(value, self.variants):
            raise ValueError(f"{type(value).__name__} is no variant of it")

    def encode(self, value: Any, out: bytearray, owner: object) -> None:
        value.encode_to(out)

    def decode(self, reader: Reader, owner: object) -> Any:
        return self.choose(reader).decode_from(reader)


class Select(Codec[Any]):
    """select (type): the earlier field `tag` chooses the arm.

    Where the RFC allows extension (`tag` is an open enum), the bytes of an unknown arm are kept as they are.
    """

    def __init__(self, tag: str, arms: Mapping[WireEnum, object]) -> None:
        self.tag = tag
        self.arms = {value: codec_of(annotation) for value, annotation in arms.items()}
        self.unknown = Rest()

    def arm(self, owner: object) -> Codec[Any]:
        """The codec that the owner's type asks for."""
        return self.arms.get(getattr(owner, self.tag), self.unknown)

    def size(self, value: Any, owner: object) -> int:
        return self.arm(owner).size(value, owner)

    def check(self, value: Any, owner: object) -> None:
        self.arm(owner).check(value, owner)

    def encode(self, value: Any, out: bytearray, owner: object) -> None:
        self.arm(owner).encode(value, out, owner)

    def decode(self, reader: Reader, owner: object) -> Any:
        return self.arm(owner).decode(reader, owner)


class ByModel(Codec[Any]):
    """select (DataModel): the Kind chooses the arm, which the wire does not tell (RFC 6940 section 7.2).

    If open, the bytes of an unknown Kind are kept as they are, up to the end of what encloses them.
    """

    def __init__(self, arms: Mapping[DataModel, type[Struct]], *, is_open: bool = False) -> None:
        self.arms = dict(arms)
        self.is_open = is_open

    def check(self, value: Any, owner: object) -> None:
        if not isinstance(value, tuple(self.arms.values())) and not (self.is_open and isinstance(value, bytes)):
            raise ValueError(f"{type(value).__name__} is no variant of it")

    def encode(self, value: Any, out: bytearray, owner: object) -> None:
        if isinstance(value, bytes):
            out += value
        else:
            value.encode_to(out)

    def decode(self, reader: Reader, owner: object) -> Any:
        if reader.model is not None:
            return self.arms[reader.model].decode_from(reader)
        if self.is_open:
            return reader.take(reader.end - reader.offset)
        raise DecodeError("the data model of this Kind is not known", reader.offset)


class Prefixed(Codec[Any]):
    """A value with a length in front of it, in bytes."""

    def __init__(self, length_bytes: int, codec: Codec[Any]) -> None:
        self.length_bytes = length_bytes
        self.codec = codec

    def check(self, value: Any, owner: object) -> None:
        self.codec.check(value, owner)
        if (size := self.codec.size(value, owner)) >= 1 << 8 * self.length_bytes:
            raise ValueError(f"{size} bytes do not fit in a length of {self.length_bytes} bytes")

    def encode(self, value: Any, out: bytearray, owner: object) -> None:
        start = len(out)
        out += bytes(self.length_bytes)
        self.codec.encode(value, out, owner)
        fill_in_length(out, start, self.length_bytes)

    def decode(self, reader: Reader, owner: object) -> Any:
        outer = reader.enter(reader.uint(self.length_bytes))
        value = self.codec.decode(reader, owner)
        reader.leave(outer)
        return value


@dataclasses.dataclass(frozen=True)
class Vector:
    """Annotation: a tuple whose length, in bytes, takes `length_bytes` bytes and is at least `least`.

    With `lengths_first` the lengths of all such fields of the structure stand in front of the first; with
    `length_twice` the length comes twice.
    """

    length_bytes: int
    least: int = 0
    lengths_first: bool = False
    length_twice: bool = False


@dataclasses.dataclass(frozen=True)
class OfKind:
    """Annotation: the data model inside this field is that of the Kind in the earlier field `kind`."""

    kind: str = "kind"


class When:
    """Annotation: the field is there if the earlier field `tag` has one of `values`, and is its default otherwise."""

    def __init__(self, tag: str, *values: WireEnum) -> None:
        self.tag = tag
        self.values = frozenset(values)


class _Present(Codec[T]):
    """A field under When."""

    def __init__(self, codec: Codec[T], when: When, absent: T) -> None:
        self.codec = codec
        self.when = when
        self.absent = absent

    def is_present(self, owner: object) -> bool:
        """True if the owner's type has this field."""
        return getattr(owner, self.when.tag) in self.when.values

    def check(self, value: T, owner: object) -> None:
        if self.is_present(owner):
            self.codec.check(value, owner)
        elif value != self.absent:
            raise ValueError(f"not in a structure of type {getattr(owner, self.when.tag).rfc_name}")

    def encode(self, value: T, out: bytearray, owner: object) -> None:
        if self.is_present(owner):
            self.codec.encode(value, out, owner)

    def decode(self, reader: Reader, owner: object) -> T:
        return self.codec.decode(reader, owner) if self.is_present(owner) else self.absent


class _OfKind(Codec[T]):
    """A field under OfKind."""

    def __init__(self, codec: Codec[T], kind: str) -> None:
        self.codec = codec
        self.kind = kind

    def check(self, value: T, owner: object) -> None:
        self.codec.check(value, owner)

    def encode(self, value: T, out: bytearray, owner: object) -> None:
        self.codec.encode(value, out, owner)

    def decode(self, reader: Reader, owner: object) -> T:
        outer, reader.model = reader.model, reader.models.get(getattr(owner, self.kind))
        value = self.codec.decode(reader, owner)
        reader.model = outer
        return value


def codec_of(annotation: object) -> Codec[Any]:
    """The codec that an annotation of a field names."""
    if typing.get_origin(annotation) is Annotated:
        return _annotated(annotation)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        (inner,) = (arg for arg in typing.get_args(annotation) if arg is not types.NoneType)
        return codec_of(inner)
    assert isinstance(annotation, type), f"no codec for {annotation}"
    if issubclass(annotation, NodeId):
        return NodeIdCodec()
    if issubclass(annotation, ResourceId):
        return ResourceIdCodec()
    if issubclass(annotation, WireEnum):
        return EnumCodec(annotation)
    assert issubclass(annotation, Struct), f"no codec for {annotation}"
    return Nested(annotation)


def _annotated(annotation: object) -> Codec[Any]:
    base, *notes = typing.get_args(annotation)
    for note in notes:
        if isinstance(note, Codec):
            return note
        if isinstance(note, Vector):
            element = codec_of(typing.get_args(base)[0])
            vector = _Vector(element, note.length_bytes, note.least, note.lengths_first)
            return _LengthTwice(vector) if note.length_twice else vector
    return codec_of(base)


class _LengthsFirst(Step):
    """The vectors with lengths first: all their lengths, then all their elements."""

    def __init__(self) -> None:
        self.fields: list[tuple[Field, _Vector[Any]]] = []

    @property
    def parts(self) -> Sequence[Step]:
        return [field for field, _ in self.fields]

    def check(self, owner: object) -> None:
        for field, _ in self.fields:
            field.check(owner)

    def encode(self, owner: object, out: bytearray) -> None:
        bodies = bytearray()
        for field, vector in self.fields:
            start = len(bodies)
            vector.encode_elements(getattr(owner, field.name), bodies, owner)
            out += (len(bodies) - start).to_bytes(vector.length_bytes, "big")
        out += bodies

    def decode(self, owner: object, reader: Reader) -> None:
        sizes = [reader.uint(vector.length_bytes) for _, vector in self.fields]
        for (field, vector), size in zip(self.fields, sizes, strict=True):
            try:
                object.__setattr__(owner, field.name, vector.decode_elements(reader, owner, size))
            except DecodeError as error:
                raise error.inside(field.name) from None


class Struct:
    """A structure of the wire: immutable, valid once it exists."""

    __slots__ = ()

    __dataclass_fields__: ClassVar[dict[str, Any]]
    steps: ClassVar[tuple[Step, ...]] = ()
    codecs: ClassVar[Mapping[str, Codec[Any]]] = {}

    @classmethod
    def known(cls, **fields: Any) -> Self:
        """A structure of all these fields, which are known to be good, as they were checked before: not once more."""
        made = object.__new__(cls)
        for name, value in fields.items():
            object.__setattr__(made, name, value)
        return made

    def validate(self) -> None:
        """Raise ValueError if fields do not go together; for subclasses that have such rules."""

    def items(self) -> Iterator[tuple[str, Codec[Any], Any]]:
        """The fields that a structure of this type has: name, codec, value."""
        for name, codec in self.codecs.items():
            if not isinstance(codec, _Present) or codec.is_present(self):
                yield name, codec, getattr(self, name)

    def summary(self) -> str | None:
        """One line that tells people all of it, if there is such a line."""
        return None

    def encode(self) -> bytes:
        """The bytes on the wire."""
        out = bytearray()
        self.encode_to(out)
        return bytes(out)

    def encode_to(self, out: bytearray) -> None:
        """Append the bytes on the wire; `structure` makes something faster of the fields."""
        self.encode_declared(out)

    def encode_declared(self, out: bytearray) -> None:
        """Append the bytes field by field, as they are declared."""
        for step in self.steps:
            step.encode(self, out)

    @classmethod
    def decode(
        cls,
        data: bytes,
        *,
        node_id_length: int = 16,
        models: Models = REGISTERED_MODELS,
        model: DataModel | None = None,
    ) -> Self:
        """The structure that all of `data` is; DecodeError if it is none.

        `models` and `node_id_length` come from the overlay's configuration. `model` is for what is about
        one Kind and does not name it: StoredData, StoredMetaData.
        """
        value, end = cls.decode_prefix(data, node_id_length=node_id_length, models=models, model=model)
        if end != len(data):
            raise DecodeError(f"{len(data) - end} bytes left over", end).inside(cls.__name__)
        return value

    @classmethod
    def decode_prefix(
        cls,
        data: bytes,
        offset: int = 0,
        *,
        node_id_length: int = 16,
        models: Models = REGISTERED_MODELS,
        model: DataModel | None = None,
    ) -> tuple[Self, int]:
        """The structure that starts at `offset`, and where it ends."""
        reader = Reader(data, offset, node_id_length, models, model)
        try:
            return cls.decode_from(reader), reader.offset
        except DecodeError as error:
            raise error.inside(cls.__name__) from None

    @classmethod
    def decode_from(cls, reader: Reader) -> Self:
        """Read the structure, as part of another; `structure` makes something faster of the fields."""
        return cls.decode_declared(reader)

    @classmethod
    def decode_declared(cls, reader: Reader) -> Self:
        """Read the structure field by field, as they are declared."""
        start = reader.offset
        self = object.__new__(cls)
        for step in cls.steps:
            step.decode(self, reader)
        try:
            self.validate()
        except ValueError as error:
            raise DecodeError(str(error), start) from None
        return self


@overload
def structure(cls: type[S], /) -> type[S]: ...


@overload
def structure(*, kw_only: bool = False, length_bytes: int = 0) -> Callable[[type[S]], type[S]]: ...


@dataclass_transform(frozen_default=True)
def structure(
    cls: type[S] | None = None, /, *, kw_only: bool = False, length_bytes: int = 0
) -> type[S] | Callable[[type[S]], type[S]]:
    """Declare a structure: a frozen dataclass with slots, its codecs, and functions made of those.

    With `length_bytes` the structure starts with a length of what follows in it. One that has an `encode_to` or
    `decode_from` of its own keeps it.
    """

    def declare(cls: type[S]) -> type[S]:
        made = dataclasses.dataclass(init=False, frozen=True, slots=True, kw_only=kw_only)(cls)
        hints = typing.get_type_hints(made, include_extras=True)
        made.codecs = {field.name: _field_codec(hints[field.name], field) for field in dataclasses.fields(made)}
        steps = tuple(_steps(made.codecs))
        made.steps = (LengthOfAll(length_bytes, steps),) if length_bytes else steps
        _compile(made)
        return made

    return declare if cls is None else declare(cls)


def _compile(made: type[Struct]) -> None:
    has_rules = made.validate is not Struct.validate
    type.__setattr__(made, "__init__", compile_init(made, made.steps, has_rules=has_rules))
    if "encode_to" not in vars(made):
        type.__setattr__(made, "encode_to", when_called(made, "encode_to", partial(compile_encode, made, made.steps)))
    if "decode_from" not in vars(made):
        decode = partial(compile_decode, made, made.steps, has_rules=has_rules)
        type.__setattr__(made, "decode_from", classmethod(when_called(made, "decode_from", decode, classmethod)))


def _field_codec(hint: object, field: dataclasses.Field[Any]) -> Codec[Any]:
    codec = codec_of(hint)
    for note in typing.get_args(hint)[1:]:
        if isinstance(note, When):
            codec = _Present(codec, note, field.default)
        elif isinstance(note, OfKind):
            codec = _OfKind(codec, note.kind)
    return codec


def _steps(codecs: Mapping[str, Codec[Any]]) -> list[Step]:
    steps: list[Step] = []
    group = _LengthsFirst()
    for name, codec in codecs.items():
        field = Field(name, codec)
        if not (isinstance(codec, _Vector) and codec.lengths_first):
            steps.append(field)
            continue
        if not group.fields:
            steps.append(group)
        group.fields.append((field, codec))
    return steps

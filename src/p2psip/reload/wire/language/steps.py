"""How a structure's fields follow each other: the declared form, step by step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from p2psip.reload.wire.language.primitives import Codec, DecodeError, Reader, fill_in_length


class Step(ABC):
    """One or more fields of a structure that are written together."""

    @property
    def parts(self) -> Sequence[Step]:
        """The steps that it consists of; itself, if of no others."""
        return (self,)

    @abstractmethod
    def check(self, owner: object) -> None: ...

    @abstractmethod
    def encode(self, owner: object, out: bytearray) -> None: ...

    @abstractmethod
    def decode(self, owner: object, reader: Reader) -> None: ...


class Field(Step):
    """One field."""

    def __init__(self, name: str, codec: Codec[Any]) -> None:
        self.name = name
        self.codec = codec

    def check(self, owner: object) -> None:
        try:
            self.codec.check(getattr(owner, self.name), owner)
        except ValueError as error:
            raise ValueError(f"{type(owner).__name__}.{self.name}: {error}") from None

    def encode(self, owner: object, out: bytearray) -> None:
        self.codec.encode(getattr(owner, self.name), out, owner)

    def decode(self, owner: object, reader: Reader) -> None:
        try:
            object.__setattr__(owner, self.name, self.codec.decode(reader, owner))
        except DecodeError as error:
            raise error.inside(self.name) from None


class LengthOfAll(Step):
    """A length of everything that follows in the structure."""

    def __init__(self, length_bytes: int, steps: tuple[Step, ...]) -> None:
        self.length_bytes = length_bytes
        self.steps = steps

    @property
    def parts(self) -> Sequence[Step]:
        return self.steps

    def check(self, owner: object) -> None:
        for step in self.steps:
            step.check(owner)

    def encode(self, owner: object, out: bytearray) -> None:
        start = len(out)
        out += bytes(self.length_bytes)
        for step in self.steps:
            step.encode(owner, out)
        fill_in_length(out, start, self.length_bytes)

    def decode(self, owner: object, reader: Reader) -> None:
        outer = reader.enter(reader.uint(self.length_bytes))
        for step in self.steps:
            step.decode(owner, reader)
        reader.leave(outer)

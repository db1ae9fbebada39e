"""The header fields of a message, raw and in order (RFC 3261 section 7.3.1).

A proxy forwards what it does not understand as it came; so the raw lines are what a message is, and
parsed values are read from them on demand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from p2psip.sip.message import limits
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.field_names import key_of
from p2psip.sip.message.grammar import split_list

Field: TypeAlias = tuple[str, str, str]
"""Key (see names.py), name as on the wire, value."""


class Fields:
    """An immutable sequence of header fields; each method that changes something returns a new one."""

    __slots__ = ("_by_key", "_fields")

    def __init__(self, fields: Iterable[Field] = ()) -> None:
        self._fields: tuple[Field, ...] = tuple(fields)
        self._by_key: dict[str, list[str]] | None = None

    @classmethod
    def of(cls, *pairs: tuple[str, object]) -> Fields:
        """From (name, value) pairs that we write ourselves."""
        return cls([(key_of(name), name, str(value)) for name, value in pairs])

    def __iter__(self) -> Iterator[Field]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and self._fields == other._fields

    def __hash__(self) -> int:
        return hash(self._fields)

    def __contains__(self, key: str) -> bool:
        return key in self._index()

    def __repr__(self) -> str:
        return f"Fields({[(name, value) for _, name, value in self._fields]})"

    def lines(self, key: str) -> list[str]:
        """The raw values of every line of that field."""
        return self._index().get(key, [])

    def first(self, key: str) -> str | None:
        """The raw value of the first line of that field."""
        lines = self._index().get(key)
        return lines[0] if lines else None

    def only(self, key: str) -> str | None:
        """The value of a field that must not be repeated."""
        lines = self._index().get(key)
        if not lines:
            return None
        if len(lines) > 1:
            raise BadMessage(f"more than one {key}")
        return lines[0]

    def values(self, key: str) -> list[str]:
        """The elements of a list field, over all its lines."""
        values = [element for line in self.lines(key) for element in split_list(line)]
        if len(values) > limits.VALUES:
            raise BadMessage(f"more than {limits.VALUES} values of {key}")
        return values

    def tokens(self, key: str) -> list[str]:
        """The elements of a list of tokens (Require, Supported, Allow ...), empty ones left out."""
        return [token for line in self.lines(key) for part in line.split(",") if (token := part.strip())]

    def with_first(self, name: str, value: object) -> Fields:
        """A value put before the others of its kind (a Via, a Record-Route), or at the top."""
        key, text = key_of(name), str(value)
        at = self._place_of(key) or 0
        fields = (*self._fields[:at], (key, name, text), *self._fields[at:])
        return self._changed(fields, key, [text, *self.lines(key)])

    def with_last(self, name: str, value: object) -> Fields:
        """A value put at the end."""
        key, text = key_of(name), str(value)
        return self._changed((*self._fields, (key, name, text)), key, [*self.lines(key), text])

    def with_only(self, name: str, value: object) -> Fields:
        """A value in place of all of that name, where the first of them was."""
        return self.with_values(name, (value,))

    def with_values(self, name: str, values: Iterable[object]) -> Fields:
        """A list field that has these values and no others, one line each, where its first line was."""
        key, lines = key_of(name), [str(value) for value in values]
        new, at = [(key, name, line) for line in lines], self._place_of(key)
        if at is None:
            return self._changed((*self._fields, *new), key, lines)
        rest = self._fields[at + 1 :]
        if len(self.lines(key)) > 1:
            rest = tuple([old for old in rest if old[0] != key])
        return self._changed((*self._fields[:at], *new, *rest), key, lines)

    def with_first_replaced(self, name: str, value: object) -> Fields:
        """A list field with another first element."""
        return self.without_first(key_of(name)).with_first(name, value)

    def without(self, *keys: str) -> Fields:
        """Without all fields of these keys; the same, if there are none."""
        if self._index().keys().isdisjoint(keys):
            return self
        return Fields([field for field in self._fields if field[0] not in keys])

    def without_first(self, key: str) -> Fields:
        """Without the first element of a list field."""
        at = self._place_of(key)
        if at is None:
            return self
        _, name, value = self._fields[at]
        rest = split_list(value)[1:]
        kept = [(key, name, ", ".join(rest))] if rest else []
        fields = (*self._fields[:at], *kept, *self._fields[at + 1 :])
        return self._changed(fields, key, [*(line for _, _, line in kept), *self.lines(key)[1:]])

    def _place_of(self, key: str) -> int | None:
        """Where the first line of a field is."""
        if key in self._index():
            for at, field in enumerate(self._fields):
                if field[0] == key:
                    return at
        return None

    def _changed(self, fields: tuple[Field, ...], key: str, lines: list[str]) -> Fields:
        """Fields whose lines of one key are these, and all others ours: half a hundred times in a call."""
        changed = Fields(fields)
        changed._by_key = index = self._index().copy()
        if lines:
            index[key] = lines
        else:
            index.pop(key, None)
        return changed

    def _index(self) -> dict[str, list[str]]:
        index = self._by_key
        if index is None:
            index = self._by_key = {}
            for key, _, value in self._fields:
                if key in index:
                    index[key].append(value)
                else:
                    index[key] = [value]
        return index

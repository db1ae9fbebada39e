"""Values that are quick to make are values all the same."""

from __future__ import annotations

import dataclasses

import pytest

from p2psip.base.effects import Effect
from p2psip.base.frozen import frozen


@frozen
class Put(Effect):
    """One of a core's effects."""

    where: str
    what: tuple[int, ...] = ()


def test_equal_and_hashed_by_its_fields() -> None:
    assert Put("a", (1,)) == Put("a", (1,)) != Put("a", (2,))
    assert {Put("a"), Put("a"), Put("b")} == {Put("a"), Put("b")}
    assert repr(Put("a")) == "Put(where='a', what=())"


def test_it_has_its_fields_and_nothing_else() -> None:
    with pytest.raises(AttributeError):
        object.__setattr__(Put("a"), "other", 1)


def test_it_is_taken_apart_and_altered_as_any_dataclass() -> None:
    match dataclasses.replace(Put("a", (1,)), where="b"):
        case Put(where, what):
            assert (where, what) == ("b", (1,))
        case other:
            pytest.fail(repr(other))

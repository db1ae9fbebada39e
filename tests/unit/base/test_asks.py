"""The open questions of a core (p2psip.base.effects)."""

from __future__ import annotations

import pytest

from p2psip.base.effects import Ask, Asks, CancelAsk
from p2psip.base.timers import Deadline


def test_the_answer_brings_the_context_back_once() -> None:
    """A second answer to the same question, or one that nobody asked, is nothing."""
    asks: Asks[str] = Asks(limit=2)
    ask = asks.ask("where is it?", "for alice", 5.0)
    assert ask == Ask(1, "where is it?", 5.0)
    assert asks.next_deadline() == Deadline(5.0, "answer overdue")
    assert asks.answered(ask.token) == "for alice"
    assert asks.answered(ask.token) is None
    assert asks.answered(77) is None
    assert asks.next_deadline() is None


def test_the_number_of_questions_is_bounded() -> None:
    """The caller looks at `is_full`; asking all the same is a bug of ours."""
    asks: Asks[str] = Asks(limit=1)
    asks.ask("one", "one", 1.0)
    assert asks.is_full
    with pytest.raises(AssertionError, match="is_full"):
        asks.ask("two", "two", 1.0)


def test_expired_questions_come_oldest_first_and_make_room() -> None:
    """Their later answers are ignored."""
    asks: Asks[str] = Asks(limit=3)
    late = asks.ask("?", "late", 9.0)
    asks.ask("?", "second", 2.0)
    first = asks.ask("?", "first", 1.0)
    assert list(asks.expired(0.5)) == []
    assert list(asks.expired(2.0)) == ["first", "second"]
    assert asks.answered(first.token) is None
    assert len(asks) == 1
    assert asks.answered(late.token) == "late"


def test_a_cancelled_question_neither_expires_nor_is_answered() -> None:
    """The driver is told."""
    asks: Asks[str] = Asks(limit=3)
    ask = asks.ask("?", "context", 1.0)
    assert asks.cancel(ask.token) == CancelAsk(ask.token)
    assert list(asks.expired(5.0)) == []
    assert asks.answered(ask.token) is None


def test_tokens_of_several_cores_are_kept_apart() -> None:
    """One `handle_answer` can serve them all."""
    even: Asks[str] = Asks(limit=9, first=0, step=2)
    odd: Asks[str] = Asks(limit=9, first=1, step=2)
    assert [even.ask("?", "", 1.0).token for _ in range(3)] == [0, 2, 4]
    assert [odd.ask("?", "", 1.0).token for _ in range(3)] == [1, 3, 5]

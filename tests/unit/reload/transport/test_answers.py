"""What was answered lately (p2psip.reload.transport.answers): kept for a while, within bounds, and fairly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.base.ids import NodeId
from p2psip.reload.transport.answers import (
    ANSWER_BYTES_MAX,
    ANSWERS_MAX,
    FORGET_EVERY_S,
    REQUEST_LIFETIME_S,
    Answers,
    Key,
)
from p2psip.reload.wire.message import SignedPayload

ALICE, BOB, EVE = (NodeId(bytes([number]) * 16) for number in (1, 2, 3))


def test_an_answer_is_kept_for_the_lifetime_of_a_request() -> None:
    """And forgotten some time after it."""
    answers = Answers()
    answers.begin((1, ALICE), 10.0)
    answers.answered((1, ALICE), b"answer", None)
    deadline = answers.next_deadline()
    assert deadline is not None
    assert deadline.at == 10.0 + REQUEST_LIFETIME_S + FORGET_EVERY_S
    answers.handle_timeout(10.0 + REQUEST_LIFETIME_S - 0.001)
    kept = answers.get((1, ALICE))
    assert kept is not None
    assert kept.payload == b"answer"
    answers.handle_timeout(deadline.at)
    assert (len(answers), answers.bytes_kept, answers.next_deadline()) == (0, 0, None)


def test_of_an_answer_that_was_signed_here_its_bytes_are_kept_and_nothing_else() -> None:
    """They are what is bounded; its decoded contents are several times as much."""
    payload = SignedPayload(b"answer")
    answers = Answers()
    answers.begin((1, ALICE), 0.0)
    answers.answered((1, ALICE), payload, None)
    kept = answers.get((1, ALICE))
    assert kept is not None
    assert type(kept.payload) is bytes
    assert kept.payload == payload


def test_what_waits_for_a_commit_that_failed_is_forgotten() -> None:
    """The rest is not."""
    answers = Answers()
    for transaction, token in ((1, 7), (2, None), (3, 7)):
        answers.begin((transaction, ALICE), 0.0)
        answers.answered((transaction, ALICE), b"answer", token)
    answers.forget_waiting(7)
    assert [answers.get((transaction, ALICE)) is not None for transaction in (1, 2, 3)] == [False, True, False]


@pytest.mark.must("6.2.1/8")
@pytest.mark.parametrize("size", [0, ANSWER_BYTES_MAX // 100], ids=["many", "large"])
def test_6_2_1_a_flood_of_one_does_not_make_us_forget_another(size: int) -> None:
    """ "Receiving nodes MUST generate semantically equivalent responses to retransmissions of the same request"."""
    answers = Answers()
    answers.begin((1, ALICE), 0.0)
    answers.answered((1, ALICE), b"answer", None)
    for transaction in range(200 if size else ANSWERS_MAX + 100):
        answers.begin((transaction, EVE), 0.0)
        answers.answered((transaction, EVE), bytes(size), None)
    answers.begin((2, BOB), 0.0)
    assert answers.get((1, ALICE)) is not None
    assert answers.get((2, BOB)) is not None
    assert answers.get((0, EVE)) is None
    assert answers.bytes_kept <= ANSWER_BYTES_MAX
    assert len(answers) <= ANSWERS_MAX


KEYS = st.tuples(st.integers(0, 5), st.sampled_from([ALICE, BOB, EVE]))
STEPS = st.tuples(st.sampled_from(["begin", "answer", "forget", "wait"]), KEYS, st.integers(0, 9))


@given(st.lists(STEPS, max_size=40))
def test_the_account_is_right(steps: list[tuple[str, Key, int]]) -> None:
    """Property: bytes and shares are those of what is kept, whatever happens; in the end nothing is left."""
    answers = Answers()
    for what, key, number in steps:
        if what == "begin" and answers.get(key) is None:
            answers.begin(key, 0.0)
        elif what == "answer":
            answers.answered(key, bytes(number), number)
        elif what == "forget":
            answers.forget(key)
        elif what == "wait":
            answers.forget_waiting(number)
        assert answers.bytes_kept == sum(answer.size for answer in answers._kept.values())
        assert set(answers._share) == {signer for _, signer in answers._kept}
    answers.handle_timeout(REQUEST_LIFETIME_S)
    assert (len(answers), answers.bytes_kept, dict(answers._share)) == (0, 0, {})

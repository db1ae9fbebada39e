"""How often somebody may be wrong."""

from __future__ import annotations

from p2psip.base.allowance import KEYS_MAX, Allowance, Attempts


def test_attempts_run_out_and_come_back() -> None:
    attempts: Attempts[str] = Attempts(Allowance(burst=3, refill_s=10))
    for _ in range(3):
        assert attempts.wait_s("a", 100.0) == 0
        attempts.charge("a", 100.0)
    assert attempts.wait_s("a", 100.0) == 10
    assert attempts.wait_s("b", 100.0) == 0
    assert attempts.wait_s("a", 109.0) == 1
    assert attempts.wait_s("a", 110.0) == 0
    attempts.charge("a", 110.0)
    assert attempts.wait_s("a", 110.0) == 10
    attempts.refund("a", 110.0)
    assert attempts.wait_s("a", 110.0) == 0


def test_who_takes_a_turn_comes_after_those_who_have_taken_one() -> None:
    attempts: Attempts[str] = Attempts(Allowance(burst=1, refill_s=3))
    waits = []
    for _ in range(4):
        waits.append(attempts.wait_s("a", 0.0))
        attempts.charge("a", 0.0)
    assert waits == [0, 3, 6, 9]


def test_the_memory_is_bounded() -> None:
    attempts: Attempts[int] = Attempts(Allowance(burst=1, refill_s=10))
    for number in range(KEYS_MAX + 50):
        attempts.charge(number, 0.0)
    assert len(attempts) == KEYS_MAX
    assert attempts.wait_s(0, 0.0) == 0
    assert attempts.wait_s(KEYS_MAX + 49, 0.0) > 0
    attempts.refund(0, 0.0)


def test_who_was_right_each_time_is_not_remembered() -> None:
    attempts: Attempts[str] = Attempts(Allowance(burst=3, refill_s=10))
    for _ in range(2):
        attempts.charge("a", 0.0)
    attempts.refund("a", 0.0)
    assert len(attempts) == 1
    attempts.refund("a", 0.0)
    assert len(attempts) == 0

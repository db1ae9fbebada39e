"""A client's requests in time (RFC 8489 section 6.2)."""

from __future__ import annotations

import pytest

from p2psip.stun.transactions import RTO_KEPT_S, Patience, Resend, StunUnanswered, Transactions

ID = b"twelve bytes"


def run_out(transactions: Transactions[str]) -> list[tuple[float, object]]:
    """All that happens until nothing more does."""
    seen: list[tuple[float, object]] = [(0.0, effect) for effect in transactions.drain()]
    while (deadline := transactions.next_deadline()) is not None:
        transactions.handle_timeout(deadline.at)
        seen += [(deadline.at, effect) for effect in transactions.drain()]
    return seen


def test_6_2_1_seven_requests_and_then_failure() -> None:
    """ "requests would be sent at times 0 ms, 500 ms, 1500 ms, 3500 ms, 7500 ms, 15500 ms, and 31500 ms. If the client
    has not received a response after 39500 ms, the client will consider the transaction to have timed out."
    """
    transactions: Transactions[str] = Transactions(is_stream=False)
    transactions.begin(ID, b"ask", "who", 0.0)
    sends = [(at, Resend(b"ask")) for at in (0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5)]
    assert run_out(transactions) == [*sends, (39.5, StunUnanswered("who", is_forged=False))]
    assert len(transactions) == 0


def test_6_2_2_over_a_stream_once() -> None:
    transactions: Transactions[str] = Transactions(is_stream=True)
    transactions.begin(ID, b"ask", "who", 0.0)
    assert run_out(transactions) == [(0.0, Resend(b"ask")), (39.5, StunUnanswered("who", is_forged=False))]


def test_an_answer_ends_it_and_the_next_rto_is_measured() -> None:
    transactions: Transactions[str] = Transactions(is_stream=False)
    transactions.begin(ID, b"ask", "who", 0.0)
    assert transactions.find(ID) == "who"
    assert transactions.find(bytes(12)) is None
    transactions.done(ID, 0.1)
    assert transactions.find(ID) is None
    transactions.begin(ID, b"ask", "who", 1.0)
    deadline = transactions.next_deadline()
    assert deadline is not None
    assert deadline.at == pytest.approx(1.3)  # SRTT + 4 * RTTVAR = 0.1 + 4 * 0.05
    transactions.done(ID, 1.1)
    transactions.begin(ID, b"ask", "who", 1.0 + RTO_KEPT_S)
    deadline = transactions.next_deadline()
    assert deadline is not None
    assert deadline.at == pytest.approx(1.5 + RTO_KEPT_S)


def test_karn_what_was_sent_twice_measures_nothing() -> None:
    transactions: Transactions[str] = Transactions(is_stream=False)
    transactions.begin(ID, b"ask", "who", 0.0)
    transactions.handle_timeout(0.5)
    transactions.done(ID, 0.51)
    transactions.begin(ID, b"ask", "who", 1.0)
    deadline = transactions.next_deadline()
    assert deadline is not None
    assert deadline.at == pytest.approx(1.5)


@pytest.mark.must("8489 9.2.5/16")
def test_9_2_5_forged_answers_over_datagrams_do_not_end_it_and_are_told() -> None:
    transactions: Transactions[str] = Transactions(is_stream=False)
    transactions.begin(ID, b"ask", "who", 0.0, Patience(requests_max=2, last_rtos=4))
    transactions.disbelieved(ID)
    assert run_out(transactions)[1:] == [(0.5, Resend(b"ask")), (2.5, StunUnanswered("who", is_forged=True))]


@pytest.mark.must("8489 9.2.5/17")
def test_9_2_5_over_a_stream_they_end_it_at_once() -> None:
    transactions: Transactions[str] = Transactions(is_stream=True)
    transactions.begin(ID, b"ask", "who", 0.0)
    transactions.disbelieved(ID)
    assert transactions.drain() == [Resend(b"ask"), StunUnanswered("who", is_forged=True)]


def test_icmp_or_a_lost_stream_ends_all() -> None:
    transactions: Transactions[str] = Transactions(is_stream=False)
    transactions.begin(ID, b"ask", "one", 0.0)
    transactions.begin(bytes(12), b"ask", "two", 0.0)
    transactions.drain()
    transactions.fail()
    assert transactions.drain() == [StunUnanswered("one", is_forged=False), StunUnanswered("two", is_forged=False)]
    assert transactions.next_deadline() is None

"""The retransmission timeout (p2psip.base.rto) by the figures of RFC 6298 section 2."""

from __future__ import annotations

import pytest

from p2psip.base.rto import RoundTripEstimator


def test_2_1_one_second_until_something_was_measured() -> None:
    """ "the sender SHOULD set RTO <- 1 second"."""
    estimator = RoundTripEstimator()
    assert estimator.rto_s == 1.0
    assert estimator.srtt_s is None


def test_2_2_the_first_measurement() -> None:
    """ "SRTT <- R, RTTVAR <- R/2, RTO <- SRTT + max (G, K*RTTVAR)"."""
    estimator = RoundTripEstimator()
    estimator.measured(2.0)
    assert estimator.srtt_s == 2.0
    assert estimator.rto_s == 2.0 + 4 * 1.0


def test_2_3_further_measurements() -> None:
    """ "RTTVAR <- (1 - beta) * RTTVAR + beta * |SRTT - R'|", with the old SRTT, then SRTT."""
    estimator = RoundTripEstimator()
    estimator.measured(2.0)
    estimator.measured(4.0)
    rttvar = 0.75 * 1.0 + 0.25 * 2.0
    assert estimator.srtt_s == pytest.approx(0.875 * 2.0 + 0.125 * 4.0)
    assert estimator.rto_s == pytest.approx(2.25 + 4 * rttvar)


def test_2_4_never_less_than_a_second() -> None:
    """ "if it is less than 1 second, then the RTO SHOULD be rounded up to 1 second"."""
    estimator = RoundTripEstimator()
    for _ in range(20):
        estimator.measured(0.01)
    assert estimator.rto_s == 1.0


def test_2_5_a_maximum() -> None:
    """ "A maximum value MAY be placed on RTO provided it is at least 60 seconds"."""
    estimator = RoundTripEstimator()
    estimator.measured(100.0)
    assert estimator.rto_s == 60.0

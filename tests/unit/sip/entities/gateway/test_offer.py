"""What a gateway says that it reaches, as words in its announcement."""

from __future__ import annotations

import pytest
from trunk_bench import TERMS

from p2psip.sip.entities.gateway.limits import PREFIXES_MAX
from p2psip.sip.entities.gateway.offer import OfferedNumbers, offer_of, read_offer, write_offer


def test_written_and_read_again() -> None:
    offered = tuple(offer_of(TERMS))
    text = write_offer(offered)
    assert text == "+49:50 00:50 sos=112:50"
    assert read_offer(text) == offered


def test_of_one_prefix_twice_the_preferred() -> None:
    assert write_offer([OfferedNumbers("00", 10), OfferedNumbers("00", 90), OfferedNumbers("00", 50)]) == "00:90"


@pytest.mark.parametrize("text", ["", "x", ":5", "00", "00:", "00:5x", "sos=:5", "00:-1", "\x00:1", "a b c"])
def test_what_cannot_be_read_is_left_out(text: str) -> None:
    assert read_offer(text) == ()
    assert read_offer(f"{text} 00:999") == (OfferedNumbers("00", 100),)


def test_no_more_than_there_may_be() -> None:
    assert len(read_offer(" ".join(f"{number}:1" for number in range(5000)))) <= PREFIXES_MAX


def test_which_numbers() -> None:
    prefix, sos = OfferedNumbers("+49", 1), OfferedNumbers("112", 1, is_emergency=True)
    assert prefix.reaches("+4912", is_emergency=False)
    assert not prefix.reaches("0049", is_emergency=False)
    assert sos.reaches("112", is_emergency=False)
    assert not sos.reaches("1123", is_emergency=False)
    assert sos.reaches("urn:service:sos", is_emergency=True)
    assert not sos.reaches("110", is_emergency=True)

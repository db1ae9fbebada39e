"""Messages in a stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.sip.message import limits
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.transports.framing import Framer


def message_of(body: bytes = b"") -> bytes:
    return b"OPTIONS sip:a SIP/2.0\r\nl: %d\r\n\r\n%s" % (len(body), body)


def test_two_messages_in_one_segment() -> None:
    assert Framer().feed(message_of(b"x") + message_of()) == [message_of(b"x"), message_of()]


def test_crlf_between_messages_is_ignored() -> None:
    framer = Framer()
    assert framer.feed(b"\r\n" + message_of() + b"\r\n") == [message_of()]
    assert framer.take_pings() == 0
    assert framer.is_between_messages


def test_ping_in_pieces() -> None:
    """RFC 5626 4.4.1: a double CRLF asks for an answer, however it arrives."""
    framer = Framer()
    for byte in b"\r\n\r\n":
        assert framer.feed(bytes([byte])) == []
        assert framer.is_between_messages
    assert framer.take_pings() == 1
    assert framer.take_pings() == 0
    assert framer.feed(b"\r\n\r\n\r\n\r\n" + message_of()) == [message_of()]
    assert framer.take_pings() == 2


@pytest.mark.parametrize(
    "data",
    [
        b"OPTIONS sip:a SIP/2.0\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nl: x\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nl: 65536\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nno colon\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nl: 5\r\nl: 6\r\n\r\n",
        b"x" * 40_000,
        b"x" * 40_000 + b"\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
    ],
)
def test_streams_that_have_no_meaning(data: bytes) -> None:
    for cut in (0, 1, len(data) // 2):
        framer = Framer()
        assert [framer.feed(message_of())] == [[message_of()]]
        assert framer.feed(data[:cut]) + framer.feed(data[cut:]) + framer.feed(message_of()) == []
        assert isinstance(framer.error, BadMessage)


@given(st.lists(st.binary(max_size=50), max_size=5), st.lists(st.integers(1, 40), min_size=1))
def test_any_segments_give_the_same_messages(bodies: list[bytes], cuts: list[int]) -> None:
    messages = [message_of(body) for body in bodies]
    stream = b"".join(messages)
    framer, got, at, turn = Framer(), [], 0, 0
    while at < len(stream):
        step = cuts[turn % len(cuts)]
        got += framer.feed(stream[at : at + step])
        at, turn = at + step, turn + 1
    assert got == messages
    assert framer.is_between_messages


@pytest.mark.parametrize("cut", range(5))
@pytest.mark.parametrize("excess", [0, 1])
def test_the_longest_head_however_its_end_is_cut(cut: int, excess: int) -> None:
    start = b"OPTIONS sip:a SIP/2.0\r\nl: 0\r\nX: "
    head = start + b"x" * (limits.HEAD_BYTES + excess - len(start))
    framer = Framer()
    pieces = (head, b"\r\n\r\n"[:cut], b"\r\n\r\n"[cut:])
    messages = [message for piece in pieces for message in framer.feed(piece)]
    assert messages == ([] if excess else [head + b"\r\n\r\n"])
    assert (framer.error is not None) == bool(excess)

"""Records of calls on streams (p2psip.coupling.stream_links)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2psip.base.address import Address
from p2psip.base.ids import NodeId
from p2psip.coupling.call_paths import CallPaths
from p2psip.coupling.stream_links import TOGETHER_S, UNACKNOWLEDGED_MAX_S, RecordFraming, StreamLinks
from p2psip.media.relay.multiplex import RTCP, RTP, Frame
from p2psip.reload.node.effects import AppLinkUp, Write
from p2psip.reload.paths.values import STREAM_RECORD_BYTES, CutIfSilent

records = st.lists(st.binary(max_size=300), max_size=8)


@given(records, st.integers(1, 64))
def test_records_come_as_they_went_however_the_stream_is_cut(sent: list[bytes], piece_bytes: int) -> None:
    stream = b"".join(map(RecordFraming.encode, sent))
    framing, came = RecordFraming(), []
    for at in range(0, len(stream), piece_bytes):
        came += framing.feed(stream[at : at + piece_bytes])
    assert came == sent


def test_a_record_has_its_length_before_it_in_two_bytes() -> None:
    """RFC 6544 section 3, RFC 4571 section 2."""
    assert RecordFraming.encode(b"voice") == b"\x00\x05voice"
    assert RecordFraming.encode(bytes(258))[:2] == b"\x01\x02"


def test_no_more_is_kept_than_one_record_that_has_not_come_whole() -> None:
    framing = RecordFraming()
    for _ in range(10):
        assert framing.feed(b"\xff\xff" + bytes(65535)) == [bytes(65535)]
        framing.feed(b"\xff\xff" + bytes(65534))
        assert len(framing._kept) <= 2 + 65535
        assert framing.feed(b"\0") == [bytes(65535)]
        assert not framing._kept


def test_media_is_to_be_fresh_and_sip_is_not() -> None:
    """Late voice is lost; of SIP nothing is."""
    links = StreamLinks()
    assert links.up(7, 1.0) == CutIfSilent(7, UNACKNOWLEDGED_MAX_S)
    for component in (RTP, RTCP):
        frame = Frame(component, 3, b"voice").encode()
        assert links.write(7, frame) == Write(7, RecordFraming.encode(frame), is_to_be_fresh=True)
    for record in (b"BYE", b"\r\n\r\n", b"\x03fragment"):
        assert links.write(7, record) == Write(7, RecordFraming.encode(record))


def test_over_datagrams_a_record_is_what_it_is() -> None:
    links = StreamLinks()
    assert links.write(9, b"\x01\x00\x03voice") == Write(9, b"\x01\x00\x03voice")
    assert links.records_in(9, b"\x00\x05voice") == [b"\x00\x05voice"]
    assert 9 not in links


def test_the_older_of_two_streams_is_closed_unless_they_came_up_together() -> None:
    """Each end may take the other one for the newer then, and both would be closed."""
    links = StreamLinks()
    links.up(2, 0.0)
    links.up(4, TOGETHER_S - 0.1)
    assert links.replaced((2, 4), 4) == []
    links.up(6, TOGETHER_S + 0.1)
    assert links.replaced((2, 4, 6, 8), 6) == [2]
    links.down(2)
    links.down(8)
    assert links.replaced((2, 4, 6), 6) == []
    assert (2 in links, 4 in links) == (False, True)


@given(st.lists(st.binary(max_size=200) | records.map(lambda each: b"".join(map(RecordFraming.encode, each)))))
def test_whatever_comes_over_a_stream_is_read_or_dropped(pieces: list[bytes]) -> None:
    """A member may send anything: nothing is raised, and what is kept is bounded."""
    paths, here = CallPaths(), Address("192.0.2.1", 5062)
    paths.up(AppLinkUp(4, NodeId(bytes(16)), here, here, datagram_bytes=STREAM_RECORD_BYTES, is_on_stream=True), 0.0)
    for data in pieces:
        for record in paths.streams.records_in(4, data):
            paths.heard(4, record, 0.0)
            paths.drain()
    assert len(paths.streams._framings[4]._kept) < 65538

"""Fragments from hostile neighbours: reassembly ends in a message, in nothing, or in the one error, within its bounds.

And what is cut, shuffled, doubled, cut again and mixed with forgeries of other transactions is whole again at the end.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import wire_specimens
from effort import times
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_specimens import BODIES

from p2psip.base.errors import RemoteProtocolError
from p2psip.base.ids import NodeId
from p2psip.reload.forwarding.fragmentation import fragment
from p2psip.reload.forwarding.reassembly import HELD_S, Reassembler
from p2psip.reload.wire.message import Message, join, split

MESSAGES = [wire_specimens.message(code, body).encode() for _, code, body in BODIES]
MESSAGE_BYTES_MAX = 5000
BYTES_HELD_MAX = 20_000
ME = NodeId(b"\x01" * 16)
SOURCES = [NodeId(bytes([number]) * 16) for number in (2, 3, 4)]


@st.composite
def fragments(draw: st.DrawFn) -> bytes:
    """A piece of a message: where it says it belongs, how long it is, and what is in it are anybody's guess."""
    header, payload = split(draw(st.sampled_from(MESSAGES)))
    start = draw(st.integers(0, len(payload)))
    piece = payload[start : start + draw(st.integers(0, 400))] + draw(st.binary(max_size=20))
    offset = draw(st.sampled_from([start, 0, 1, 4999, 0xFFFFFF]) | st.integers(0, 0xFFFFFF))
    bits = draw(st.sampled_from([0x80000000, 0xC0000000, 0xBF000000]))
    transaction = draw(st.integers(0, 3))
    return join(replace(header, fragment=bits | offset, transaction_id=transaction), piece)


ARRIVALS = st.lists(st.tuples(fragments(), st.sampled_from(SOURCES), st.floats(0, 4)), max_size=40)


@pytest.mark.long
@settings(max_examples=times(200))
@given(ARRIVALS)
def test_any_fragments(arrivals: list[tuple[bytes, NodeId, float]]) -> None:
    """Memory stays bounded whatever comes, and nothing is left when the time is over."""
    reassembler, now = Reassembler(MESSAGE_BYTES_MAX, bytes_held_max=BYTES_HELD_MAX), 0.0
    for data, source, later in arrivals:
        now += later
        header, payload = split(data)
        if header.is_unfragmented:
            continue
        try:
            whole = reassembler.receive(header, payload, ME, source, now)
            if whole is not None:
                assert len(join(*whole)) == whole[0].length <= MESSAGE_BYTES_MAX
                Message.of_payload(*whole)
        except RemoteProtocolError:
            pass
        assert reassembler.bytes_held <= BYTES_HELD_MAX
    reassembler.handle_timeout(now + HELD_S)
    assert (reassembler.bytes_held, reassembler.next_deadline()) == (0, None)


@pytest.mark.long
@settings(max_examples=times(100))
@given(st.data())
def test_what_is_cut_is_whole_again(data: st.DataObject) -> None:
    """Through several links with several MTUs, in any order, some pieces twice, among forgeries."""
    header, payload = split(data.draw(st.sampled_from(MESSAGES)))
    payload += bytes(data.draw(st.integers(600, 3000)))
    pieces = [join(header, payload)]
    for mtu in data.draw(st.lists(st.integers(400, 1500), min_size=1, max_size=3)):
        pieces = [smaller for piece in pieces for smaller in fragment(piece, mtu)]
    pieces += data.draw(st.lists(st.sampled_from(pieces), max_size=5))
    others = [piece for piece, _, _ in data.draw(ARRIVALS) if split(piece)[0].transaction_id != header.transaction_id]
    reassembler = Reassembler(1 << 20)
    found = []
    for piece in data.draw(st.permutations(pieces + others)):
        head, part = split(piece)
        if head.is_unfragmented:
            found += [part] if head.transaction_id == header.transaction_id else []
            continue
        try:
            whole = reassembler.receive(head, part, ME, data.draw(st.sampled_from(SOURCES)), 0.0)
        except RemoteProtocolError:
            continue
        if whole is not None and head.transaction_id == header.transaction_id:
            found.append(whole[1])
    assert found
    assert set(found) == {payload}

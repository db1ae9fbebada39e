"""RFC 6940 section 6.7 on real nodes: fragments that pass through, and fragments that arrive."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from node_bench import ME, NodeBench, nid

from p2psip.base.ids import ResourceId
from p2psip.reload.forwarding.fragmentation import fragment
from p2psip.reload.forwarding.reassembly import HELD_S
from p2psip.reload.forwarding.return_path import ReturnPath
from p2psip.reload.wire.contents import ErrorCode, MessageCode
from p2psip.reload.wire.header import (
    Destination,
    Entry,
    ForwardingHeader,
    ForwardingOption,
    ForwardingOptionFlags,
    ForwardingOptionType,
)
from p2psip.reload.wire.link_messages import PingAns, PingReq
from p2psip.reload.wire.message import Message, join, split

MTU = 1200
BODY = PingReq(random.Random(1).randbytes(4000))
PING, PONG, ERROR = MessageCode.PING_REQ, MessageCode.PING_ANS, MessageCode.ERROR
CRITICAL = ForwardingOption(ForwardingOptionType(200), ForwardingOptionFlags.FORWARD_CRITICAL, b"")


def to(place: int) -> Destination:
    """The node there."""
    return Destination.node(nid(place))


def at(place: int) -> Destination:
    """Whoever is responsible there."""
    return Destination.resource(ResourceId(nid(place)))


class Raw(NodeBench):
    """Node 100 in a ring with 50 and 150; what it sends to 150 is kept as bytes, not decoded: it may be fragments."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self.become_ring(150, 50)
        self.passed: list[bytes] = []
        self.remotes[150].take = self.passed.append

    def pieces(self, *destinations: Entry, mtu: int = MTU, place: int = 50, **header: object) -> list[bytes]:
        """A Ping of `place` as fragments, which are not sent yet."""
        kept: list[bytes] = []
        send_bytes, self.send_bytes = self.send_bytes, lambda _, data: kept.append(data)  # type: ignore[method-assign]
        self.send(place, PING, BODY, destinations=destinations, **header)  # type: ignore[arg-type]
        self.send_bytes = send_bytes  # type: ignore[method-assign]
        return fragment(kept[0], mtu)


def test_6_7_the_destination_reassembles() -> None:
    """ "Upon receipt of a fragmented message by the intended peer, the peer holds the fragments [...] until the entire
    message has been received. The message is then reassembled into a single message and processed": once, in any order.
    """
    bench = Raw()
    pieces = bench.pieces(at(75))
    assert len(pieces) >= 4
    random.Random(1).shuffle(pieces)
    for piece in pieces[:-1]:
        bench.send_bytes(50, piece)
    assert bench.heard(50) == []
    bench.send_bytes(50, pieces[-1])
    assert bench.hear_one(50).code is PONG
    for piece in pieces:
        bench.send_bytes(50, piece)
    assert bench.hear_one(50).code is PONG, "6.2.1: a request that comes again is answered again"


@pytest.mark.must("6.7/1")
@pytest.mark.parametrize("return_path", ReturnPath)
def test_6_7_fragments_pass_through_and_the_answer_finds_back(return_path: ReturnPath) -> None:
    """ "only the final destination reassembles the fragments"; each has "a full copy of the Via List, Destination List,
    and ForwardingOptions", and where it was cut nobody needs to see what kind of message it is of.
    """
    bench = Raw(return_path=return_path)
    harmless = replace(CRITICAL, flags=ForwardingOptionFlags(0))
    for piece in reversed(bench.pieces(at(140), via_list=(to(30),), options=(harmless,))):
        bench.send_bytes(50, piece)
    headers = [split(piece)[0] for piece in bench.passed]
    assert len(headers) >= 4
    assert {header.options for header in headers} == {(harmless,)}
    last = Message.decode(join(replace(headers[0], fragment=0xC0000000), whole(bench.passed)))
    assert last.contents.message_body == BODY.encode()
    for header in headers:
        route = [to(ME), *reversed(header.via_list)]
        bench.send(150, PONG, PingAns(1, 1), destinations=route, transaction_id=header.transaction_id)
        assert bench.hear_one(50, PONG).header.destination_list == (to(50), to(30))


def whole(pieces: list[bytes]) -> bytes:
    """The payload of fragments of one message."""
    parts = sorted((header.fragment_offset, payload) for header, payload in map(split, pieces))
    return b"".join(payload for _, payload in parts)


@pytest.mark.parametrize("return_path", ReturnPath)
def test_6_7_a_fragmented_response_finds_back(return_path: ReturnPath) -> None:
    """Whatever the request left behind: the entries of the list are expanded for each fragment."""
    bench = Raw(return_path=return_path)
    bench.send(50, PING, PingReq(), destinations=[at(140)], via_list=(to(30),))
    (request,) = map(split, bench.passed)
    kept: list[bytes] = []
    bench.remotes[50].take = kept.append
    send_bytes, bench.send_bytes = bench.send_bytes, lambda _, data: bench.passed.append(data)  # type: ignore[method-assign]
    route = [to(ME), *reversed(request[0].via_list)]
    bench.send(150, PONG, BODY, destinations=route, transaction_id=request[0].transaction_id)
    for piece in fragment(bench.passed[-1], MTU):
        send_bytes(150, piece)
    assert len(kept) >= 4
    assert {split(piece)[0].destination_list for piece in kept} == {(to(50), to(30))}


def test_6_7_incomplete_messages_are_forgotten() -> None:
    """ "receivers SHOULD time out incomplete fragments after the maximum request lifetime (15 seconds)": by a timer of
    the node's own.
    """
    bench = Raw()
    first, *rest = bench.pieces(at(75))
    bench.send_bytes(50, first)
    assert bench.node._messages.reassembler.bytes_held > len(first) // 2
    bench.run_for(HELD_S)
    assert bench.node._messages.reassembler.bytes_held == 0
    for piece in rest:
        bench.send_bytes(50, piece)
    assert bench.heard(50, PONG) == []


@pytest.mark.must("6.7/4")
def test_6_7_a_message_beyond_max_message_size_is_refused() -> None:
    """ "if the receiver runs out of buffer space to reassemble a message, it MUST drop the message"; a request that no
    single frame could have carried is answered once, with Error_Message_Too_Large (6.6).
    """
    bench = Raw(max_message_size=3000)
    for piece in bench.pieces(at(75)):
        bench.send_bytes(50, piece)
    assert bench.hear_one(50).error.error_code is ErrorCode.MESSAGE_TOO_LARGE


def test_6_7_what_is_rejected_on_the_way_is_read_first() -> None:
    """6.3.2.3's error is for requests whose signature holds: one error, when all of the message is there."""
    bench = Raw()
    for piece in bench.pieces(at(140), options=(CRITICAL,)):
        assert bench.heard(50) == []
        bench.send_bytes(50, piece)
    assert bench.hear_one(50).error.error_code is ErrorCode.UNSUPPORTED_FORWARDING_OPTION
    assert bench.passed == []
    for piece in bench.pieces(at(140), ttl=0):
        bench.send_bytes(50, piece)
    assert bench.hear_one(50).error.error_code is ErrorCode.TTL_EXCEEDED


@pytest.mark.must("6.7/6", "6.7/8")
def test_6_7_fragments_without_the_high_bit_are_discarded() -> None:
    """ "implementations SHOULD discard any message with it set to 0 [...]. They MUST NOT try to interpret as fragmented
    messages with the high bit set low."
    """
    bench = Raw()
    for piece in bench.pieces(at(75)):
        bench.send_bytes(50, piece[:12] + bytes([piece[12] & 0x7F]) + piece[13:])
    assert bench.heard(50) == []
    assert bench.node._messages.reassembler.bytes_held == 0


def test_6_7_a_flood_of_fragments_leaves_others_alone() -> None:
    """One neighbour fills what there is room for; a message of another comes through, and memory stays bounded."""
    bench = Raw()
    mine = bench.pieces(at(75), place=150)
    for piece in mine[:-1]:
        bench.send_bytes(150, piece)
    header = ForwardingHeader(
        overlay=bench.configuration.overlay_hash,
        configuration_sequence=1,
        transaction_id=0,
        fragment=0x80000000,
        destination_list=(to(ME),),
    )
    reassembler = bench.node._messages.reassembler
    for transaction in range(1, 101):
        bench.send_bytes(50, join(replace(header, transaction_id=transaction << 40), bytes(60_000)))
    assert reassembler.bytes_held <= 4 << 20
    bench.remotes[150].take = None
    bench.send_bytes(150, mine[-1])
    assert bench.hear_one(150, PONG).code is PONG

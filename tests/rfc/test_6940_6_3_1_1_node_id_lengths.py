"""RFC 6940 section 6.3.1.1: Node-IDs of 16 to 20 bytes, from the wire through forwarding to requests and answers."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_strategies import values_of

from p2psip.base.ids import NODE_ID_LENGTHS, NodeId, ResourceId
from p2psip.base.wallclock import WallClock
from p2psip.reload.forwarding.forwarder import Deliver, Forward, Forwarder, response_route
from p2psip.reload.forwarding.fragmentation import fragment
from p2psip.reload.forwarding.reassembly import Reassembler
from p2psip.reload.forwarding.return_path import ReturnPath, ReturnPaths
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.topology.chord.messages import BODIES
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.transport.transport import Finished, Originate, Transport
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination, ForwardingHeader
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.message import join, split
from p2psip.reload.wire.topology_messages import JoinAns, JoinReq
from p2psip.sim.membership import DATE, OVERLAY, Club, key

EVERY_LENGTH = pytest.mark.parametrize("length", NODE_ID_LENGTHS)


def nodes(length: int) -> list[NodeId]:
    """A, B, C, D and E of 6.1.2's example."""
    return [NodeId(bytes([number]) * length) for number in range(1, 6)]


class Everywhere:
    """A Router without a ring: nobody is responsible for anything."""

    def is_responsible(self, target: bytes) -> bool:
        return False

    def next_hop(self, target: bytes, chosen_by: NodeId | None = None) -> NodeId | None:
        return None


def to(node: NodeId) -> Destination:
    """An entry for it."""
    return Destination.node(node)


@given(st.data(), st.sampled_from(NODE_ID_LENGTHS))
def test_6_3_1_1_headers_of_every_length(data: st.DataObject, length: int) -> None:
    """Property: what is encoded decodes to the same, and to nothing else under another length."""
    header = data.draw(values_of(ForwardingHeader, None, length))
    assert ForwardingHeader.decode(header.encode(), node_id_length=length) == header
    named = replace(header, destination_list=(to(NodeId(bytes(length))),))
    other = data.draw(st.sampled_from([other for other in NODE_ID_LENGTHS if other != length]))
    with pytest.raises(DecodeError):
        ForwardingHeader.decode(named.encode(), node_id_length=other)


@EVERY_LENGTH
@pytest.mark.parametrize("strategy", ReturnPath)
def test_6_1_2_there_and_back(length: int, strategy: ReturnPath) -> None:
    """From A to E over B, C and D, as bytes from hop to hop, and all the way back."""
    path = nodes(length)
    hops = {
        node: Forwarder(
            node,
            1,
            Everywhere(),
            frozenset(path[max(0, place - 1) : place + 2]),
            ReturnPaths(strategy, random.Random(place), node_id_length=length),
        )
        for place, node in enumerate(path)
    }

    def travel(header: ForwardingHeader, way: list[NodeId], *, is_request: bool) -> ForwardingHeader:
        for here, there in pairwise(way):
            data = join(header, b"payload")
            header, payload = split(data, node_id_length=length)
            assert payload == b"payload"
            verdict = hops[there].receive(header, here, 0.0, is_request=is_request)
            assert isinstance(verdict, Deliver if there == way[-1] else Forward)
            header = verdict.header
        return header

    fields = {"overlay": 1, "configuration_sequence": 1, "transaction_id": 7}
    request = ForwardingHeader(destination_list=tuple(map(to, path[1:])), **fields)  # type: ignore[arg-type]
    arrived = travel(request, path, is_request=True)
    assert arrived.destination_list == (to(path[-1]),)
    route = response_route(arrived, path[-2])
    response = ForwardingHeader(destination_list=route, **fields)  # type: ignore[arg-type]
    back = travel(response, path[::-1], is_request=False)
    assert back.destination_list == (to(path[0]),)


@EVERY_LENGTH
def test_6_1_1_the_wildcard_of_every_length(length: int) -> None:
    """All ones, as many as the overlay's Node-IDs have."""
    _, previous, here, *_ = nodes(length)
    paths = ReturnPaths(ReturnPath.VIA_LIST, random.Random(1), node_id_length=length)
    forwarder = Forwarder(here, 1, Everywhere(), frozenset([previous]), paths)
    wildcard = to(NodeId.wildcard(length))
    header = ForwardingHeader(overlay=1, configuration_sequence=1, transaction_id=7, destination_list=(wildcard,))
    assert forwarder.receive(header, previous, 0.0, is_request=True) == Deliver(here, header)


@EVERY_LENGTH
def test_6_7_fragments_of_every_length(length: int) -> None:
    """Cut and put together again."""
    a, b, *_ = nodes(length)
    header = ForwardingHeader(
        overlay=1, configuration_sequence=1, transaction_id=7, via_list=(to(a),), destination_list=(to(b),)
    )
    payload = random.Random(1).randbytes(3000)
    reassembler, whole = Reassembler(5000), None
    for piece in fragment(join(header, payload), 1000, node_id_length=length):
        head, part = split(piece, node_id_length=length)
        whole = reassembler.receive(head, part, b, a, 0.0)
    assert whole is not None
    assert whole[1] == payload


class Close:
    """A Proximity that lets everybody answer."""

    def is_close_enough(self, node: NodeId, resource: ResourceId) -> bool:
        return True


@EVERY_LENGTH
def test_6_3_4_requests_and_answers_of_every_length(length: int) -> None:
    """Signed with certificates that name such Node-IDs, with Node-IDs in their bodies."""
    nobody: dict[str, object] = {"kind_signers": frozenset(), "configuration_signers": frozenset()}
    club = Club.of(node_id_length=length, diagnostic_kinds=(), **nobody)
    names = [NodeId(random.Random(number).randbytes(length)) for number in range(2)]
    alice, bob = (
        CertifiedIdentity(
            key(club.algorithm, number),
            [club.certificate(f"{user}@{OVERLAY}", [name], number=number)],
            node_id_length=length,
        )
        for number, (user, name) in enumerate(zip(("alice", "bob"), names, strict=True))
    )
    here, there = (
        Transport(
            club.configuration.overlay_hash,
            club.verifier,
            Close(),
            random.Random(number),
            WallClock(DATE),
            configuration_sequence=0,
            node_id_length=length,
            topology_bodies=BODIES,
        )
        for number in range(2)
    )
    here.request(alice, OverlayRequest([to(names[1])], MessageCode.JOIN_REQ, JoinReq(names[0])), "join", 0.0)
    received = there.receive(*carried(here, length), names[0], names[1], 0.1)
    assert received is not None
    assert (received.signer.node_id, received.body) == (names[0], JoinReq(names[0]))
    there.answer(received, bob, JoinAns())
    assert here.receive(*carried(there, length), names[1], names[0], 0.2) is None
    (finished,) = (effect for effect in here.drain() if isinstance(effect, Finished))
    assert isinstance(finished.outcome, Answer)
    assert finished.outcome.signer.node_id == names[1]


def carried(transport: Transport, length: int) -> tuple[ForwardingHeader, bytes]:
    """The one message that it originates, as it comes out of the wire."""
    (sent,) = (effect for effect in transport.drain() if isinstance(effect, Originate))
    return split(join(sent.header, sent.payload), node_id_length=length)

"""RFC 6940 section 6.1.2: a node whose certificate has several Node-IDs says with an Attach which of them it is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2psip.base.address import Address
from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.link.framing import Deframer, frame_data
from p2psip.reload.node.effects import LinkUp, Write
from p2psip.reload.node.node import Node
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.topology.actions import Connect
from p2psip.reload.topology.chord.messages import BODIES as CHORD_BODIES
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.contents import ErrorCode, ErrorResponse, MessageCode, MessageContents
from p2psip.reload.wire.header import Destination, ForwardingHeader
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.link_messages import AttachReqAns, CandType, IceCandidate, OverlayLinkType, PingReq
from p2psip.reload.wire.message import Message, body_of, join, signature_input
from p2psip.reload.wire.security_block import SecurityBlock
from p2psip.reload.wire.topology_messages import JoinReq, RouteQueryReq
from p2psip.sim.certified import CertifiedOverlay, ring_id
from p2psip.sim.membership import OVERLAY, Club, key

REMOTE, HERE = Address("192.0.2.1", 6084), Address("192.0.2.2", 6084)


def several(club: Club, number: int, place: int, count: int = 3) -> CertifiedIdentity:
    """Peer `number` with `count` Node-IDs, acting as one of them."""
    nodes = [ring_id(number, each) for each in range(count)]
    certificate = club.certificate(f"peer-p{number}@{OVERLAY}", nodes, number=number)
    return CertifiedIdentity(key(club.algorithm, number), [certificate], nodes[place])


class Stranger:
    """A member that has connected to `node` without an Attach, at the other end of link 101."""

    def __init__(self, overlay: CertifiedOverlay, node: Node, identity: CertifiedIdentity) -> None:
        self.identity = identity
        self._overlay = overlay
        self._node = node
        self._sequence = 0
        chain = tuple(entry.certificate for entry in identity.certificates)
        node.handle_link_up(LinkUp(101, chain, REMOTE, HERE), overlay.world.now)
        node.drain()

    def ask(self, code: MessageCode, body: Struct, to: Destination, transaction_id: int) -> list[tuple[bool, Struct]]:
        """Send a request; what comes back at once over this link, or goes out over others."""
        message = self.message(code, body, to, transaction_id)
        self._node.handle_link_data(101, frame_data(self._sequence, message), self._overlay.world.now)
        self._sequence += 1
        return [
            (effect.link == 101, body_of(message.contents, topology=CHORD_BODIES))
            for effect in self._node.drain()
            if isinstance(effect, Write)
            for message in _messages(effect.data)
            if message.header.transaction_id == transaction_id
        ]

    def message(self, code: MessageCode, body: Struct, to: Destination, transaction_id: int) -> bytes:
        """A request of its own, as bytes."""
        header = ForwardingHeader(
            overlay=self._overlay.configuration.overlay_hash,
            configuration_sequence=1,
            ttl=20,
            transaction_id=transaction_id,
            destination_list=(to,),
        )
        contents = MessageContents(code, body.encode()).encode()
        signature = self.identity.sign(signature_input(header.overlay, transaction_id, contents))
        return join(header, contents + SecurityBlock(self.identity.certificates, signature).encode())


def _messages(data: bytes) -> list[Message]:
    return [Message.decode(content) for _, content in Deframer(1 << 24).feed(data) if not isinstance(content, int)]


def attach(count: int) -> AttachReqAns:
    """An offer of an address that can be dialled."""
    address = IpAddressPort.of("192.0.2.1", 6084)
    candidate = IceCandidate(address, OverlayLinkType.TLS_TCP_FH_NO_ICE, b"1", count, CandType.HOST)
    return AttachReqAns(b"", b"", b"passive", (candidate,), send_update=False)


def grown(club: Club) -> tuple[CertifiedOverlay, Node, Destination]:
    """Two peers; the first of them, and a place that the second is responsible for."""
    overlay = CertifiedOverlay(club, "6.1.2/8")
    overlay.grow(2)
    return overlay, overlay.nodes["p0"], Destination.resource(ResourceId(ring_id(1)))


def errors(answers: list[tuple[bool, Struct]]) -> list[object]:
    """The error codes among answers that came back."""
    return [body.error_code for back, body in answers if back and isinstance(body, ErrorResponse)]


@pytest.mark.must("6.1.2/8")
def test_6_1_2_without_an_attach_only_ping_and_attach_pass() -> None:
    """ "a message other than a Ping or Attach [...] MUST reject the request with an Error_Forbidden error" """
    club = Club.of()
    overlay, node, far = grown(club)
    stranger = Stranger(overlay, node, several(club, 2, place=1))
    refused = stranger.ask(MessageCode.ROUTE_QUERY_REQ, RouteQueryReq(False, far, b""), far, 1)
    assert errors(refused) == [ErrorCode.FORBIDDEN]
    assert len(refused) == 1, "it went nowhere else"
    ((is_back, body),) = stranger.ask(MessageCode.PING_REQ, PingReq(), far, 2)
    assert (is_back, body) == (False, PingReq())
    ((is_back, body),) = stranger.ask(MessageCode.ATTACH_REQ, attach(1), far, 3)
    assert (is_back, body) == (False, attach(1))
    # What is for the node itself is not routed through it.
    mine = Destination.node(node.node_id)
    served = stranger.ask(MessageCode.ROUTE_QUERY_REQ, RouteQueryReq(False, far, b""), mine, 4)
    assert served
    assert not errors(served)


@pytest.mark.must("6.1.2/8")
def test_6_1_2_after_an_attach_everything_passes() -> None:
    """Then it is certain which Node-ID it is; and a certificate with one Node-ID leaves no doubt from the start."""
    club = Club.of()
    overlay, node, far = grown(club)
    stranger = Stranger(overlay, node, several(club, 2, place=1))
    assert not errors(stranger.ask(MessageCode.ATTACH_REQ, attach(1), Destination.node(node.node_id), 1))
    passed = stranger.ask(MessageCode.ROUTE_QUERY_REQ, RouteQueryReq(False, far, b""), far, 2)
    assert [is_back for is_back, _ in passed] == [False]
    overlay, node, far = grown(club)
    plain = Stranger(overlay, node, several(club, 2, place=0, count=1))
    passed = plain.ask(MessageCode.ROUTE_QUERY_REQ, RouteQueryReq(False, far, b""), far, 2)
    assert [is_back for is_back, _ in passed] == [False]


def test_6_1_2_the_first_message_says_who_is_at_the_other_end() -> None:
    """A link is guessed to be the first Node-ID; the signature of what comes over it tells."""
    club = Club.of()
    overlay, node, _ = grown(club)
    stranger = Stranger(overlay, node, several(club, 2, place=2))
    assert node.is_linked(ring_id(2, 0))
    stranger.ask(MessageCode.PING_REQ, PingReq(), Destination.node(NodeId.wildcard()), 1)
    assert not node.is_linked(ring_id(2, 0))
    assert node.is_linked(ring_id(2, 2))
    joined = stranger.ask(MessageCode.JOIN_REQ, JoinReq(ring_id(2, 0), b""), Destination.node(node.node_id), 2)
    assert errors(joined) == [ErrorCode.FORBIDDEN], "it joins as who it is, or not at all"


def test_6_1_2_whom_we_have_asked_for_a_link_is_at_the_other_end_of_it() -> None:
    """No guess is needed where one of its Node-IDs is awaited, or is linked already: not even for one message."""
    club = Club.of()
    overlay, node, far = grown(club)
    node._intents.connect(Connect(ring_id(2, 2), ring_id(2, 2)), overlay.world.now)
    node.drain()
    stranger = Stranger(overlay, node, several(club, 2, place=2))
    assert {ring_id(2, place) for place in range(3)} & set(node.linked) == {ring_id(2, 2)}
    passed = stranger.ask(MessageCode.ROUTE_QUERY_REQ, RouteQueryReq(False, far, b""), far, 1)
    assert [is_back for is_back, _ in passed] == [False], "we have asked: that is an Attach"
    chain = tuple(entry.certificate for entry in stranger.identity.certificates)
    node.handle_link_up(LinkUp(103, chain, REMOTE, HERE), overlay.world.now)
    assert [link.number for link in node.links(ring_id(2, 2))] == [101, 103]


@settings(max_examples=60)
@given(garbage=st.binary(max_size=400), cut=st.integers(0, 1200), at=st.integers(0, 1200))
def test_6_1_2_whatever_an_unknown_end_sends_names_nobody_else(garbage: bytes, cut: int, at: int) -> None:
    """Bytes at random, and a Ping that is cut or damaged: the link stays whose it is, or is one of its own Node-IDs."""
    club = Club.of()
    overlay = CertifiedOverlay(club, "fuzz")
    overlay.grow(1)
    node, identity = overlay.nodes["p0"], several(club, 2, place=2)
    stranger = Stranger(overlay, node, identity)
    message = stranger.message(MessageCode.PING_REQ, PingReq(), Destination.node(node.node_id), 1)
    damaged = message[:at] + garbage[:1] + message[at + 1 :]
    for sequence, data in enumerate((garbage, message[:cut], damaged)):
        if data:
            node.handle_link_data(101, frame_data(sequence, data), overlay.world.now)
    assert set(node.linked) <= set(identity.node_ids)


def test_6_1_2_peers_of_several_node_ids_join_whichever_they_act_as() -> None:
    """The first peer, at which the others knock, is not the first Node-ID of its certificate."""
    club = Club.of()
    for places in ((2, 1, 0), (1, 2, 1), (0, 0, 2)):
        overlay = CertifiedOverlay(
            club, f"join {places}", identity_of=lambda number, places=places: several(club, number, places[number])
        )
        overlay.grow(3)
        found = {node.node_id for node in overlay.nodes.values()}
        assert found == {ring_id(number, place) for number, place in enumerate(places)}

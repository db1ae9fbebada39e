"""RFC 6940 sections 6.5.1 to 6.5.3: Attach and AppAttach without ICE, and Ping."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from node_bench import NodeBench, nid, offer

from p2psip.base.address import Address
from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.paths.paths import Paths
from p2psip.reload.paths.values import Purpose
from p2psip.reload.wire.contents import ErrorCode, MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import (
    NO_ICE,
    AppAttachReq,
    AttachReqAns,
    OverlayLinkType,
    PingAns,
    PingReq,
)
from p2psip.sim.simulated_overlay import simulated_configuration

LARGER = 105


def start() -> NodeBench:
    """Node 100 in a ring with 50 and 150."""
    bench = NodeBench()
    bench.become_ring(150, 50)
    return bench


def wants(bench: NodeBench, place: int) -> AttachReqAns:
    """Its Chord wants a link with `place`, of which 150 told it: the Attach that follows."""
    bench.update(150, successors=(place,))
    sent = bench.hear_one(150, MessageCode.ATTACH_REQ)
    assert isinstance(sent.body, AttachReqAns)
    return sent.body


@pytest.mark.must("6.5.1/1")
def test_6_5_1_a_node_that_has_sent_no_update_is_not_routed_through() -> None:
    """ "it MAY route messages which are directly addressed to B through that channel, but it MUST NOT route messages
    through B to other peers via that channel."
    """
    bench = start()
    bench.link(140)
    beyond = Destination.resource(ResourceId(nid(145)))
    bench.send(50, MessageCode.PING_REQ, PingReq(), destinations=[beyond])
    assert bench.heard(140) == []
    assert bench.hear_one(150).header.destination_list == (beyond,)
    bench.send(50, MessageCode.PING_REQ, PingReq(), destinations=[Destination.node(nid(140))])
    assert bench.hear_one(140).code is MessageCode.PING_REQ
    bench.update(140)
    bench.heard(140)
    bench.send(50, MessageCode.PING_REQ, PingReq(), destinations=[beyond])
    assert bench.hear_one(140, MessageCode.PING_REQ).header.destination_list == (beyond,)


@pytest.mark.must("6.5.1.1/1")
def test_6_5_1_1_the_offerer_is_passive_and_the_answerer_active() -> None:
    """ "This value MUST be "passive" for the offerer [...] and "active" for the answerer"."""
    bench = start()
    assert wants(bench, LARGER).role == b"passive"
    bench.send(150, MessageCode.ATTACH_REQ, offer(110), signer=110)
    answer = bench.hear_one(150, MessageCode.ATTACH_ANS)
    assert isinstance(answer.body, AttachReqAns)
    assert answer.body.role == b"active"


@pytest.mark.must("6.5.1.1/4")
def test_6_5_1_1_candidates_are_all_with_ice_or_all_without() -> None:
    """ "A single AttachReqAns MUST NOT include both candidates whose OverlayLinkType protocols use ICE (the default)
    and candidates that specify "No-ICE"."; one that does is refused.
    """
    bench = start()
    assert all(candidate.overlay_link in NO_ICE for candidate in wants(bench, LARGER).candidates)
    mixed = offer(110)
    with_ice = replace(mixed.candidates[0], overlay_link=OverlayLinkType.DTLS_UDP_SR)
    bench.send(150, MessageCode.ATTACH_REQ, replace(mixed, candidates=(*mixed.candidates, with_ice)), signer=110)
    assert bench.hear_one(150, MessageCode.ERROR).error.error_code is ErrorCode.INVALID_MESSAGE
    assert bench.dials() == []


@pytest.mark.must("6.5.1.5/1")
def test_6_5_1_5_an_overlay_is_all_ice_or_all_no_ice() -> None:
    """ "An overlay MUST be either all ICE or all No-ICE.": what we offer is of one kind, as the configuration says. TCP
    beside ICE is of a type of our own, which does not specify "No-ICE".
    """
    for no_ice, expected in ((True, set(NO_ICE)), (False, {OverlayLinkType.DTLS_UDP_SR, OverlayLinkType.TLS_TCP_FH})):
        permitted = simulated_configuration([], no_ice=no_ice).link_types
        whereabouts = Paths(random.Random(1), permitted=permitted).whereabouts
        whereabouts.able, whereabouts.addresses[Purpose.RELOAD] = NO_ICE, (Address("192.0.2.1", 6084),)
        offered = whereabouts.offering(Purpose.RELOAD).candidates
        assert {candidate.overlay_link for candidate in offered} == expected


@pytest.mark.must("6.5.1.12/1", "6.5.1.12/2")
def test_6_5_1_12_one_offer_and_one_answer() -> None:
    """ "An agent MUST NOT send a subsequent offer or answer.": what is repeated is the same transaction, and when the
    link is up there is no further one.
    """
    bench = start()
    bench.update(150, successors=(LARGER,))
    bench.run_for(4.0)
    sent = bench.heard(150, MessageCode.ATTACH_REQ)
    assert len(sent) > 1
    assert len({(message.header.transaction_id, message.body.encode()) for message in sent}) == 1
    bench.link(LARGER)
    bench.update(LARGER)
    # The answer comes after the link that it announces.
    bench.answer(150, sent[0], MessageCode.ATTACH_ANS, offer(LARGER, b"active"), signer=LARGER)
    bench.run_for(30.0)
    assert not any(message.header.destination_list[-1].node_id == nid(LARGER) for message in bench.heard(150))
    assert bench.notes("attach failed") == []


@pytest.mark.must("6.5.1.13/1", "6.5.1.13/2")
def test_6_5_1_13_who_asks_waits_and_who_answers_dials() -> None:
    """ "The node that sent the Attach request MUST be the TLS server. The other node MUST be the TLS client.": whoever
    dials is the client of the handshake (`net` knows no other way).
    """
    bench = start()
    bench.update(150, successors=(LARGER,))
    request = bench.hear_one(150, MessageCode.ATTACH_REQ)
    bench.answer(150, request, MessageCode.ATTACH_ANS, offer(LARGER, b"active"), signer=LARGER)
    assert bench.dials() == []
    bench.send(150, MessageCode.ATTACH_REQ, offer(110), signer=110)
    assert [dial.purpose for dial in bench.dials()] == [Purpose.RELOAD]


@pytest.mark.must("6.5.1.13/4", "6.5.1.11/1")
@pytest.mark.parametrize("purpose", list(Purpose))
def test_6_5_1_13_the_certificate_is_that_of_who_sent_the_message(purpose: Purpose) -> None:
    """ "The nodes MUST verify that the certificate presented in the handshake matches the identity of the other peer as
    found in the Attach message."
    """
    bench = start()
    if purpose is Purpose.RELOAD:
        bench.send(150, MessageCode.ATTACH_REQ, offer(LARGER), signer=LARGER)
    else:
        request = AppAttachReq(b"", b"", 5060, b"passive", offer(LARGER).candidates)
        bench.send(150, MessageCode.APP_ATTACH_REQ, request, signer=LARGER)
    (dial,) = bench.dials()
    bench.link(LARGER, dial.link, presents=77, purpose=purpose)
    assert bench.hung_up() == [dial.link]
    assert not bench.node.is_linked(nid(LARGER))


@pytest.mark.must("6.5.2.2/1")
@pytest.mark.parametrize("application", [0, 1, 5059, 5062, 32768, 65535])
def test_6_5_2_2_applications_that_do_not_run_here(application: int) -> None:
    """ "If the Application ID is not supported, the peer MUST reply with an Error_Not_Found error." Of 14.5's
    registry 0 is invalid and 65535 reserved.
    """
    bench = start()
    request = AppAttachReq(b"", b"", application, b"passive", offer(LARGER).candidates)
    bench.send(150, MessageCode.APP_ATTACH_REQ, request, signer=LARGER)
    assert bench.hear_one(150).error.error_code is ErrorCode.NOT_FOUND
    assert bench.dials() == []


@pytest.mark.parametrize("size", [0, 1, 3000, 65000])
def test_6_5_3_1_a_ping_may_be_padded(size: int) -> None:
    """ "it may contain up to 65535 bytes of padding to facilitate the discovery of overlay maximum packet sizes"; the
    answer does not grow with it.
    """
    bench = start()
    bench.send(150, MessageCode.PING_REQ, PingReq(b"\xab" * size))
    answer = bench.hear_one(150)
    assert isinstance(answer.body, PingAns)
    assert len(answer.body.encode()) == 16


def test_6_5_3_a_ping_to_everybody_is_answered_by_the_next_node_alone() -> None:
    """Of the wildcard Node-ID 6.1.1 says: "never forwarded; it is consumed locally"."""
    bench = start()
    bench.send(150, MessageCode.PING_REQ, PingReq(), destinations=[Destination.node(NodeId.wildcard())])
    assert bench.hear_one(150).signer == nid(100)
    assert bench.heard(50) == []

"""RFC 6940 section 6.3.3.1: every error code that the document defines, answered by a real node where it says so."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from node_bench import NodeBench, address, identity, nid, offer

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.node.effects import Done
from p2psip.reload.paths.limits import DIALS_MAX
from p2psip.reload.paths.values import Candidate, Purpose, Session
from p2psip.reload.storage.stored_values import sign_value
from p2psip.reload.topology.actions import Connect
from p2psip.reload.topology.chord.ring import hash_name
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import (
    ErrorCode,
    ErrorResponse,
    MessageCode,
    MessageExtension,
    MessageExtensionType,
    UnknownBody,
    UnknownKinds,
)
from p2psip.reload.wire.header import Destination, ForwardingOption, ForwardingOptionFlags, ForwardingOptionType
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.link_messages import AppAttachReq, PingAns, PingReq
from p2psip.reload.wire.storage_messages import (
    DataValue,
    DictionaryEntry,
    DictionarySpecifier,
    FetchReq,
    StoreAns,
    StoredDataSpecifier,
    StoreKindData,
    StoreReq,
)
from p2psip.reload.wire.topology_messages import JoinReq
from p2psip.reload.wire.usages.sip_registration import SipRegistration
from p2psip.sim.signer import SimulatedIdentity
from p2psip.sim.simulated_overlay import EPOCH_S

KIND = 1
NOW_MS = int(EPOCH_S * 1000)
WHO = SimulatedIdentity("user@sim.example", NodeId(random.Random("line").randbytes(16)))
PLACE = hash_name(WHO.user.encode())
HERE = [Destination.resource(PLACE)]


def alone(**settings: object) -> NodeBench:
    """Node 100, responsible for everything; 50 is linked with it."""
    bench = NodeBench(**settings)  # type: ignore[arg-type]
    bench.become_first()
    bench.link(50)
    bench.settle_updates()
    return bench


def answer(bench: NodeBench, code: MessageCode, body: Struct, **header: object) -> ErrorResponse:
    """The error with which the node answers a request of 50."""
    bench.send(50, code, body, **header)  # type: ignore[arg-type]
    heard = bench.heard(50)
    assert len(heard) == 1
    assert int(heard[0].code) == 0xFFFF
    return heard[0].error


def registration(time_ms: int = NOW_MS, *, generation: int = 0, kind: int = KIND, padding: int = 0) -> StoreReq:
    """A Store of the user's registration."""
    uri = SipRegistration.uri("sip:" + "x" * padding + "user@sim.example") if padding else None
    route = uri or SipRegistration.route((Destination.node(nid(50)),))
    entry = DictionaryEntry(bytes(WHO.node_id), DataValue(True, route.encode()))
    value = sign_value(WHO, PLACE, KIND, entry, time_ms, 1800)
    return StoreReq(PLACE, 0, (StoreKindData(kind, generation, (value,)),))


def store(bench: NodeBench, request: StoreReq) -> ErrorResponse:
    """The error of a Store of the user."""
    return answer(bench, MessageCode.STORE_REQ, request, signer=WHO, destinations=HERE)


def stored(bench: NodeBench) -> NodeBench:
    """The same node, once it has the user's registration."""
    bench.send(50, MessageCode.STORE_REQ, registration(), signer=WHO, destinations=HERE)
    assert bench.hear_one(50).code is MessageCode.STORE_ANS
    return bench


def forbidden() -> ErrorResponse:
    """ "The requesting node does not have permission to make this request": it wants another node to join."""
    return answer(alone(), MessageCode.JOIN_REQ, JoinReq(nid(60)), signer=50)


def not_found() -> ErrorResponse:
    """6.5.2.2: "If the Application ID is not supported, the peer MUST reply with an Error_Not_Found error"."""
    return answer(alone(), MessageCode.APP_ATTACH_REQ, AppAttachReq(b"", b"", 4711, b"passive", offer(50).candidates))


def request_timeout() -> ErrorResponse:
    """6.5.1.2: "If the peer is overloaded [...], it MAY generate an error": it makes as many connections as it may."""
    bench = alone()
    for place in range(DIALS_MAX):
        bench.node._connections.dial(Session(Purpose.RELOAD, (Candidate(address(place)),)), None, bench.now)
    return answer(bench, MessageCode.ATTACH_REQ, offer(50))


def data_too_old() -> ErrorResponse:
    """ "A store cannot be completed because the storage_time precedes the existing value." """
    return store(stored(alone()), registration(NOW_MS - 1))


def data_too_large() -> ErrorResponse:
    """ "the requested object exceeds the size limits for that Kind" """
    return store(alone(), registration(padding=2000))


def generation_counter_too_low() -> ErrorResponse:
    """ "the generation counter precedes the existing value"; it carries a StoreAns."""
    error = store(stored(alone()), registration(NOW_MS + 1, generation=4711))
    assert StoreAns.decode(error.error_info).kind_responses[0].kind == KIND
    return error


def incompatible_with_overlay() -> ErrorResponse:
    """ "A peer receiving the request is using a different overlay" """
    bench = alone()
    return answer(bench, MessageCode.PING_REQ, PingReq(), overlay=bench.configuration.overlay_hash ^ 1)


def unsupported_forwarding_option() -> ErrorResponse:
    """ "A node received the request with a forwarding options flagged as critical, but [...] does not support this"."""
    option = ForwardingOption(ForwardingOptionType(200), ForwardingOptionFlags.DESTINATION_CRITICAL, b"")
    return answer(alone(), MessageCode.PING_REQ, PingReq(), options=(option,))


def ttl_exceeded() -> ErrorResponse:
    """ "A peer received the request in which the TTL was decremented to zero." """
    bench = alone()
    bench.link(70)
    return answer(bench, MessageCode.PING_REQ, PingReq(), destinations=[Destination.node(nid(70))], ttl=0)


def message_too_large() -> ErrorResponse:
    """ "A peer received a request that was too large. See Section 6.6." """
    return answer(alone(max_message_size=2000), MessageCode.PING_REQ, PingReq(bytes(2000)))


def response_too_large() -> ErrorResponse:
    """ "A node would have generated a response that is too large per the max_response_length field." """
    request = FetchReq(PLACE, (StoredDataSpecifier(KIND, 0, DictionarySpecifier(())),))
    fetch = (MessageCode.FETCH_REQ, request)
    return answer(stored(alone()), *fetch, destinations=HERE, max_response_length=200)


def config_too_old() -> ErrorResponse:
    """ "A destination node received a request with a configuration sequence that is too old." """
    bench = alone(sequence=7)
    bench.send(50, MessageCode.PING_REQ, PingReq(), configuration_sequence=6)
    return bench.hear_one(50, MessageCode.ERROR).error


def config_too_new() -> ErrorResponse:
    """ "A destination node received a request with a configuration sequence that is too new." """
    return answer(alone(sequence=7), MessageCode.PING_REQ, PingReq(), configuration_sequence=8)


def unknown_kind() -> ErrorResponse:
    """ "A destination peer received a request with an unknown Kind-ID"; it says which."""
    request = replace(registration(), kind_data=(StoreKindData(0xF0000001, 0, ()),))
    error = store(alone(), request)
    assert UnknownKinds.decode(error.error_info).unknown_kinds == (0xF0000001,)
    return error


def in_progress() -> ErrorResponse:
    """ "An Attach to this peer is already in progress." """
    bench = alone()
    bench.node._intents.connect(Connect(nid(60), nid(60)), bench.now)
    bench.node._settle(bench.now)
    bench.settle()
    return answer(bench, MessageCode.ATTACH_REQ, offer(60), signer=60)


def unknown_extension() -> ErrorResponse:
    """ "A destination node received a request with an unknown extension", which is critical."""
    extension = MessageExtension(MessageExtensionType(0x7777), True, b"")
    return answer(alone(), MessageCode.PING_REQ, PingReq(), extensions=(extension,))


def invalid_message() -> ErrorResponse:
    """ "Something about this message is invalid, but it does not fit the other error codes. When this message is sent,
    implementations SHOULD provide some meaningful description in error_info".
    """
    error = answer(alone(), MessageCode.JOIN_REQ, UnknownBody(b"\x00"))
    assert "join_req" in error.text
    return error


RAISED: dict[ErrorCode, Callable[[], ErrorResponse]] = {
    ErrorCode.FORBIDDEN: forbidden,
    ErrorCode.NOT_FOUND: not_found,
    ErrorCode.REQUEST_TIMEOUT: request_timeout,
    ErrorCode.GENERATION_COUNTER_TOO_LOW: generation_counter_too_low,
    ErrorCode.INCOMPATIBLE_WITH_OVERLAY: incompatible_with_overlay,
    ErrorCode.UNSUPPORTED_FORWARDING_OPTION: unsupported_forwarding_option,
    ErrorCode.DATA_TOO_LARGE: data_too_large,
    ErrorCode.DATA_TOO_OLD: data_too_old,
    ErrorCode.TTL_EXCEEDED: ttl_exceeded,
    ErrorCode.MESSAGE_TOO_LARGE: message_too_large,
    ErrorCode.UNKNOWN_KIND: unknown_kind,
    ErrorCode.UNKNOWN_EXTENSION: unknown_extension,
    ErrorCode.RESPONSE_TOO_LARGE: response_too_large,
    ErrorCode.CONFIG_TOO_OLD: config_too_old,
    ErrorCode.CONFIG_TOO_NEW: config_too_new,
    ErrorCode.IN_PROGRESS: in_progress,
    ErrorCode.INVALID_MESSAGE: invalid_message,
}

NEVER_RAISED = {ErrorCode.INVALID_ERROR_CODE, ErrorCode.EXP_A, ErrorCode.EXP_B}
"""0 is no error code; the others "MUST NOT be used for operational deployments" (test_6940_14_experimental)."""


def test_6_3_3_1_nothing_is_left_out() -> None:
    """Each code that section 14.9 lists is raised below, or never."""
    listed = {code for code in ErrorCode if code <= ErrorCode.INVALID_MESSAGE}
    assert RAISED.keys() | NEVER_RAISED == listed
    assert not RAISED.keys() & NEVER_RAISED


@pytest.mark.must("6.3.3.1/1", "6.3.3.1/3", "6.3.3.1/4")
@pytest.mark.parametrize("code", RAISED, ids=lambda code: code.rfc_name)
def test_6_3_3_1_each_error_is_raised(code: ErrorCode) -> None:
    """ "If the request has failed, then the message code MUST be set to 0xffff (error) and the payload MUST be an
    error_response message".
    """
    error = RAISED[code]()
    assert error.error_code is code
    if code not in (ErrorCode.GENERATION_COUNTER_TOO_LOW, ErrorCode.UNKNOWN_KIND):
        assert error.text.isprintable(), "Unless otherwise specified, this will be a UTF-8 text string"
        assert error.text


@pytest.mark.must("6.3.3.1/1", "6.3.3.1/2")
@pytest.mark.parametrize(
    ("code", "body", "destinations"),
    [
        (MessageCode.PING_REQ, PingReq(), ()),
        (MessageCode.STORE_REQ, registration(), HERE),
        (MessageCode.JOIN_REQ, JoinReq(nid(50)), ()),
        (MessageCode.ATTACH_REQ, offer(50), ()),
    ],
    ids=["ping", "store", "join", "attach"],
)
def test_6_3_3_1_success_is_the_next_code(code: MessageCode, body: Struct, destinations: list[Destination]) -> None:
    """ "If the request was a success, then the message code MUST be set to the response code that matches the request
    (i.e., the next code up)."
    """
    bench = alone()
    signer = WHO if code is MessageCode.STORE_REQ else identity(50)
    transaction = bench.send(50, code, body, signer=signer, destinations=destinations)
    answers = [heard for heard in bench.heard(50) if heard.header.transaction_id == transaction]
    assert [int(heard.code) for heard in answers] == [int(code) + 1]


@pytest.mark.must("6.3.2/11")
def test_6_3_2_max_response_length_is_checked() -> None:
    """ "responding peers MUST check that any response would not exceed it": the whole message counts, header included,
    and zero is no limit. The error is the one of 6.3.3.1 that was made for it; the text of 6.3.2 names another.
    """
    bench = alone()
    bench.send(50, MessageCode.PING_REQ, PingReq())
    bench.send(50, MessageCode.PING_REQ, PingReq(), max_response_length=0)
    first, second = bench.heard(50, MessageCode.PING_ANS)
    assert first.header.length == second.header.length
    assert first.header.max_response_length == 0, "This value SHOULD be set to zero for responses."
    bench.send(50, MessageCode.PING_REQ, PingReq(), max_response_length=first.header.length)
    assert len(bench.heard(50, MessageCode.PING_ANS)) == 1
    error = answer(bench, MessageCode.PING_REQ, PingReq(), max_response_length=first.header.length - 1)
    assert error.error_code is ErrorCode.RESPONSE_TOO_LARGE


def test_6_3_2_our_own_reads_say_what_we_take() -> None:
    """ "This is used by requesting nodes to avoid receiving (unexpected) very large responses": max-message-size."""
    bench = NodeBench(max_message_size=4000)
    bench.become_ring(50)
    request = FetchReq(ResourceId(nid(40)), (StoredDataSpecifier(KIND, 0, DictionarySpecifier(())),))
    bench.node.fetch(request, "asked", bench.now)
    bench.settle()
    assert bench.hear_one(50, MessageCode.FETCH_REQ).header.max_response_length == 4000


def test_6_6_a_request_of_ours_that_is_too_large_fails_at_once() -> None:
    """Nobody would take it; it says so, and waits for nothing."""
    bench = NodeBench(max_message_size=2000)
    bench.become_ring(50)
    bench.take(Done)
    bench.node.request(
        OverlayRequest([Destination.node(nid(50))], MessageCode.PING_REQ, PingReq(bytes(2000))), "asked", bench.now
    )
    bench.settle()
    (done,) = bench.take(Done)
    assert "more than max-message-size" in str(done)
    assert bench.heard(50, MessageCode.PING_REQ) == []


@pytest.mark.must("6.3.3/1")
def test_6_3_3_critical_extensions() -> None:
    """ "If critical = True and the recipient does not understand the message, it MUST generate an
    Error_Unknown_Extension error. If critical = False, the recipient MAY choose to process the message".
    """
    bench = alone()
    for critical, code in ((False, MessageCode.PING_ANS), (True, MessageCode.ERROR)):
        extension = MessageExtension(MessageExtensionType(0x7777), critical, b"whatever")
        bench.send(50, MessageCode.PING_REQ, PingReq(), extensions=(extension,))
        assert bench.hear_one(50).code is code


def test_6_3_3_a_response_that_is_beyond_us_is_none() -> None:
    """There is nobody to tell; the request goes on waiting, and says in the end what was heard."""
    bench = NodeBench()
    bench.become_ring(50)
    bench.take(Done)
    bench.node.request(OverlayRequest([Destination.node(nid(50))], MessageCode.PING_REQ, PingReq()), "asked", bench.now)
    bench.settle()
    request = bench.hear_one(50, MessageCode.PING_REQ)
    extension = MessageExtension(MessageExtensionType(0x7777), True, b"")
    transaction = request.header.transaction_id
    bench.send(50, MessageCode.PING_ANS, PingAns(1, 1), extensions=(extension,), transaction_id=transaction)
    assert bench.take(Done) == []
    bench.run_for(16.0)
    assert "critical extension" in str(bench.take(Done))

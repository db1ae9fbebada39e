"""RFC 7851 sections 4, 6 and 7: diagnostics at one node: who is answered, and what may pass."""

from __future__ import annotations

import pytest
from node_bench import ME, NodeBench, nid

from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.wallclock import WallClock
from p2psip.reload.config.configuration import DiagnosticAccess
from p2psip.reload.node.keeping.diagnostics import MachineFigures
from p2psip.reload.wire.contents import ErrorCode, MessageCode, MessageExtension, MessageExtensionType, UnknownBody
from p2psip.reload.wire.diagnostics import (
    ALL_FLAGS,
    DiagnosticExtension,
    DiagnosticKind,
    DiagnosticsRequest,
    DiagnosticsResponse,
    PathTrackAns,
    PathTrackReq,
    Value,
    flags_of,
)
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import PingAns, PingReq, ProbeAns, ProbeReq
from p2psip.sim.simulated_overlay import EPOCH_S

EVERYBODY = NodeId.wildcard()
NOW_MS = int(EPOCH_S * 1000)
MACHINE = MachineFigures("p2psip/1 (Linux)", 3, 6000, 40_000, 100_000, 86_400, 60_000, 0x80)
LOCAL = DiagnosticKind(0xF001)


def start(*access: DiagnosticAccess) -> NodeBench:
    """Node 100 in a ring with 50 and 150, where everybody may ask for everything unless said otherwise."""
    everything = tuple(DiagnosticAccess(kind, frozenset([EVERYBODY])) for kind in (*DiagnosticKind, LOCAL))
    bench = NodeBench(diagnostic_kinds=access or everything)
    bench.become_ring(150, 50)
    bench.node.use_machine(MACHINE)
    return bench


def request(bench: NodeBench, flags: int = 0, *, expires_s: float = 60.0, **fields: object) -> DiagnosticsRequest:
    """What 150 asks now."""
    now_ms = bench.node.wall.date_ms(bench.now)
    return DiagnosticsRequest(now_ms + int(expires_s * 1000), now_ms, flags, **fields)  # type: ignore[arg-type]


def track(bench: NodeBench, asked: DiagnosticsRequest, target: int = 75, **header: object) -> PathTrackAns:
    """The answer to a PathTrack of 150."""
    body = PathTrackReq(Destination.resource(ResourceId(nid(target))), asked)
    bench.send(150, MessageCode.PATH_TRACK_REQ, body, **header)  # type: ignore[arg-type]
    answer = bench.hear_one(150, MessageCode.PATH_TRACK_ANS).body
    assert isinstance(answer, PathTrackAns)
    return answer


def refusal(bench: NodeBench, asked: DiagnosticsRequest) -> ErrorCode:
    """The error that a PathTrack of 150 meets with."""
    bench.send(150, MessageCode.PATH_TRACK_REQ, PathTrackReq(Destination.node(nid(ME)), asked))
    code = bench.hear_one(150, MessageCode.ERROR).error.error_code
    assert isinstance(code, ErrorCode)
    return code


def extension(contents: bytes, *, critical: bool = False) -> MessageExtension:
    """Diagnostic_Ping."""
    return MessageExtension(MessageExtensionType.DIAGNOSTIC_PING, critical, contents)


def told(response: DiagnosticsResponse) -> dict[DiagnosticKind, Value]:
    """What an answer tells, by Kind."""
    return {info.kind: info.value for info in response.diagnostic_info_list}


# 4.3 and 6.3: PathTrack


@pytest.mark.parametrize(("target", "next_hop"), [(75, ME), (140, 150), (30, 150)])
def test_4_3_1_2_the_next_hop_or_ourselves(target: int, next_hop: int) -> None:
    """ "If the responding peer is the responsible peer for the destination ID, then the next_hop node ID equals the
    responding node ID".
    """
    bench = start()
    assert track(bench, request(bench), target).next_hop == Destination.node(nid(next_hop))


def test_4_3_1_with_no_flags_nothing_but_the_next_hop() -> None:
    """ "If all flags are clear (no bits are set), then the PathTrack request is only used for requesting the next hop
    information."; ext_length is zero then.
    """
    bench = start()
    assert track(bench, request(bench)).response.diagnostic_info_list == ()


def test_5_2_times_and_hop_counter() -> None:
    """timestamp_initiated is copied, hop_counter "MUST be exactly copied from the TTL field of the forwarding header";
    the answer expires "between 1 and 600 seconds in the future".
    """
    bench = start()
    asked = request(bench)
    response = track(bench, asked, ttl=42).response
    assert (response.timestamp_initiated, response.hop_counter) == (asked.timestamp_initiated, 42)
    assert response.timestamp_received == bench.node.wall.date_ms(bench.now)
    assert 1000 <= response.expiration - response.timestamp_received <= 600_000


def test_5_3_all_ones_ask_for_everything() -> None:
    """ "If dMFlags is set to all "1"s, then all base diagnostic information values are requested."; what is not known
    (underlay hops, which TCP does not tell) is left out.
    """
    bench = start()
    bench.run_for(7.0)
    figures = told(track(bench, request(bench, ALL_FLAGS)).response)
    assert set(figures) == set(DiagnosticKind) - {DiagnosticKind.UNDERLAY_HOP}
    assert figures[DiagnosticKind.STATUS_INFO] == 3
    assert figures[DiagnosticKind.ROUTING_TABLE_SIZE] == 2
    assert figures[DiagnosticKind.SOFTWARE_VERSION] == "p2psip/1 (Linux)"
    assert figures[DiagnosticKind.APP_UPTIME] == int(bench.now)
    assert figures[DiagnosticKind.MEMORY_FOOTPRINT] == 60_000
    assert isinstance(figures[DiagnosticKind.MESSAGES_SENT_RCVD], tuple)
    assert isinstance(figures[DiagnosticKind.EWMA_BYTES_RCVD], int)


def test_5_3_only_what_was_asked_for() -> None:
    """In the order of the flags."""
    bench = start()
    kinds = [DiagnosticKind.ROUTING_TABLE_SIZE, DiagnosticKind.APP_UPTIME]
    assert list(told(track(bench, request(bench, flags_of(kinds))).response)) == kinds


def test_5_3_what_the_driver_does_not_know_is_not_told() -> None:
    """Rather than zero."""
    bench = start()
    bench.node.use_machine(MachineFigures())
    flags = flags_of([DiagnosticKind.STATUS_INFO, DiagnosticKind.SOFTWARE_VERSION, DiagnosticKind.APP_UPTIME])
    assert list(told(track(bench, request(bench, flags)).response)) == [DiagnosticKind.APP_UPTIME]


@pytest.mark.parametrize("flags", [1, 1 << 63, 3])
def test_5_3_reserved_flags_stand_alone_or_not_at_all(flags: int) -> None:
    """ "the first and last bits cannot be used for other purposes, and they MUST be set to 0 when other particular
    diagnostic Kind IDs are requested".
    """
    bench = start()
    assert refusal(bench, request(bench, flags)) is ErrorCode.INVALID_MESSAGE


def test_5_1_extensions_are_for_kinds_without_a_flag() -> None:
    """ "Kinds from 0x0000 to 0x003f MUST NOT be indicated in the diagnostic_extensions_list"; a local one that we do
    not know is left out.
    """
    bench = start()
    known = DiagnosticExtension(DiagnosticKind.STATUS_INFO, b"")
    asked = request(bench, diagnostic_extensions_list=(known,))
    assert refusal(bench, asked) is ErrorCode.INVALID_MESSAGE
    local = DiagnosticExtension(LOCAL, b"")
    assert told(track(bench, request(bench, diagnostic_extensions_list=(local,))).response) == {}


@pytest.mark.parametrize(
    ("expires_s", "code"),
    [(-0.001, ErrorCode.MESSAGE_EXPIRED), (0.0, ErrorCode.MESSAGE_EXPIRED), (601.0, ErrorCode.INVALID_MESSAGE)],
)
def test_6_3_expired_requests(expires_s: float, code: ErrorCode) -> None:
    """ "If the message is expired, the peer MUST generate a response with the error code 0x17"; 5.1: "This value MUST
    have a value between 1 and 600 seconds in the future."
    """
    bench = start()
    assert refusal(bench, request(bench, expires_s=expires_s)) is code


def test_6_3_without_a_date_nothing_is_expired() -> None:
    """A machine that starts in 1970 does not know."""
    bench = start()
    asked = request(bench)
    bench.node.set_wall_clock(WallClock(0.0, is_trusted=False), bench.now)
    assert track(bench, asked)


def test_4_3_1_1_opaque_destinations_are_not_told() -> None:
    """As with RouteQuery: the answer would say what they stand for."""
    bench = start()
    bench.send(150, MessageCode.PATH_TRACK_REQ, PathTrackReq(Destination.opaque(b"x"), request(bench)))
    assert bench.hear_one(150).error.error_code is ErrorCode.FORBIDDEN


# 7: authorisation


def test_4_1_the_default_is_deny() -> None:
    """ "The default policy or access rule for a type of diagnostic information is "deny""; 6.3: "the receiving peer
    MUST return an error response with the error code 2 "Error_Forbidden"."
    """
    bench = start(DiagnosticAccess(DiagnosticKind.STATUS_INFO, frozenset([nid(50)])))
    assert refusal(bench, request(bench, DiagnosticKind.STATUS_INFO.flag)) is ErrorCode.FORBIDDEN
    assert refusal(bench, request(bench, ALL_FLAGS)) is ErrorCode.FORBIDDEN
    assert refusal(bench, request(bench, 1 << 40)) is ErrorCode.FORBIDDEN
    local = DiagnosticExtension(LOCAL, b"")
    assert refusal(bench, request(bench, diagnostic_extensions_list=(local,))) is ErrorCode.FORBIDDEN


def test_7_each_kind_has_its_own_nodes() -> None:
    """ "diagnostic information A can be accessed by nodes 1 and 2, but diagnostic information B can only be accessed by
    node 2."
    """
    bench = start(
        DiagnosticAccess(DiagnosticKind.STATUS_INFO, frozenset([nid(150), nid(50)])),
        DiagnosticAccess(DiagnosticKind.APP_UPTIME, frozenset([nid(50)])),
    )
    assert told(track(bench, request(bench, DiagnosticKind.STATUS_INFO.flag)).response)
    assert refusal(bench, request(bench, DiagnosticKind.APP_UPTIME.flag)) is ErrorCode.FORBIDDEN


# 4.2: Ping


def test_4_2_1_a_ping_with_the_extension() -> None:
    """The answer is a PingAns, with a DiagnosticsResponse in the same extension, not critical."""
    bench = start()
    contents = request(bench, DiagnosticKind.STATUS_INFO.flag).encode()
    for critical in (False, True):
        bench.send(150, MessageCode.PING_REQ, PingReq(), extensions=(extension(contents, critical=critical),))
        answer = bench.hear_one(150)
        assert isinstance(answer.body, PingAns)
        (found,) = answer.contents.extensions
        assert (found.type, found.critical) == (MessageExtensionType.DIAGNOSTIC_PING, False)
        response = DiagnosticsResponse.decode(found.extension_contents)
        assert told(response) == {DiagnosticKind.STATUS_INFO: 3}
        assert response.hop_counter == 100


def test_4_2_1_a_ping_is_refused_as_a_path_track_would_be() -> None:
    """Forbidden, expired, or no DiagnosticsRequest at all."""
    bench = start(DiagnosticAccess(DiagnosticKind.STATUS_INFO, frozenset([nid(50)])))
    for contents, code in (
        (request(bench, DiagnosticKind.STATUS_INFO.flag).encode(), ErrorCode.FORBIDDEN),
        (request(bench, expires_s=-1).encode(), ErrorCode.MESSAGE_EXPIRED),
        (b"garbage", ErrorCode.INVALID_MESSAGE),
    ):
        bench.send(150, MessageCode.PING_REQ, PingReq(), extensions=(extension(contents),))
        assert bench.hear_one(150).error.error_code is code


def test_4_2_1_other_methods_ignore_the_extension() -> None:
    """ "Receivers who receive a method other than Ping including this extension MUST ignore the extension."."""
    bench = start()
    bench.send(150, MessageCode.PROBE_REQ, ProbeReq(()), extensions=(extension(b"garbage", critical=True),))
    answer = bench.hear_one(150)
    assert answer.body == ProbeAns(())
    assert answer.contents.extensions == ()


# 6.2: intermediate peers


def passes(bench: NodeBench, asked: DiagnosticsRequest, target: int = 140, **header: object) -> None:
    """A PathTrack comes from 50, on its way to a place that 150 is responsible for."""
    body = PathTrackReq(Destination.resource(ResourceId(nid(target))), asked)
    place = Destination.resource(ResourceId(nid(target)))
    bench.send(50, MessageCode.PATH_TRACK_REQ, body, destinations=[place], **header)  # type: ignore[arg-type]


def test_6_2_what_is_not_ours_is_routed_on() -> None:
    """ "the peer MUST continue processing this request according to the overlay specified routing mode"."""
    bench = start()
    passes(bench, request(bench))
    assert bench.hear_one(150).code is MessageCode.PATH_TRACK_REQ


def test_6_2_expired_messages_do_not_pass() -> None:
    """ "the intermediate peer MUST generate a response with error code 0x17 "Error_Message_Expired", return the
    response to the initiator node, and discard the message": requests with either method; answers are discarded.
    """
    bench = start()
    passes(bench, request(bench, expires_s=-1))
    assert bench.hear_one(50).error.error_code is ErrorCode.MESSAGE_EXPIRED
    place = Destination.resource(ResourceId(nid(140)))
    old = extension(request(bench, expires_s=-1).encode())
    bench.send(50, MessageCode.PING_REQ, PingReq(), destinations=[place], extensions=(old,))
    assert bench.hear_one(50).error.error_code is ErrorCode.MESSAGE_EXPIRED
    answer = PathTrackAns(Destination.node(nid(50)), DiagnosticsResponse(NOW_MS - 1, NOW_MS, NOW_MS, 9))
    bench.send(50, MessageCode.PATH_TRACK_ANS, answer, destinations=[Destination.node(nid(150))])
    assert bench.heard(150) == []
    bench.send(50, MessageCode.PING_REQ, PingReq(), destinations=[place])
    assert bench.hear_one(150).code is MessageCode.PING_REQ


def test_6_2_a_loop_is_found_in_the_via_list() -> None:
    """ "The peer MUST return an error response with error code 0x19 "Error_Loop_Detected"."."""
    bench = start()
    passes(bench, request(bench), via_list=(Destination.node(nid(ME)), Destination.node(nid(30))))
    assert bench.hear_one(50).error.error_code is ErrorCode.LOOP_DETECTED


def test_6_2_the_ttl_ends_here() -> None:
    """ "The peer MUST return an error response with error code 0x1a "Error_TTL_Hops_Exceeded""; RFC 6940 has another
    one for all else.
    """
    bench = start()
    passes(bench, request(bench), ttl=0)
    assert bench.hear_one(50).error.error_code is ErrorCode.TTL_HOPS_EXCEEDED
    place = Destination.resource(ResourceId(nid(140)))
    bench.send(50, MessageCode.PING_REQ, PingReq(), destinations=[place], ttl=0)
    assert bench.hear_one(50).error.error_code is ErrorCode.TTL_EXCEEDED


def test_6_2_who_sends_past_a_peer_that_it_names_itself_misroutes() -> None:
    """ "0x18 "Error_Upstream_Misrouting" when it finds its upstream peer disobeys the routing rules defined in the
    overlay. The immediate upstream peer information MUST also be conveyed to the initiator node."
    """
    bench = start()
    bench.update(50, successors=(60, ME))
    bench.heard(50)
    bench.heard(150)
    passes(bench, request(bench), target=30)
    assert bench.hear_one(150).code is MessageCode.PATH_TRACK_REQ, "50 knows nobody up to 30: we are as good as any"
    bench.link(60)
    bench.update(60)
    bench.heard(60)
    passes(bench, request(bench), target=62)
    assert bench.heard(50, MessageCode.ERROR) == [], "62 is ours: no matter who sent it"
    bench.update(50, successors=(55, 60, ME))
    bench.heard(50)
    passes(bench, request(bench), target=57)
    error = bench.hear_one(50, MessageCode.ERROR).error
    assert error.error_code is ErrorCode.UPSTREAM_MISROUTING
    assert str(nid(50)) in error.text


def test_6_2_a_next_hop_that_is_lost_is_told() -> None:
    """ "0x15 "Error_Underlay_Destination_Unreachable" when it receives an ICMP message with "Destination Unreachable"
    information after forwarding the received request"."""
    bench = start()
    passes(bench, request(bench))
    bench.drop(150)
    error = bench.hear_one(50, MessageCode.ERROR).error
    assert error.error_code is ErrorCode.UNDERLAY_DESTINATION_UNREACHABLE
    assert str(nid(150)) in error.text


def test_6_2_what_went_on_long_ago_is_not_told_of() -> None:
    """Its answer has come, or it was sent again."""
    bench = start()
    passes(bench, request(bench))
    bench.run_for(4.0)
    bench.heard(50)
    bench.drop(150)
    assert bench.heard(50, MessageCode.ERROR) == []


def test_a_path_track_that_cannot_be_read_is_answered() -> None:
    """As every request is."""
    bench = start()
    bench.send(150, MessageCode.PATH_TRACK_REQ, UnknownBody(b"?"))
    assert bench.hear_one(150).error.error_code is ErrorCode.INVALID_MESSAGE

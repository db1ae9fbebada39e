"""Paths that carry calls, as one peer sees the other (p2psip.coupling.call_paths)."""

from __future__ import annotations

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.ids import NodeId
from p2psip.coupling.call_paths import (
    ASK_AFTER_S,
    BUSY_S,
    COPIED_MAX,
    COPIES_MAX,
    IDLE_MAX_S,
    PING,
    PONG,
    SILENT_S,
    CallFlowOver,
    CallFlowUp,
    CallLinkOver,
    CallPaths,
    FrameHeard,
    MessageHeard,
    PathWanted,
    PeerDoubted,
    WriteRecord,
    is_call_flow,
)
from p2psip.coupling.stream_links import TOGETHER_S, UNACKNOWLEDGED_MAX_S
from p2psip.media.relay.multiplex import RTP, Frame
from p2psip.reload.link.datagram import NARROW_RECORD_BYTES
from p2psip.reload.node.effects import AppLinkUp
from p2psip.reload.node.tunnelling.tunnel_commands import FIRST_TUNNEL
from p2psip.reload.paths.values import STREAM_RECORD_BYTES, CutIfSilent
from p2psip.sip.transports.sip_records import GREETED, GREETING, records_of

FAR = NodeId(bytes([9]) * 16)
HERE, THERE = Address("192.0.2.1", 5062), Address("192.0.2.2", 5062)
LONG = b"INVITE " + bytes(range(65, 91)) * 100
FRAME = Frame(RTP, 7, b"voice").encode()


def up(paths: CallPaths, link: int, now: float) -> list[Effect]:
    """A link has come up, and what comes of it."""
    paths.up(AppLinkUp(link, FAR, THERE, HERE, datagram_bytes=1200), now)
    return paths.drain()


def start() -> tuple[CallPaths, int]:
    """A path with a peer that has greeted, and its flow."""
    paths = CallPaths()
    up(paths, 4, 0.0)
    paths.heard(4, GREETED, 0.0)
    flow = paths.flow_to(FAR)
    assert flow is not None
    paths.drain()
    return paths, flow


def due(paths: CallPaths, until: float) -> list[tuple[float, Effect]]:
    """Let time pass."""
    found: list[tuple[float, Effect]] = []
    while (deadline := paths.next_deadline()) is not None and deadline.at <= until:
        paths.handle_timeout(deadline.at)
        found += [(deadline.at, effect) for effect in paths.drain()]
    return found


def test_a_link_is_a_flow_and_greets() -> None:
    paths = CallPaths()
    first, second = up(paths, 4, 0.0)
    assert isinstance(first, CallFlowUp)
    assert (first.link.node, first.link.local, first.link.remote) == (FAR, HERE, THERE)
    assert is_call_flow(first.flow)
    assert first.flow % 2 == 1, "as of every flow that a driver chooses"
    assert second == WriteRecord(4, GREETING)
    assert paths.flow_to(FAR) == first.flow


def test_the_flow_stays_when_a_link_follows_another() -> None:
    paths, flow = start()
    [again] = [effect for effect in up(paths, 6, 1.0) if isinstance(effect, CallFlowUp)]
    assert (again.flow, again.link.link) == (flow, 6)
    assert paths.down(4, "begun anew", 1.1)
    assert paths.drain() == []
    paths.send(flow, b"BYE", 1.2)
    assert paths.drain() == [WriteRecord(6, b"BYE")]


def test_what_is_to_go_while_there_is_no_link_waits_for_the_next() -> None:
    paths, flow = start()
    paths.down(4, "lost", 1.0)
    assert paths.drain() == [PathWanted(FAR)]
    assert paths.flow_to(FAR) is None, "nobody begins anything on it"
    for _ in range(3):
        paths.send(flow, b"INVITE", 1.0)
    assert paths.drain() == []
    assert [each for each in up(paths, 6, 2.0) if isinstance(each, WriteRecord)] == [WriteRecord(6, b"INVITE")]
    assert paths.flow_to(FAR) == flow


def test_the_flow_is_over_if_there_is_no_new_link() -> None:
    for how in ("failed", "time"):
        paths, flow = start()
        paths.down(4, "lost", 1.0)
        paths.drain()
        if how == "failed":
            paths.failed(FAR, "no pair of addresses works")
            assert paths.drain() == [CallFlowOver(flow, "no pair of addresses works")]
        else:
            assert [type(effect) for _, effect in due(paths, 1.0 + BUSY_S)] == [CallFlowOver]


def test_a_flow_that_nobody_uses_is_over_with_its_link() -> None:
    paths, flow = start()
    paths.down(4, "closed", BUSY_S + 1.0)
    assert paths.drain() == [CallFlowOver(flow, "closed")]


def test_media_keeps_a_path_wanted_and_goes_on_over_the_next() -> None:
    paths, _ = start()
    assert paths.heard(4, FRAME, 100.0) == FrameHeard(FAR, FRAME)
    paths.down(4, "lost", 101.0)
    assert paths.drain() == [PathWanted(FAR)]
    paths.send_frame(FAR, FRAME, 101.0)
    assert paths.drain() == [PathWanted(FAR)]
    up(paths, 6, 102.0)
    paths.send_frame(FAR, FRAME, 102.0)
    assert paths.drain() == [WriteRecord(6, FRAME)]


def test_a_message_comes_whole_or_in_fragments() -> None:
    paths, flow = start()
    assert paths.heard(4, b"BYE sip:bob@club.example SIP/2.0", 1.0) == MessageHeard(
        flow, b"BYE sip:bob@club.example SIP/2.0"
    )
    paths.send(flow, LONG, 1.0)
    records = [effect.record for effect in paths.drain() if isinstance(effect, WriteRecord)]
    assert records == records_of(LONG, 1200, takes_fragments=True)
    assert [paths.heard(4, record, 1.0) for record in records] == [
        *[None] * (len(records) - 1),
        MessageHeard(flow, LONG),
    ]


def sizes_of_copies(paths: CallPaths, flow: int, message: bytes, *, answers: bool) -> list[int]:
    """How long the longest record is of each copy that SIP sends of a message; the other end answers keep-alives."""
    sizes: list[int] = []
    for at in (1.0, 1.5, 2.5, 4.5):
        paths.handle_timeout(at)
        paths.drain()
        paths.send(flow, message, at)
        sizes.append(max(len(effect.record) for effect in paths.drain() if isinstance(effect, WriteRecord)))
        if answers:
            paths.heard(4, PONG, at + 0.1)
    return sizes


def test_a_long_message_that_goes_for_the_third_time_goes_in_short_records() -> None:
    """Long ones seem to vanish on the way; so do others from then on, until there is another link."""
    paths, flow = start()
    assert sizes_of_copies(paths, flow, LONG, answers=True) == [1200, 1200, NARROW_RECORD_BYTES, NARROW_RECORD_BYTES]
    paths.send(flow, LONG[:-1], 5.0)
    assert len(paths.drain()) == len(records_of(LONG[:-1], NARROW_RECORD_BYTES, takes_fragments=True))
    up(paths, 6, 6.0)
    paths.send(flow, LONG[:-2], 6.0)
    assert [effect for effect in paths.drain() if isinstance(effect, WriteRecord)] == [
        WriteRecord(6, record) for record in records_of(LONG[:-2], 1200, takes_fragments=True)
    ]


def test_where_nothing_comes_the_length_of_what_goes_is_not_to_blame() -> None:
    paths, flow = start()
    paths.heard(4, PONG, 0.5)
    assert sizes_of_copies(paths, flow, LONG, answers=False) == [1200] * 4


def test_what_was_sent_long_ago_is_not_counted() -> None:
    """As many different messages as there may be: each goes for the first time."""
    paths, flow = start()
    for _ in range(COPIES_MAX + 1):
        for number in range(COPIED_MAX + 1):
            paths.send(flow, LONG[number:], 1.0)
            assert max(len(effect.record) for effect in paths.drain() if isinstance(effect, WriteRecord)) == 1200


def test_who_sends_short_records_is_sent_short_ones() -> None:
    """The other end has found out that long ones vanish."""
    paths, flow = start()
    for record in records_of(LONG, NARROW_RECORD_BYTES, takes_fragments=True):
        paths.heard(4, record, 1.0)
    paths.send(flow, LONG[1:], 1.0)
    assert len(paths.drain()) == len(records_of(LONG[1:], NARROW_RECORD_BYTES, takes_fragments=True))


def test_who_does_not_greet_has_messages_in_one_record() -> None:
    """The first goes in fragments, as most peers are of our kind; SIP sends it again, and then it goes whole."""
    paths = CallPaths()
    up(paths, 4, 0.0)
    flow = paths.flow_to(FAR)
    assert flow is not None
    paths.send(flow, LONG, 0.0)
    assert len(paths.drain()) == 3
    assert (0.5, WriteRecord(4, GREETING)) in due(paths, 0.5)
    paths.send(flow, LONG, 0.5)
    assert paths.drain() == [WriteRecord(4, LONG)]


def test_what_went_before_the_other_end_was_up_goes_again_when_it_is() -> None:
    """The last flight of DTLS was lost: it was up a second later than this end, and knows nothing of the INVITE."""
    paths = CallPaths()
    up(paths, 4, 0.0)
    flow = paths.flow_to(FAR)
    assert flow is not None
    paths.send(flow, b"INVITE", 0.0)
    paths.send(flow, b"INVITE", 0.5)
    paths.drain()
    paths.heard(4, GREETING, 1.2)
    assert paths.drain() == [WriteRecord(4, b"INVITE"), WriteRecord(4, GREETED)]
    paths.heard(4, PONG, 1.3)
    assert paths.drain() == []


def test_a_greeting_is_answered() -> None:
    paths, _ = start()
    assert paths.heard(4, GREETING, 1.0) is None
    assert paths.drain() == [WriteRecord(4, GREETED)]


def test_a_keep_alive_is_answered() -> None:
    paths, _ = start()
    assert paths.heard(4, PING, 1.0) is None
    assert paths.drain() == [WriteRecord(4, PONG)]


def test_a_peer_that_is_silent_is_asked_and_its_link_is_given_up() -> None:
    paths, flow = start()
    paths.send(flow, b"INVITE", 1.0)
    paths.drain()
    happened = due(paths, 1.0 + SILENT_S)
    asked = [at for at, effect in happened if effect == WriteRecord(4, PING)]
    assert asked == [1.0 + ASK_AFTER_S * turn for turn in (1, 2, 3, 4)]
    assert (1.0 + ASK_AFTER_S, PeerDoubted(FAR)) in happened
    assert happened[-1][0] == 1.0 + SILENT_S
    assert isinstance(happened[-1][1], CallLinkOver)


def test_whatever_comes_shows_that_it_is_there() -> None:
    paths, flow = start()
    paths.send(flow, b"INVITE", 1.0)
    paths.drain()
    paths.heard(4, FRAME, 1.2)
    assert due(paths, 1.0 + SILENT_S) == []


def test_a_peer_that_knows_no_keep_alives_is_not_asked() -> None:
    paths = CallPaths()
    up(paths, 4, 0.0)
    flow = paths.flow_to(FAR)
    assert flow is not None
    paths.send(flow, b"INVITE", 0.0)
    assert not [effect for _, effect in due(paths, 30.0) if effect == WriteRecord(4, PING)]


def test_a_path_that_nobody_uses_ends() -> None:
    paths, flow = start()
    paths.send(flow, b"BYE", 100.0)
    paths.heard(4, b"SIP/2.0 200 OK", 100.1)
    paths.drain()
    assert due(paths, 100.0 + IDLE_MAX_S) == []
    over = [effect for _, effect in due(paths, 101.0 + IDLE_MAX_S)]
    assert [type(effect) for effect in over] == [CallLinkOver, CallFlowOver]
    assert len(paths) == 0


def test_who_is_not_in_the_overlay_any_more_is_given_up() -> None:
    paths, flow = start()
    paths.send(flow, b"INVITE", 1.0)
    paths.drain()
    assert paths.is_silent(FAR)
    paths.give_up(FAR, "gone")
    assert paths.drain() == [CallLinkOver(4, "gone"), CallFlowOver(flow, "gone")]


def test_a_link_in_doubt_stays_and_another_is_wanted_which_is_used_when_it_is_up() -> None:
    """Where ICE finds no other path for a link, an AppAttach may; what is no link of calls is nothing."""
    paths, _ = start()
    paths.doubted(5)
    assert paths.drain() == []
    paths.doubted(4)
    assert paths.drain() == [PathWanted(FAR)]
    assert paths.link_for_frame(FAR, 1.0) == 4
    up(paths, 6, 2.0)
    assert paths.link_for_frame(FAR, 2.0) == 6


def test_of_several_links_the_newest_that_answers_is_used() -> None:
    """Another is wanted where none of them does, be it that the one that did is gone."""
    paths, _ = start()
    up(paths, 6, 1.0)
    paths.drain()
    paths.doubted(6)
    assert paths.link_for_frame(FAR, 1.0) == 4
    assert paths.drain() == [PathWanted(FAR)], "that one may be as dead, as nobody has used it"
    paths.heard(6, FRAME, 1.5)
    assert paths.link_for_frame(FAR, 1.5) == 6
    paths.doubted(4)
    assert paths.drain() == []
    paths.down(6, "gone", 2.0)
    assert paths.drain() == [PathWanted(FAR)]
    paths.heard(4, FRAME, 2.5)
    assert not paths.wants_another(FAR, 2.5)


def test_another_path_is_wanted_until_something_comes_over_the_one_in_doubt() -> None:
    paths, _ = start()
    paths.send_frame(FAR, FRAME, 1.0)
    assert not paths.wants_another(FAR, 1.0)
    paths.doubted(4)
    assert paths.wants_another(FAR, 2.0)
    assert not paths.wants_another(FAR, 1.0 + BUSY_S)
    paths.heard(4, FRAME, 2.5)
    assert not paths.wants_another(FAR, 2.5)


def test_no_other_path_is_wanted_any_more_when_there_is_one() -> None:
    paths, _ = start()
    paths.send_frame(FAR, FRAME, 1.0)
    paths.doubted(4)
    up(paths, 5, 2.0)
    assert not paths.wants_another(FAR, 2.0)


def test_sip_goes_by_a_tunnel_where_the_path_does_not_answer_and_media_by_the_path() -> None:
    """Until a path answers: another one goes on being looked for meanwhile."""
    paths, flow = start()
    paths.send(flow, b"INVITE", 1.0)
    paths.doubted(4)
    up(paths, FIRST_TUNNEL, 2.0)
    paths.send(flow, b"INVITE", 2.0)
    assert WriteRecord(FIRST_TUNNEL, b"INVITE") in paths.drain()
    assert paths.link_for_frame(FAR, 2.0) == 4
    assert paths.wants_another(FAR, 2.0)
    assert not paths.is_tunnelled(FAR)
    paths.heard(4, FRAME, 3.0)
    paths.send(flow, b"BYE", 3.0)
    assert WriteRecord(4, b"BYE") in paths.drain()
    assert not paths.wants_another(FAR, 3.0)


def test_a_path_that_is_doubted_beside_a_tunnel_has_another_looked_for() -> None:
    """The tunnel was made for the doubt before."""
    paths, flow = start()
    paths.doubted(4)
    up(paths, FIRST_TUNNEL, 1.0)
    paths.heard(4, FRAME, 2.0)
    paths.drain()
    paths.doubted(4)
    assert paths.drain() == [PathWanted(FAR)]
    paths.send(flow, b"BYE", 3.0)
    paths.drain()
    assert paths.down(4, "gone", 3.5)
    assert paths.is_tunnelled(FAR)
    assert next(each for each in paths.drain() if isinstance(each, CallFlowUp)).lacks
    paths.send(flow, b"BYE", 4.0)
    assert WriteRecord(FIRST_TUNNEL, b"BYE") in paths.drain()


def streamed(paths: CallPaths, link: int, now: float) -> list[Effect]:
    """A stream has come up, and what comes of it."""
    paths.up(AppLinkUp(link, FAR, THERE, HERE, datagram_bytes=STREAM_RECORD_BYTES, is_on_stream=True), now)
    return paths.drain()


def test_a_stream_carries_media_as_datagrams_do() -> None:
    """And is given up when what was sent over it is not acknowledged."""
    paths = CallPaths()
    assert CutIfSilent(4, UNACKNOWLEDGED_MAX_S) in streamed(paths, 4, 0.0)
    assert (paths.is_streamed(FAR), paths.is_tunnelled(FAR), paths.lacks(FAR)) == (True, False, "")
    paths.send_frame(FAR, FRAME, 0.0)
    assert paths.drain() == [WriteRecord(4, FRAME)]
    assert paths.heard(4, FRAME, 0.0) == FrameHeard(FAR, FRAME)
    up(paths, 6, 1.0)
    assert not paths.is_streamed(FAR)


def test_of_two_streams_the_older_one_is_closed() -> None:
    paths = CallPaths()
    streamed(paths, 4, 0.0)
    over = [each.link for each in streamed(paths, 6, 2 * TOGETHER_S) if isinstance(each, CallLinkOver)]
    assert over == [4]
    paths.down(4, "closed", 2 * TOGETHER_S)
    assert 4 not in paths.streams
    assert paths.is_streamed(FAR)


def test_over_a_stream_no_length_is_to_blame() -> None:
    """What SIP sends for the third time goes on as long as it was."""
    paths = CallPaths()
    streamed(paths, 4, 0.0)
    paths.heard(4, GREETED, 0.0)
    paths.drain()
    flow = paths.flow_to(FAR)
    assert flow is not None
    for _ in range(COPIES_MAX + 2):
        paths.heard(4, PONG, 1.0)
        paths.drain()
        paths.send(flow, LONG, 1.0)
        assert WriteRecord(4, LONG) in paths.drain()


def test_whoever_is_given_up_leaves_nothing_of_its_streams() -> None:
    paths = CallPaths()
    streamed(paths, 4, 0.0)
    paths.give_up(FAR, "gone")
    assert CallLinkOver(4, "gone") in paths.drain()
    assert 4 not in paths.streams

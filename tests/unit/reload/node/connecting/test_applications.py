"""Forming connections without ICE: those of applications, by AppAttach (p2psip.reload.node.connecting.applications)."""

from __future__ import annotations

import random

import pytest
from attach_bench import LARGER, SMALLER, start
from candidates import tls, under_way
from node_bench import SIP_HERE, NodeBench, Remote, address, identity, nid, offer

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.reload.node.connecting.attach import APPLICATION_SIP, Answering
from p2psip.reload.node.effects import AppLinkFailed, AppLinkUp, LinkUp
from p2psip.reload.node.limits import APP_LINKS_MAX, APP_LINKS_PER_NODE_MAX
from p2psip.reload.paths.ice.punching import Punching
from p2psip.reload.paths.offers import LATE_S, LINK_WAIT_S
from p2psip.reload.paths.values import (
    ACTIVE,
    CALL_RECORDS,
    PASSIVE,
    STREAM_RECORD_BYTES,
    AcceptNarrow,
    Purpose,
    Session,
    Stalled,
)
from p2psip.reload.wire.contents import ErrorCode, ErrorResponse, MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import (
    AppAttachAns,
    AppAttachReq,
    OverlayLinkType,
)


def app_offer(place: int, application: int = APPLICATION_SIP) -> AppAttachReq:
    """The body of an AppAttach."""
    return AppAttachReq(b"", b"", application, b"passive", offer(place).candidates)


@pytest.mark.must("6.5.2.2/1")
def test_6_5_2_2_an_unknown_application_is_not_found() -> None:
    """ "If the Application ID is not supported, the peer MUST reply with an Error_Not_Found error."."""
    bench = start()
    bench.send(150, MessageCode.APP_ATTACH_REQ, app_offer(LARGER, 4711), signer=LARGER)
    assert bench.hear_one(150).error.error_code is ErrorCode.NOT_FOUND
    assert bench.dials() == []


def test_an_app_attach_is_answered_and_dialled() -> None:
    """What comes up is the application's."""
    bench = start()
    bench.send(150, MessageCode.APP_ATTACH_REQ, app_offer(LARGER), signer=LARGER)
    answer = bench.hear_one(150, MessageCode.APP_ATTACH_ANS)
    assert isinstance(answer.body, AppAttachAns)
    assert (answer.body.application, answer.body.role) == (APPLICATION_SIP, b"active")
    (dial,) = bench.dials()
    assert dial.purpose is Purpose.SIP
    bench.link(LARGER, dial.link, purpose=Purpose.SIP)
    assert bench.take(AppLinkUp) == [AppLinkUp(dial.link, nid(LARGER), address(LARGER), SIP_HERE)]
    assert not bench.node.is_linked(nid(LARGER))


def connect_app(bench: NodeBench, place: int) -> bool:
    """`place` asks for a SIP connection and we dial it; True if the connection may stay."""
    bench.send(150, MessageCode.APP_ATTACH_REQ, app_offer(place), signer=place)
    (dial,) = bench.dials()
    bench.link(place, dial.link, purpose=Purpose.SIP)
    return bench.hung_up() == []


def test_connections_of_applications_are_bounded_for_each_node() -> None:
    """However often one asks; another still gets its own, and one that ends makes room."""
    bench = start()
    assert [connect_app(bench, LARGER) for _ in range(APP_LINKS_PER_NODE_MAX + 1)] == [
        *[True] * APP_LINKS_PER_NODE_MAX,
        False,
    ]
    assert connect_app(bench, SMALLER)
    first, *_ = bench.take(AppLinkUp)
    assert isinstance(first, AppLinkUp)
    bench.node.app_link_down(first.link)
    assert connect_app(bench, LARGER)


def test_connections_of_applications_are_bounded_altogether() -> None:
    """But one that we asked for comes in."""
    bench = start()
    for place in range(1000, 1000 + APP_LINKS_MAX):
        assert connect_app(bench, place)
    assert not connect_app(bench, LARGER)
    bench.take(AppLinkUp)
    app_attach(bench, SMALLER)
    remote = accepted(bench, SMALLER)
    assert bench.take(AppLinkUp) == [AppLinkUp(remote.number, nid(SMALLER), address(SMALLER), SIP_HERE)]


def app_attach(bench: NodeBench, place: int) -> None:
    """The layer above wants a SIP connection to `place`."""
    bench.node.app_attach([Destination.node(nid(place))], nid(place), bench.now)
    bench.settle()


def accepted(bench: NodeBench, place: int) -> Remote:
    """`place` dials our SIP listener."""
    return bench.link(place, purpose=Purpose.SIP)


def test_our_own_app_attach() -> None:
    """Asked once, answered, and the connection comes."""
    bench = start()
    app_attach(bench, LARGER)
    app_attach(bench, LARGER)
    request = bench.hear_one(150, MessageCode.APP_ATTACH_REQ)
    body = AppAttachAns(b"", b"", APPLICATION_SIP, b"active", offer(LARGER).candidates)
    bench.answer(150, request, MessageCode.APP_ATTACH_ANS, body, signer=LARGER)
    remote = accepted(bench, LARGER)
    assert bench.take(AppLinkUp) == [AppLinkUp(remote.number, nid(LARGER), address(LARGER), SIP_HERE)]
    bench.run_for(60.0)
    assert bench.take(AppLinkFailed) == []


def test_a_sip_connection_that_nobody_asked_for_is_refused() -> None:
    """Phones have a listener of their own; this one is for peers after an AppAttach."""
    bench = start()
    remote = accepted(bench, LARGER)
    assert bench.hung_up() == [remote.number]
    assert bench.take(AppLinkUp) == []


def failure(bench: NodeBench) -> AppLinkFailed:
    """That no connection came about."""
    (failed,) = bench.take(AppLinkFailed)
    assert isinstance(failed, AppLinkFailed)
    return failed


def test_an_app_attach_that_nobody_answers_fails() -> None:
    """After five transmissions, with a cause if there is one."""
    bench = start()
    app_attach(bench, LARGER)
    bench.run_for(15.0)
    failed = failure(bench)
    assert failed.node == nid(LARGER)
    assert str(failed.error).startswith(f"no connection to {nid(LARGER).short}: AppAttach failed")


def test_an_app_attach_that_is_refused_fails_with_the_reason() -> None:
    """In the words of who refused it."""
    bench = start()
    app_attach(bench, LARGER)
    request = bench.hear_one(150, MessageCode.APP_ATTACH_REQ)
    bench.answer(150, request, MessageCode.ERROR, ErrorResponse.of(ErrorCode.NOT_FOUND, "no SIP"), signer=LARGER)
    assert "Error_Not_Found: no SIP" in str(failure(bench).error)


def test_an_app_attach_whose_connection_does_not_come_fails() -> None:
    """It answered, but cannot reach us."""
    bench = start()
    app_attach(bench, LARGER)
    request = bench.hear_one(150, MessageCode.APP_ATTACH_REQ)
    body = AppAttachAns(b"", b"", APPLICATION_SIP, b"active", offer(LARGER).candidates)
    bench.answer(150, request, MessageCode.APP_ATTACH_ANS, body, signer=LARGER)
    bench.run_for(LINK_WAIT_S + 0.1)
    assert "its connection did not come" in str(failure(bench).error)


@pytest.mark.parametrize("is_anew", [True, False])
def test_a_path_for_calls_that_the_other_end_makes_already_is_waited_for_unless_nothing_will_come_of_it(
    is_anew: bool,
) -> None:
    """What is in progress there is then the attempt that was answered here, before what was answered ceased to hold."""
    bench = start()
    route = [Destination.node(nid(LARGER))]
    bench.node._applications.attach(route, nid(LARGER), bench.now, kind=Purpose.CALLS, is_anew=is_anew)
    bench.node._settle(bench.now)
    bench.settle()
    request = bench.hear_one(150, MessageCode.APP_ATTACH_REQ)
    bench.answer(150, request, MessageCode.ERROR, ErrorResponse.of(ErrorCode.IN_PROGRESS, ""), signer=LARGER)
    assert len(bench.take(AppLinkFailed)) == is_anew
    assert bench.node._paths.offers.is_awaited(Purpose.CALLS, nid(LARGER)) is not is_anew


def test_what_was_answered_before_our_addresses_ceased_to_hold_is_asked_for_anew() -> None:
    """Whose own attempt is then said to be in progress is asked once more, and not waited for."""
    bench = start()
    there = Punching(random.Random(1))
    said = there.describe([address(LARGER)], PASSIVE)
    punching = bench.node._paths.punching
    session = Session(Purpose.CALLS, (), punching.describe([SIP_HERE], ACTIVE), said, peer=nid(LARGER))
    punching.begin(session, Answering(nid(LARGER), Purpose.CALLS), bench.now)
    bench.node._applications.ask_anew(bench.now)
    assert not punching.is_looking(session)
    bench.node._settle(bench.now)
    bench.settle()
    request = bench.hear_one(150, MessageCode.APP_ATTACH_REQ)
    bench.answer(150, request, MessageCode.ERROR, ErrorResponse.of(ErrorCode.IN_PROGRESS, ""), signer=LARGER)
    assert failure(bench).node == nid(LARGER)


def ask_for(bench: NodeBench, application: int) -> None:
    """An AppAttach for an application."""
    bench.node.app_attach([Destination.node(nid(LARGER))], nid(LARGER), bench.now, application)
    bench.settle()


def unanswered(application: int) -> NodeBench:
    """An AppAttach that nobody has answered, after its time."""
    bench = start()
    ask_for(bench, application)
    bench.run_for(15.0)
    failure(bench)
    bench.heard(150)
    return bench


def test_a_connection_that_comes_late_is_not_given_to_the_next_application() -> None:
    """6.5.2: nothing in it says for which it is: while one may come, another application waits."""
    bench = unanswered(4711)
    ask_for(bench, 4712)
    assert [each for each in bench.heard(150) if each.code is MessageCode.APP_ATTACH_REQ] == []
    late = accepted(bench, LARGER)
    assert bench.hung_up() == [late.number]
    request = bench.hear_one(150, MessageCode.APP_ATTACH_REQ)
    assert isinstance(request.body, AppAttachReq)
    assert request.body.application == 4712
    remote = accepted(bench, LARGER)
    assert bench.take(AppLinkUp) == [AppLinkUp(remote.number, nid(LARGER), address(LARGER), SIP_HERE, 4712)]


def test_where_none_comes_late_the_next_application_asks_after_a_while() -> None:
    bench = unanswered(4711)
    ask_for(bench, 4712)
    bench.run_for(LATE_S - 0.1)
    assert [each for each in bench.heard(150) if each.code is MessageCode.APP_ATTACH_REQ] == []
    bench.run_for(0.2)
    bench.hear_one(150, MessageCode.APP_ATTACH_REQ)


def test_a_late_connection_is_good_enough_for_the_same_application_and_one_more_may_come() -> None:
    bench = unanswered(4711)
    ask_for(bench, 4711)
    bench.hear_one(150, MessageCode.APP_ATTACH_REQ)
    remote = accepted(bench, LARGER)
    assert bench.take(AppLinkUp) == [AppLinkUp(remote.number, nid(LARGER), address(LARGER), SIP_HERE, 4711)]
    ask_for(bench, 4712)
    second = accepted(bench, LARGER)
    assert bench.hung_up() == [second.number]
    assert bench.take(AppLinkUp) == []


def test_what_a_connection_is_for_is_told_by_who_was_asked_and_where_it_was_asked_to_come() -> None:
    """A node that we asked for SIP may want to be linked at the same time: it comes elsewhere then."""
    bench = start()
    app_attach(bench, LARGER)
    bench.hear_one(150, MessageCode.APP_ATTACH_REQ)
    bench.link(LARGER)
    assert bench.take(AppLinkUp) == []
    assert bench.node.is_linked(nid(LARGER))
    remote = accepted(bench, LARGER)
    assert bench.take(AppLinkUp) == [AppLinkUp(remote.number, nid(LARGER), address(LARGER), SIP_HERE)]
    # Whom nobody asked has nothing to look for where SIP comes.
    unasked = accepted(bench, SMALLER)
    assert unasked.number in bench.hung_up()


# Handshakes that stand still


def stalled(bench: NodeBench, host: str, number: int = 1001) -> None:
    """A connection came from there, and nothing followed."""
    bench.node.handle_path(Stalled(number, Address(host, 40000), OverlayLinkType.TLS_TCP_FH_NO_ICE), bench.now)
    bench.settle()


def test_a_connection_that_was_asked_for_and_stalls_is_asked_for_once_more() -> None:
    """And accepted with small packets. Who dialled may take its handshake for done, and not dial again by itself."""
    bench = start()
    app_attach(bench, LARGER)
    request = bench.hear_one(150, MessageCode.APP_ATTACH_REQ)
    stalled(bench, address(LARGER).host)
    assert bench.take(AcceptNarrow) == [], "where it is it has not said yet"
    body = AppAttachAns(b"", b"", APPLICATION_SIP, b"active", offer(LARGER).candidates)
    bench.answer(150, request, MessageCode.APP_ATTACH_ANS, body, signer=LARGER)
    stalled(bench, address(LARGER).host)
    assert bench.take(AcceptNarrow) == [AcceptNarrow(True)]
    again = bench.hear_one(150, MessageCode.APP_ATTACH_REQ)
    bench.answer(150, again, MessageCode.APP_ATTACH_ANS, body, signer=LARGER)
    stalled(bench, address(LARGER).host)
    assert [each for each in bench.heard(150) if each.code is MessageCode.APP_ATTACH_REQ] == [], "but not for ever"
    remote = accepted(bench, LARGER)
    assert bench.take(AppLinkUp) == [AppLinkUp(remote.number, nid(LARGER), address(LARGER), SIP_HERE)]


def test_of_a_stranger_that_connects_and_says_no_more_nothing_is_remembered() -> None:
    bench = start()
    app_attach(bench, LARGER)
    request = bench.hear_one(150, MessageCode.APP_ATTACH_REQ)
    body = AppAttachAns(b"", b"", APPLICATION_SIP, b"active", offer(LARGER).candidates)
    bench.answer(150, request, MessageCode.APP_ATTACH_ANS, body, signer=LARGER)
    stalled(bench, "203.0.113.9")
    assert bench.take(AcceptNarrow) == []
    assert bench.heard(150) == []


def stream_of_calls(bench: NodeBench, place: int, number: int) -> list[Effect]:
    """`place` has opened a stream, and said that it is for calls."""
    certificate = identity(place).certificate
    link = LinkUp(number, (certificate,), address(place), SIP_HERE, protocol=CALL_RECORDS)
    bench.node.handle_link_up(link, bench.now)
    bench.settle()
    return bench.take(AppLinkUp)


def test_a_stream_for_calls_is_taken_where_a_path_for_calls_is_looked_for() -> None:
    """Both ends open one, and either may be up first at either end; a stranger has none."""
    bench = start()
    bench.node._applications.attach([Destination.node(nid(LARGER))], nid(LARGER), bench.now, kind=Purpose.CALLS)
    assert stream_of_calls(bench, SMALLER, 11) == []
    ends = (nid(LARGER), address(LARGER), SIP_HERE)
    for number in (13, 15):
        came = AppLinkUp(number, *ends, datagram_bytes=STREAM_RECORD_BYTES, is_on_stream=True)
        assert stream_of_calls(bench, LARGER, number) == [came]
    assert not bench.node._paths.offers.is_awaited(Purpose.CALLS, nid(LARGER))
    assert bench.hung_up() == [11]
    for number in (13, 15):
        bench.node.app_link_down(number)
    assert stream_of_calls(bench, LARGER, 17) == []
    assert bench.hung_up() == [17]


def test_a_stream_of_sip_alone_is_none_for_calls() -> None:
    """It says nothing of what it is for, and is not taken for what is looked for by ICE."""
    bench = start()
    bench.node._applications.attach([Destination.node(nid(LARGER))], nid(LARGER), bench.now, kind=Purpose.CALLS)
    accepted(bench, LARGER)
    assert bench.take(AppLinkUp) == []
    assert bench.node._paths.offers.is_awaited(Purpose.CALLS, nid(LARGER))


def test_when_datagrams_have_a_path_no_stream_is_dialled_beside() -> None:
    """It would be the newer, and take the place of what is better. Those to others go on."""
    bench = start()
    bench.node._applications.attach([Destination.node(nid(LARGER))], nid(LARGER), bench.now, kind=Purpose.CALLS)
    bench.node._paths.whereabouts.addresses[Purpose.CALLS] = (SIP_HERE,)
    dialling = bench.node._paths._dialling
    theirs, others = (
        dialling.connect(Session(Purpose.CALLS, tls(address(place)), peer=nid(place)), None, bench.now)
        for place in (LARGER, SMALLER)
    )
    link = LinkUp(13, (identity(LARGER).certificate,), address(LARGER), SIP_HERE, datagram_bytes=1200)
    bench.node.handle_link_up(link, bench.now)
    bench.settle()
    (came,) = bench.take(AppLinkUp)
    assert isinstance(came, AppLinkUp)
    assert (came.datagram_bytes, came.is_on_stream) == (1200, False)
    assert bench.hung_up() == [theirs]
    assert [dial.link for dial in under_way(dialling)] == [others]

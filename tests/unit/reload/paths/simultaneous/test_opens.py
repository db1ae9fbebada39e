"""When both ends open a stream, how often, and to whom no more."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from candidates import host_candidate

from p2psip.base.address import Address
from p2psip.reload.paths.ice.candidate_addresses import Mapped
from p2psip.reload.paths.ice.restraint import Restraint
from p2psip.reload.paths.limits import ICE_UNANSWERED_MAX, OPENS_PER_ROUND_MAX, OPENS_ROUNDS_MAX
from p2psip.reload.paths.simultaneous.open_candidates import encoded
from p2psip.reload.paths.simultaneous.opens import (
    APART_S,
    ROUND_S,
    TOGETHER_S,
    TOO_MANY,
    OpenTogether,
    SimultaneousOpens,
)
from p2psip.reload.paths.simultaneous.stream_waits import PASSES_S
from p2psip.reload.paths.values import ACTIVE, PASSIVE, Parameters, Purpose, Session
from p2psip.reload.wire.link_messages import OverlayLinkType

RELAY = Address("198.51.100.4", 6084)
HERE, SEEN, THERE = Address("192.168.7.2", 50001), Address("203.0.113.9", 61001), Address("203.0.113.77", 62001)
REFUSED = "connection refused"
_ufrags = itertools.count()


def session(took_s: float = 0.0, there: Address = THERE, *, is_asker: bool = True) -> Session:
    """One of an Attach in which both ends have a port."""
    role = PASSIVE if is_asker else ACTIVE
    local = Parameters(b"%d" % next(_ufrags), b"p", role, encoded([Mapped(SEEN, HERE, RELAY)]))
    remote = Parameters(b"u", b"p", b"", encoded([Mapped(there, Address("10.0.0.2", 1), RELAY)]))
    return Session(Purpose.RELOAD, (), local, remote, took_s=took_s)


def due(opens: SimultaneousOpens) -> tuple[float, list[OpenTogether]]:
    """Let time go on to the next deadline: when that is, and what is opened."""
    deadline = opens.next_deadline()
    assert deadline is not None
    opens.handle_timeout(deadline.at)
    return deadline.at, opens.take()


def start(wanted: Session, now: float = 0.0) -> SimultaneousOpens:
    """One that has begun."""
    opens = SimultaneousOpens(Restraint())
    opens.begin(wanted, "context", now)
    return opens


def test_where_datagrams_pass_at_both_ends_they_have_longer() -> None:
    """Unless the path that is to be replaced does not answer."""
    wanted = session(is_asker=False)
    udp = host_candidate("198.51.100.7", 6084, overlay_link=OverlayLinkType.DTLS_UDP_SR)
    known = [replace(each, candidates=(*each.candidates, udp)) for each in (wanted.local, wanted.remote)]
    for is_again, at in ((False, PASSES_S), (True, TOGETHER_S)):
        opens = SimultaneousOpens(Restraint())
        opens.begin(replace(wanted, local=known[0], remote=known[1]), "context", 0.0, is_again=is_again)
        assert due(opens)[0] == at


def test_who_has_asked_waits_for_half_of_what_the_answer_took_less() -> None:
    """Both count from when the answer was sent, which the asker has half of the whole after."""
    at, wanted = due(start(session(is_asker=False)))
    assert at == TOGETHER_S
    assert [(each.session.candidates[0].address, each.context) for each in wanted] == [(THERE, "context")]
    assert wanted[0].session.is_simultaneous
    at, _ = due(start(session(0.4), now=0.2))
    assert at == pytest.approx(TOGETHER_S)


def test_who_is_late_opens_at_once() -> None:
    assert due(start(session(5.0), now=2.5))[0] == 2.5


def test_who_is_refused_opens_again_a_few_times_and_then_in_later_rounds() -> None:
    """The second a little later, the third a little earlier, as the way there may be longer than the way back."""
    wanted = session(0.4)
    opens = start(wanted)
    times = []
    while opens.next_deadline() is not None:
        at, opened = due(opens)
        assert len(opened) == 1
        times.append(at)
        opens.failed(wanted, REFUSED, at + 0.04)
    assert len(times) == OPENS_PER_ROUND_MAX * OPENS_ROUNDS_MAX
    first = TOGETHER_S - 0.2
    assert times[::OPENS_PER_ROUND_MAX] == pytest.approx([first, first + ROUND_S + 0.1, first + 2 * ROUND_S - 0.1])
    assert times[1] == pytest.approx(first + 0.04 + APART_S)
    assert [str(each) for each in opens.reports(wanted.local.ufrag)] == [
        f"{HERE} to {THERE} (TCP, opened by both ends): {REFUSED}"
    ]


def test_what_nobody_has_answered_is_opened_again_in_the_next_round() -> None:
    wanted = session()
    opens = start(wanted)
    at, _ = due(opens)
    opens.failed(wanted, "no answer in 8 s", at + 8.0)
    assert due(opens)[0] == pytest.approx(at + ROUND_S)


def test_ended_is_ended() -> None:
    wanted = session()
    opens = start(wanted)
    due(opens)
    opens.end(wanted.local.ufrag)
    assert opens.over() == [wanted.local.ufrag]
    opens.failed(wanted, REFUSED, 1.0)
    opens.end(wanted.local.ufrag)
    assert (opens.next_deadline(), opens.over(), opens.reports(wanted.local.ufrag)) == (None, [], ())


def test_without_a_port_at_both_ends_nothing_is_opened() -> None:
    wanted = session()
    opens = start(Session(Purpose.RELOAD, (), wanted.local, Parameters(b"u", b"p", b"", ())))
    assert opens.next_deadline() is None


def test_a_named_stranger_is_sent_as_little_as_by_checks() -> None:
    """Many Attaches name it: all of them together, and checks, are no more than a hundred in a minute."""
    restraint = Restraint()
    opens = SimultaneousOpens(restraint)
    sessions = [session() for _ in range(60)]
    for each in sessions:
        opens.begin(each, None, 0.0)
    for _ in range(10):
        restraint.may_check(THERE._replace(port=1), 0.0)
    count = 0
    while (deadline := opens.next_deadline()) is not None and deadline.at < 50.0:
        opens.handle_timeout(deadline.at)
        opened = opens.take()
        count += len(opened)
        for each in opened:
            opens.failed(each.session, REFUSED, deadline.at)
    assert count == ICE_UNANSWERED_MAX - 10
    assert opens.reports(sessions[-1].local.ufrag)[0].outcome == TOO_MANY

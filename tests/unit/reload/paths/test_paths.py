"""The whole core of paths: attempts, what the driver tells, and what is remembered of ways."""

from __future__ import annotations

import random
from dataclasses import replace

from candidates import dtls, tls

from p2psip.base.address import Address
from p2psip.reload.paths.dialling import DIAL_MAX_S, DIAL_STAGGER_S
from p2psip.reload.paths.limits import DIALS_MAX
from p2psip.reload.paths.narrow import NARROW_S
from p2psip.reload.paths.paths import Paths
from p2psip.reload.paths.values import (
    Accepted,
    AcceptNarrow,
    Ended,
    Listening,
    Open,
    Opened,
    Purpose,
    Secure,
    Session,
    Stalled,
    Zoned,
)
from p2psip.reload.wire.link_messages import OverlayLinkType

HERE, THERE = Address("192.0.2.1", 6084), Address("192.0.2.2", 6084)
SESSION = Session(Purpose.RELOAD, tls(THERE))
TLS, DTLS = OverlayLinkType.TLS_TCP_FH_NO_ICE, OverlayLinkType.DTLS_UDP_SR_NO_ICE


def test_connections_that_we_make_have_even_numbers_and_bring_the_context_back_once() -> None:
    """Accepted ones have odd numbers, which the driver chooses."""
    paths = Paths(random.Random(1))
    assert [paths.connect(SESSION, context, 0.0) for context in ("a", "b")] == [2, 4]
    assert paths.drain() == [Open(2, *tls(THERE)), Open(4, *tls(THERE))]
    assert (paths.contexts(), len(paths)) == (("a", "b"), 2)
    assert paths.handle(Opened(2, HERE), 0.1) == ()
    assert paths.drain() == [Secure(2)]
    assert (paths.up(2), paths.up(2), paths.up(7)) == ("a", None, None)
    ended = paths.down(4, "refused", 1.0)
    assert ended is not None
    assert (ended.context, ended.session, ended.reason) == ("b", SESSION, f"{THERE} (TLS): refused")
    assert paths.down(4, "again", 1.0) is None
    assert len(paths) == 0


def test_nowhere_to_go_and_no_room_are_no_attempt() -> None:
    paths = Paths(random.Random(1))
    assert paths.connect(replace(SESSION, candidates=()), None, 0.0) is None
    for _ in range(DIALS_MAX):
        assert paths.connect(SESSION, None, 0.0) is not None
    assert not paths.has_room_for(SESSION)
    assert paths.connect(SESSION, None, 0.0) is None


def test_what_the_driver_tells_of_connections_that_are_no_links_yet() -> None:
    paths = Paths(random.Random(1))
    paths.handle(Listening(frozenset([HERE])), 0.0)
    paths.connect(Session(Purpose.RELOAD, tls(HERE)), "ourselves", 0.0)
    (ended,) = paths.handle(Opened(2, HERE), 0.0)
    assert isinstance(ended, Ended)
    assert ended.reason == f"{HERE} (TLS): that is this machine itself"
    paths.connect(Session(Purpose.RELOAD, tls(Address("fe80::2", 6084))), "on which link", 0.0)
    zone = Address("fe80::2%eth1", 6084)
    paths.handle(Zoned(4, (zone,)), 0.0)
    paths.drain()
    assert paths.handle_timeout(0.0) == []
    assert paths.drain() == [Open(4, *tls(zone))]
    paths.handle(Accepted(1, THERE), 0.0)
    assert paths.up(1) is None


def test_a_way_that_was_found_narrow_is_dialled_with_small_packets_and_forgotten_if_they_do_not_arrive() -> None:
    paths = Paths(random.Random(1))
    both = Session(Purpose.RELOAD, (*tls(THERE), *dtls(THERE)))
    paths.large_vanish(THERE.host, TLS, 0.0)
    assert paths.drain() == [AcceptNarrow(True)]
    paths.connect(both, "small", 0.0)
    assert paths.handle_timeout(DIAL_STAGGER_S) == []
    opened = [effect.candidate for effect in paths.drain() if isinstance(effect, Open)]
    assert [(candidate.link_type, candidate.is_narrow) for candidate in opened] == [(TLS, True), (DTLS, True)]
    paths.large_vanish(THERE.host, TLS, 1.0)
    (ended,) = paths.handle_timeout(DIAL_MAX_S)
    assert ended.context == "small"
    assert AcceptNarrow(False) in paths.drain()
    # Large ones that do not arrive say nothing of size.
    paths.connect(both, "large", 20.0)
    paths.large_vanish(THERE.host, TLS, 21.0)
    paths.down(6, "refused", 21.0)
    assert AcceptNarrow(True) in paths.drain()
    paths.large_arrive(THERE.host)
    assert AcceptNarrow(False) in paths.drain()


def test_narrow_ways_are_tried_again_after_ten_minutes_or_later() -> None:
    for woken_at in (NARROW_S, NARROW_S + 3600):
        paths = Paths(random.Random(1))
        paths.large_vanish(THERE.host, TLS, 0.0)
        deadline = paths.next_deadline()
        assert deadline is not None
        assert deadline.at == NARROW_S
        paths.drain()
        assert paths.handle_timeout(woken_at) == []
        assert (paths.drain(), paths.next_deadline()) == ([AcceptNarrow(False)], None)


# Handshakes that stand still

BOTH = Session(Purpose.RELOAD, (*tls(THERE), *dtls(THERE)))


def stall(paths: Paths) -> tuple[bool, list[OverlayLinkType]]:
    """What is tried now answers first, and then no more. Whether with small packets, and what kinds in which order."""
    (attempt,) = paths._dialling._attempts.values()
    first = next(iter(attempt.candidates))
    candidates = attempt.session.candidates
    paths.handle(Opened(first, HERE), 0.0)
    paths.handle(Stalled(first, THERE, candidates[0].link_type), 0.0)
    # What the driver says after that is of a connection which is over, unless it was the last.
    assert paths.contexts() == ("why",)
    return candidates[0].is_narrow, [candidate.link_type for candidate in candidates]


def test_a_handshake_that_stalls_is_begun_anew_with_small_packets_and_then_by_the_other_kind() -> None:
    """For the same purpose and with one context, which comes back once."""
    paths = Paths(random.Random(1))
    paths.connect(BOTH, "why", 0.0)
    assert stall(paths) == (False, [TLS, DTLS])
    assert paths.down(2, "stalled", 5.0) is None
    assert stall(paths) == (True, [TLS, DTLS])
    assert paths.drain()[-1] == AcceptNarrow(True)
    assert stall(paths) == (True, [DTLS, TLS])
    (attempt,) = paths._dialling._attempts.values()
    ended = paths.down(attempt.chosen or 0, "stalled", 9.0)
    assert ended is not None
    assert (ended.context, ended.reason) == ("why", "stalled")
    assert paths.drain()[-1] == AcceptNarrow(False), "small packets do not arrive either"


def test_where_there_is_one_kind_of_link_small_packets_are_tried_once() -> None:
    paths = Paths(random.Random(1))
    paths.connect(SESSION, "why", 0.0)
    assert stall(paths) == (False, [TLS])
    assert stall(paths) == (True, [TLS])
    ended = paths.down(4, "stalled", 9.0)
    assert ended is not None
    assert ended.context == "why"


def test_two_attempts_that_stall_with_large_packets_have_found_out_one_thing() -> None:
    """That the second was not told in time says nothing against small packets over TLS."""
    paths = Paths(random.Random(1))
    for path in (paths.connect(BOTH, "a", 0.0), paths.connect(BOTH, "b", 0.0)):
        assert path is not None
        paths.handle(Opened(path, HERE), 0.0)
        paths.handle(Stalled(path, THERE, TLS), 0.0)
    for attempt in paths._dialling._attempts.values():
        assert [candidate.is_stream for candidate in attempt.session.candidates] == [True, False]


def test_a_stalled_connection_that_is_no_attempt_of_ours_is_nothing() -> None:
    paths = Paths(random.Random(1))
    paths.connect(BOTH, "why", 0.0)
    for path in (2, 3, 99):
        assert paths.handle(Stalled(path, THERE, TLS), 0.0) == ()
    assert not paths.is_narrow(THERE.host)


def test_an_application_s_connection_that_fell_silent_makes_its_way_narrow_once() -> None:
    paths = Paths(random.Random(1))
    paths.stream_silent(THERE.host, 0.0)
    assert paths.is_narrow(THERE.host)
    paths.stream_silent(THERE.host, 1.0)
    assert [each.link_type for each in paths._narrow.known(BOTH.candidates)] == [TLS, DTLS]

"""Which candidate is tried when, who is chosen, and when it is enough, in virtual time."""

from __future__ import annotations

import pytest
from candidates import dtls, tls

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.reload.paths.dialling import DIAL_MAX_S, DIAL_STAGGER_S, OURSELVES, SLOWER, Dialling
from p2psip.reload.paths.limits import (
    DIALLED_CANDIDATES_MAX,
    DIALLED_CANDIDATES_PER_MEMBER_MAX,
    DIALS_MAX,
    HANDSHAKES_MAX,
)
from p2psip.reload.paths.values import CALL_RECORDS, Candidate, HangUp, Open, Purpose, Secure, Session
from p2psip.turn.values import STUN_TURN

HERE = Address("192.0.2.1", 6084)


def there(number: int) -> Address:
    return Address(f"192.0.2.{number}", 6084)


A, B, C = (there(number) for number in (11, 12, 13))


def session(*candidates: Candidate, asked_by: str = "") -> Session:
    return Session(Purpose.RELOAD, candidates, asked_by=asked_by)


class Clock:
    """Runs a core, and notes when it wanted what."""

    def __init__(self) -> None:
        self.core = Dialling()
        self.now = 100.0
        self.wanted: list[tuple[float, Effect]] = []
        self.ended: list[tuple[float, object, str]] = []

    def look(self) -> list[Effect]:
        """What it wants now."""
        effects = self.core.drain()
        self.wanted += [(self.now - 100, effect) for effect in effects]
        return effects

    def run_for(self, seconds: float) -> None:
        end = self.now + seconds
        self.look()
        while (deadline := self.core.next_deadline()) is not None and deadline.at <= end:
            self.now = max(self.now, deadline.at)
            self.ended += [(self.now - 100, each.context, each.reason) for each in self.core.handle_timeout(self.now)]
            self.look()
        self.now = end

    def down(self, path: int, reason: str) -> tuple[object, str]:
        ended = self.core.down(path, reason)
        assert ended is not None
        return ended.context, ended.reason

    @property
    def opened(self) -> list[tuple[float, Address]]:
        return [(at, effect.candidate.address) for at, effect in self.wanted if isinstance(effect, Open)]


def test_candidates_are_opened_in_their_order_a_quarter_of_a_second_apart_and_given_up_after_eight() -> None:
    clock = Clock()
    clock.core.connect(session(*tls(A, B), *dtls(A)), "why", clock.now)
    clock.run_for(60)
    assert clock.opened == [(0.0, A), (DIAL_STAGGER_S, B), (2 * DIAL_STAGGER_S, A)]
    silent = f"no answer in 8 s from {A} (TLS), {B} (TLS), {A} (DTLS)"
    assert clock.ended == [(DIAL_MAX_S, "why", silent)]
    assert [effect for _, effect in clock.wanted if isinstance(effect, HangUp)] == [
        HangUp(number, "nobody answered") for number in (2, 4, 6)
    ]
    assert (len(clock.core), clock.core.next_deadline()) == (0, None)


def test_the_first_that_answers_is_the_path_and_the_others_are_given_up() -> None:
    clock = Clock()
    clock.core.connect(session(*tls(A, B, C)), "why", clock.now)
    clock.run_for(DIAL_STAGGER_S)
    assert clock.core.opened(4, HERE) is None
    # C was not tried yet, and is not tried any more; A answers too late.
    assert clock.look() == [HangUp(2, SLOWER), Secure(4)]
    assert clock.core.opened(2, HERE) is None
    clock.run_for(60)
    assert clock.opened == [(0.0, A), (DIAL_STAGGER_S, B)]
    assert clock.core.up(4) == "why"
    assert (len(clock.core), clock.core.next_deadline(), clock.look()) == (0, None, [])


def test_patience_is_over_once_somebody_has_answered_and_what_fails_then_fails_the_attempt() -> None:
    clock = Clock()
    clock.core.connect(session(*tls(A, B)), "why", clock.now)
    clock.core.opened(2, HERE)
    clock.run_for(DIAL_MAX_S + 1)
    assert clock.ended == []
    assert clock.down(2, "TLS handshake timed out") == ("why", "TLS handshake timed out")
    assert len(clock.core) == 0


def test_when_all_fail_it_is_over_at_once_and_says_of_each_why() -> None:
    clock = Clock()
    clock.core.connect(session(*tls(A, B)), "why", clock.now)
    assert clock.core.down(2, "Connection refused") is None
    clock.run_for(DIAL_STAGGER_S)
    assert clock.opened == [(0.0, A), (DIAL_STAGGER_S, B)], "the second has its turn when it is due"
    reasons = f"{A} (TLS): Connection refused; {B} (TLS): No route to host"
    assert clock.down(4, "No route to host") == ("why", reasons)
    assert clock.core.next_deadline() is None


@pytest.mark.parametrize("listening", [HERE, Address("0.0.0.0", 6084)])
def test_this_machine_itself_is_no_neighbour_and_the_next_has_its_turn(listening: Address) -> None:
    """Every site has a 172.17.0.1: what is at this one here is us."""
    clock = Clock()
    clock.core.listening(frozenset([listening]))
    clock.core.connect(session(*tls(HERE, B)), "why", clock.now)
    clock.look()
    assert clock.core.opened(2, Address(HERE.host, 40000)) is None
    assert clock.look() == [HangUp(2, OURSELVES)]
    clock.run_for(DIAL_STAGGER_S)
    assert clock.core.opened(4, HERE) is None
    assert Secure(4) in clock.look()


def test_another_node_of_this_machine_at_another_port_or_address_is_one() -> None:
    clock = Clock()
    clock.core.listening(frozenset([HERE]))
    for number, other in ((2, Address(HERE.host, 7000)), (4, Address("127.0.0.2", 6084))):
        clock.core.connect(session(*tls(other)), "why", clock.now)
        assert clock.core.opened(number, Address(other.host, 40000)) is None
        assert Secure(number) in clock.look()
    # From another address of this machine to one at which we do not listen: it may be somebody else's.
    clock.core.connect(session(*tls(HERE)), "why", clock.now)
    assert clock.core.opened(6, Address("10.0.0.9", 40000)) is None
    assert Secure(6) in clock.look()


def test_a_link_local_candidate_is_tried_on_each_link() -> None:
    clock = Clock()
    zones = [Address(f"fe80::1%{zone}", 6084) for zone in ("eth0", "wlan0")]
    clock.core.connect(session(*tls(Address("fe80::1", 6084)), *tls(B)), "why", clock.now)
    clock.look()
    clock.core.zoned(2, zones, clock.now)
    clock.run_for(0.01)
    clock.run_for(60)
    assert clock.opened[1:] == [(0.0, zones[0]), (DIAL_STAGGER_S, B), (DIAL_STAGGER_S, zones[1])]
    assert "fe80::1%wlan0" in clock.ended[0][2]


def test_two_dtls_handshakes_with_one_address_take_turns() -> None:
    """All datagrams between two ports are one association's; TLS is not in the way."""
    clock = Clock()
    clock.core.connect(session(*dtls(A)), "first", clock.now)
    clock.core.connect(session(*dtls(A)), "second", clock.now)
    clock.core.connect(session(*tls(A)), "third", clock.now)
    clock.core.connect(session(*dtls(B)), "fourth", clock.now)
    assert [effect.path for effect in clock.look() if isinstance(effect, Open)] == [2, 6, 8]
    clock.core.opened(2, HERE)
    assert clock.look() == [Secure(2)], "until it is up or down, not only answered"
    assert clock.core.up(2) == "first"
    assert clock.look() == [Open(4, dtls(A)[0])]
    # Who waited and is given up is not in the way either.
    clock.core.connect(session(*dtls(A)), "fifth", clock.now)
    clock.core.connect(session(*dtls(A), *tls(B)), "sixth", clock.now)
    clock.run_for(DIAL_STAGGER_S)
    assert clock.core.opened(14, HERE) is None
    clock.look()
    assert clock.down(4, "refused") == ("second", f"{A} (DTLS): refused")
    assert clock.look() == [Open(10, dtls(A)[0])]


def test_a_certificate_that_comes_unexpectedly_decides() -> None:
    """Two ends that dial each other at once have one association: it may be up before it was chosen."""
    clock = Clock()
    clock.core.connect(session(*tls(A), *dtls(A)), "why", clock.now)
    clock.run_for(DIAL_STAGGER_S)
    assert clock.core.up(4) == "why"
    assert clock.look() == [HangUp(2, SLOWER)]


def test_a_machine_that_slept_an_hour_gives_up_and_raises_nothing() -> None:
    clock = Clock()
    clock.core.connect(session(*tls(A, B, C)), "why", clock.now)
    clock.look()
    (ended,) = clock.core.handle_timeout(clock.now + 3600)
    assert ended.context == "why"
    effects = clock.look()
    opened = {effect.path for effect in effects if isinstance(effect, Open)} | {2}
    assert {effect.link for effect in effects if isinstance(effect, HangUp)} == opened
    assert clock.core.next_deadline() is None
    assert (clock.core.opened(2, HERE), clock.core.down(4, "late"), clock.core.up(6)) == (None, None, None)


def test_who_waits_for_an_address_has_its_turn_in_order() -> None:
    clock = Clock()
    for context in ("first", "second", "third"):
        clock.core.connect(session(*dtls(A)), context, clock.now)
    opened = []
    for path in (2, 4, 6):
        opened += [effect.path for effect in clock.look() if isinstance(effect, Open)]
        clock.core.down(path, "refused")
    assert opened == [2, 4, 6]


# Limits


def test_no_more_attempts_than_so_many() -> None:
    clock = Clock()
    for number in range(DIALS_MAX):
        assert not clock.core.is_full
        assert clock.core.has_room_for(session(*tls(A)))
        clock.core.connect(session(*tls(there(number % 200))), number, clock.now)
    assert clock.core.is_full
    assert not clock.core.has_room_for(session(*tls(A)))
    assert len(clock.core) == DIALS_MAX
    clock.run_for(DIAL_MAX_S)
    assert (clock.core.is_full, len(clock.core)) == (False, 0)


def test_one_user_has_us_open_no_more_than_so_many_sockets_and_all_of_them_no_more_than_so_many() -> None:
    clock = Clock()
    eight = tuple(tls(*(there(number) for number in range(8))))
    users = [f"user{number}" for number in range(9)]
    for user in users[:8]:
        for _ in range(DIALLED_CANDIDATES_PER_MEMBER_MAX // 8):
            wanted = session(*eight, asked_by=user)
            assert clock.core.has_room_for(wanted)
            clock.core.connect(wanted, user, clock.now)
        assert not clock.core.has_room_for(session(*tls(A), asked_by=user))
    assert sum(len(each.candidates) for each in clock.core) == DIALLED_CANDIDATES_MAX
    assert not clock.core.has_room_for(session(*tls(A), asked_by=users[8]))
    assert clock.core.has_room_for(session(*tls(A))), "what we want ourselves is not counted against others"
    clock.run_for(DIAL_MAX_S)
    assert clock.core.has_room_for(session(*tls(A), asked_by=users[0]))


def test_of_too_many_that_have_not_shown_a_certificate_the_oldest_of_the_crowd_goes() -> None:
    clock = Clock()
    clock.core.accepted(1, Address("198.51.100.1", 5))
    for number in range(3, 2 * HANDSHAKES_MAX + 1, 2):
        clock.core.accepted(number, Address("2001:db8::1", number))
    assert clock.look() == []
    clock.core.accepted(901, Address("2001:db8::2", 1))
    assert clock.look() == [HangUp(3, "too many handshakes at once")], "not the one of its own at 1"
    assert clock.core.up(5) is None
    clock.core.down(7, "reset")
    clock.core.accepted(903, Address("2001:db8::3", 1))
    clock.core.accepted(905, Address("2001:db8::3", 1))
    assert clock.look() == []
    clock.core.accepted(907, Address("2001:db8::3", 1))
    assert clock.look() == [HangUp(9, "too many handshakes at once")]


@pytest.mark.parametrize(
    ("purpose", "protocol"),
    [(Purpose.RELOAD, b""), (Purpose.SIP, b""), (Purpose.CALLS, CALL_RECORDS), (Purpose.RELAY, STUN_TURN)],
)
def test_a_stream_says_what_it_is_for_where_nothing_else_tells(purpose: Purpose, protocol: bytes) -> None:
    """Of datagrams the port does."""
    for candidates, said in ((tls(A), protocol), (dtls(A), b"")):
        clock = Clock()
        clock.core.connect(Session(purpose, candidates), "context", clock.now)
        (opened,) = clock.look()
        assert isinstance(opened, Open)
        assert opened.protocol == said

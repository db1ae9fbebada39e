"""Where packets may come from, and what moves us (RFC 4961; RFC 7362 section 5)."""

from hypothesis import given
from hypothesis import strategies as st

from p2psip.media.latch import PACKETS_UNTIL_SHUT, Latch
from p2psip.media.negotiation import Address

ALICE: Address = ("192.0.2.1", 4000)
BOB: Address = ("192.0.2.2", 5000)
STRANGER: Address = ("198.51.100.9", 666)
NAT = "203.0.113.5"
PRIVATE: Address = ("10.0.0.7", 4000)


def test_latch_follows_the_first_packet_and_then_only_the_named_host() -> None:
    latch = Latch(ALICE)
    assert latch.remote == ALICE
    assert latch.accepts(STRANGER)
    assert latch.remote == STRANGER
    assert not latch.accepts(("198.51.100.9", 667))
    assert latch.accepts(("192.0.2.1", 40001))
    assert not latch.accepts(STRANGER)
    assert latch.remote == ("192.0.2.1", 40001)


def test_latch_starts_anew_when_sdp_names_another_address() -> None:
    latch = Latch(ALICE)
    assert latch.accepts(ALICE)
    latch.name(ALICE)
    assert not latch.accepts(STRANGER)
    latch.name(BOB)
    assert latch.remote == BOB
    assert latch.accepts(STRANGER)


def test_bleed_who_sends_first_gets_nothing_unless_the_call_knows_its_host() -> None:
    latch = Latch(ALICE, frozenset({ALICE[0]}))
    assert not latch.accepts(STRANGER, 1)
    assert latch.remote == ALICE
    assert latch.accepts(ALICE, 2)


def test_a_phone_behind_a_nat_is_known_by_where_its_signalling_comes_from() -> None:
    latch = Latch(PRIVATE, frozenset({NAT}))
    assert latch.remote == PRIVATE
    assert latch.accepts((NAT, 31000), 7)
    assert latch.remote == (NAT, 31000)


def test_inject_another_phone_behind_the_same_nat_is_not_heard_once_the_latch_is_shut() -> None:
    latch = Latch(PRIVATE, frozenset({NAT}))
    assert latch.accepts((NAT, 31000), 7)
    assert not latch.accepts((NAT, 31001), 8)
    assert not latch.accepts((NAT, 31001))
    assert latch.remote == (NAT, 31000)


def test_a_nat_that_gives_another_port_is_followed_by_the_ssrc() -> None:
    latch = Latch(PRIVATE, frozenset({NAT}))
    assert latch.accepts((NAT, 31000), 7)
    assert latch.accepts((NAT, 40000), 7)
    assert latch.remote == (NAT, 40000)
    assert not latch.accepts(STRANGER, 7)


def test_a_reinvite_lets_the_phone_move_once() -> None:
    latch = Latch(PRIVATE, frozenset({NAT}))
    assert latch.accepts((NAT, 31000), 7)
    latch.reopen()
    assert latch.accepts((NAT, 31000), 7)  # this was on its way
    assert latch.accepts((NAT, 40000), 8)
    assert not latch.accepts((NAT, 31000), 9)
    assert latch.remote == (NAT, 40000)


def test_a_latch_that_was_reopened_is_shut_again_after_a_second_of_audio() -> None:
    latch = Latch(PRIVATE, frozenset({NAT}))
    assert latch.accepts((NAT, 31000), 7)
    latch.reopen()
    for _ in range(PACKETS_UNTIL_SHUT):
        assert not latch.is_shut
        assert latch.accepts((NAT, 31000), 7)
    assert latch.is_shut
    assert not latch.accepts((NAT, 40000), 8)


def test_nothing_named_is_sent_to_nobody_until_the_phone_has_spoken() -> None:
    latch = Latch(None, frozenset({NAT}))
    assert latch.remote is None
    assert not latch.accepts(STRANGER)
    assert latch.accepts((NAT, 31000))
    assert latch.remote == (NAT, 31000)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from([ALICE, BOB, PRIVATE]), st.just(None)),
            st.tuples(st.sampled_from([ALICE, BOB, STRANGER, (NAT, 1), (NAT, 2)]), st.integers(1, 3)),
        )
    )
)
def test_whatever_comes_we_send_to_known_hosts_only(steps: list[tuple[Address, int | None]]) -> None:
    latch = Latch(ALICE, frozenset({NAT}))
    named = {ALICE[0]}
    for address, ssrc in steps:
        if ssrc is None:
            latch.name(address)
            named.add(address[0])
        else:
            latch.accepts(address, ssrc)
        assert latch.remote is not None
        assert latch.remote[0] in named | {NAT}

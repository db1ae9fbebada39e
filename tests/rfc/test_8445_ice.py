"""RFC 8445 (ICE) and RFC 7675 (consent), as far as RFC 6940 section 6.5.1 keeps them: agents, and what they send."""

from __future__ import annotations

import itertools

import pytest
from ice_pair import FIRST, SECOND, IcePair

from p2psip.base.address import Address
from p2psip.reload.paths.ice.candidate_addresses import CandidateAddress, CandidateType, Mapped, gathered, priority_of
from p2psip.reload.paths.ice.checks import (
    CheckCredentials,
    CheckRequest,
    CheckRole,
    Plain,
    encode_conflict,
    encode_request,
    read,
)
from p2psip.stun.message import decode

ONE, TWO = Address("192.0.2.1", 5000), Address("192.0.2.2", 5000)
RELAYED, SERVER = Address("198.51.100.4", 49152), Address("198.51.100.4", 3478)


def checks(pair: IcePair, local: Address) -> list[CheckRequest]:
    """The checks that have left an address, each as often as it was sent."""
    found = [read(data) for _, source, _, data in pair.sent if source == local]
    return [each for each in found if isinstance(each, CheckRequest)]


def silent() -> IcePair:
    """Two that have begun, of whose messages none arrives by itself."""
    pair = IcePair()
    pair.passes = lambda _: False
    pair.begin_both()
    return pair


# 5: candidates


@pytest.mark.must("8445 5.1.1.1/2", "8445 5.1.1.1/3")
def test_5_1_1_1_addresses_that_are_no_candidates() -> None:
    """Loopback where there is anything else; what IPv6 has given up."""
    hosts = [Address(host, 1) for host in ("127.0.0.1", "fec0::1", "::192.0.2.9", "192.0.2.1", "2001:db8::1")]
    assert {each.address.host for each in gathered(hosts)} == {"192.0.2.1", "2001:db8::1"}


@pytest.mark.must("8445 5.1.1.2/2")
def test_5_1_1_2_a_relayed_address_that_is_our_own_is_no_second_candidate() -> None:
    [only] = gathered([ONE], relayed=[Mapped(ONE, ONE, SERVER)])
    assert only.type is CandidateType.HOST


@pytest.mark.must(
    "8445 5.1.2/1", "8445 5.1.2.1/1", "8445 5.1.2.1/2", "8445 5.1.2.1/3", "8445 5.1.2.1/4", "8445 5.1.2.1/5",
    "8445 5.1.2.2/1",
)  # fmt: skip
def test_5_1_2_each_candidate_has_a_priority_of_its_own() -> None:
    """Also where servers see one base under several addresses, as behind a symmetric NAT, and relays are several."""
    seen = [Mapped(Address("203.0.113.9", port), ONE, SERVER._replace(port=port)) for port in range(1, 5)]
    relayed = [Mapped(Address(f"198.51.100.{host}", 49152), ONE, SERVER) for host in range(4, 8)]
    found = gathered([ONE, TWO, Address("2001:db8::1", 5000)], seen, relayed)
    assert len(found) == 11
    assert len({each.priority for each in found}) == 11
    assert all(1 <= each.priority < 1 << 31 for each in found)
    for kind in CandidateType:
        assert 0 <= kind.preference <= 126
        of_kind = [each.priority for each in found if each.type is kind]
        assert {priority >> 24 for priority in of_kind} <= {kind.preference}
        assert {256 - (priority & 0xFF) for priority in of_kind} <= {1}
    assert CandidateType.PEER_REFLEXIVE.preference > CandidateType.SERVER_REFLEXIVE.preference
    assert priority_of(CandidateType.HOST, 1 << 20) == (126 << 24) + 255, "the local preference is never below 0"


# 7: checks


@pytest.mark.must("8445 7.1.1/1", "8445 7.1.3/1", "8445 7.1.3/2", "8445 7.2.2/1", "8445 7.2.4/2", "8445 7/1")
def test_7_1_what_is_in_a_check() -> None:
    """PRIORITY as that of the local candidate, but peer reflexive; the role; integrity and fingerprint."""
    pair = silent()
    for side, local in ((FIRST, ONE), (SECOND, TWO)):
        check, *_ = checks(pair, local)
        own = pair.candidates[side][0].priority
        assert check.priority == 110 << 24 | own & 0xFFFFFF
        assert check.role is not None
        assert check.role.is_controlling is (side == FIRST)
        assert check.is_signed_by(pair.words[1 - side].password)
        assert decode(check.data).has_fingerprint


@pytest.mark.must("8445 7.1.2/1", "8445 7.1.2/2", "8445 8.1.1/2", "8445 6.1.1/1")
def test_7_1_2_who_controls_nominates_and_nobody_else() -> None:
    """One pair of the two that work, and no other after that."""
    pair = IcePair(second=gathered([TWO, Address("192.0.2.12", 5000)]))
    pair.begin_both()
    pair.run(60.0)
    nominated = {
        remote
        for _, source, remote, data in pair.sent
        if source == ONE and isinstance(check := read(data), CheckRequest) and check.is_nominating
    }
    assert nominated == {TWO}
    assert not any(check.is_nominating for check in checks(pair, TWO))


@pytest.mark.must("8445 7.2.5.1/1", "8445 7.2.5.1/2", "8445 7.2.5.1/3", "8445 7.2.5.1/4", "8445 16.1/1", "8445 16.1/2")
@pytest.mark.parametrize("side", [FIRST, SECOND])
def test_7_2_5_1_after_487_the_role_is_the_other_and_the_tie_breaker_another(side: int) -> None:
    """Until then it is one and the same number; the pair is checked again at once."""
    pair = silent()
    local, remote = (ONE, TWO) if side == FIRST else (TWO, ONE)
    pair.run(3.0)
    before = [check.role for check in checks(pair, local)]
    assert len(before) > 2
    assert len(set(before)) == 1
    conflict = encode_conflict(checks(pair, local)[0].transaction, pair.words[1 - side].password)
    pair.arrive(side, local, remote, conflict)
    pair.run(0.1)
    after = checks(pair, local)[-1].role
    assert before[0] is not None
    assert after is not None
    assert after.is_controlling is not before[0].is_controlling
    assert after.tie_breaker != before[0].tie_breaker


@pytest.mark.must("8445 7.2.5.3.4/1", "8445 7.2.5.3.4/2", "8445 7.3.1.5/1", "8445 8.1.1/1")
def test_7_2_5_3_4_a_nomination_that_fails_ends_in_no_path_and_says_so() -> None:
    pair = IcePair()

    def passes(sent: tuple[float, Address, Address, bytes]) -> bool:
        message = read(sent[3])
        return not (isinstance(message, CheckRequest) and message.is_nominating)

    pair.passes = passes
    pair.begin_both()
    pair.run(60.0)
    assert pair.ends(FIRST) == pair.ends(SECOND) == ["PathLost"]


@pytest.mark.must("8445 7.3/1", "8445 7.3/5", "8445 7.3/6", "8445 5.3/3")
def test_7_3_checks_are_answered_on_each_candidate_from_the_moment_that_it_is_said() -> None:
    """Before the other end's words have come; and then what was shown is checked."""
    hosts = [ONE, Address("192.0.2.11", 5000), Address("192.0.2.12", 5000)]
    pair = IcePair(first=gathered(hosts))
    theirs = pair.words[SECOND].ufrag
    own = CheckCredentials(pair.words[FIRST].ufrag, pair.words[FIRST].password)
    role = CheckRole(is_controlling=False, tie_breaker=1)
    for number, local in enumerate(hosts):
        pair.arrive(FIRST, local, TWO, encode_request(number.to_bytes(12, "big"), theirs, own, 1, role))
    assert [source for _, source, _, _ in pair.sent] == hosts
    pair.passes = lambda _: False
    pair.begin(FIRST)
    pair.run(0.3)
    assert {source for _, source, _, data in pair.sent if isinstance(read(data), CheckRequest)} == set(hosts)


@pytest.mark.must("8445 7.3/2", "8445 7.3/3", "8445 7.3/4", "8445 7.3/7", "8445 7.3/8", "8445 7.2.4/1")
def test_7_3_a_check_without_fingerprint_integrity_or_our_ufrag_is_no_check() -> None:
    own = CheckCredentials(b"ours", b"p" * 22)
    check = encode_request(bytes(12), b"them", own, 1, CheckRole(is_controlling=True, tie_breaker=1))
    message = read(check)
    assert isinstance(message, CheckRequest)
    assert (message.receiver, message.sender) == (b"ours", b"them")
    without = check[:2] + (len(check) - 28).to_bytes(2, "big") + check[4:-8]
    bare = read(without)
    assert not (isinstance(bare, CheckRequest) and bare.is_signed_by(own.password))
    classic = check[:4] + bytes(4) + check[8:]
    assert read(classic) is Plain.OTHER, "RFC 3489 had no cookie"


@pytest.mark.must("8445 7.3.1.1/2")
def test_7_3_1_1_both_that_control_end_with_one_that_does() -> None:
    for seed in range(4):
        pair = IcePair(are_both_controlling=True, seed=seed)
        pair.begin_both()
        pair.run(5.0)
        roles = [checks(pair, local)[-1].role for local in (ONE, TWO)]
        assert sorted(role.is_controlling for role in roles if role is not None) == [False, True]


# 8, 11: afterwards


@pytest.mark.must("8445 8.1.2/2", "8445 11/8")
def test_8_1_2_a_check_is_answered_also_when_the_path_is_chosen() -> None:
    pair = IcePair()
    pair.begin_both()
    pair.run(30.0)
    own = CheckCredentials(pair.words[FIRST].ufrag, pair.words[FIRST].password)
    role = CheckRole(is_controlling=False, tie_breaker=1)
    before = len(pair.sent)
    pair.arrive(FIRST, ONE, TWO, encode_request(bytes(12), pair.words[SECOND].ufrag, own, 1, role))
    assert len(pair.sent) > before


@pytest.mark.must(
    "8445 11/1", "8445 11/2", "8445 11/3", "8445 11/4", "8445 11/9", "7675 5.1/3", "7675 5.1/4", "7675 5.1/5"
)
def test_11_an_idle_path_is_kept_by_stun_and_each_question_is_a_new_one() -> None:
    """No closer than 15 s, at intervals that chance makes, and each transaction once."""
    pair = IcePair()
    pair.begin_both()
    pair.run(2.0)
    pair.sent.clear()
    pair.run(600.0)
    times = [when for when, source, _, data in pair.sent if source == ONE and isinstance(read(data), CheckRequest)]
    apart = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(apart) > 20
    assert 15.0 <= min(apart) < max(apart) <= 24.0
    assert len(set(apart)) == len(apart)
    numbers = [check.transaction for check in checks(pair, ONE)]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.must("7675 5.1/4")
def test_7675_5_1_not_more_often_than_every_four_seconds_while_data_goes() -> None:
    pair = IcePair()
    pair.begin_both()
    pair.run(2.0)
    pair.sent.clear()
    for _ in range(300):
        pair.agents[FIRST].sent(pair.words[FIRST].ufrag, pair.now)
        pair.agents[FIRST].heard(pair.words[FIRST].ufrag, pair.now)
        pair.run(0.2)
    times = [when for when, source, _, data in pair.sent if source == ONE and isinstance(read(data), CheckRequest)]
    assert len(times) > 8
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= 4.0


@pytest.mark.must("7675 5.1/6", "7675 5.1/11", "8445 11/5", "8445 11/6")
def test_7675_5_1_when_consent_is_over_nothing_is_sent_nor_waited_for() -> None:
    pair = IcePair()
    pair.begin_both()
    pair.run(2.0)
    pair.passes = lambda sent: sent[1] == ONE
    pair.run(120.0)
    assert pair.ends(FIRST)[-1] == "PathLost"
    assert pair.agents[FIRST].next_deadline() is None
    assert pair.words[FIRST].ufrag not in pair.agents[FIRST]
    pair.sent.clear()
    pair.run(120.0)
    assert not checks(pair, ONE)


def test_candidates_of_the_tests_are_of_one_host_each() -> None:
    """So that a pair of addresses is a pair of candidates above."""
    pair = IcePair()
    assert all(isinstance(each, CandidateAddress) for both in pair.candidates for each in both)
    assert [len(each) for each in pair.candidates] == [1, 1]

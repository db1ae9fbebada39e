"""p2psip.reload.paths.ice.agent: checks, nomination, the path as long as it lasts."""

from __future__ import annotations

import pytest
from ice_pair import FIRST, SECOND, IcePair, Sent

from p2psip.base.address import Address
from p2psip.reload.paths.ice.agent import CHECKING_MAX_S
from p2psip.reload.paths.ice.candidate_addresses import RELAY_WAIT_S, CandidateAddress, Mapped, gathered
from p2psip.reload.paths.ice.checks import (
    TRANSMISSIONS_MAX,
    CheckAnswer,
    CheckCredentials,
    CheckRequest,
    encode_request,
    read,
)
from p2psip.reload.paths.ice.consent import IDLE_S
from p2psip.reload.paths.ice.values import PathChanged, PathChosen, PathLost

ONE, TWO = Address("192.0.2.1", 5000), Address("192.0.2.2", 5000)
RELAYED = Address("198.51.100.4", 49152)
SERVER = Address("198.51.100.4", 3478)


def requests(sent: list[Sent], local: Address) -> list[tuple[float, CheckRequest]]:
    """The checks that have left an address."""
    found = [(when, read(data)) for when, source, _, data in sent if source == local]
    return [(when, message) for when, message in found if isinstance(message, CheckRequest)]


def with_relay() -> tuple[CandidateAddress, ...]:
    """The first one has a relay."""
    return gathered([ONE], relayed=[Mapped(RELAYED, ONE, SERVER)])


def test_both_have_the_same_path() -> None:
    """From the Attach to the pair: the rest is the handshake of DTLS on it."""
    pair = IcePair()
    pair.begin_both()
    pair.run(1.0)
    (first,), (second,) = pair.said
    assert isinstance(first, PathChosen)
    assert isinstance(second, PathChosen)
    assert (first.ufrag, first.local, first.remote) == (pair.words[FIRST].ufrag, ONE, TWO)
    assert (second.local, second.remote, second.is_relayed) == (TWO, ONE, False)
    assert first.rtt_s == pytest.approx(0.04)
    assert [report.outcome for report in first.tried] == ["works, 40 ms"]


def test_8_1_1_regular_nomination() -> None:
    """Who controls checks first, then nominates what works; who does not never nominates."""
    pair = IcePair()
    pair.begin_both()
    pair.run(1.0)
    assert [check.is_nominating for _, check in requests(pair.sent, ONE)] == [False, True]
    assert not any(check.is_nominating for _, check in requests(pair.sent, TWO))
    assert {check.role.is_controlling for _, check in requests(pair.sent, ONE) if check.role} == {True}
    assert {check.role.is_controlling for _, check in requests(pair.sent, TWO) if check.role} == {False}


def test_checks_that_come_before_the_answer_to_the_attach_are_answered_and_kept() -> None:
    """7.3: the other end begins as soon as it has said its words."""
    pair = IcePair()
    pair.begin(SECOND)
    pair.run(0.1)
    assert [type(read(data)) for _, source, _, data in pair.sent if source == ONE] == [CheckAnswer]
    pair.begin(FIRST)
    pair.run(0.2)
    assert pair.ends(FIRST) == pair.ends(SECOND) == ["PathChosen"]


def test_checks_that_have_come_to_an_address_that_is_gone_since_are_forgotten() -> None:
    """The relay that lent it died before the Attach was answered: a peer ended of that."""
    pair = IcePair(with_relay())
    pair.begin(SECOND)
    pair.run(RELAY_WAIT_S)
    assert any(source == RELAYED and isinstance(read(data), CheckAnswer) for _, source, _, data in pair.sent)
    pair.agents[FIRST].lose_local(RELAYED, "its relay has died", pair.now)
    pair.begin(FIRST)
    pair.run(1.0)
    assert pair.ends(FIRST) == pair.ends(SECOND) == ["PathChosen"]
    assert all(isinstance(said[0], PathChosen) and not said[0].is_relayed for said in pair.said)


@pytest.mark.must("8445 7.2.5.2.3/1", "8445 14.3/1")
def test_7_2_5_2_2_checks_are_repeated_as_stun_says() -> None:
    """At 0, 0.5, 1.5, 3.5, 7.5, and on a relayed path for as long as it takes; the path is given up before."""
    pair = IcePair()
    pair.passes = lambda _: False
    pair.begin_both()
    pair.run(60.0)
    assert [when for when, _ in requests(pair.sent, ONE)] == [0.0, 0.5, 1.5, 3.5, 7.5]
    (lost,) = pair.said[FIRST]
    assert isinstance(lost, PathLost)
    assert lost.reason == "no pair of addresses works"
    assert [str(report) for report in lost.tried] == [f"{ONE} to {TWO} (host to host): no answer to 5 checks yet"]
    assert pair.agents[FIRST].next_deadline() is None
    assert not len(pair.agents[FIRST])


def test_5_addresses_of_two_families_are_no_pair() -> None:
    """Said at once, not after fifteen seconds."""
    pair = IcePair(second=gathered([Address("2001:db8::2", 5000)]))
    pair.begin(FIRST)
    assert isinstance(pair.said[FIRST][0], PathLost)
    assert pair.said[FIRST][0].reason == "no address of the other end can be reached from one of ours"


@pytest.mark.must("8445 7.3.1.4/1", "8445 7.3.1.4/2")
def test_7_3_1_4_a_check_that_comes_shows_that_it_is_time_for_ours() -> None:
    """The one who began first was kept out by the other's NAT; it does not wait to repeat."""
    pair = IcePair()
    pair.passes = lambda sent: sent[0] >= 0.1
    pair.begin(SECOND)
    pair.run(0.2)
    pair.begin(FIRST)
    pair.run(0.25)
    assert pair.ends(FIRST) == pair.ends(SECOND) == ["PathChosen"]


def test_a_direct_pair_is_preferred_to_a_relayed_one_that_answers_first() -> None:
    """Also where the first punch is lost: the second comes half a second later."""
    pair = IcePair(with_relay())
    pair.passes = lambda sent: RELAYED in sent[1:3] or sent[0] >= 0.4
    pair.begin_both()
    pair.run(3.0)
    for said in pair.said:
        assert [type(effect) for effect in said] == [PathChosen]
        assert isinstance(said[0], PathChosen)
        assert not said[0].is_relayed


def test_a_relayed_pair_is_the_path_when_direct_ones_do_not_answer() -> None:
    """After a while, and not before."""
    pair = IcePair(with_relay())
    pair.passes = lambda sent: RELAYED in sent[1:3]
    pair.begin_both()
    pair.run(RELAY_WAIT_S - 0.01)
    assert pair.said == ([], [])
    pair.run(0.3)
    for said in pair.said:
        (chosen,) = said
        assert isinstance(chosen, PathChosen)
        assert chosen.is_relayed


def test_a_relayed_pair_is_nominated_at_once_where_nothing_else_can_work() -> None:
    """The direct ones have failed: nobody waits for them."""
    first = gathered([Address("2001:db8::1", 5000)], relayed=[Mapped(RELAYED, ONE, SERVER)])
    pair = IcePair(first)
    pair.begin_both()
    pair.run(0.3)
    assert pair.ends(FIRST) == pair.ends(SECOND) == ["PathChosen"]


@pytest.mark.must("8445 8.1.1/3", "8445 8.1.1/4", "8445 8.1.2/1")
@pytest.mark.parametrize("after_s", [2.0, 5.0, 12.0])
def test_direct_takes_over_from_the_relay(after_s: float) -> None:
    """While the path is in use, at both ends, and then nothing goes by the relay any more."""
    pair = IcePair(with_relay())
    pair.passes = lambda sent: RELAYED in sent[1:3] or sent[0] >= after_s
    pair.begin_both()
    pair.run(40.0)
    for said, local, remote in zip(pair.said, (ONE, TWO), (TWO, ONE), strict=True):
        assert [type(effect) for effect in said] == [PathChosen, PathChanged]
        changed = said[1]
        assert isinstance(changed, PathChanged)
        assert (changed.local, changed.remote, changed.is_relayed) == (local, remote, False)
    pair.sent.clear()
    pair.run(100.0)
    assert pair.sent
    assert not any(RELAYED in sent[1:3] for sent in pair.sent)


def test_on_a_relayed_path_direct_checks_end_as_stun_says() -> None:
    """Seven transmissions, and then it is left at that."""
    pair = IcePair(with_relay())
    pair.passes = lambda sent: RELAYED in sent[1:3]
    pair.begin_both()
    pair.run(100.0)
    direct = [sent for sent in pair.sent if sent[1:3] == (ONE, TWO)]
    assert len(direct) == TRANSMISSIONS_MAX
    assert pair.ends(FIRST) == pair.ends(SECOND) == ["PathChosen"]


def test_the_better_of_two_direct_pairs_is_waited_for_shortly() -> None:
    """Both work; the one of higher priority answers 60 ms later."""
    better, other = Address("2001:db8::1", 5000), ONE
    theirs = gathered([Address("2001:db8::2", 5000), TWO])
    pair = IcePair(gathered([better, other]), theirs)
    pair.passes = lambda sent: better not in sent[1:3] or sent[0] >= 0.01
    pair.begin_both()
    pair.run(2.0)
    assert isinstance(pair.said[FIRST][0], PathChosen)
    # Its first check was lost, and half a second is more than anybody waits for who has a path.
    assert pair.said[FIRST][0].local == other


def test_7_3_1_1_who_both_control_settle_it() -> None:
    """RELOAD has no such conflict; if there is one, the path comes all the same, and one of them yields."""
    for seed in range(8):
        pair = IcePair(are_both_controlling=True, seed=seed)
        pair.begin_both()
        pair.run(2.0)
        assert pair.ends(FIRST) == pair.ends(SECOND) == ["PathChosen"], seed
        pair.sent.clear()
        pair.run(60.0)
        controls = [requests(pair.sent, local)[-1][1].role for local in (ONE, TWO)]
        assert sorted(role.is_controlling for role in controls if role) == [False, True]


@pytest.mark.must("8445 7.2.5.2.1/1", "8445 7.2.5.2.1/2", "8445 7.2.5.2.1/3")
def test_7_2_5_2_1_an_answer_from_elsewhere_fails_the_pair() -> None:
    """The pair would be one that sends to one place and hears from another."""
    pair = IcePair()
    pair.passes = lambda sent: sent[1] == ONE
    pair.begin_both()
    pair.run(0.1)
    data = next(data for _, source, _, data in pair.sent if source == TWO and isinstance(read(data), CheckAnswer))
    pair.arrive(FIRST, ONE, Address("203.0.113.66", 5000), data)
    assert [report.outcome for report in pair.agents[FIRST].reports(pair.words[FIRST].ufrag)] == [
        "answered by 203.0.113.66:5000 to 192.0.2.1:5000"
    ]


def test_7675_the_path_is_lost_when_nobody_answers() -> None:
    """The other end is gone: thirty seconds after the next question; and two after it the path is in doubt, though
    nobody sends anything.
    """
    pair = IcePair()
    pair.begin_both()
    pair.run(1.0)
    pair.passes = lambda sent: sent[1] == ONE
    pair.run(1.2 * IDLE_S + 2.0)
    assert pair.ends(FIRST) == ["PathChosen", "PathsSuspected", "PathDoubted"]
    pair.run(34.0)
    lost = pair.said[FIRST][-1]
    assert isinstance(lost, PathLost)
    assert lost.reason == "the other end does not answer any more"
    assert not pair.agents[FIRST].sent(pair.words[FIRST].ufrag, pair.now)


@pytest.mark.must("8445 12.1/1", "8445 12.1/2", "7675 5.1/1", "7675 5.1/2")
def test_7675_5_1_data_is_not_sent_without_consent() -> None:
    """Thirty seconds after the last answer; and again when there is one."""
    pair = IcePair()
    pair.begin_both()
    pair.run(1.0)
    assert pair.agents[FIRST].sent(pair.words[FIRST].ufrag, pair.now)
    pair.passes = lambda _: False
    pair.run(30.0)
    assert not pair.agents[FIRST].sent(pair.words[FIRST].ufrag, pair.now)
    pair.passes = lambda _: True
    pair.run(3.0)
    assert pair.agents[FIRST].sent(pair.words[FIRST].ufrag, pair.now)
    pair.run(100.0)
    assert "PathLost" not in pair.ends(FIRST)


def test_a_silent_path_costs_little() -> None:
    """Both ends' questions and answers, with the headers of IPv4 and UDP: sixteen links under 350 bytes a second."""
    pair = IcePair()
    pair.begin_both()
    pair.run(10.0)
    pair.sent.clear()
    pair.run(3600.0)
    per_second = sum(len(data) + 28 for _, _, _, data in pair.sent) / 3600.0
    assert 10.0 < per_second < 350 / 16


@pytest.mark.must("7675 5.1/10")
def test_a_machine_that_slept_asks_before_it_sends() -> None:
    """Its timers are an hour late; the path is not lost by that."""
    pair = IcePair()
    pair.begin_both()
    pair.run(1.0)
    pair.now += 3600.0
    assert not pair.agents[FIRST].sent(pair.words[FIRST].ufrag, pair.now)
    pair.run(1.0)
    assert pair.agents[FIRST].sent(pair.words[FIRST].ufrag, pair.now)
    pair.run(100.0)
    assert "PathLost" not in pair.ends(FIRST) + pair.ends(SECOND)


def test_who_spoofs_a_source_is_checked_there_a_bounded_number_of_times() -> None:
    """The other end may say that it is anywhere."""
    pair = IcePair()
    pair.passes = lambda sent: False
    pair.begin_both()
    (_, check), *_ = requests(pair.sent, TWO)
    for port in range(1, 500):
        pair.arrive(FIRST, ONE, Address("203.0.113.66", port), check.data)
    pair.run(CHECKING_MAX_S)
    checks = [sent for sent in pair.sent if sent[2].host == "203.0.113.66" and isinstance(read(sent[3]), CheckRequest)]
    assert 0 < len(checks) <= 4 * 5


def test_a_check_for_an_address_that_is_no_candidate_of_ours_is_not_answered() -> None:
    """An interface that has come since: the next Attach names it."""
    pair = IcePair()
    pair.begin_both()
    (_, check), *_ = requests(pair.sent, TWO)
    before = len(pair.sent)
    pair.arrive(FIRST, Address("192.0.2.99", 5000), TWO, check.data)
    assert len(pair.sent) == before


def test_a_nomination_by_who_does_not_control_is_none() -> None:
    """Only who asked for the connection decides."""
    pair = IcePair()
    pair.passes = lambda sent: False
    pair.begin_both()
    (_, check), *_ = requests(pair.sent, TWO)
    first = pair.words[FIRST]
    assert check.role is not None
    theirs = CheckCredentials(first.ufrag, first.password)
    pair.passes = lambda sent: True
    nominating = encode_request(bytes(12), pair.words[SECOND].ufrag, theirs, 1, check.role, is_nominating=True)
    pair.arrive(FIRST, ONE, TWO, nominating)
    assert pair.ends(FIRST) == []

"""p2psip.reload.paths.ice.checklist: which pairs, in which order."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.reload.paths.ice.candidate_addresses import CandidateAddress, CandidateType, Mapped, gathered, priority_of
from p2psip.reload.paths.ice.checklist import CandidatePair, CheckList, PairState, priority_of_pair
from p2psip.reload.paths.limits import ICE_LEARNT_PAIRS_MAX, ICE_LEARNT_PAIRS_PER_HOST_MAX, ICE_PAIRS_MAX

SERVER, OTHER_SERVER = Address("198.51.100.3", 3478), Address("198.51.100.9", 3478)


def side(net: int, interfaces: int = 1) -> tuple[CandidateAddress, ...]:
    """Candidates of a node with so many interfaces, behind a NAT, with a relay."""
    hosts = [Address(f"10.{net}.{number}.2", 5000) for number in range(interfaces)]
    seen, relayed = Address(f"203.0.113.{net}", 5000), Address("198.51.100.4", 49152 + net)
    return gathered(hosts, [Mapped(seen, hosts[0], SERVER)], [Mapped(relayed, hosts[0], SERVER)])


def formed(interfaces: int = 1) -> CheckList:
    """The list of two such nodes."""
    made = CheckList(is_controlling=True)
    made.form(side(1, interfaces), side(2, interfaces), ICE_PAIRS_MAX)
    return made


def test_6_1_2_3_both_ends_have_the_same_priorities() -> None:
    """2^32*MIN(G,D) + 2*MAX(G,D) + (G>D?1:0), G being who controls."""
    here, there = side(1)[0], side(2)[1]
    ours = priority_of_pair(here, there, is_controlling=True)
    assert ours == (there.priority << 32) + 2 * here.priority + 1
    assert priority_of_pair(there, here, is_controlling=False) == ours
    assert priority_of_pair(here, there, is_controlling=False) == ours - 1


@pytest.mark.must("8445 6.1.2.4/1", "8445 7.2.5.3.1/1")
def test_6_1_2_4_a_reflexive_candidate_is_checked_from_its_base() -> None:
    """Two bases (host, relayed) with three remote candidates: six pairs of nine; best first."""
    pairs = list(formed())
    assert len(pairs) == 6
    assert {pair.local.type for pair in pairs} == {CandidateType.HOST, CandidateType.RELAYED}
    assert [pair.priority for pair in pairs] == sorted((pair.priority for pair in pairs), reverse=True)


@pytest.mark.must("8445 6.1.2.5/2")
def test_6_1_2_5_the_bound_leaves_some_of_each_kind() -> None:
    """Sixteen interfaces at both ends are 256 pairs of host candidates alone."""
    pairs = list(formed(16))
    assert len(pairs) == ICE_PAIRS_MAX
    kinds = {(pair.local.type, pair.remote.type) for pair in pairs}
    assert len(kinds) == 6
    assert (CandidateType.RELAYED, CandidateType.RELAYED) in kinds


@pytest.mark.must("8445 7.2.5.3.3/1")
def test_6_1_4_2_order_of_checks() -> None:
    """Triggered first, then by priority, one of each foundation; a frozen one when its foundation is not busy."""
    one = CheckList(is_controlling=True)
    host = Address("10.1.1.2", 5000)
    ours = gathered([host])
    theirs = gathered([Address("10.2.2.2", port) for port in (1, 2, 3)])
    one.form(ours, theirs, ICE_PAIRS_MAX)
    first, second, third = one
    assert [pair.state for pair in one] == [PairState.WAITING, PairState.FROZEN, PairState.FROZEN]
    assert one.next_pair() is first
    first.state = PairState.IN_PROGRESS
    assert one.next_pair() is None
    one.trigger(third)
    assert one.next_pair() is third
    third.state = PairState.IN_PROGRESS
    first.state = PairState.FAILED
    assert one.next_pair() is None, "third is of the same foundation, and busy"
    third.state, third.is_valid = PairState.SUCCEEDED, True
    one.thaw(third)
    assert one.next_pair() is second


def test_a_triggered_pair_that_has_succeeded_meanwhile_is_not_checked() -> None:
    """Its cancelled check was answered after all."""
    one = formed()
    pairs = list(one)
    one.trigger(pairs[-1])
    pairs[-1].state = PairState.SUCCEEDED
    assert one.next_pair() is pairs[0]


def test_7_3_1_3_learnt_pairs_are_bounded() -> None:
    """So many of one host, and so many in all."""
    one = formed()
    before = len(one)

    def learn(host: str, port: int) -> CandidatePair | None:
        address = Address(host, port)
        kind = CandidateType.PEER_REFLEXIVE
        return one.learn(side(1)[0], CandidateAddress(kind, address, priority_of(kind, 0), b"*", address))

    learnt = [learn("203.0.113.77", port) is not None for port in range(1, 9)]
    assert learnt == [True] * ICE_LEARNT_PAIRS_PER_HOST_MAX + [False] * (8 - ICE_LEARNT_PAIRS_PER_HOST_MAX)
    for number in range(100):
        learn(f"203.0.113.{100 + number}", 1)
    assert len(one) == before + ICE_LEARNT_PAIRS_MAX


def test_switched_roles_have_switched_priorities() -> None:
    """7.3.1.1."""
    one = formed()
    before = {pair.addresses: pair.priority for pair in one}
    one.switch_role()
    assert any(before[pair.addresses] != pair.priority for pair in one)
    one.switch_role()
    assert {pair.addresses: pair.priority for pair in one} == before


def test_direct_is_better_than_relayed_whatever_the_priorities_say() -> None:
    """The other end writes its priorities itself."""
    host, _, relayed = side(1)
    boastful = side(2)[2]._replace(priority=2**32 - 1)
    direct = CandidatePair(host, side(2)[0], 1)
    assert direct.rank > CandidatePair(relayed, side(2)[0], 2).rank
    assert direct.rank > CandidatePair(host, boastful, 3).rank


def test_what_is_said_of_pairs() -> None:
    """For the log and `status`."""
    one = formed()
    first, second, third, fourth, *_ = one
    first.state, first.is_valid, first.rtt_s = PairState.SUCCEEDED, True, 0.0423
    second.state, second.checks = PairState.IN_PROGRESS, 1
    third.state, third.reason = PairState.FAILED, "no answer to 7 checks"
    assert [str(report).partition(": ")[2] for report in one.reports()[:4]] == [
        "works, 42 ms",
        "no answer to 1 check yet",
        "no answer to 7 checks",
        fourth.state.value,
    ]
    assert str(one.reports()[0]).startswith("10.1.0.2:5000 to 10.2.0.2:5000 (host to host)")

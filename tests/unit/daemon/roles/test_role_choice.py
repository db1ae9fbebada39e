"""When a site that finds out for itself is a peer, and when a client."""

from __future__ import annotations

from dataclasses import replace

import pytest
from surveys import CLOSED, DIALABLE, NOBODY, UNSURE

from p2psip.base.address import Address
from p2psip.daemon.roles.role_choice import (
    PUBLIC_MIN,
    STAY_MAX_S,
    STAY_MIN_S,
    STEADY_S,
    KeptRole,
    Role,
    RoleChoice,
    fixed_role,
)
from p2psip.reload.config.configuration import BootstrapNode
from p2psip.reload.node.effects import ReachSurveyed
from p2psip.sim.simulated_overlay import simulated_configuration

HERE, THERE = Address("192.0.2.1", 6084), Address("192.0.2.9", 6084)


def begun(role: Role, stay_s: float = STAY_MIN_S) -> RoleChoice:
    """At zero, as that."""
    return RoleChoice(KeptRole(role, stay_s), 0.0)


def told(choice: RoleChoice, *surveys: ReachSurveyed, began_at: float = 0.0) -> float:
    """These come, as far apart as they have to be to count; when the last one came."""
    now = began_at
    for now, survey in zip([began_at + number * STEADY_S for number in range(len(surveys))], surveys, strict=True):
        choice.surveyed(survey, now)
    return now


def test_a_client_that_others_reach_becomes_a_peer() -> None:
    choice = begun("client")
    now = told(choice, DIALABLE, DIALABLE)
    assert now < STAY_MIN_S, "not before it has been a client for a while"
    assert choice.due(now, is_busy=False) is None
    assert choice.due(STAY_MIN_S, is_busy=False) == KeptRole("peer", 2 * STAY_MIN_S)


def test_a_peer_that_nobody_reaches_becomes_a_client() -> None:
    choice = begun("peer")
    told(choice, CLOSED, CLOSED)
    assert choice.due(STAY_MIN_S, is_busy=False) == KeptRole("client", 2 * STAY_MIN_S)


def test_nobody_is_cut_off() -> None:
    """It starts anew when the last call is over."""
    choice = begun("client")
    told(choice, DIALABLE, DIALABLE)
    assert choice.due(10 * STAY_MIN_S, is_busy=True) is None
    assert choice.due(10 * STAY_MIN_S + 1.0, is_busy=False) is not None


def test_one_survey_says_nothing_nor_do_two_at_once() -> None:
    choice = begun("client")
    choice.surveyed(DIALABLE, 0.0)
    choice.surveyed(DIALABLE, STEADY_S - 1.0)
    assert choice.due(STAY_MAX_S, is_busy=False) is None
    choice.surveyed(DIALABLE, STEADY_S)
    assert choice.due(STAY_MAX_S, is_busy=False) is not None


@pytest.mark.parametrize(("role", "want", "other"), [("client", DIALABLE, CLOSED), ("peer", CLOSED, DIALABLE)])
def test_a_survey_to_the_contrary_takes_it_back(role: Role, want: ReachSurveyed, other: ReachSurveyed) -> None:
    choice = begun(role)
    told(choice, want, other, want)
    assert choice.due(STAY_MAX_S, is_busy=False) is None
    told(choice, want, want, other, began_at=STAY_MAX_S)
    assert choice.due(2 * STAY_MAX_S, is_busy=False) is None


@pytest.mark.parametrize("nothing", [NOBODY, UNSURE], ids=["nobody to ask", "unsure"])
def test_who_does_not_know_says_neither(nothing: ReachSurveyed) -> None:
    """A peer whose uplink is gone asks nobody, and is not therefore a client."""
    choice = begun("peer")
    told(choice, nothing, nothing, nothing)
    assert choice.due(STAY_MAX_S, is_busy=False) is None
    told(choice, CLOSED, nothing, CLOSED)
    assert choice.due(STAY_MAX_S, is_busy=False) is not None


def test_the_last_peers_that_can_be_reached_remain() -> None:
    """All whom nobody reaches may see so at the same time: then there would be nobody left to be a client of."""
    choice = begun("peer")
    alone = replace(CLOSED, open_members=PUBLIC_MIN - 1)
    told(choice, alone, alone)
    assert choice.due(STAY_MAX_S, is_busy=False) is None
    choice.surveyed(CLOSED, STAY_MAX_S)
    assert choice.due(STAY_MAX_S, is_busy=False) is not None


def test_a_site_that_is_reached_now_and_then_changes_a_few_times_a_day_and_then_once() -> None:
    """The worst that surveys can say is the other thing each time."""
    now, kept, changes = 0.0, KeptRole(), []
    while now < 10 * STAY_MAX_S:
        choice, began_at = RoleChoice(kept, now), now
        survey = DIALABLE if kept.role == "client" else CLOSED
        while (other := choice.due(now, is_busy=False)) is None:
            choice.surveyed(survey, now)
            now += STEADY_S
        changes.append(now - began_at)
        kept = other
    assert changes[:5] == [STAY_MIN_S * 2**number for number in range(5)]
    assert set(changes[6:]) == {STAY_MAX_S}


def test_who_was_the_same_for_a_day_is_free_again() -> None:
    choice = begun("peer", STAY_MAX_S)
    told(choice, CLOSED, CLOSED, began_at=STAY_MAX_S - 1.0)
    assert choice.due(STAY_MAX_S - 1.0, is_busy=False) is None
    assert choice.due(STAY_MAX_S, is_busy=False) == KeptRole("client", STAY_MAX_S)
    told(choice, DIALABLE, CLOSED, CLOSED, began_at=STAY_MAX_S)
    assert choice.due(2 * STAY_MAX_S, is_busy=False) == KeptRole("client", STAY_MIN_S)


def test_what_cannot_be_written_down_is_not_tried_each_second() -> None:
    choice = begun("client")
    told(choice, DIALABLE, DIALABLE)
    choice.hold()
    assert choice.due(STAY_MIN_S, is_busy=False) is None
    told(choice, DIALABLE, DIALABLE, began_at=STAY_MIN_S)
    assert choice.due(2 * STAY_MIN_S, is_busy=False) is not None


def test_what_is_not_to_be_found_out() -> None:
    """What the operator says; and where nobody could be a client, or nobody could tell."""
    ice = simulated_configuration([THERE], no_ice=False)
    assert fixed_role("peer", ice, [HERE]) == "peer"
    assert fixed_role("client", ice, [HERE]) == "client"
    assert fixed_role("router", ice, [HERE]) == "router"
    assert fixed_role("auto", ice, [HERE]) is None
    assert fixed_role("auto", replace(ice, bootstrap_nodes=(BootstrapNode(*HERE),)), [HERE]) == "peer"
    assert fixed_role("auto", replace(ice, bootstrap_nodes=()), [HERE]) == "peer"
    assert fixed_role("auto", replace(ice, clients_permitted=False), [HERE]) == "peer"
    assert fixed_role("auto", replace(ice, no_ice=True), [HERE]) == "peer"


@pytest.mark.parametrize("stay_s", [0.0, STAY_MAX_S + 1.0, float("nan")])
def test_no_file_makes_it_change_all_day_or_never(stay_s: float) -> None:
    with pytest.raises(ValueError, match="stay_s"):
        KeptRole("peer", stay_s)

"""Runs of small scenarios: what happens does, and what is wrong in the end is told (p2psip.sim.scenario.play)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from p2psip.coupling.lines import Publisher
from p2psip.reload.topology.chord.chord import Chord
from p2psip.sim.scenario.play import Run, play
from p2psip.sim.scenario.run_outcome import RunOutcome
from p2psip.sim.scenario.scenario_terms import Happening, Scenario

SMALL = Scenario(peers=4, users=3, seconds=40.0, heal_s=60.0)


def happened(outcome: RunOutcome) -> list[str]:
    """All that was told, without its times."""
    return [what for _, what in outcome.log]


def played(*happens: Happening, scenario: Scenario = SMALL, seed: int = 1) -> RunOutcome:
    """All was well in the end."""
    outcome = play(replace(scenario, happens=happens), seed)
    assert outcome.failure is None, outcome.transcript()
    return outcome


def test_nothing_happens_and_all_is_well() -> None:
    outcome = played()
    assert (outcome.log, outcome.retries, outcome.peers) == ([], 0, 4)
    assert outcome.healed_s == 0.0
    assert outcome.checks > 0
    # The judge has looked up each of the three, and had them call each other.
    assert len(outcome.hops) == len(outcome.setup_ms) == 3
    assert len(outcome.bytes_per_s) == 4
    assert sum(outcome.records) >= 3


def test_deaths_and_returns() -> None:
    outcome = played(
        Happening(what="crash", who=("p1",), at_s=5.0, for_s=5.0),
        Happening(what="power", who=("p2",), at_s=6.0),
        Happening(what="leave", who=("p3",), at_s=8.0, for_s=10.0),
        Happening(what="crash", who=("p2",), at_s=9.0),
    )
    assert happened(outcome) == [
        "p1: killed, for 5 s",
        "p2: without power",
        "p3: leaving, for 10 s",
        "p1: back",
        "p3: back",
    ]
    assert outcome.peers == 3
    assert [at_s for at_s, _ in outcome.log] == [5.0, 6.0, 8.0, 10.0, 18.0]


def test_the_last_peer_stays() -> None:
    outcome = played(Happening(what="power", who=("p0", "p1", "p2", "p3"), at_s=5.0))
    assert happened(outcome) == ["p0, p1, p2: without power"]


def test_islands_and_joins() -> None:
    outcome = played(
        Happening(what="part", who=("p1", "p2"), at_s=2.0, for_s=30.0),
        Happening(what="join", at_s=5.0),
        Happening(what="join", who=("p1",), at_s=6.0),
    )
    assert happened(outcome) == ["p1, p2: on an island, for 30 s", "p4: new", "all reach each other"]
    assert outcome.peers == 5


def test_what_users_do() -> None:
    outcome = played(
        Happening(what="call", who=("u0",), to="u1", at_s=1.0),
        Happening(what="lookup", who=("u1",), to="p3", at_s=1.0),
        Happening(what="move", who=("u1",), to="p3", at_s=10.0),
        Happening(what="remove", who=("u2",), at_s=11.0),
        Happening(what="remove", who=("u2",), at_s=12.0),
        Happening(what="call", who=("u0",), to="u1", at_s=20.0),
        Happening(what="call", who=("u0",), to="u2", at_s=30.0),
        Happening(what="call", who=("u2",), to="u1", at_s=31.0),
    )
    assert happened(outcome) == [
        "u0: calling u1",
        "u1: looked up at p3",
        "u1: moved to p3",
        "u2: without a line",
        "u0: calling u1",
        "u0: calling u2",
    ]
    # Nobody is there in the place of u2.
    assert (outcome.calls, outcome.calls_answered) == (2, 2)
    assert (outcome.lookups, outcome.lookups_found) == (1, 1)


@pytest.mark.parametrize("world", ["direct", "internet"])
def test_who_gives_up_a_line_at_a_peer_that_dies_before_it_has_said_so(world: str) -> None:
    """The peer has just begun, and is not in the overlay yet; its next life says it."""
    outcome = played(
        Happening(what="power", who=("p1",), at_s=2.0, for_s=4.0),
        Happening(what="remove", who=("u1",), at_s=6.01),
        Happening(what="power", who=("p1",), at_s=6.02, for_s=4.0),
        scenario=replace(SMALL, world=world),  # type: ignore[arg-type]
    )
    assert happened(outcome)[2:] == ["u1: without a line", "p1: without power, for 4 s", "p1: back"]


@pytest.mark.long
@pytest.mark.parametrize("topology", ["CHORD-RELOAD", "one-hop"])
def test_a_seed_plays_the_same_and_another_another(topology: str) -> None:
    scenario = Scenario(
        peers=4,
        users=2,
        seconds=30.0,
        topology=topology,  # type: ignore[arg-type]
        happens=(Happening(what="power", every_s=10.0, for_s=5.0), Happening(what="call", every_s=5.0)),
    )
    first, second, other = play(scenario, 1), play(scenario, 1), play(scenario, 2)
    assert first.figures() == second.figures()
    assert first.log == second.log
    assert first.figures() != other.figures()


@pytest.mark.long
def test_machines_on_an_internet() -> None:
    scenario = replace(SMALL, world="internet", nats=("none", "none", "port-restricted", "symmetric"))
    outcome = played(
        Happening(what="sleep", who=("p1",), at_s=1.0, for_s=5.0),
        Happening(what="reboot_router", who=("p2", "p1"), at_s=2.0),
        Happening(what="switch_uplink", who=("p3",), at_s=8.0),
        Happening(what="wrong_date", who=("p2",), at_s=9.0, for_s=10.0),
        Happening(what="full_disk", who=("p2",), at_s=9.0, for_s=10.0),
        Happening(what="crash", who=("p1",), at_s=20.0, for_s=5.0),
        Happening(what="power", who=("p2",), at_s=21.0, for_s=5.0),
        Happening(what="call", who=("u0",), to="u2", at_s=30.0),
        scenario=scenario,
    )
    assert happened(outcome) == [
        "p1: asleep, for 5 s",
        "p2: the router starts anew",
        "p1: awake",
        "p3: another provider",
        "p2: a wrong date, for 10 s",
        "p2: a full disk, for 10 s",
        "p2: the right date",
        "p2: room on the disk",
        "p1: killed, for 5 s",
        "p2: without power, for 5 s",
        "p1: back",
        "p2: back",
        "u0: calling u2",
    ]
    assert outcome.calls_answered == 1


# What is wrong is told


def test_a_ring_that_does_not_come_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Chord, "handle_join", lambda *_: None)
    outcome = play(SMALL, 1)
    assert outcome.failure is not None
    assert outcome.failure.kind == "not whole"


def test_a_record_that_is_not_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Publisher, "_withdraw", lambda *_: None)
    outcome = play(replace(SMALL, happens=(Happening(what="remove", who=("u1",), at_s=3.0),)), 1)
    assert outcome.failure is not None
    assert str(outcome.failure).endswith("u1 gave up the line, and is found (came back)")


def test_a_bug_is_told_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> None:
        raise AssertionError("a bug")

    run = replace(SMALL, happens=(Happening(what="move", who=("u1",), to="p2", at_s=3.0),))
    monkeypatch.setattr(Publisher, "remove", wrong)
    outcome = play(run, 1)
    assert outcome.failure is not None
    assert outcome.failure.kind == "error"
    assert outcome.failure.why.startswith("AssertionError in test_play.py:")
    assert outcome.log == []


def test_who_cannot_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(SMALL, 1, (), None)
    run.begin()
    for user in run.stage.users.values():
        assert user.phone is not None
        user.phone.unplug()
    with pytest.raises(Exception, match=r"u\d cannot call u\d: "):
        run.judge()

"""A simulation that cannot fail proves nothing: the ring is broken on purpose, and runs of chance have to notice.

Each mutant is one that Chord had as it was published, or that an implementer may easily make. docs/simulator.md tells
in how many runs each is caught.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from p2psip.base.ids import NodeId
from p2psip.reload.topology.actions import Replicate
from p2psip.reload.topology.chord.chord import Chord
from p2psip.reload.topology.chord.messages import NeighborView
from p2psip.reload.topology.chord.replicas import ReplicaSet
from p2psip.reload.topology.joining import JoinState
from p2psip.sim.scenario.play import play
from p2psip.sim.scenario.scenario_terms import Happening, Scenario

pytestmark = pytest.mark.long

SMALL_RINGS = Scenario(
    peers=5,
    users=5,
    seconds=120.0,
    heal_s=120.0,
    happens=(
        Happening(what="join", every_s=20.0),
        Happening(what="join", every_s=40.0, count=2),
        Happening(what="crash", every_s=20.0, for_s=6.0),
        Happening(what="power", every_s=40.0, for_s=40.0),
        Happening(what="leave", every_s=40.0, for_s=8.0),
    ),
)
SEEDS_MAX = 10

ONE_BY_ONE = Scenario(
    peers=10,
    users=10,
    seconds=260.0,
    happens=tuple(
        happening
        for number in range(1, 6)
        for happening in (
            Happening(what="crash", who=(f"p{number}",), at_s=50.0 * number - 40.0),
            *(Happening(what="lookup", who=(f"u{user}",), to="p0", at_s=50.0 * number - 30.0) for user in range(10)),
        )
    ),
)
"""Five of ten die one after another, each when copies of what the one before kept have been made."""

Mutate = Callable[[pytest.MonkeyPatch], None]


def published_join(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stoica and others, "Chord", SIGCOMM 2001, figure 6: `successor = n'.find_successor(n)`, and n is in the ring."""
    go_on = Chord._go_on_joining

    def join(chord: Chord, now: float) -> None:
        if chord.joining.state is JoinState.SEEKING and chord.joining.admitting_peer in chord.table:
            chord._become_member(now)
        else:
            go_on(chord, now)

    monkeypatch.setattr(Chord, "_go_on_joining", join)


def no_rectify(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who tells a peer that it comes before it is not believed."""
    came = Chord._peer_came

    def is_before(chord: Chord, node: NodeId) -> bool:
        return len(chord.table) > 0 and chord.table.is_in_range(node)

    def ignore(chord: Chord, node: NodeId, now: float, *, has_data: bool = False) -> None:
        if not (chord.joining.is_member and is_before(chord, node)):
            came(chord, node, now, has_data=has_data)

    monkeypatch.setattr(Chord, "_peer_came", ignore)


def adopted_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pointer is taken over without an Attach: whoever is named is there."""
    consider = Chord._consider

    def adopt(chord: Chord, view: NeighborView, via: NodeId | None, now: float) -> None:
        for node in chord.table.wanted_among(view.nodes):
            chord._peer_came(node, now)
        consider(chord, view, via, now)

    monkeypatch.setattr(Chord, "_consider", adopt)


def no_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a replica died, no other gets copies."""
    due = ReplicaSet.handle_timeout

    def none(replicas: ReplicaSet, now: float) -> list[Replicate]:
        due(replicas, now)
        return []

    monkeypatch.setattr(ReplicaSet, "handle_timeout", none)


def left_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leave is believed of the instance that comes after."""
    leave = Chord.handle_leave

    def remember(chord: Chord, node: NodeId, others: Iterable[NodeId], now: float) -> None:
        if type(chord._left) is set:
            chord._left = _Elephant()
        leave(chord, node, others, now)

    monkeypatch.setattr(Chord, "handle_leave", remember)


class _Elephant(set[NodeId]):
    """Never forgets."""

    def discard(self, _: NodeId) -> None:
        return


MUTANTS: dict[str, Mutate] = {
    mutate.__name__: mutate for mutate in (published_join, no_rectify, adopted_unseen, no_replicas, left_for_ever)
}


def test_none_of_these_runs_fails_without_a_mutant() -> None:
    outcomes = [play(SMALL_RINGS, seed) for seed in range(1, 4)] + [play(ONE_BY_ONE, seed) for seed in range(1, 4)]
    assert [outcome.transcript() for outcome in outcomes if outcome.failure] == []
    assert all(outcome.lookups_found == outcome.lookups > 20 for outcome in outcomes[3:])


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[..., None]) -> None:
    MUTANTS[name](monkeypatch)
    for seed in range(1, 1 + SEEDS_MAX):
        outcome = play(ONE_BY_ONE if name == "no_replicas" else SMALL_RINGS, seed)
        lost = outcome.lookups - outcome.lookups_found if name == "no_replicas" else 0
        if outcome.failure is not None or lost:
            what = outcome.failure or f"{lost} of {outcome.lookups} lookups found nobody"
            record_property("table", f"{name}: seed {seed}: {what}")
            return
    pytest.fail(f"{name} lives after {SEEDS_MAX} runs")

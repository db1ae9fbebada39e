"""What happens, drawn before it does (p2psip.sim.scenario.script)."""

from __future__ import annotations

from msgspec.structs import replace

from p2psip.sim.scenario.scenario_terms import Happening, Scenario
from p2psip.sim.scenario.script import draw

SCENARIO = Scenario(
    peers=6,
    users=5,
    seconds=1000.0,
    happens=(
        Happening(what="join", every_s=100.0),
        Happening(what="crash", every_s=50.0, for_s=10.0, count=2),
        Happening(what="call", every_s=20.0),
        Happening(what="move", every_s=200.0),
        Happening(what="lookup", at_s=5.0, who=("u1",), to="p3"),
    ),
)


def test_a_seed_draws_the_same_and_another_another() -> None:
    assert draw(SCENARIO, 1) == draw(SCENARIO, 1)
    assert draw(SCENARIO, 1) != draw(SCENARIO, 2)


def test_all_is_decided_and_in_order() -> None:
    script = draw(SCENARIO, 1)
    times = [happening.at_s for happening in script]
    assert times == sorted(times, key=lambda at_s: -1.0 if at_s is None else at_s)
    for happening in script:
        assert happening.at_s is not None
        assert 0 <= happening.at_s < SCENARIO.seconds
        assert happening.every_s is None
        assert happening.who
    assert Happening(what="lookup", at_s=5.0, who=("u1",), to="p3") in script


def test_it_happens_as_often_as_it_says() -> None:
    counts = [sum(happening.what == "call" for happening in draw(SCENARIO, seed)) for seed in range(40)]
    assert 45 < sum(counts) / len(counts) < 55
    assert len(set(counts)) > 5


def test_who_joins_is_new_and_may_be_chosen_from_then_on() -> None:
    script = draw(replace(SCENARIO, seconds=5000.0), 1)
    joined = [name for happening in script if happening.what == "join" for name in happening.who]
    assert joined == [f"p{6 + number}" for number in range(len(joined))]
    assert len(joined) > 20
    known = {f"p{number}" for number in range(6)}
    chosen = set()
    for happening in script:
        if happening.what == "join":
            known |= set(happening.who)
        elif happening.what == "crash":
            assert len(happening.who) == 2
            assert set(happening.who) <= known
            chosen |= set(happening.who)
    assert chosen & set(joined)


def test_nobody_calls_himself_where_there_is_somebody_else() -> None:
    calls = [happening for happening in draw(SCENARIO, 1) if happening.what == "call"]
    assert all(happening.to not in happening.who for happening in calls)
    assert {happening.to for happening in calls} == {f"u{number}" for number in range(5)}


def test_each_seed_of_a_swarm_has_a_mix_of_its_own() -> None:
    """Some of it not at all, some of it oftener; what has a time is no matter of chance."""
    swarm = replace(SCENARIO, is_swarm=True)
    kinds = [frozenset(happening.what for happening in draw(swarm, seed)) for seed in range(60)]
    assert all("lookup" in each for each in kinds)
    for what in ("join", "crash", "call", "move"):
        assert 12 < sum(what in each for each in kinds) < 48
    calls = [sum(happening.what == "call" for happening in draw(swarm, seed)) for seed in range(60)]
    assert max(calls) > 100
    assert 0 < min(count for count in calls if count) < 25

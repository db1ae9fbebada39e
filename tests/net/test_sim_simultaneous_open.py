"""Two ends behind boxes of every kind that open a stream to each other, in virtual time, beside an oracle."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from effort import EFFORT
from nat_pairs import KINDS as KINDS_OF_TABLE
from tcp_world import RELAY, TcpScene, TcpWorld, can_be_opened

from p2psip.reload.paths.limits import OPENS_PER_ROUND_MAX, OPENS_ROUNDS_MAX
from p2psip.sim.ip.boxes import Dependence, NatBehaviour, Unasked
from p2psip.sim.ip.network import Way

SEEDS = 200 if EFFORT == 1 else 400 * EFFORT
CHUNK = 50

KINDS = [
    NatBehaviour(mapping, filtering, preserves_port=False, unasked=unasked, lets_syn_in=lets_syn_in)
    for mapping, filtering, unasked, lets_syn_in in itertools.product(
        (Dependence.NONE, Dependence.ADDRESS), Dependence, Unasked, (True, False)
    )
]
PORT_RESTRICTED = NatBehaviour(filtering=Dependence.ADDRESS_AND_PORT)


def try_scene(seed: int | str, scene: TcpScene) -> TcpWorld:
    """They are linked exactly when a stream can be opened, the asker as the TLS server, and nobody sends much."""
    world = TcpWorld(seed, scene)
    is_linked = world.attach()
    assert is_linked is can_be_opened(scene), [end.core.opened for end in world.ends]
    # A SYN is repeated three times in the patience of one attempt.
    syns_max = 2 * OPENS_ROUNDS_MAX * (OPENS_PER_ROUND_MAX + 3)
    assert len([each for each in world.syns if each.destination != RELAY]) <= syns_max
    if is_linked:
        asker, answerer = (end.link for end in world.ends)
        assert asker is not None
        assert answerer is not None
        assert asker.remote in world.ends[1].outside
        assert answerer.remote in world.ends[0].outside
        assert asker.certificates == (b"certificate of end 1",)
        roles = [
            {wanted.is_server for _, wanted in end.core.opened if wanted.candidate.local and not wanted.protocol}
            for end in world.ends
        ]
        assert roles == [{True}, {False}]
        assert [set(end.core.contexts.values()) for end in world.ends] == [{"asked"}, {"answered"}]
        assert world.data_passes()
    return world


def scene_of(rng: random.Random) -> TcpScene:
    """Anything that two ends may be behind; the way of the Attach is longer than the direct one, and uneven."""

    def boxes() -> tuple[NatBehaviour, ...]:
        return tuple(
            NatBehaviour(
                rng.choice((Dependence.NONE, Dependence.NONE, Dependence.NONE, Dependence.ADDRESS_AND_PORT)),
                rng.choice(list(Dependence)),
                preserves_port=False,
                unasked=rng.choice(list(Unasked)),
                lets_syn_in=rng.random() < 0.8,
            )
            for _ in range(rng.randint(1, 2))
        )

    delay_s = rng.uniform(0.005, 0.1)
    way = Way(delay_s=delay_s, jitter_s=rng.uniform(0, delay_s / 4), loss=rng.choice((0.0, 0.0, 0.02, 0.05)))
    question_s = rng.uniform(1.0, 5.0) * delay_s
    answer_s = max(delay_s, question_s + rng.uniform(-1.5, 1.5) * delay_s)
    return TcpScene(boxes(), boxes(), way, question_s, answer_s)


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_anything_that_two_ends_may_be_behind(first: int) -> None:
    """Chance decides: boxes, the way, its losses, and how long the Attach takes there and back."""
    for seed in range(first, first + CHUNK):
        try:
            try_scene(seed, scene_of(random.Random(f"tcp {seed}")))
        except AssertionError as failed:
            failed.add_note(f"seed {seed}")
            raise


@pytest.mark.long
@pytest.mark.parametrize("first", KINDS, ids=str)
def test_every_pair_of_kinds(first: NatBehaviour) -> None:
    """Each kind of box with each other."""
    for number, second in enumerate(KINDS):
        try_scene(number, TcpScene((first,), (second,)))


def test_of_the_kinds_in_the_table_six_of_nine_are_reached_from_where_udp_is_blocked() -> None:
    """Of docs/nat-pairs.md, whose table has them all over the relay: five by this, and a public one is dialled."""
    (blocked,) = (kind for kind in KINDS_OF_TABLE if kind.blocks_udp)
    scenes = {kind.name: TcpScene(blocked.boxes, kind.boxes) for kind in KINDS_OF_TABLE if kind.boxes}
    for name, scene in scenes.items():
        try_scene(name, scene)
    assert {name for name, scene in scenes.items() if can_be_opened(scene)} == {
        "full cone",
        "restricted cone",
        "port restricted",
        "UDP blocked",
        "port restricted in full cone",
    }
    assert len(KINDS_OF_TABLE) == len(scenes) + 1 == 9


def test_half_of_what_the_attach_took_brings_both_syns_onto_the_way_at_once() -> None:
    """Boxes that refuse a SYN and keep its port are passed by no other: none may arrive before the other one went."""
    box = replace(PORT_RESTRICTED, unasked=Unasked.RESET_AND_KEPT)
    scene = TcpScene((box,), (box,), Way(delay_s=0.02), question_s=0.2, answer_s=0.2)
    world = try_scene("at once", scene)
    starts = [end.core.opened[-1][0] for end in world.ends]
    assert len(world.syns) == 4
    assert abs(starts[0] - starts[1]) < 0.002
    assert world.internet.now - world.answered_at < 2.0
    unknown = TcpWorld("not at once", replace(scene, is_took_known=False))
    assert not unknown.attach()


@pytest.mark.parametrize("unasked", [Unasked.DROPPED, Unasked.TOLD, Unasked.RESET])
def test_where_a_box_forgets_nobody_has_to_be_in_time(unasked: Unasked) -> None:
    """Who is early waits, or is refused and opens again until the other one has opened as well."""
    box = replace(PORT_RESTRICTED, unasked=unasked)
    scene = TcpScene((box,), (box,), Way(delay_s=0.02), question_s=0.1, answer_s=0.2, is_took_known=False)
    world = try_scene("late", scene)
    assert world.internet.now - world.answered_at < 3.0


def test_an_uneven_way_of_the_attach_is_made_up_for_in_a_later_round() -> None:
    """The question takes five times as long as the answer: half of both is not when that was sent."""
    box = replace(PORT_RESTRICTED, unasked=Unasked.RESET_AND_KEPT)
    world = try_scene("uneven", TcpScene((box,), (box,), Way(delay_s=0.02), question_s=0.1, answer_s=0.02))
    assert 12.0 < world.internet.now - world.answered_at < 14.0


def test_a_link_that_ends_leaves_its_port() -> None:
    """NATs and systems remember what has ended for a while: the next link is opened from another one."""
    world = try_scene("again", TcpScene((PORT_RESTRICTED,), (PORT_RESTRICTED,)))
    before = [end.link.local for end in world.ends if end.link]
    for end in world.ends:
        end.driver.call(end.core.hang_up)
    world.internet.run_for(5.0)
    assert world.attach()
    assert not set(before) & {end.link.local for end in world.ends if end.link}


def test_a_relay_that_hears_nothing_has_no_stream_left_over() -> None:
    """The stream on which nothing is lent stays as long as it is asked, and the port is seen at the same address."""
    world = TcpWorld("kept", TcpScene((PORT_RESTRICTED,), (PORT_RESTRICTED,)))
    end = world.ends[0]
    end.ask_outside()
    world.internet.run_for(5.0)
    seen = end.outside
    world.internet.run_for(1000.0)
    own_relay = world.relay.core.paths.own_relay
    assert (end.outside, len(own_relay.streams)) == (seen, 1)
    end.driver.call(lambda now: end.core.paths.punching.outside.relay_gone(end.host, RELAY, now))
    world.internet.run_for(5.0)
    assert (end.outside, len(own_relay.streams)) == ([], 0)


def test_a_relay_that_begins_anew_is_asked_again() -> None:
    """The port is another one then, and nothing is said of the one before."""
    world = TcpWorld("anew", TcpScene((PORT_RESTRICTED,), (PORT_RESTRICTED,)))
    end = world.ends[0]
    end.ask_outside()
    world.internet.run_for(5.0)
    before = end.outside
    world.relay.driver.call(lambda now: world.relay.core.paths.own_relay.withdraw(now))
    world.internet.run_for(5.0)
    assert before
    assert end.outside == []

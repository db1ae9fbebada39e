"""Which links a peer wants (p2psip.reload.topology.one_hop.links)."""

from __future__ import annotations

import random
from statistics import mean

import pytest

from p2psip.base.ids import NodeId
from p2psip.reload.topology.one_hop.circle import distance
from p2psip.reload.topology.one_hop.links import (
    DEMAND,
    DEMANDED_MAX,
    IDLE_TURNS,
    MESH_MAX,
    WATCHED,
    WantedLinks,
)
from p2psip.reload.topology.one_hop.members import Members


def nodes(count: int) -> list[NodeId]:
    rng = random.Random(count)
    return sorted(NodeId(rng.randbytes(16)) for _ in range(count))


def at(number: int, count: int) -> tuple[Members, WantedLinks]:
    members = Members(nodes(count)[number], nodes(count))
    return members, WantedLinks(members, random.Random(number))


def test_a_few_are_linked_all_with_all() -> None:
    members, links = at(0, MESH_MAX + 1)
    assert set(links.wanted(())) == set(members) - {members.own}
    members, links = at(0, MESH_MAX + 2)
    assert len(links.wanted(())) < MESH_MAX


@pytest.mark.long
@pytest.mark.parametrize("count", [14, 50, 200, 400])
def test_by_the_links_that_all_want_every_member_is_reached_in_a_few_steps(count: int) -> None:
    """Each step comes nearer, so none goes in a circle; on average it is as many as the logarithm of all, halved."""
    everybody = nodes(count)
    wanting = {node: at(number, count)[1] for number, node in enumerate(everybody)}
    linked: dict[NodeId, set[NodeId]] = {node: set() for node in everybody}
    for node, links in wanting.items():
        for other in links.wanted(()):
            linked[node].add(other)
            linked[other].add(node)
    steps = []
    for start in everybody[:: max(1, count // 20)]:
        for goal in everybody:
            here, taken = start, 0
            while here != goal:
                onward = goal if goal in linked[here] else wanting[here].next_hop(goal, linked[here])
                assert onward is not None
                assert distance(goal, onward) < distance(goal, here)
                here, taken = onward, taken + 1
            steps.append(taken)
    assert mean(steps) < 3.5
    assert max(steps) < 10
    assert mean(map(len, linked.values())) < 20


def test_of_those_that_would_do_one_that_is_linked_is_taken_and_it_is_kept() -> None:
    members, links = at(0, 60)
    linked = {members.at(7), members.at(13), members.at(29)}
    assert linked <= set(links.wanted(linked))
    assert set(links.wanted(())) == set(links.wanted(linked))
    members.remove(members.at(13))
    assert {members.at(7), members.at(28)} <= set(links.wanted(()))


def test_neighbours_come_first() -> None:
    members, links = at(5, 100)
    assert tuple(links.wanted(())[: 2 * WATCHED]) == members.beside(WATCHED)
    assert set(members.beside(WATCHED)) < links.worth_keeping()


def use(links: WantedLinks, goal: NodeId, times: int = DEMAND) -> None:
    for _ in range(times):
        links.detoured(goal)


def test_to_whom_more_goes_than_now_and_then_a_link_is_wanted_as_long_as_it_is_used() -> None:
    members, links = at(0, 100)
    goal = next(node for node in members if node not in {members.own, *links.wanted(())})
    use(links, goal, DEMAND - 1)
    links.turn()
    use(links, goal, DEMAND - 1)
    assert goal not in links.wanted(()), "that was long ago"
    links.detoured(goal)
    assert goal in links.wanted(())
    for _ in range(IDLE_TURNS - 1):
        links.turn()
    links.used(goal)
    for _ in range(IDLE_TURNS - 1):
        links.turn()
    assert goal in links.wanted(())
    links.turn()
    assert goal not in links.wanted(())


def test_the_links_that_are_only_used_are_bounded_and_the_one_that_is_used_least_goes() -> None:
    members, links = at(0, 200)
    goals = [node for node in members if node not in {members.own, *links.wanted(())}][: DEMANDED_MAX + 1]
    for goal in goals[:-1]:
        use(links, goal)
    links.used(goals[0])
    use(links, goals[-1])
    wanted = links.wanted(())
    assert goals[0] in wanted
    assert goals[-1] in wanted
    assert goals[1] not in wanted


def test_who_has_gone_is_wanted_no_more() -> None:
    members, links = at(0, 100)
    goal = next(node for node in members if node not in {members.own, *links.wanted(())})
    use(links, goal)
    assert goal in links.wanted(())
    members.remove(goal)
    assert goal not in links.wanted(())

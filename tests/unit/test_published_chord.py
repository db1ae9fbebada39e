"""Chord as it was published breaks; the page that tells how says what is so (docs/published-chord.md)."""

from __future__ import annotations

from published_chord import (
    IDEAL,
    PAGE,
    PICTURE,
    Ring,
    best_successor,
    is_in_order,
    members,
    page,
    picture,
    ring_of,
    shortest_way,
    steps,
    tried,
    upkeep,
)


def reached_by_upkeep(ring: Ring) -> set[Ring]:
    """All that may become of it where nobody comes and nobody dies."""
    seen, waiting = {ring}, [ring]
    while waiting:
        for step in upkeep(waiting.pop()):
            if step.ring not in seen:
                seen.add(step.ring)
                waiting.append(step.ring)
    return seen


def test_page_and_picture_are_those_of_the_model() -> None:
    way = shortest_way(IDEAL)
    assert PAGE.read_text(encoding="utf-8") == page(way, tried(IDEAL)), "run make published-chord"
    assert PICTURE.read_text(encoding="utf-8") == picture(way), "run make published-chord"


def test_each_step_may_follow_the_one_before_and_only_the_last_ring_is_broken() -> None:
    way = shortest_way(IDEAL)
    ring = IDEAL
    assert is_in_order(ring)
    for step in way:
        assert is_in_order(ring)
        assert step in steps(ring)
        ring = step.ring
        assert all(best_successor(ring, name) != name for name in members(ring)), "what Chord takes for granted"
    assert not is_in_order(ring)
    assert sorted(ring_of(ring)) == ["B", "C", "D"]


def test_the_broken_ring_never_mends_itself() -> None:
    broken = shortest_way(IDEAL)[-1].ring
    after = reached_by_upkeep(broken)
    assert len(after) > 1
    assert not any(is_in_order(ring) for ring in after)


def test_a_ring_that_has_lost_one_mends_itself() -> None:
    """The model's upkeep does work: it is the broken ring that is beyond it."""
    without_b = next(step.ring for step in steps(IDEAL) if step.words == "B dies")
    assert any(
        all("B" not in there.successors and there.predecessor != "B" for there in members(ring).values())
        for ring in reached_by_upkeep(without_b)
    )

"""Chord as it was published, event by event, and the shortest way in which it breaks: docs/published-chord.md.

`python tests/support/published_chord.py` writes page and picture anew (`make published-chord`).

I. Stoica and others, "Chord", IEEE/ACM Transactions on Networking 11(1), 2003, figures 6 and 7 and section IV.E.3, with
successor lists of two. P. Zave ("Using lightweight modeling to understand Chord", CCR 42(2), 2012) was the first to
show that it can break.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "published-chord.md"
PICTURE = DOCS / "published-chord.svg"

PLACES = "ABCD"
LIST_LENGTH = 2


class Member(NamedTuple):
    """What a peer knows: whom it takes for its next successors, and for its predecessor."""

    successors: str
    predecessor: str


Ring: TypeAlias = tuple[Member | None, ...]
"""By place; None who is not there."""


@dataclass(frozen=True)
class Step:
    """What happens, and what is so afterwards."""

    words: str
    ring: Ring


IDEAL: Ring = (Member("BC", "C"), Member("CA", "A"), Member("AB", "B"), None)


def member(ring: Ring, name: str) -> Member | None:
    """Who is at that place."""
    return ring[PLACES.index(name)]


def members(ring: Ring) -> dict[str, Member]:
    """Who is there."""
    return {name: there for name, there in zip(PLACES, ring, strict=True) if there is not None}


def is_between(low: str, name: str, high: str) -> bool:
    """On the way from `low` to `high`, without either; all the way round if they are the same."""
    if low == high:
        return name != low
    return low < name < high if low < high else name > low or name < high


def best_successor(ring: Ring, name: str) -> str:
    """The first of its list that is there; itself if none is."""
    there = members(ring)
    return next((other for other in there[name].successors if other in there), name)


def find_successor(ring: Ring, asked: str, name: str) -> str | None:
    """Figure 5: from one successor to the next, until the place lies between the two."""
    for _ in PLACES:
        successor = best_successor(ring, asked)
        if successor == name or is_between(asked, name, successor):
            return successor
        asked = successor
    return None


def _put(ring: Ring, name: str, there: Member | None) -> Ring:
    at = PLACES.index(name)
    return (*ring[:at], there, *ring[at + 1 :])


def steps(ring: Ring) -> Iterator[Step]:
    """All that may happen next. Nobody dies who would leave another without a living successor: that is what Chord
    takes for granted.
    """
    there = members(ring)
    for name in PLACES:
        yield from _dies(ring, name) if name in there else _joins(ring, name)
    yield from upkeep(ring)


def upkeep(ring: Ring) -> Iterator[Step]:
    """What members do by themselves, again and again."""
    there = members(ring)
    for name, known in there.items():
        if known.predecessor and known.predecessor not in there:
            yield Step(
                f"{name} forgets its predecessor {known.predecessor}, which is dead",
                _put(ring, name, known._replace(predecessor="")),
            )
        first = known.successors[0]
        if first not in there:
            if len(known.successors) > 1:
                after = _put(ring, name, known._replace(successors=known.successors[1:]))
                yield Step(f"{name} drops {first}, which is dead, from its list", after)
            continue
        yield from _stabilizes(ring, name, known)
        if is_between(there[first].predecessor or first, name, first):
            after = _put(ring, first, there[first]._replace(predecessor=name))
            yield Step(f"{name} notifies its successor {first}, which takes it for its predecessor", after)


def _joins(ring: Ring, name: str) -> Iterator[Step]:
    for asked in members(ring):
        successor = find_successor(ring, asked, name)
        known = None if successor is None else member(ring, successor)
        if successor is not None and known is not None:
            joined = Member((successor + known.successors)[:LIST_LENGTH], "")
            words = f"{name} joins: it asks {asked}, and is told of {successor}. Nobody else knows of it yet"
            yield Step(words, _put(ring, name, joined))


def _dies(ring: Ring, name: str) -> Iterator[Step]:
    after = _put(ring, name, None)
    left = members(after)
    if len(left) > 1 and all(best_successor(after, other) != other for other in left):
        yield Step(f"{name} dies", after)


def _stabilizes(ring: Ring, name: str, known: Member) -> Iterator[Step]:
    first = known.successors[0]
    of_first = member(ring, first)
    assert of_first is not None, "it lives"
    said = of_first.predecessor
    successors = first + of_first.successors
    words = f"{name} stabilizes: it has the list of {first}"
    if said and is_between(name, said, first):
        successors = said + successors
        words = (
            f"{name} stabilizes: {first} says that {said} comes before it, and {name} takes {said} for its successor"
        )
    if successors[:LIST_LENGTH] != known.successors:
        yield Step(words, _put(ring, name, known._replace(successors=successors[:LIST_LENGTH])))


def ring_of(ring: Ring) -> str:
    """Where one comes along best successors, from whoever is first."""
    at = next(iter(members(ring)))
    seen = ""
    while at not in seen:
        seen += at
        at = best_successor(ring, at)
    return seen[seen.index(at) :]


def is_in_order(ring: Ring) -> bool:
    """It goes round once."""
    found = ring_of(ring)
    return sum(best_successor(ring, name) <= name for name in found) == 1


def shortest_way(start: Ring) -> tuple[Step, ...]:
    """To a ring that goes round more than once; nothing if there is none."""
    ways: dict[Ring, tuple[Ring, Step] | None] = {start: None}
    waiting = deque([start])
    while waiting:
        ring = waiting.popleft()
        for step in steps(ring):
            if step.ring in ways:
                continue
            ways[step.ring] = (ring, step)
            if not is_in_order(step.ring):
                return _back(ways, step.ring)
            waiting.append(step.ring)
    return ()


def _back(ways: dict[Ring, tuple[Ring, Step] | None], ring: Ring) -> tuple[Step, ...]:
    found = []
    while (way := ways[ring]) is not None:
        ring, step = way
        found.append(step)
    return tuple(reversed(found))


# The page

HEAD = """\
# How Chord as published loses its ring

RELOAD's ring is Chord, and Chord as it was published breaks: Pamela Zave showed that in 2012, and in 2017 how it is
made correct. What follows is the shortest way that there is from a sound ring of three to a broken one, with one place
more and with lists of two successors, found by trying all others: {tried} states of the ring, in a model of the
published rules ([published_chord.py](../tests/support/published_chord.py)). This page and its picture are made by
`make published-chord`; do not edit them.

Nobody does anything wrong on the way, and no message is lost. Chord takes for granted that whoever is there has at all
times a successor that lives: so it is, from the first step to the last.

![Each peer's best successor: at first, before the last step, and after it](published-chord.svg)

A list is what its peer takes for its next successors; struck out is who is dead.

| | what happens | {names} |
|---|---|{rule}|
"""

TAIL = """
Now the best successors are {ring}: a ring that goes round twice. It stays so for ever, whatever they
do by themselves and in whatever order (`tests/unit/test_published_chord.py` tries all of it): stabilizing compares
neighbours, and soon no two neighbours differ. Where a lookup ends depends on where it began; what was stored is where
nobody looks.

## What went wrong, and what we do

| what was believed | in the steps | CHORD-RELOAD, as it is [here](../src/p2psip/reload/topology/chord/chord.py) |
|---|---|---|
{beliefs}

`tests/net/test_sim_mutants.py` puts the published join back into the real peers, and runs of chance catch it at the
first seed; in `tests/net/test_real_peers_as_published.py` real peers that lie on their ring as these do live through
the deaths and returns of the table.
"""

BELIEFS = (
    (
        "who has found a successor is in the ring",
        "joins",
        "a peer is in the ring when the one that lets it in has said so to all its neighbours (RFC 6940, 10.5 steps 5 "
        "to 9); until then nobody is told of it, and it answers for nothing",
    ),
    (
        "who was a predecessor is one still",
        "says that",
        "who one is told of is a candidate, and enters no list before there is a link to it (10.7.3); and links are "
        "seen to die",
    ),
    (
        "one successor that lives is enough",
        "dies",
        "five; and where there are at most five others everybody has all of them in its list, so that in a ring of "
        "this size nobody has to be told who comes next",
    ),
)


def page(way: tuple[Step, ...], tried: int) -> str:
    """The story."""
    text = HEAD.format(tried=f"{tried:,}", names=" | ".join(PLACES), rule="---|" * (len(PLACES) - 1) + "---")
    rows = [Step("a sound ring", IDEAL), *way]
    for number, step in enumerate(rows):
        text += f"| {number} | {step.words} | {' | '.join(_cell(step.ring, name) for name in PLACES)} |\n"
    last = way[-1].ring
    return text + TAIL.format(
        ring=", ".join(f"{best_successor(last, name)} of {name}" for name in ring_of(last)),
        beliefs="\n".join(f"| {what} | {_numbers(way, word)} | {here} |" for what, word, here in BELIEFS),
    )


def _numbers(way: tuple[Step, ...], word: str) -> str:
    return ", ".join(str(number) for number, step in enumerate(way, 1) if word in step.words)


def _cell(ring: Ring, name: str) -> str:
    known = member(ring, name)
    if known is None:
        return "-"
    there = members(ring)
    return " ".join(other if other in there else f"~~{other}~~" for other in known.successors)


SIZE, RADIUS, DOT = 200, 60, 15
COLOURS = {"line": "#1f4e79", "dead": "#999999"}


def picture(way: tuple[Step, ...]) -> str:
    """Best successors as arrows: at first, before the last step, and after it."""
    shown = [("0: sound", IDEAL), (f"{len(way) - 1}: sound still", way[-2].ring), (f"{len(way)}: broken", way[-1].ring)]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE * len(shown)} {SIZE + 20}" '
        'font-family="sans-serif" font-size="14" text-anchor="middle">',
        "<title>Each peer's best successor</title>",
        '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        f'<path d="M0 0 L8 4 L0 8 z" fill="{COLOURS["line"]}"/></marker></defs>',
    ]
    for number, (words, ring) in enumerate(shown):
        parts.append(f'<g transform="translate({SIZE * number + SIZE // 2} {SIZE // 2})">')
        parts += _arrows(ring)
        parts += [_dot(ring, name) for name in PLACES]
        parts.append(f'<text y="{SIZE // 2 + 8}">{words}</text></g>')
    return "\n".join([*parts, "</svg>", ""])


def _at(name: str) -> tuple[float, float]:
    turn = 2 * math.pi * PLACES.index(name) / len(PLACES)
    return RADIUS * math.sin(turn), -RADIUS * math.cos(turn)


def _arrows(ring: Ring) -> Iterator[str]:
    for name in members(ring):
        (x, y), (to_x, to_y) = _at(name), _at(best_successor(ring, name))
        length = math.hypot(to_x - x, to_y - y)
        x, y, to_x, to_y = (
            round(value, 1)
            for value in (
                x + (to_x - x) * DOT / length,
                y + (to_y - y) * DOT / length,
                to_x - (to_x - x) * (DOT + 2) / length,
                to_y - (to_y - y) * (DOT + 2) / length,
            )
        )
        line = f'stroke="{COLOURS["line"]}" stroke-width="2" marker-end="url(#tip)"'
        yield f'<path d="M{x} {y} L{to_x} {to_y}" {line}/>'


def _dot(ring: Ring, name: str) -> str:
    x, y = (round(value, 1) for value in _at(name))
    is_there = name in members(ring)
    colour = COLOURS["line" if is_there else "dead"]
    style = f'fill="white" stroke="{colour}" stroke-width="2"' + ("" if is_there else ' stroke-dasharray="4 3"')
    return f'<circle cx="{x}" cy="{y}" r="{DOT}" {style}/><text x="{x}" y="{y + 5}" fill="{colour}">{name}</text>'


def tried(start: Ring) -> int:
    """How many states of the ring are as near as the broken one, or nearer."""
    depth = len(shortest_way(start))
    seen, front = {start}, {start}
    for _ in range(depth):
        front = {step.ring for ring in front for step in steps(ring)} - seen
        seen |= front
    return len(seen)


if __name__ == "__main__":
    found = shortest_way(IDEAL)
    PAGE.write_text(page(found, tried(IDEAL)), encoding="utf-8")
    PICTURE.write_text(picture(found), encoding="utf-8")

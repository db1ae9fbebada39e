"""Pictures of runs (p2psip.sim.scenario.plots)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from lxml import etree

from p2psip.sim.scenario.plots import draw_all, hops_of_theory, part_of_theory
from p2psip.sim.scenario.run_outcome import RunOutcome

SVG = "{http://www.w3.org/2000/svg}"


def outcome() -> RunOutcome:
    """Of a run with some readings."""
    made = RunOutcome(1, ())
    made.peers, made.hops, made.records = 100, [1, 2, 3, 3, 4], [4, 4, 7]
    made.lookup_ms = [10.0, 20.0, 35.5]
    return made


def test_a_picture_of_each_kind_of_reading(tmp_path: Path) -> None:
    drawn = draw_all(outcome(), tmp_path)
    assert [path.name for path in drawn] == ["hops.svg", "lookup_ms.svg", "records.svg"]
    for path in drawn:
        assert etree.parse(str(path)).getroot().tag == f"{SVG}svg"


@pytest.mark.long
def test_the_same_run_is_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        draw_all(outcome(), tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_theory_is_half_the_logarithm() -> None:
    assert hops_of_theory(1024) == pytest.approx(5.0)
    assert hops_of_theory(1) == 0.0


def test_what_peers_keep_in_theory_is_three_ways_by_chance() -> None:
    """Drawn here: the ring is cut where a counter clicks, and a peer keeps what falls into three ways in a row."""
    rng = random.Random(1)
    kept = [sum(rng.expovariate(3.0) for _ in range(3)) for _ in range(20_000)]
    for records in (0.3, 1.0, 2.0):
        drawn = sum(each <= records for each in kept) / len(kept)
        assert part_of_theory(records, 1.0) == pytest.approx(drawn, abs=0.02)
    assert part_of_theory(20.0, 10.0) == part_of_theory(2.0, 1.0)

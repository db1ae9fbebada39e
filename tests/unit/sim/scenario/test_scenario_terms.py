"""Scenarios as people write them (p2psip.sim.scenario.scenario_terms)."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.daemon.state.settings_file import make, read_values
from p2psip.sim.scenario.run_outcome import RunOutcome, as_scenario
from p2psip.sim.scenario.scenario_terms import Happening, Scenario
from p2psip.sim.scenario.script import draw

WHOLE = """\
peers = 5
users = 4
seconds = 60

[[happens]]
what = "power"
who = ["p1", "p2"]
at_s = 10
for_s = 20.5

[[happens]]
what = "call"
every_s = 7
"""


def read(directory: Path, text: str) -> Scenario:
    """A scenario file, as the command reads it."""
    path = directory / "s.toml"
    path.write_text(text)
    values, text = read_values(path, Scenario)
    scenario = make(values, Scenario, "s.toml", text)
    scenario.check()
    return scenario


def test_what_is_written_is_read(tmp_path: Path) -> None:
    scenario = read(tmp_path, WHOLE)
    assert (scenario.peers, scenario.users, scenario.seconds, scenario.topology) == (5, 4, 60.0, "CHORD-RELOAD")
    assert scenario.happens[0] == Happening(what="power", who=("p1", "p2"), at_s=10.0, for_s=20.5)
    assert scenario.happens[1].every_s == 7.0


def test_the_scenario_of_one_run_is_read_again_and_draws_the_same(tmp_path: Path) -> None:
    scenario = read(tmp_path, WHOLE)
    script = draw(scenario, 3)
    again = read(tmp_path, as_scenario(scenario, RunOutcome(3, script)))
    assert (again.seed, again.happens) == (3, script)
    assert draw(again, 99) == script


@pytest.mark.parametrize(
    ("was", "written", "said"),
    [
        ("peers = 5", "peers = 0", "s.toml: line 1 has 'peers = 0'; peers: write a number from 1 to 20000"),
        ("peers = 5", "peer = 5", "line 1 has 'peer = 5'; there is no setting peer; did you mean peers?"),
        ("peers = 5\n", "", "there is no peers in it: write peers = a number from 1 to 20000"),
        ('"power"', '"explode"', "line 6 has 'what = \"explode\"'; what: write call or crash or full_disk or"),
        ("for_s = 20.5", "for_s = -1", "line 9 has 'for_s = -1'; for_s: write a number, not below 0"),
        ("every_s = 7", "every_s = 0", "line 13 has 'every_s = 0'; every_s: write a number above 0"),
        ("every_s = 7", "evry_s = 7", "line 13 has 'evry_s = 7'; there is no setting evry_s; did you mean every_s?"),
        ('what = "call"\n', "", "there is no what in happens number 2: write what = call or crash or"),
        ("every_s = 7", "every_s = seven", "line 13 has 'every_s = seven'; every_s: write a number above 0"),
        ("every_s = 7", "", "[[happens]] number 2, call: write at_s or every_s, one of the two"),
        ("every_s = 7", "every_s = 7\nat_s = 7", "[[happens]] number 2, call: write at_s or every_s, one of the two"),
        ("at_s = 10", "at_s = 61", "number 1, power: at_s = 61 is after the end: write seconds = 61 or more"),
        ('"p2"', '"u2"', "[[happens]] number 1, power: who: 'u2' is none of p0, p1, ...: write who = [\"p0\"]"),
        ("every_s = 7", 'every_s = 7\nto = "bob"', "[[happens]] number 2, call: to: 'bob' is none of u0, u1, ..."),
        ('"power"', '"sleep"', '[[happens]] number 1, sleep: it takes machines: write world = "internet"'),
        ("users = 4", "users = 0", "[[happens]] number 2, call: there are no users: write users = 10"),
        ("users = 4", "delay_ms = [50, 5]\nusers = 4", "delay_ms: 50 is more than 5: write the least first"),
        ("users = 4", "delay_ms = 5\nusers = 4", "delay_ms: write a list of 2: a number, not below 0"),
        ("users = 4", 'nats = ["none"]\nusers = 4', "nats: only the Internet has them"),
        (
            "users = 4",
            'world = "internet"\nnats = ["symmetric"]\nusers = 4',
            'nats: somebody has to be found: write nats = ["none", ...]',
        ),
        ("peers = 5", 'peers = 251\nworld = "internet"', "peers: the Internet has room for 250"),
        ('"call"', '"join"\nfor_s = 3', "[[happens]] number 2, join: it has no end: leave for_s out"),
    ],
)
def test_what_is_mistyped_is_told_in_one_line_that_says_what_to_write(
    tmp_path: Path, was: str, written: str, said: str
) -> None:
    assert was in WHOLE
    with pytest.raises(LocalMisuse) as wrong:
        read(tmp_path, WHOLE.replace(was, written))
    assert said in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_a_happening_tells_itself() -> None:
    assert str(Happening(what="power", who=("p1", "p2"), at_s=1.0, for_s=20.0)) == "p1, p2: without power, for 20 s"
    assert str(Happening(what="call", who=("u1",), to="u2")) == "u1: calling u2"

"""`p2psip sim`, through the command line as a user has it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from p2psip.cli.main import main
from p2psip.coupling.lines import Publisher

VILLAGE = """\
peers = 3
users = 2
seconds = 30
heal_s = 30

[[happens]]
what = "power"
every_s = 10
for_s = 5

[[happens]]
what = "remove"
who = ["u1"]
at_s = 20
"""


class Command:
    """Runs `p2psip sim` with arguments."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], directory: Path) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.scenario = directory / "village.toml"
        self.scenario.write_text(VILLAGE)

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        """Exit status, standard output, standard error."""
        self._monkeypatch.setattr(sys, "argv", ["p2psip", "sim", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, captured.out, captured.err


@pytest.fixture
def sim(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """The command, and a scenario."""
    return Command(monkeypatch, capsys, tmp_path)


def test_a_run_that_ends_well(sim: Command) -> None:
    status, out, err = sim(sim.scenario)
    assert (status, err) == (0, "")
    assert out.startswith("seed 1: 3 peers at the end, ")
    assert "\n  whole again " in out
    assert "hops of a lookup" in out
    status, out, _ = sim(sim.scenario, "--seed", "2", "--json")
    figures = json.loads(out)
    assert (status, figures["seed"], figures["failure"], figures["peers"]) == (0, 2, None, 3)
    assert figures["bytes_per_s"]["count"] == 3


def test_calls_that_were_not_answered_say_why(sim: Command) -> None:
    island = '[[happens]]\nwhat = "part"\nwho = ["p1"]\nat_s = 1\n'
    call = '[[happens]]\nwhat = "call"\nwho = ["u0"]\nto = "u1"\nat_s = {}\nfor_s = 30\n'
    sim.scenario.write_text(f"peers = 3\nusers = 2\nseconds = 60\n{island}{call.format(15)}{call.format(20.25)}")
    status, out, _ = sim(sim.scenario)
    assert status == 0
    assert (
        "  0 of 2 calls were answered\n"
        "  2 were not: 480, peer pN is not in the overlay\n"
        "    at 15.0 s u0 called u1: peer p1 is not in the overlay\n"
        "    at 20.2 s u0 called u1: peer p1 is not in the overlay\n"
    ) in out
    figures = json.loads(sim(sim.scenario, "--json")[1])
    (kind,) = figures["unanswered"]
    assert (kind["status"], kind["count"], len(kind["first"])) == (480, 2, 2)
    assert kind["first"][0] == {
        "at_s": 15.0,
        "caller": "u0",
        "callee": "u1",
        "status": 480,
        "why": "peer p1 is not in the overlay",
    }


def test_a_run_that_fails_is_told_in_short_and_kept(sim: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Publisher, "_withdraw", lambda *_: None)
    status, out, err = sim(sim.scenario, "--shrink-runs", "20")
    assert status == 1
    assert ": u1 gave up the line, and is found (came back)\n" in out
    assert "The shortest run that fails so, with 1 peers and 2 users:\n     20.0 s  u1: without a line\n" in err
    kept = sim.scenario.with_name("village-1.toml")
    assert err.endswith(f"It is in {kept}: p2psip sim {kept}\n")
    assert kept.read_text().count("[[happens]]") == 1
    # The same again, in the same words; and once it is mended, it ends well.
    status, out, _ = sim(kept, "--shrink-runs", "0", "--keep", sim.scenario.with_name("again.toml"))
    assert (status, "u1 gave up the line, and is found" in out) == (1, True)
    monkeypatch.undo()
    monkeypatch.setattr(sys, "argv", ["p2psip", "sim", str(kept)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0


def test_many_seeds_and_none_twice(sim: Command, tmp_path: Path) -> None:
    results = tmp_path / "village.jsonl"
    status, out, err = sim(sim.scenario, "--seeds", "1-2", "--results", results)
    assert (status, out, err) == (0, "2 seeds, 0 failed\n", "")
    first = results.read_text().splitlines()
    status, out, _ = sim(sim.scenario, "--seeds", "1-3", "--results", results)
    assert (status, out) == (0, "3 seeds, 0 failed\n")
    lines = results.read_text().splitlines()
    assert lines[:2] == first
    assert [json.loads(line)["seed"] for line in lines] == [1, 2, 3]


def test_a_seed_that_had_failed_counts_still(sim: Command, tmp_path: Path) -> None:
    results = tmp_path / "village.jsonl"
    assert sim(sim.scenario, "--seeds", "1-1", "--results", results)[0] == 0
    figures = json.loads(results.read_text())
    figures["failure"] = {"kind": "not found", "at_s": 1, "why": "u1 is not found"}
    results.write_text(json.dumps(figures) + "\n")
    status, out, _ = sim(sim.scenario, "--seeds", "1-1", "--results", results)
    assert (status, out) == (1, f"1 seeds, 1 failed\n  p2psip sim {sim.scenario} --seed 1: u1 is not found\n")


def test_a_line_that_was_cut_off_is_played_again(sim: Command, tmp_path: Path) -> None:
    results = tmp_path / "village.jsonl"
    assert sim(sim.scenario, "--seeds", "1-2", "--results", results)[0] == 0
    whole = results.read_bytes()
    results.write_bytes(whole[:-20])
    assert sim(sim.scenario, "--seeds", "1-2", "--results", results)[0] == 0
    first, second = (json.loads(line) for line in results.read_bytes().splitlines())
    assert (first["seed"], second["seed"]) == (1, 2)
    assert len(results.read_bytes().splitlines()) == len(whole.splitlines())


def test_what_was_played_before_the_scenario_was_changed_does_not_count(sim: Command, tmp_path: Path) -> None:
    results = tmp_path / "village.jsonl"
    assert sim(sim.scenario, "--seeds", "1-1", "--results", results)[0] == 0
    sim.scenario.write_text(VILLAGE.replace("peers = 3", "peers = 4"))
    status, _, err = sim(sim.scenario, "--seeds", "1-1", "--results", results)
    assert (status, err) == (
        2,
        f"p2psip: {results}: line 1 is of another scenario, or of this one before it was changed: take another file\n",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seeds", "3"], "--seeds 3: write the first and the last, as --seeds 1-300"),
        (["--seeds", "3-1"], "--seeds 3-1: write the first and the last, as --seeds 1-300"),
        (["--seeds", "1-1", "--results", "{here}/bad.jsonl"], "line 1 is no result of a seed: remove it, or take"),
        (["--seeds", "1-1", "--results", "{here}/none/a.jsonl"], "cannot write {here}/none/a.jsonl: No such file"),
        (["--seeds", "1-1", "--results", "{here}"], "cannot read {here}: Is a directory"),
        (["--seeds", "1-1", "--seed", "2"], "--seed is for one run, and --seeds for many: leave one of the two out"),
        (["--seeds", "1-1", "--plots", "{here}"], "--plots is for one run, and --seeds for many"),
        (["--seeds", "1-1", "--keep", "{here}/a.toml"], "--keep is for one run, and --seeds for many"),
        (["--results", "{here}/a.jsonl"], "--results is of many runs: write --seeds 1-300 as well"),
        (["--plots", "{here}/bad.jsonl"], "--plots {here}/bad.jsonl: File exists: take a directory that can be"),
    ],
)
def test_what_is_mistyped(sim: Command, tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "bad.jsonl").write_text("no JSON\n")
    status, _, err = sim(sim.scenario, *(argument.format(here=tmp_path) for argument in arguments))
    assert status == 2
    assert said.format(here=tmp_path) in err
    assert err.count("\n") == 1


def test_a_scenario_that_is_not_there_or_makes_no_sense(sim: Command, tmp_path: Path) -> None:
    status, _, err = sim(tmp_path / "none.toml")
    assert (status, err.count("\n")) == (2, 1)
    sim.scenario.write_text(VILLAGE.replace("every_s = 10", ""))
    status, _, err = sim(sim.scenario)
    assert (status, err) == (
        2,
        f"p2psip: {sim.scenario}: [[happens]] number 1, power: write at_s or every_s, one of the two\n",
    )

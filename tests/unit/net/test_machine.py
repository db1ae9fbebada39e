"""What a machine tells of itself (p2psip.net.machine_figures)."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from p2psip.net import machine_figures
from p2psip.net.machine_figures import MAINS, disk_free_bytes, disk_free_percent, load_percent, memory_kb, read_machine


def files(root: Path, **contents: str) -> Path:
    """A directory like /proc or /sys; two underscores are a slash."""
    for name, text in contents.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Two processors."""
    return files(
        tmp_path / "proc",
        cpuinfo="processor: 0\nbogomips\t: 108.00\n\nprocessor: 1\nBogoMIPS\t: 108.50\n",
        self__statm="5000 2500 100 1 0 1 0\n",
    )


def test_this_machine() -> None:
    machine = read_machine()
    assert machine.software is not None
    assert machine.software.startswith("p2psip/")
    assert machine.software.isascii()
    assert machine.load in range(16)
    assert machine.uptime_s is not None
    assert machine.uptime_s > 0
    assert machine.memory_kb is not None
    assert 1000 < machine.memory_kb < 10_000_000


def test_fractions_are_rounded_up(proc: Path, tmp_path: Path) -> None:
    """RFC 7851 section 5.3: "Fractional values are rounded up."."""
    assert read_machine(proc, tmp_path).process_power_mips == 217


def test_the_fastest_interface_that_says_its_speed(proc: Path, tmp_path: Path) -> None:
    sys = files(tmp_path / "sys", class__net__eth0__speed="1000\n", class__net__eth1__speed="-1\n")
    (sys / "class/net/wlan0/speed").mkdir(parents=True)
    machine = read_machine(proc, sys)
    assert (machine.upstream_kbps, machine.downstream_kbps) == (1_000_000, 1_000_000)


def test_what_a_machine_does_not_tell_is_none(proc: Path, tmp_path: Path) -> None:
    """A container, say, without interfaces and with a strange processor."""
    (proc / "cpuinfo").write_text("bogomips: many\n")
    machine = read_machine(proc, tmp_path / "nowhere")
    assert (machine.upstream_kbps, machine.process_power_mips) == (None, None)
    (proc / "cpuinfo").unlink()
    assert read_machine(proc, tmp_path / "nowhere").process_power_mips is None


@pytest.mark.parametrize(
    ("supplies", "battery"),
    [
        ({}, MAINS),
        ({"class__power_supply__AC__type": "Mains", "class__power_supply__AC__online": "1"}, MAINS),
        ({"class__power_supply__BAT0__type": "Battery"}, 0),
        (
            {
                "class__power_supply__BAT0__type": "Battery",
                "class__power_supply__AC__type": "Mains",
                "class__power_supply__AC__online": "1",
            },
            MAINS,
        ),
        (
            {
                "class__power_supply__BAT0__type": "Battery",
                "class__power_supply__AC__type": "Mains",
                "class__power_supply__AC__online": "0",
            },
            0,
        ),
    ],
)
def test_on_battery_the_leftmost_bit_is_clear(
    proc: Path, tmp_path: Path, supplies: dict[str, str], battery: int
) -> None:
    """RFC 7851 section 5.3, BATTERY_STATUS."""
    assert read_machine(proc, files(tmp_path / "sys", **supplies)).battery == battery


def test_memory_in_kilobytes(proc: Path) -> None:
    assert memory_kb(proc) in (2500 * 4, 2500 * 16, 2500 * 64)


def test_what_is_free_of_a_disk_is_what_others_than_root_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 1000 blocks 100 are free, half of them root's: 50 of 950."""
    told = SimpleNamespace(f_blocks=1000, f_bfree=100, f_bavail=50, f_frsize=4096)
    monkeypatch.setattr(machine_figures.os, "statvfs", lambda directory: told)
    assert disk_free_percent(tmp_path) == pytest.approx(5000 / 950)
    assert disk_free_bytes(tmp_path) == 50 * 4096
    told.f_blocks = told.f_bfree = told.f_bavail = 0
    assert disk_free_percent(tmp_path) is None


def test_a_disk_that_is_not_there_has_nothing_free_that_is_told(tmp_path: Path) -> None:
    assert disk_free_percent(tmp_path / "nowhere") is None
    assert disk_free_bytes(tmp_path / "nowhere") is None
    assert disk_free_bytes(tmp_path) is not None
    free = disk_free_percent(tmp_path)
    assert free is not None
    assert 0.0 <= free <= 100.0


def test_the_load_is_of_all_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_figures.os, "getloadavg", lambda: (3.0, 9.0, 9.0))
    monkeypatch.setattr(machine_figures.os, "cpu_count", lambda: 4)
    assert load_percent() == 75.0

"""What this machine is and how it does, for diagnostics (RFC 7851 section 5.3), read from Linux."""

from __future__ import annotations

import math
import os
import platform
import resource
import time
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from p2psip.reload.node.keeping.diagnostics import MachineFigures

PROC = Path("/proc")
SYS = Path("/sys")

T = TypeVar("T")

MAINS = 0x80
"""BATTERY_STATUS: "If this bit is clear (set to "0"), then the peer is using a battery for power."."""


def read_machine(proc: Path = PROC, sys: Path = SYS) -> MachineFigures:
    """The figures of now; None for each that this machine does not tell, or not now: it may be out of descriptors."""
    speed_kbps = _told(lambda: _link_speed_kbps(sys))
    return MachineFigures(
        software=_software(),
        load=_told(_load),
        process_power_mips=_mips(proc),
        upstream_kbps=speed_kbps,
        downstream_kbps=speed_kbps,
        uptime_s=int(time.clock_gettime(time.CLOCK_BOOTTIME)),
        memory_kb=memory_kb(proc),
        battery=_told(lambda: _battery(sys)),
    )


def _told(read: Callable[[], T]) -> T | None:
    """What this machine tells; None if it does not."""
    try:
        return read()
    except OSError:
        return None


@cache
def _software() -> str:
    system = f"{platform.system()}; {platform.machine()}"
    return f"p2psip/{version('p2psip')} ({system}) Python/{platform.python_version()}"


def _load() -> int:
    """The load of the last minute for each processor, in sixteenths: 15 is all of it, or more."""
    return min(15, int(_load_share() * 16))


def _load_share() -> float:
    """The load of the last minute for each processor: 1 is all of it."""
    return os.getloadavg()[0] / (os.cpu_count() or 1)


def _mips(proc: Path) -> int | None:
    """What the kernel calls bogomips, of all processors; "Fractional values are rounded up."."""
    lines = _lines(proc / "cpuinfo")
    found = [line.partition(":")[2] for line in lines if line.lower().startswith("bogomips")]
    try:
        return math.ceil(sum(map(float, found))) if found else None
    except ValueError:
        return None


def memory_kb(proc: Path = PROC) -> int | None:
    """Resident memory of this process, in kilobytes of 1024 bytes; None if this machine does not tell."""
    figures = " ".join(_lines(proc / "self/statm")).split()
    return int(figures[1]) * resource.getpagesize() // 1024 if figures else None


def _link_speed_kbps(sys: Path) -> int | None:
    """The speed of the fastest network interface that says it."""
    speeds = [_number(path) for path in sorted((sys / "class/net").glob("*/speed"))]
    return max((speed for speed in speeds if speed > 0), default=0) * 1000 or None


def _battery(sys: Path) -> int | None:
    """On mains or on battery; a machine without a battery is on mains."""
    supplies = sorted((sys / "class/power_supply").glob("*"))
    types = {supply: " ".join(_lines(supply / "type")).strip() for supply in supplies}
    if not any(kind == "Battery" for kind in types.values()):
        return MAINS
    return MAINS if any(kind == "Mains" and _number(supply / "online") == 1 for supply, kind in types.items()) else 0


def _number(path: Path) -> int:
    """The number in a file; -1 where there is none."""
    text = " ".join(_lines(path)).strip()
    return int(text) if text.isdecimal() else -1


def _lines(path: Path) -> list[str]:
    """An interface without a link, say, has a file that cannot be read."""
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def load_percent() -> float | None:
    """What the processors have had to do in the last minute: above 100 more than they can; None if it is not told."""
    return _told(lambda: _load_share() * 100)


def disk_free_percent(directory: Path) -> float | None:
    """What is free, for others than root, of the file system with this directory; None if it is not told."""
    return _told(lambda: _disk_free_percent(directory))


def disk_free_bytes(directory: Path) -> int | None:
    """The same in bytes."""
    disk = _told(lambda: os.statvfs(directory))
    return None if disk is None else disk.f_bavail * disk.f_frsize


def _disk_free_percent(directory: Path) -> float | None:
    """As `df` counts: what is kept for root is neither used nor free. None of a file system without blocks."""
    disk = os.statvfs(directory)
    usable = disk.f_blocks - disk.f_bfree + disk.f_bavail
    return disk.f_bavail / usable * 100 if usable else None


def allow_many_files() -> None:
    """A thousand connections at the same time are within a peer's bounds, but not within Debian's soft limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

"""Ports on loopback that nobody has, for programs that must be told one."""

import fcntl
import os
import random
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

_FEW, _ROWS = range(23_000, 28_000, 2), range(28_000, 32_000, 16)
"""Below the ports that the kernel gives away by itself, so that it does not take one before it is used, and above those
of the demonstration (demo/ports.py). Where rows of many begin there are no single ones, which would leave no row."""

_MANY = 8
"""So many in a row are a row."""

_claims = os.open(Path(tempfile.gettempdir()) / f"p2psip-test-ports-{os.getuid()}", os.O_RDWR | os.O_CREAT, 0o600)
"""Of this file the byte of each port is locked by the process that was given it, as long as that lives: between being
found free and being bound no other worker, and no tests of another copy, take it."""

_given: set[int] = set()
_giving = threading.Lock()


def free_port(host: str = "127.0.0.1", *, together: int = 1) -> int:
    """An even port, free for UDP and TCP, and so are the ones after it, `together` in all.

    None is given twice, unless it was given back.
    """
    with _giving:
        for port in _in_turn(together):
            wanted = range(port, port + together)
            if _given.isdisjoint(wanted) and _are_claimed(host, wanted):
                _given.update(wanted)
                return port
    raise AssertionError(f"no {together} free ports in a row on {host}")


def _in_turn(together: int) -> Iterator[int]:
    """Where to look: where there are such rows, and then everywhere."""
    first = _ROWS if together >= _MANY else _FEW
    yield from random.sample(first, len(first))
    everywhere = range(_FEW.start, _ROWS.stop, 2)
    yield from random.sample(everywhere, len(everywhere))


def give_back(port: int, *, together: int = 1) -> None:
    """Whoever had them has ended: without that the tests of an hour use up all rows."""
    with _giving:
        _given.difference_update(range(port, port + together))
        fcntl.lockf(_claims, fcntl.LOCK_UN, together, port)


def is_bound(port: int) -> bool:
    """True if somebody on this machine receives at it: bound over UDP, listening over TCP."""
    return any(_is_in(Path("/proc/net") / name, port, state) for name, state in (("udp", "07"), ("tcp", "0A")))


def _is_in(table: Path, port: int, state: str) -> bool:
    rows = (row.split() for row in table.read_text().splitlines()[1:])
    return any(row[1].endswith(f":{port:04X}") and row[3] == state for row in rows)


def _are_claimed(host: str, ports: range) -> bool:
    """True if all are ours now; if one cannot be had, so can none."""
    for port in ports:
        if not _is_claimed(port) or not _is_free(host, port):
            # What was locked of these is for others again: rows that are tried in vain would use up all ports.
            fcntl.lockf(_claims, fcntl.LOCK_UN, port - ports.start + 1, ports.start)
            return False
    return True


def _is_claimed(port: int) -> bool:
    try:
        fcntl.lockf(_claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except BlockingIOError:
        return False
    return True


def _is_free(host: str, port: int) -> bool:
    try:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind((host, port))
    except OSError:
        return False
    return True

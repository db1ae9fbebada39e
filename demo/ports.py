"""Ports on loopback that nobody has."""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"

_RANGE = range(20_000, 23_000, 10)
"""Below the ports that the kernel gives away by itself, so that it does not take one before it is used; those above are
for tests."""


def free_ports(count: int, together: int) -> list[int]:
    """`count` ports, each free for UDP and TCP together with the ones that follow it, `together` in all."""
    found: list[int] = []
    for port in random.sample(_RANGE, len(_RANGE)):
        if all(_is_free(each) for each in range(port, port + together)):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"no {count} times {together} free ports on {LOOPBACK}")


def _is_free(port: int) -> bool:
    try:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind((LOOPBACK, port))
    except OSError:
        return False
    return True

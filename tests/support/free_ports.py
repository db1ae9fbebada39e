"""Ports on loopback that nobody has, for programs that must be told one."""

import random
import socket

_RANGE = range(20_000, 32_000, 2)
"""Below the ports that the kernel gives away by itself, so that it does not take one before it is used."""

_given: set[int] = set()


def free_port(host: str = "127.0.0.1", *, together: int = 1) -> int:
    """An even port, free for UDP and TCP, and so are the ones after it, `together` in all. None is given twice."""
    for port in random.sample(_RANGE, 200):
        wanted = range(port, port + together)
        if _given.isdisjoint(wanted) and all(_is_free(host, one) for one in wanted):
            _given.update(wanted)
            return port
    raise AssertionError(f"no {together} free ports in a row on {host}")


def _is_free(host: str, port: int) -> bool:
    try:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind((host, port))
    except OSError:
        return False
    return True

"""Ports on loopback that nobody has, for programs that must be told one."""

import socket


def free_port(host: str = "127.0.0.1", *, together: int = 1) -> int:
    """A port that is free for UDP and TCP, and so are the ones after it, `together` in all."""
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
            port: int = probe.getsockname()[1]
        if port % 2 == 0 and all(_is_free(host, port + n) for n in range(together)):
            return port
    raise AssertionError(f"no {together} free ports in a row on {host}")


def _is_free(host: str, port: int) -> bool:
    try:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind((host, port))
    except (OSError, OverflowError):
        return False
    return True

"""To be in a network namespace: a thread is in one, as is what it makes there. Root is needed."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

NETNS = Path("/run/netns")
"""Where `ip netns` has them by name."""

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def enter(namespace: str) -> None:
    """This thread is there from now on, or a process that has but this one. Raises OSError."""
    with (NETNS / namespace).open() as there:
        _enter(there)


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread is there for a while; sockets that are made there stay there. Raises OSError."""
    with Path("/proc/thread-self/ns/net").open() as home:
        enter(namespace)
        try:
            yield
        finally:
            _enter(home)


def _enter(namespace: IO[str]) -> None:
    if _libc.setns(namespace.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), namespace.name)

"""`~` in what somebody typed, where no shell has seen it: in quotes, after `--option=`, in a file of settings; and what
is kept in the home directory where nobody says otherwise (this module imports nothing large).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_TYPED = re.compile(r"((?:--?)?[A-Za-z][\w-]*\+?=|)(~[^/=]*(?:/.*)?)", re.DOTALL)


def in_home(typed: str) -> str:
    """The same with `~` or `~NAME` as the home directory that it means, at the beginning or after `NAME=`.

    It stays as it is where there is no such user, or where it is no path: `~` alone or with a slash is one.
    """
    found = _TYPED.fullmatch(typed)
    if found is None or ("/" not in found[2] and found[2] != "~"):
        return typed
    return found[1] + os.path.expanduser(found[2])


@dataclass(frozen=True, slots=True)
class MachineHome:
    """Where a machine has what it needs to take part, unless its operator has chosen other places."""

    directory: Path

    @classmethod
    def usual(cls) -> MachineHome:
        """In the home directory of who runs it."""
        return cls(Path(os.path.expanduser("~")) / ".p2psip")

    @property
    def overlay(self) -> Path:
        """The directory of an overlay that began here."""
        return self.directory / "overlay"

    @property
    def peer(self) -> Path:
        """The state directory of the peer."""
        return self.directory / "peer"

    @property
    def has_overlay(self) -> bool:
        """True if an overlay began here. It is made in one step."""
        return (self.overlay / "anchor.crt").exists()

    @property
    def has_peer(self) -> bool:
        """True if there is a peer; the certificate comes last when one is made."""
        return (self.peer / "peer.crt").exists()

"""`~` in what somebody typed, where no shell has seen it: in quotes, after `--option=`, in a file of settings."""

from __future__ import annotations

import os
import re

_TYPED = re.compile(r"((?:--?)?[A-Za-z][\w-]*\+?=|)(~[^/=]*(?:/.*)?)", re.DOTALL)


def in_home(typed: str) -> str:
    """The same with `~` or `~NAME` as the home directory that it means, at the beginning or after `NAME=`.

    It stays as it is where there is no such user, or where it is no path: `~` alone or with a slash is one.
    """
    found = _TYPED.fullmatch(typed)
    if found is None or ("/" not in found[2] and found[2] != "~"):
        return typed
    return found[1] + os.path.expanduser(found[2])

"""User names of an overlay (RFC 6940 section 11.3): `alice@OVERLAY` for people, `peer-NAME@OVERLAY` for peers.

"Enrollment servers SHOULD take care to allow only legal characters in the name". Ours allow what any phone can
send without escapes, in lower case, because names are compared as binary objects.
"""

from __future__ import annotations

import re

from p2psip.base.errors import LocalMisuse

PEER_PREFIX = "peer-"
LOCAL_PART_MAX = 64

_LOCAL_PART = re.compile(r"[a-z0-9+](?:[a-z0-9._+-]*[a-z0-9])?\Z")
RULE = "lower-case letters, digits and . _ + - between them, at most 64"


def is_local_part(name: str) -> bool:
    """True for what may stand before the @ of a user name."""
    return len(name) <= LOCAL_PART_MAX and _LOCAL_PART.match(name) is not None


def is_user_name(user: str, overlay: str) -> bool:
    """True for a legal user name of this overlay, in full."""
    local, _, domain = user.rpartition("@")
    return domain == overlay and is_local_part(local)


def full_name(name: str, overlay: str) -> str:
    """The user name for an account's name as people type it: with or without the overlay."""
    return name if "@" in name else f"{name}@{overlay}"


def account_name(name: str, overlay: str) -> str:
    """The same, of a name that is to be made; LocalMisuse if it is not a legal one."""
    user = full_name(name, overlay)
    if not is_user_name(user, overlay):
        raise LocalMisuse(f"{name!r} cannot be a user name of {overlay}: use {RULE}")
    return user


def typed_names(user: str) -> list[str]:
    """The ways in which people type their user name into a phone: with or without the overlay, and with capitals."""
    local = user.rpartition("@")[0]
    spelt = dict.fromkeys((local, local.capitalize(), local.upper()))
    return [name for local in spelt for name in (local, f"{local}@{user.rpartition('@')[2]}")]


def peer_name(name: str, overlay: str) -> str:
    """The user name of the peer called `name`; LocalMisuse if there can be none."""
    return account_name(name if name.startswith(PEER_PREFIX) else PEER_PREFIX + name, overlay)


def is_peer_name(user: str) -> bool:
    """True if a user name is that of a peer."""
    return user.startswith(PEER_PREFIX)


def next_name(user: str) -> str:
    """Another user name, if this one is taken: `peer-hill-2` after `peer-hill`, then `peer-hill-3`."""
    local, _, overlay = user.rpartition("@")
    base, dash, number = local.rpartition("-")
    if not (dash and number.isascii() and number.isdigit() and base != PEER_PREFIX.rstrip("-")):
        base, number = local, "1"
    following = f"-{int(number) + 1}"
    return f"{base[: LOCAL_PART_MAX - len(following)]}{following}@{overlay}"

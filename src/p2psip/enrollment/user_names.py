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
_NUMBER = re.compile(r"[-+.\d]+\Z")
_DOMAIN = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+\Z")
RULE = "lower-case letters, digits and . _ + - between them, at most 64"


def is_local_part(name: str) -> bool:
    """True for what may stand before the @ of a user name."""
    return len(name) <= LOCAL_PART_MAX and _LOCAL_PART.match(name) is not None


def is_user_key(name: str) -> bool:
    """True for what may be a user in the files of a peer: the part before the @, or all of an AoR (`user_keys`)."""
    local, at, domain = name.partition("@")
    return is_local_part(local) and (not at or _DOMAIN.match(domain) is not None)


def is_user_name(user: str, overlay: str, hosted: frozenset[str] = frozenset()) -> bool:
    """True for a legal user name of this overlay, in full, or of another domain that it hosts: there numbers are
    nobody's, nor is there a peer.
    """
    local, _, domain = user.rpartition("@")
    is_name = not (_NUMBER.match(local) or is_peer_name(user))
    return is_local_part(local) and (domain == overlay or (domain in hosted and is_name))


def full_name(name: str, overlay: str) -> str:
    """The user name for an account's name as people type it: with or without the overlay."""
    return name if "@" in name else f"{name}@{overlay}"


def account_name(name: str, overlay: str, hosted: frozenset[str] = frozenset()) -> str:
    """The same, of a name that is to be made, also in a domain that the overlay hosts; LocalMisuse if it is not a legal
    one.
    """
    user = full_name(name, overlay)
    if is_user_name(user, overlay, hosted):
        return user
    domain = user.rpartition("@")[2]
    if domain in hosted:
        raise LocalMisuse(f"{name!r} cannot be a user name of {domain}: use {RULE}, and not digits alone")
    further = f"; it hosts {', '.join(sorted(hosted))} as well" if hosted else ""
    raise LocalMisuse(f"{name!r} cannot be a user name of {overlay}: use {RULE}{further}")


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

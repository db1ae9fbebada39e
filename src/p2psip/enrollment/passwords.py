"""Passwords: those that are made up, how people type them, and the hashes that are kept of account passwords.

The hashes are salted scrypt (RFC 7914). Hashing takes a tenth of a second: not on an event loop.
"""

from __future__ import annotations

import hashlib
import hmac
import random
import re
from dataclasses import dataclass

from p2psip.base.errors import LocalMisuse

SALT_BYTES = 16
HASH_BYTES = 32
PASSWORD_MIN = 8
PASSWORD_MAX_BYTES = 1024

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without what looks like something else, and without capitals, which some telephones cannot type."""

_GROUPS, _GROUP = 4, 4
_PHONE_LETTERS = 10
_long = re.compile(rf"[{_LETTERS}]{{{_GROUPS * _GROUP}}}")


@dataclass(frozen=True, slots=True)
class Cost:
    """scrypt's N (as a power of two), r and p. The default takes 32 MiB, three times over."""

    log_n: int = 15
    r: int = 8
    p: int = 3


USUAL = Cost()
"""What a hash costs where nobody says otherwise."""


def hash_password(password: str, rng: random.Random, cost: Cost | None = None) -> str:
    """The hash to keep, with its salt and its cost in it."""
    cost = cost or USUAL
    salt = rng.randbytes(SALT_BYTES)
    return f"scrypt${cost.log_n}${cost.r}${cost.p}${salt.hex()}${_scrypt(password, salt, cost).hex()}"


def is_password(password: str, kept: str) -> bool:
    """True if `kept` is a hash of `password`."""
    name, log_n, r, p, salt, expected = kept.split("$")
    assert name == "scrypt", "no other hash was ever written"
    found = _scrypt(password, bytes.fromhex(salt), Cost(int(log_n), int(r), int(p)))
    return hmac.compare_digest(found, bytes.fromhex(expected))


def _scrypt(password: str, salt: bytes, cost: Cost) -> bytes:
    # 11.3: "The username and password strings MUST be UTF-8 strings compared as binary objects."
    memory = 128 * cost.r * ((1 << cost.log_n) + cost.p + 2)
    return hashlib.scrypt(
        password.encode(), salt=salt, n=1 << cost.log_n, r=cost.r, p=cost.p, maxmem=memory + (1 << 20), dklen=HASH_BYTES
    )


def check_new_password(password: str) -> str:
    """The password, if it may protect an account; LocalMisuse otherwise."""
    if len(password) < PASSWORD_MIN or len(password.encode()) > PASSWORD_MAX_BYTES:
        raise LocalMisuse(f"a password has {PASSWORD_MIN} to {PASSWORD_MAX_BYTES} characters")
    if not password.isprintable():
        raise LocalMisuse("a password has printable characters only")
    return password


def generate_password(rng: random.Random) -> str:
    """A password that can be read out over the radio: four groups of four, 79 bits."""
    return _grouped("".join(rng.choices(_LETTERS, k=_GROUPS * _GROUP)))


def generate_phone_password(rng: random.Random) -> str:
    """A password for a telephone's keys: ten letters and digits, 49 bits. Guessing is slow, see docs/security.md."""
    return "".join(rng.choices(_LETTERS, k=_PHONE_LETTERS))


def as_made_up(typed: str) -> str:
    """`typed`, or the password of `generate_password` that is meant by it: dashes, blanks and case do not matter.

    Whoever asks for a password does this. A server cannot: "The username and password strings MUST be UTF-8 strings
    compared as binary objects" (RFC 6940 section 11.3). Mixed case is nothing that we have made up.
    """
    bare = _bare(typed)
    if bare in (bare.upper(), bare.capitalize()):
        bare = bare.lower()
    return _grouped(bare) if _long.fullmatch(bare) else typed


def typed_passwords(password: str) -> list[str]:
    """The ways in which people type a phone password that they were given: without dashes and blanks, in other case.

    The phone hashes what was typed, so the peer keeps a hash of each. It costs a password three bits at most.
    """
    kinds = [kind for one in (password, _bare(password)) for kind in (one, one.lower(), one.upper(), one.capitalize())]
    return list(dict.fromkeys(kinds))


def _bare(password: str) -> str:
    return password.replace("-", "").replace(" ", "")


def _grouped(letters: str) -> str:
    return "-".join(letters[at : at + _GROUP] for at in range(0, len(letters), _GROUP))

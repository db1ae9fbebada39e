"""Account passwords, as salted scrypt hashes (RFC 7914). Hashing takes a tenth of a second: not on an event loop."""

from __future__ import annotations

import hashlib
import hmac
import random
from dataclasses import dataclass

from p2psip.base.errors import LocalMisuse

SALT_BYTES = 16
HASH_BYTES = 32
PASSWORD_MIN = 8
PASSWORD_MAX_BYTES = 1024

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
_GROUPS, _GROUP = 4, 4


@dataclass(frozen=True, slots=True)
class Cost:
    """scrypt's N (as a power of two), r and p. The default takes 32 MiB, three times over."""

    log_n: int = 15
    r: int = 8
    p: int = 3


def hash_password(password: str, rng: random.Random, cost: Cost | None = None) -> str:
    """The hash to keep, with its salt and its cost in it."""
    cost = cost or Cost()
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
    return "-".join("".join(rng.choices(_LETTERS, k=_GROUP)) for _ in range(_GROUPS))

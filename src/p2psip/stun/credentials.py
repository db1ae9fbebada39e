"""Who asks: short-term and long-term credentials (RFC 8489 section 9), at both ends.

Theory of operation. Of a long-term credential the server tells its realm and a nonce in a 401, and from then on each
request has them and an integrity by a key made of user name, realm and password. The nonce begins with bits that say
what the server can do (9.2, "nonce cookie"), so that nobody on the way can take that away unnoticed. Here the server
keeps none: a nonce is when it was made, and a code by a secret over that and whom it was made for.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import unicodedata
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from p2psip.base.address import Address
from p2psip.stun.attributes import (
    ERROR_CODE,
    NONCE,
    PASSWORD_ALGORITHM,
    PASSWORD_ALGORITHMS,
    REALM,
    USERHASH,
    USERNAME,
    Algorithm,
    StunErrorCode,
)
from p2psip.stun.integrity import SHA1, SHA256, integrity_of, is_signed
from p2psip.stun.message import AttributeType, NotStun, StunMessage

NONCE_COOKIE: Final = "obMatJos2"
_FEATURES_BYTES: Final = 3
_COOKIE_CHARACTERS: Final = len(NONCE_COOKIE) + 4
PASSWORD_ALGORITHMS_BIT: Final = 1 << 23
USERNAME_ANONYMITY_BIT: Final = 1 << 22
"""Section 18.1: bit 0 is the leftmost of 24."""

NONCE_LIFETIME_S: Final = 3600.0
"""RFC 8656 section 5: the server "SHOULD expire the nonce at least once every hour"."""

_STAMP_BYTES: Final = 4
_CODE_BYTES: Final = 8

OFFERED: Final = (Algorithm.SHA256, Algorithm.MD5)
"""In the order of preference."""

Attributes = tuple[tuple[int, bytes], ...]


def opaque_string(text: str) -> str:
    """A text as the OpaqueString profile of RFC 8265 section 4.2 has it: other spaces are blanks, and in form NFC."""
    spaces = "".join(" " if unicodedata.category(each) == "Zs" else each for each in text)
    return unicodedata.normalize("NFC", spaces)


def short_term_key(password: str) -> bytes:
    """9.1.1."""
    return opaque_string(password).encode()


def long_term_key(username: str, realm: str, password: str, algorithm: Algorithm) -> bytes:
    """9.2.2 and 18.5.1."""
    text = f"{username}:{opaque_string(realm)}:{opaque_string(password)}".encode()
    return (hashlib.sha256 if algorithm is Algorithm.SHA256 else hashlib.md5)(text).digest()


def userhash(username: str, realm: str) -> bytes:
    """14.4."""
    return hashlib.sha256(f"{opaque_string(username)}:{opaque_string(realm)}".encode()).digest()


def security_features(nonce: str) -> int:
    """The bits that a nonce begins with (9.2); 0 if it begins with something else."""
    if not nonce.startswith(NONCE_COOKIE) or len(nonce) < _COOKIE_CHARACTERS:
        return 0
    try:
        bits = base64.b64decode(nonce[len(NONCE_COOKIE) : _COOKIE_CHARACTERS], validate=True)
    except ValueError:
        return 0
    return int.from_bytes(bits, "big") if len(bits) == _FEATURES_BYTES else 0


def is_weakened(answer: StunMessage) -> bool:
    """True if the nonce of an answer speaks of password algorithms, and there are none (9.2.5). Raises NotStun."""
    nonce = NONCE.first(answer)
    speaks = nonce is not None and bool(security_features(nonce) & PASSWORD_ALGORITHMS_BIT)
    return speaks and not PASSWORD_ALGORITHMS.within(answer)


# The client's end


class CannotAnswer(NotStun):
    """A challenge that is not to be answered: what it lacks would make the answer weaker (9.2.5)."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a client puts into its requests to prove who it is, and the key by which the answers are judged."""

    attributes: Attributes
    key: bytes
    integrity: AttributeType


@dataclass(frozen=True, slots=True)
class StunCredential:
    """A user name and its password, as somebody has them from the server's operator."""

    username: str
    password: str

    def proof(self, challenge: StunMessage) -> Proof:
        """How to ask again after a 401 or 438. Raises NotStun if it is no challenge, CannotAnswer (9.2.5)."""
        realm, nonce = REALM.first(challenge), NONCE.first(challenge)
        if realm is None or nonce is None:
            raise NotStun("a challenge without realm or nonce")
        features, offered = security_features(nonce), PASSWORD_ALGORITHMS.first(challenge)
        if features & PASSWORD_ALGORITHMS_BIT and offered is None:
            # "the client MUST NOT retry the request with a new transaction."
            raise CannotAnswer("the nonce speaks of password algorithms, and there are none: somebody took them away")
        if features & USERNAME_ANONYMITY_BIT:
            # "the USERHASH attribute MUST be used; else, the USERNAME attribute MUST be used".
            who = USERHASH.of(userhash(self.username, realm))
        else:
            who = USERNAME.of(opaque_string(self.username))
        attributes = who, REALM.of(realm), NONCE.of(nonce)
        if offered is None:
            key = long_term_key(self.username, realm, self.password, Algorithm.MD5)
            return Proof(attributes, key, SHA1)
        chosen = next((Algorithm(each) for each in _preferred(offered)), None)
        if chosen is None:
            raise CannotAnswer("the server has only algorithms for passwords that are not known here")
        key = long_term_key(self.username, realm, self.password, chosen)
        # "the request MUST contain the PASSWORD-ALGORITHMS attribute with the same content".
        same = next(pair for pair in challenge.attributes if pair[0] == PASSWORD_ALGORITHMS.kind)
        return Proof((*attributes, same, PASSWORD_ALGORITHM.of((chosen,))), key, SHA256)


def _preferred(offered: tuple[int, ...]) -> list[int]:
    """Those known here, in the server's order; but RFC 8656 section 6: where both are there "the request MUST contain a
    PASSWORD-ALGORITHM attribute with the SHA-256 algorithm".
    """
    known = [each for each in offered if each in OFFERED]
    return [Algorithm.SHA256] if Algorithm.SHA256 in known else known


# The server's end


class User(NamedTuple):
    """Who a user name stands for: several may be one member, who has all of them together what one may have."""

    owner: str
    password: str


class StunUsers(Protocol):
    """Whom a server knows."""

    def find(self, username: str, now: float) -> User | None:
        """The user of a name that is valid now."""


class StunAdmitted(NamedTuple):
    """A request whose integrity is right: whose it is, and how to sign the answer."""

    owner: str
    key: bytes
    integrity: AttributeType


class StunRefused(NamedTuple):
    """A request that is to be answered with these attributes, unsigned."""

    code: int
    attributes: Attributes


class StunGate:
    """Long-term credentials at the server's end (9.2.4). It keeps nothing of who has asked."""

    def __init__(self, realm: str, users: StunUsers, secret: bytes) -> None:
        """`secret` is for nonces: at least 16 bytes that nobody else knows."""
        self._realm = realm
        self._users = users
        self._secret = secret
        features = PASSWORD_ALGORITHMS_BIT.to_bytes(_FEATURES_BYTES, "big")
        self._cookie = NONCE_COOKIE + base64.b64encode(features).decode()

    def judge(self, request: StunMessage, data: bytes, source: Address, now: float) -> StunAdmitted | StunRefused:
        """Who sent a request that was decoded from `data`. Raises NotStun if what it says of itself is malformed."""
        if integrity_of(data) is None:
            # "the server MUST generate an error response with an error code of 401 (Unauthenticated)."
            return self._refused(401, source, now)
        username, nonce = USERNAME.first(request), NONCE.first(request)
        if not (username or USERHASH.within(request)) or nonce is None or not REALM.within(request):
            # "MUST generate an error response with an error code of 400", with nothing of the challenge in it.
            return StunRefused(400, (ERROR_CODE.of(StunErrorCode(400)),))
        algorithm = self._algorithm(request, nonce)
        if algorithm is None:
            return StunRefused(400, (ERROR_CODE.of(StunErrorCode(400)),))
        user = None if username is None else self._users.find(username, now)
        if user is None or username is None:
            return self._refused(401, source, now)
        key = long_term_key(username, self._realm, user.password, algorithm)
        if not is_signed(data, key):
            return self._refused(401, source, now)
        if not self._is_valid(nonce, source, now):
            # "If the NONCE is no longer valid, the server MUST generate an error response with [...] 438".
            return self._refused(438, source, now)
        # "MUST include the MESSAGE-INTEGRITY-SHA256 attribute [...] unless the request was processed as though
        # PASSWORD-ALGORITHM was MD5 (because the request contained neither [...])."
        return StunAdmitted(user.owner, key, SHA256 if PASSWORD_ALGORITHM.within(request) else SHA1)

    def _algorithm(self, request: StunMessage, nonce: str) -> Algorithm | None:
        """By which one the key is made; None if the client says what it was not told."""
        offered, chosen = PASSWORD_ALGORITHMS.first(request), PASSWORD_ALGORITHM.first(request)
        if not security_features(nonce) & PASSWORD_ALGORITHMS_BIT or (offered is None and chosen is None):
            return Algorithm.MD5
        # "unless (1) PASSWORD-ALGORITHM and PASSWORD-ALGORITHMS are both present, (2) PASSWORD-ALGORITHMS matches the
        # value sent in the response that sent this NONCE, and (3) PASSWORD-ALGORITHM matches one of the entries".
        if offered != OFFERED or chosen is None or len(chosen) != 1 or chosen[0] not in OFFERED:
            return None
        return Algorithm(chosen[0])

    def _refused(self, code: int, source: Address, now: float) -> StunRefused:
        attributes = (
            ERROR_CODE.of(StunErrorCode(code)),
            REALM.of(self._realm),
            NONCE.of(self._nonce(source, now)),
            PASSWORD_ALGORITHMS.of(OFFERED),
        )
        return StunRefused(code, attributes)

    def _nonce(self, source: Address, now: float) -> str:
        stamp = int(now).to_bytes(_STAMP_BYTES, "big")
        return self._cookie + base64.b64encode(stamp + self._code(stamp, source)).decode()

    def _is_valid(self, nonce: str, source: Address, now: float) -> bool:
        try:
            made = base64.b64decode(nonce.removeprefix(self._cookie), validate=True)
        except ValueError:
            return False
        stamp, code = made[:_STAMP_BYTES], made[_STAMP_BYTES:]
        age_s = now - int.from_bytes(stamp, "big")
        return hmac.compare_digest(code, self._code(stamp, source)) and age_s < NONCE_LIFETIME_S

    def _code(self, stamp: bytes, source: Address) -> bytes:
        # "The server MUST NOT choose the same NONCE for two requests unless they have the same source IP address and
        # port."
        return hmac.digest(self._secret, stamp + str(source).encode(), "sha256")[:_CODE_BYTES]

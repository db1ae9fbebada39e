"""Digest access authentication as SIP uses it (RFC 7616, RFC 8760, RFC 3261 section 22; RFC 2617 clients too)."""

from __future__ import annotations

import hashlib
import hmac
import random
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import TypeAlias

from p2psip.sip.message import grammar
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import AuthParams

ALGORITHMS = {"MD5": "md5", "SHA-256": "sha256"}
"""The algorithms of RFC 8760 that this stack speaks, and their names in hashlib."""

NONCE_LIFETIME_S = 300.0
NONCES_MAX = 8192
"""Nonces in use whose counts are remembered."""

_MAC_BYTES = 12


Logins: TypeAlias = Mapping[str, tuple[Mapping[str, str], ...]]
"""What a server keeps of a password: for each user name that may stand in credentials, H(A1) by algorithm of each way
in which the password may be typed."""


class Worth(Enum):
    """What credentials are worth."""

    VALID = "valid"
    STALE = "stale nonce"
    WRONG = "wrong password"


def ha1(user: str, realm: str, password: str, algorithm: str = "MD5") -> str:
    """H(A1): what a server keeps instead of the password (RFC 7616 section 3.4.2)."""
    return _hash(algorithm, f"{user}:{realm}:{password}")


def ha1_by_algorithm(user: str, realm: str, password: str) -> dict[str, str]:
    """H(A1) for every algorithm."""
    return {algorithm: ha1(user, realm, password, algorithm) for algorithm in ALGORITHMS}


def logins(names: Iterable[str], realm: str, passwords: Sequence[str]) -> dict[str, tuple[dict[str, str], ...]]:
    """What to keep of a password that may be typed in these ways, under these names."""
    return {name: tuple(ha1_by_algorithm(name, realm, password) for password in passwords) for name in names}


def response_digest(credentials: AuthParams, a1_hash: str, method: str) -> str:
    """What `response` must be for these credentials (RFC 7616 section 3.4.1)."""
    algorithm = algorithm_of(credentials)
    ha2 = _hash(algorithm, f"{method}:{credentials.get('uri')}")
    nonce = credentials.get("nonce")
    if not credentials.get("qop"):
        return _hash(algorithm, f"{a1_hash}:{nonce}:{ha2}")
    middle = f"{nonce}:{credentials.get('nc')}:{credentials.get('cnonce')}:{credentials.get('qop')}"
    return _hash(algorithm, f"{a1_hash}:{middle}:{ha2}")


def algorithm_of(params: AuthParams) -> str:
    """The algorithm named, MD5 if none is (RFC 7616 section 3.3)."""
    return params.get("algorithm").upper() or "MD5"


def choose_challenge(challenges: Iterable[AuthParams]) -> AuthParams | None:
    """The first challenge that we can answer; the server put its favourite first (RFC 8760 section 2.4)."""
    for challenge in challenges:
        qops = [qop.strip().lower() for qop in challenge.get("qop").split(",")]
        if challenge.is_digest and algorithm_of(challenge) in ALGORITHMS and (qops == [""] or "auth" in qops):
            return challenge
    return None


def answer_challenge(
    challenge: AuthParams, *, user: str, a1_hash: str, method: str, uri: str, cnonce: str, nonce_count: int = 1
) -> AuthParams:
    """Credentials for a challenge; `a1_hash` is `ha1` for the challenge's realm and algorithm."""
    params = {
        "username": grammar.quote(user),
        "realm": grammar.quote(challenge.get("realm")),
        "nonce": grammar.quote(challenge.get("nonce")),
        "uri": grammar.quote(uri),
    }
    if challenge.get("algorithm"):
        params["algorithm"] = challenge.get("algorithm")
    if challenge.get("opaque"):
        params["opaque"] = grammar.quote(challenge.get("opaque"))
    if challenge.get("qop"):
        params |= {"qop": "auth", "nc": f"{nonce_count:08x}", "cnonce": grammar.quote(cnonce)}
    signature = response_digest(AuthParams("Digest", params), a1_hash, method)
    return AuthParams("Digest", params | {"response": grammar.quote(signature)})


def read_all(lines: Iterable[str]) -> list[AuthParams]:
    """The challenges or credentials of a header field's lines (one each: section 20.44 forbids commas)."""
    return [AuthParams.parse(line) for line in lines]


class Authenticator:
    """The server's side of digest for one realm: makes nonces, checks credentials, refuses replays.

    A nonce carries its time and number under an HMAC, so an unused one costs no memory. The HMAC covers the address
    that it was sent to as well: whoever brings it back from there gets what is sent there (RFC 7616 section 5.4: "MAY
    only be used from a particular client"). Of used nonces the highest count is kept; where that table overflows,
    nonces as old as the forgotten one are stale.
    """

    def __init__(
        self,
        realm: str,
        rng: random.Random,
        algorithms: tuple[str, ...] = ("MD5",),
        nonce_lifetime_s: float = NONCE_LIFETIME_S,
        nonces_max: int = NONCES_MAX,
    ) -> None:
        self.realm = realm
        self._algorithms = algorithms
        self._lifetime_s = nonce_lifetime_s
        self._nonces_max = nonces_max
        self._secret = rng.randbytes(32)
        self._serial = 0
        self._counts: OrderedDict[int, int] = OrderedDict()
        self._forgotten = 0

    def challenges(self, client: str, now: float, *, stale: bool = False) -> list[AuthParams]:
        """One challenge an algorithm for the address `client`, the most wanted first (RFC 8760 section 2.3)."""
        params = {"realm": grammar.quote(self.realm), "nonce": grammar.quote(self._new_nonce(client, now))}
        if stale:
            params["stale"] = "true"
        return [AuthParams("Digest", params | {"algorithm": name, "qop": '"auth"'}) for name in self._algorithms]

    def find(self, lines: Iterable[str]) -> AuthParams | None:
        """The credentials for our realm among those of a request, if they are complete and in an offered algorithm."""
        for credentials in read_all(lines):
            if "username*" in credentials.params and "username" in credentials.params:
                # RFC 7616 3.4: "Sending both username and username* in the same header option MUST be treated as an
                # error."
                raise BadMessage("credentials with two user names")
            if credentials.is_digest and credentials.get("realm") == self.realm and self._is_complete(credentials):
                return credentials
        return None

    def check(
        self, method: str, credentials: AuthParams, ha1s: Iterable[Mapping[str, str]], client: str, now: float
    ) -> Worth:
        """Whether `client`, who sent a request of that method, knows a password behind one of `ha1s`."""
        serial = self._read_nonce(credentials.get("nonce"), client, now)
        if serial is None:
            return Worth.STALE
        algorithm = algorithm_of(credentials)
        given = credentials.get("response").lower().encode(errors="replace")
        known = [one[algorithm] for one in ha1s if algorithm in one]
        # All are tried: how long it takes shall not tell which was right.
        right = [hmac.compare_digest(response_digest(credentials, one, method).encode(), given) for one in known]
        if not any(right):
            return Worth.WRONG
        return Worth.VALID if self._count(serial, credentials) else Worth.STALE

    def is_fresh(self, credentials: AuthParams, client: str, now: float) -> bool:
        """False if their nonce is not ours, too old or another client's, so that nobody need look for the password."""
        return self._read_nonce(credentials.get("nonce"), client, now) is not None

    def _is_complete(self, credentials: AuthParams) -> bool:
        qop = credentials.get("qop")
        if algorithm_of(credentials) not in self._algorithms or qop.lower() not in ("", "auth"):
            return False
        if credentials.get("userhash").lower() == "true":
            # RFC 7616 3.3: our challenges do not offer it, which means "false".
            return False
        wanted = ["username", "nonce", "uri", "response", *(["nc", "cnonce"] if qop else [])]
        return all(credentials.get(name) for name in wanted)

    def _new_nonce(self, client: str, now: float) -> str:
        self._serial += 1
        text = f"{int(now * 1000):x}.{self._serial:x}"
        return f"{text}.{self._mac(text, client)}"

    def _mac(self, text: str, client: str) -> str:
        return hmac.digest(self._secret, f"{text} {client}".encode(), "sha256")[:_MAC_BYTES].hex()

    def _read_nonce(self, nonce: str, client: str, now: float) -> int | None:
        """The number of a nonce of ours that is still good."""
        text, _, mac = nonce.rpartition(".")
        if not nonce.isascii() or not hmac.compare_digest(self._mac(text, client), mac):
            return None
        made_ms, serial = (int(part, 16) for part in text.split("."))
        if now * 1000 > made_ms + self._lifetime_s * 1000:
            return None
        return serial if serial in self._counts or serial > self._forgotten else None

    def _count(self, serial: int, credentials: AuthParams) -> bool:
        """Note the use of a nonce; False for a replay (RFC 7616 section 3.4: nc)."""
        # A client of RFC 2069 has no count: it may use a nonce once.
        text = credentials.get("nc") if credentials.get("qop") else "1"
        try:
            count = int(text, 16)
        except ValueError:
            return False
        if count <= self._counts.get(serial, 0):
            return False
        self._counts[serial] = count
        self._counts.move_to_end(serial)
        if len(self._counts) > self._nonces_max:
            oldest, _ = self._counts.popitem(last=False)
            self._forgotten = max(self._forgotten, oldest)
        return True


def _hash(algorithm: str, text: str) -> str:
    data = text.encode("utf-8", "surrogateescape")
    return hashlib.new(ALGORITHMS[algorithm], data, usedforsecurity=False).hexdigest()

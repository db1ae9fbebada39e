"""The client's side of digest authentication (RFC 3261 section 22.2 and 22.3)."""

from __future__ import annotations

import random
from dataclasses import dataclass

from p2psip.sip.message import digest
from p2psip.sip.message.headers import AuthParams, CSeq
from p2psip.sip.message.message import Request, Response

_ANSWER_TO = {"www-authenticate": "Authorization", "proxy-authenticate": "Proxy-Authorization"}


@dataclass(slots=True)
class _Known:
    """A challenge that was answered, and how often its nonce has been used."""

    challenge: AuthParams
    count: int = 1


class DigestCredentials:
    """A user and a password, to answer challenges with."""

    def __init__(self, user: str, password: str, rng: random.Random, *, reuses_nonces: bool = False) -> None:
        """With `reuses_nonces` later requests have credentials before anybody asks for them."""
        self._user = user
        self._password = password
        self._rng = rng
        self._reuses_nonces = reuses_nonces
        self._known: dict[str, _Known] = {}
        """By the field that answers it, the last challenge."""

    def beforehand(self, request: Request) -> Request:
        """A request with credentials for the challenges that there were before."""
        fields = request.fields
        for name, known in self._known.items():
            # RFC 7616 3.4: the count is of "the number of requests (including the current request) that the client has
            # sent with the nonce value in this request".
            known.count += 1
            fields = fields.with_values(name, [self._answer(known.challenge, request, known.count)])
        return request if fields is request.fields else request.replace(fields=fields)

    def answer(self, request: Request, response: Response) -> Request | None:
        """The request anew with credentials, its CSeq one higher; None if that would not help."""
        if not self._password:
            return None
        fields = request.fields
        for asked, answered in _ANSWER_TO.items():
            challenge = digest.choose_challenge(digest.read_all(response.fields.lines(asked)))
            if challenge is None:
                continue
            others = [c for c in digest.read_all(fields.lines(answered.lower())) if not _same_realm(c, challenge)]
            # 22.1: "A UAC MUST NOT re-attempt requests with the credentials that have just been rejected (though the
            # request may be retried if the nonce was stale)."
            is_stale = challenge.get("stale").lower() == "true" or any(
                map(_is_used_again, digest.read_all(fields.lines(answered.lower())))
            )
            if len(others) < len(fields.lines(answered.lower())) and not is_stale:
                return None
            fields = fields.with_values(answered, [*others, self._answer(challenge, request)])
            if self._reuses_nonces and challenge.get("qop"):
                self._known[answered] = _Known(challenge)
        if fields is request.fields:
            return None
        cseq = request.cseq
        return request.replace(fields=fields.with_only("CSeq", CSeq(cseq.number + 1, cseq.method)))

    def _answer(self, challenge: AuthParams, request: Request, count: int = 1) -> AuthParams:
        algorithm = digest.algorithm_of(challenge)
        return digest.answer_challenge(
            challenge,
            user=self._user,
            a1_hash=digest.ha1(self._user, challenge.get("realm"), self._password, algorithm),
            method=request.method,
            uri=request.uri_text,
            cnonce=f"{self._rng.getrandbits(64):016x}",
            nonce_count=count,
        )


def _same_realm(credentials: AuthParams, challenge: AuthParams) -> bool:
    return credentials.get("realm") == challenge.get("realm")


def _is_used_again(credentials: AuthParams) -> bool:
    """True for what was sent before anybody had asked: that its nonce is over says nothing of the password."""
    return credentials.get("nc") not in ("", "00000001")

"""The client's side of digest authentication (RFC 3261 section 22.2 and 22.3)."""

from __future__ import annotations

import random

from p2psip.sip.message import digest
from p2psip.sip.message.headers import AuthParams, CSeq
from p2psip.sip.message.message import Request, Response

_ANSWER_TO = {"www-authenticate": "Authorization", "proxy-authenticate": "Proxy-Authorization"}


class DigestCredentials:
    """A user and a password, to answer challenges with."""

    def __init__(self, user: str, password: str, rng: random.Random) -> None:
        self._user = user
        self._password = password
        self._rng = rng

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
            is_stale = challenge.get("stale").lower() == "true"
            if len(others) < len(fields.lines(answered.lower())) and not is_stale:
                return None
            fields = fields.with_values(answered, [*others, self._answer(challenge, request)])
        if fields is request.fields:
            return None
        cseq = request.cseq
        return request.replace(fields=fields.with_only("CSeq", CSeq(cseq.number + 1, cseq.method)))

    def _answer(self, challenge: AuthParams, request: Request) -> AuthParams:
        algorithm = digest.algorithm_of(challenge)
        return digest.answer_challenge(
            challenge,
            user=self._user,
            a1_hash=digest.ha1(self._user, challenge.get("realm"), self._password, algorithm),
            method=request.method,
            uri=request.uri_text,
            cnonce=f"{self._rng.getrandbits(64):016x}",
        )


def _same_realm(credentials: AuthParams, challenge: AuthParams) -> bool:
    return credentials.get("realm") == challenge.get("realm")

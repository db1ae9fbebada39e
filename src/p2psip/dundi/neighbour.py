"""One neighbour: whether it is there, how often it may do what costs, and the keys that are used with it."""

from __future__ import annotations

import random
from typing import Final

from p2psip.base.allowance import Attempts
from p2psip.dundi.elements import KEY_CRC32, SHARED_KEY, SIGNATURE, first_eid
from p2psip.dundi.limits import KEY_S, NEW_KEYS, REFUSALS, REQUESTS
from p2psip.dundi.message import Element, NotDundi, Said
from p2psip.dundi.session_keys import SessionKey, make_session_key, open_session_key
from p2psip.dundi.values import NeighbourFacts, NeighbourTerms

_ONE: Final = None
"""The key of an allowance that is of one neighbour alone."""


class Neighbour:
    """Counts as there until it has been silent."""

    def __init__(self, terms: NeighbourTerms, rng: random.Random) -> None:
        self.terms = terms
        self.is_up = True
        self.since = 0.0
        self.rtt_s: float | None = None
        self.asked = self.answered = self.dropped = 0
        self.failure = ""
        self._rng = rng
        self._own: SessionKey | None = None
        self._own_until = 0.0
        self._has_own = False
        self._theirs: SessionKey | None = None
        self._requests: Attempts[None] = Attempts(REQUESTS)
        self._keys: Attempts[None] = Attempts(NEW_KEYS)
        self._refusals: Attempts[None] = Attempts(REFUSALS)

    @property
    def name(self) -> str:
        """What the operator calls it."""
        return self.terms.name

    @property
    def facts(self) -> NeighbourFacts:
        """For an operator."""
        return NeighbourFacts(
            self.terms, self.is_up, self.since, self.rtt_s, self.asked, self.answered, self.dropped, self.failure
        )

    def may_request(self, now: float) -> bool:
        """It begins a transaction: True if it may."""
        return _charged(self._requests, now)

    def may_be_refused(self, now: float) -> bool:
        """It has said what belongs nowhere: True if it is told so."""
        return _charged(self._refusals, now)

    def unread(self, error: NotDundi) -> None:
        """It has said what cannot be read."""
        self.dropped += 1
        self.failure = str(error)

    # Keys

    def own_key(self, now: float) -> SessionKey:
        """What is encrypted with that we begin."""
        assert self.terms.keys is not None, "it is asked whether there are keys"
        if self._own is None or now >= self._own_until:
            self._own, self._own_until = make_session_key(self.terms.keys, self._rng), now + KEY_S
            self._has_own = False
        return self._own

    def introduce(self, key: SessionKey, *, is_whole: bool) -> tuple[Element, ...]:
        """What says with which key a transaction is encrypted: the key itself until it has been sent once, or if the
        neighbour has said that it does not know it; else its checksum.
        """
        if is_whole or not self._has_own:
            self._has_own = True
            return SHARED_KEY.of(key.encrypted), SIGNATURE.of(key.signature)
        return (KEY_CRC32.of(key.crc32),)

    def their_key(self, said: Said, now: float) -> SessionKey:
        """With which key a transaction of theirs is encrypted, by its first message. Raises NotDundi."""
        if self.terms.keys is None:
            raise NotDundi("it encrypts, and has no keys here")
        if first_eid(said) != self.terms.eid:
            raise NotDundi(f"it is {first_eid(said)}, and not {self.terms.eid}")
        known, crc32 = self._theirs, KEY_CRC32.last(said)
        if known is not None and crc32 == known.crc32:
            return known
        encrypted, signature = SHARED_KEY.last(said), SIGNATURE.last(said)
        if encrypted is None or signature is None:
            raise NotDundi("it means a key that is not known here")
        if known is not None and (known.encrypted, known.signature) == (encrypted, signature):
            return known
        if not _charged(self._keys, now):
            raise NotDundi("it changes its key too often")
        self._theirs = open_session_key(self.terms.keys, encrypted, signature)
        return self._theirs

    # Health

    def heard(self, now: float, rtt_s: float | None = None) -> bool:
        """It has answered; True if it was silent before."""
        self.rtt_s = rtt_s if rtt_s is not None else self.rtt_s
        return self._set(now, is_up=True)

    def silent(self, why: str, now: float) -> bool:
        """It has not answered; True if it did before."""
        self.failure = why
        return self._set(now, is_up=False)

    def _set(self, now: float, *, is_up: bool) -> bool:
        has_changed = self.is_up != is_up
        if has_changed:
            self.is_up, self.since = is_up, now
        return has_changed


def _charged(allowance: Attempts[None], now: float) -> bool:
    if allowance.wait_s(_ONE, now):
        return False
    allowance.charge(_ONE, now)
    return True

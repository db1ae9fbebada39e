"""Who tries names: a few are told that there is no such line, afterwards a wrong name is as good as a wrong password.

Theory of operation. Whoever sets up a phone and mistypes the name has to hear so. Whoever tries names by the hundred
must not learn which are lines. So from one address some wrong names a minute are told apart; from then on a name that
is nobody's is treated like a line of which the password is wrong, to the letter and in the time that it takes: the same
words, the same allowance, the same turns to wait for. Without credentials nobody learns anything, as every request is
challenged before it is looked at whom it names.
"""

from __future__ import annotations

import random

from p2psip.base.address import source_key
from p2psip.base.allowance import Attempts
from p2psip.sip.entities.config import ServerLimits
from p2psip.sip.entities.gate.lockout import LockOut
from p2psip.sip.entities.questions import Credential
from p2psip.sip.message.digest import ha1_by_algorithm
from p2psip.sip.transports.hops import Source

_HA1_BYTES = 32


class Scanners:
    """What those hear who name nobody."""

    def __init__(self, limits: ServerLimits, rng: random.Random) -> None:
        self.lock_out = LockOut(limits)
        """A table of its own: however many names are made up, none takes the place of a line that is being guessed."""
        self._attempts: Attempts[str] = Attempts(limits.wrong_names, limits.phones)
        # Nobody knows it, so no answer to a challenge is right.
        self._ha1s = (ha1_by_algorithm("", "", rng.randbytes(_HA1_BYTES).hex()),)

    def may_be_told(self, source: Source, now: float) -> bool:
        """True if this once somebody there may hear that there is no such line."""
        key = source_key(source.remote.host)
        if self._attempts.wait_s(key, now):
            return False
        self._attempts.charge(key, now)
        return True

    def nobody(self, user_name: str) -> Credential:
        """The line that there is not: no password is right for it."""
        return Credential(user_name.partition("@")[0].lower(), self._ha1s)

"""What all agents of a node together send: how often, and how much to who does not answer."""

from __future__ import annotations

from typing import Final

from p2psip.base.address import Address, without_zone
from p2psip.reload.paths.limits import ICE_HOSTS_MAX, ICE_UNANSWERED_MAX

CHECKS_APART_S: Final = 0.005
"""RFC 8445 section 14.2: "the combination of all transactions from all agents [...] MUST NOT be sent more often than
once every 5 ms"."""

UNANSWERED_S: Final = 60.0
"""After so long a host has its checks again, whether it has ever answered or not."""


class Restraint:
    """A member may say in an Attach that a stranger's address is its own. So what goes to a host that does not answer
    is counted, over all agents. An answer has a transaction of ours and the integrity of the other end, so who sends it
    has seen our check.
    """

    def __init__(self) -> None:
        self._free_at = 0.0
        self._unanswered: dict[str, tuple[float, int]] = {}
        """By host: since when it is counted, and how many; the oldest first."""

    def turn(self, now: float) -> float:
        """Take a turn to begin a check: when it is, which may be now."""
        at = max(now, self._free_at)
        self._free_at = at + CHECKS_APART_S
        return at

    def may_check(self, remote: Address, now: float) -> bool:
        """True, and counted, if one more check may go to a host; a repeated one is one more, and so is a stream that
        both ends open.
        """
        host = without_zone(remote.host)
        while self._unanswered:
            first = next(iter(self._unanswered))
            if now < self._unanswered[first][0] + UNANSWERED_S:
                break
            del self._unanswered[first]
        since, count = self._unanswered.get(host, (now, 0))
        if count >= ICE_UNANSWERED_MAX or (not count and len(self._unanswered) >= ICE_HOSTS_MAX):
            return False
        self._unanswered[host] = since, count + 1
        return True

    def answered(self, remote: Address) -> None:
        """Somebody at this host wants our checks."""
        self._unanswered.pop(without_zone(remote.host), None)

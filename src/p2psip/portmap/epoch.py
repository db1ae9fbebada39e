"""For how long a router has known what it knows: it says that in each answer, and so betrays that it has forgotten."""

from __future__ import annotations


class Epoch:
    """The epochs of one router, as they come."""

    def __init__(self) -> None:
        self._last: tuple[int, float] | None = None

    def has_restarted(self, epoch_s: int, now: float) -> bool:
        """True if the router has lost its mappings since its last answer (RFC 6887 section 8.5).

        NAT-PMP has a rule that sees less (RFC 6886 section 3.6); a router to which this one does wrong is asked anew
        for what it has, and no more.
        """
        last, self._last = self._last, (epoch_s, now)
        if last is None:
            return False
        before_s, at = last
        if epoch_s < before_s - 1:
            return True
        server_s, client_s = epoch_s - before_s, now - at
        # "If client_delta+2 < server_delta - server_delta/16 or server_delta+2 < client_delta - client_delta/16".
        return client_s + 2 < server_s - server_s / 16 or server_s + 2 < client_s - client_s / 16

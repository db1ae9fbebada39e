"""Ways to other hosts on which large packets vanish and nobody says so (RFC 4821 section 1: "black holes").

A link's handshake passes, its Pings pass, and then a large message does not arrive: on a stream nothing comes after it
any more, and the link fails like one whose other end has lost its power. Which of the two it is nobody knows; so
both ends dial again at once, with packets that every path carries; and if that fails as well, with the other kind of
link first. A link that answers again after all had been slow, and nothing else. Where small packets do not arrive
either, their size is not what matters: nobody is there. And ways change: after ten minutes large ones are tried again.

         fails              fails
    WIDE -----> NARROW <-----------> NARROW, the other kind first
      ^            |                            |
      '-- answers again, does not answer to small packets either, ten minutes
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from p2psip.base.timers import Deadline
from p2psip.reload.paths.limits import NARROW_HOSTS_MAX
from p2psip.reload.paths.values import Candidate
from p2psip.reload.wire.link_messages import OverlayLinkType

NARROW_S: Final = 600.0
"""How long a way is taken for narrow: what RFC 1191 section 6.3 recommends before larger packets are tried again."""


class _Way(NamedTuple):
    preferred: OverlayLinkType
    narrow_until: float


class NarrowWays:
    """What the links of one node have shown of the ways to other hosts."""

    def __init__(self) -> None:
        self._narrow: dict[str, _Way] = {}

    def is_narrow(self, host: str) -> bool:
        """True if large packets are not known to arrive at this host."""
        return host in self._narrow

    @property
    def is_any_narrow(self) -> bool:
        """True if one of the hosts that may dial us is not to send large packets, which it may not know."""
        return bool(self._narrow)

    def failed(self, host: str, kind: OverlayLinkType, now: float) -> None:
        """A link of this kind fell silent."""
        before = self._narrow.pop(host, None)
        while len(self._narrow) >= NARROW_HOSTS_MAX:
            del self._narrow[next(iter(self._narrow))]
        self._narrow[host] = _Way(kind if before is None else _other(kind), now + NARROW_S)

    def widen(self, host: str) -> None:
        """The size of packets is not why it fell silent."""
        self._narrow.pop(host, None)

    def handle_timeout(self, now: float) -> None:
        """What was narrow for long may not be any more."""
        while (deadline := self.next_deadline()) is not None and now >= deadline.at:
            del self._narrow[next(iter(self._narrow))]

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted. Those that failed last are last."""
        first = next(iter(self._narrow.values()), None)
        return None if first is None else Deadline(first.narrow_until, "a narrow way is tried again")

    def known(self, candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
        """These, as they are best dialled by what is known: the preferred kind first, otherwise in their order."""
        marked = [
            candidate._replace(is_narrow=True) if self.is_narrow(candidate.address.host) else candidate
            for candidate in candidates
        ]
        return tuple(sorted(marked, key=self._is_second))

    def _is_second(self, candidate: Candidate) -> bool:
        way = self._narrow.get(candidate.address.host)
        return way is not None and candidate.link_type is not way.preferred


def _other(kind: OverlayLinkType) -> OverlayLinkType:
    is_stream = kind is OverlayLinkType.TLS_TCP_FH_NO_ICE
    return OverlayLinkType.DTLS_UDP_SR_NO_ICE if is_stream else OverlayLinkType.TLS_TCP_FH_NO_ICE

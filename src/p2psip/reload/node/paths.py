"""Ways to other hosts on which large packets vanish and nobody says so (RFC 4821 section 1: "black holes").

A link's handshake passes, its Pings pass, and then a large message does not arrive: on a stream nothing comes after it
any more, and the link fails like one whose other end has lost its power. Which of the two it is nobody knows; so
both ends dial again at once, with packets that every path carries; and if that fails as well, with the other kind of
link first. A link that answers again after all had been slow, and nothing else.

         fails              fails
    WIDE -----> NARROW <-----------> NARROW, the other kind first
      ^-- answers again --'
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from p2psip.reload.node.effects import Candidate
from p2psip.reload.wire.link_messages import OverlayLinkType

HOSTS_MAX: Final = 256
"""Hosts of which it is remembered; the one that failed first is forgotten first."""


class Paths:
    """What the links of one node have shown of the ways to other hosts."""

    def __init__(self) -> None:
        self._preferred: dict[str, OverlayLinkType] = {}

    def is_narrow(self, host: str) -> bool:
        """True if a link to this host has failed."""
        return host in self._preferred

    def failed(self, host: str, kind: OverlayLinkType) -> None:
        """A link of this kind fell silent."""
        if host in self._preferred:
            self._preferred[host] = _other(kind)
            return
        while len(self._preferred) >= HOSTS_MAX:
            del self._preferred[next(iter(self._preferred))]
        self._preferred[host] = kind

    def answers_again(self, host: str) -> None:
        """It had not failed."""
        self._preferred.pop(host, None)

    def known(self, candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
        """These, as they are best dialled by what is known: the preferred kind first, otherwise in their order."""
        marked = [
            candidate._replace(is_narrow=True) if self.is_narrow(candidate.address.host) else candidate
            for candidate in candidates
        ]
        return tuple(sorted(marked, key=self._is_second))

    def _is_second(self, candidate: Candidate) -> bool:
        preferred = self._preferred.get(candidate.address.host, candidate.link_type)
        return candidate.link_type is not preferred


def _other(kind: OverlayLinkType) -> OverlayLinkType:
    is_stream = kind is OverlayLinkType.TLS_TCP_FH_NO_ICE
    return OverlayLinkType.DTLS_UDP_SR_NO_ICE if is_stream else OverlayLinkType.TLS_TCP_FH_NO_ICE

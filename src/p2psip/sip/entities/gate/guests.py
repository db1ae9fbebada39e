"""Who may come in without a password: who calls from other domains, and guests (docs/decisions/other-domains.md).

Theory of operation. Both doors are the operator's to open. Through them come calls and messages for a user of the
overlay, and nothing else: no Route through here to elsewhere, no other domain. Who claims a name of the overlay
has to prove it, as ever. From anywhere only a call by the domain's name comes in: whoever scans addresses knows none.
What begins is counted by where it comes from, whether it is for somebody or for nobody, so that names are tried slowly.
"""

from __future__ import annotations

from p2psip.base.address import source_key
from p2psip.base.allowance import Attempts
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate.gate import AnswerInstead
from p2psip.sip.entities.own import is_own_domain, is_own_route, is_user
from p2psip.sip.message.headers import AuthParams
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transactions.events import RequestArrived
from p2psip.sip.transports.hops import Source

METHODS = frozenset({"INVITE", "MESSAGE"})
"""What somebody notices: an OPTIONS would find out in silence whose phone is there."""


class Guests:
    """Looks at what nobody has signed with a password."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        limits = config.limits
        self._of_source: Attempts[str] = Attempts(limits.guest_calls, limits.phones)
        self._of_all: Attempts[None] = Attempts(limits.all_guest_calls, 1)

    def is_guest(self, request: Request, source: Source) -> bool:
        """True for what may come in as it is; anything else is asked for a password."""
        if request.method not in METHODS or request.to.tag or self._has_credentials(request):
            return False
        uri, sender = request.uri, request.from_.uri
        if not isinstance(uri, SipUri) or not uri.user or not is_user(uri, self._config):
            return False
        if isinstance(sender, SipUri) and (is_own_domain(sender, self._config) or sender.host in self._config.domains):
            # Whatever port or maddr it names: who reads it takes it for a name of the overlay.
            return False
        # A Route with a token of ours would lead past who may be called; one of somebody else's, out again.
        routes = [route.sip_uri for route in request.routes]
        if not all(not route.user and is_own_route(route, self._config) for route in routes):
            return False
        doors = self._config.other_domains
        is_hosted = uri.host == self._config.realm or uri.host in doors.names
        return doors.is_guest(source.remote.host) or (doors.calls_in and is_hosted)

    def _has_credentials(self, request: Request) -> bool:
        """True if somebody wants to prove something to us; what is for another realm has only come along."""
        lines = request.fields.lines("proxy-authorization")
        return any(AuthParams.parse(line).get("realm") == self._config.realm for line in lines)

    def count(self, arrived: RequestArrived, now: float) -> AnswerInstead | None:
        """One more has begun; the refusal if that was too many."""
        key = source_key(arrived.source.remote.host)
        wait_s = max(self._of_source.wait_s(key, now), self._of_all.wait_s(None, now))
        if wait_s:
            return AnswerInstead(arrived, 503, None, (("Retry-After", max(1, round(wait_s))),))
        self._of_source.charge(key, now)
        self._of_all.charge(None, now)
        return None

"""Numbers that nobody in the overlay has: which gateway or DUNDi peer calls them; a resolver (proxy/resolvers.py).

Theory of operation. A number is a user name first: only where the overlay knows nobody of that name (404) is a gateway
asked for, or at once for an emergency number that no user of the overlay answers. The gateway's peer is sent the call
by a GRUU that says so (`GATEWAY_PARAM`), and gives it to one of its trunks. If that gateway cannot do it, another one
is tried; if whoever was called is busy, does not answer or does not exist, no other gateway changes that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gateway.people import number_in
from p2psip.sip.entities.gateway.terms import GATEWAY_PARAM
from p2psip.sip.entities.gateway.transferring import Replaced, replaced_by
from p2psip.sip.entities.gateway.trunk import Trunk
from p2psip.sip.entities.own import is_user
from p2psip.sip.entities.proxy.resolvers import After, Asked, Resolution
from p2psip.sip.entities.questions import FindGateway, Located, NotLocated, Target, Tried
from p2psip.sip.message.build import phrase_of
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import LocalHop

NOBODY = 404
"""What is said of a number where nobody in the overlay has it."""


class ByGateway:
    """Leads to the gateways of others, and to the trunks of this peer who was led here."""

    name = "gateways"

    def __init__(self, config: ServerConfig, trunks: Sequence[Trunk]) -> None:
        self._config = config
        self._trunks = tuple(trunks)

    def resolve(self, asked: Asked, now: float) -> Resolution | None:
        """resolvers.Resolver"""
        if asked.routed.request.method != "INVITE" or not is_user(asked.uri, self._config):
            return None
        if asked.uri.param(GATEWAY_PARAM) is not None:
            if (replaced := replaced_by(asked.routed.request)) is not None:
                return self._in_place(asked, replaced)
            return self._here(asked.uri) if asked.after is None else self._here_again(asked.uri, asked.after)
        if asked.source.peer is not None and not asked.turns:
            return None
        return self._elsewhere(asked)

    def _here(self, uri: SipUri) -> Located | NotLocated | FindGateway:
        """By which trunk of this peer, or as its neighbours by DUNDi say."""
        number = number_in(uri)
        trunk = best_of(self._trunks, number)
        if trunk is not None:
            return Located((Target(uri, (LocalHop(trunk.name),), f"trunk {trunk.terms.name}"),))
        # The caller's peer tries another gateway: this one has said once that it could.
        otherwise = NotLocated(503, phrase_of(503), f"nothing behind this peer reaches {uri.user_name} now")
        is_reached = any(number.startswith(prefix) for prefix in self._config.other_domains.reaches)
        return FindGateway(number, otherwise, is_here=True) if is_reached else otherwise

    def _in_place(self, asked: Asked, replaced: Replaced) -> Located | NotLocated | None:
        """The trunk with the call in which somebody was told to be in another's place (RFC 3891)."""
        if asked.after is not None:
            return None
        trunk = next((each for each in self._trunks if each.has_dialog(replaced.dialog)), None)
        if trunk is None:
            return NotLocated(481, phrase_of(481), "no trunk of this peer has that call")
        return Located((Target(asked.uri, (LocalHop(trunk.name),), f"trunk {trunk.terms.name}"),))

    def _here_again(self, uri: SipUri, after: After) -> FindGateway | None:
        """A place that a neighbour has named has failed: the next."""
        tried = tuple(each for each in after.tried if each.is_gateway)
        if not (tried and _is_the_gateways(tried[-1])):
            return None
        otherwise = NotLocated(after.status, phrase_of(after.status), after.reason)
        return FindGateway(number_in(uri), otherwise, tried, is_here=True)

    def _elsewhere(self, asked: Asked) -> FindGateway | None:
        after, number, is_emergency = asked.after, number_in(asked.uri), self._is_emergency(asked)
        if is_emergency:
            number = self._emergency_number(asked)
            if after is None and not self._config.numbering.emergency.to:
                # Nobody of the overlay answers such calls.
                return FindGateway(number, _unreached(number), (), is_emergency)
        is_group = asked.uri.user_name.lower() in self._config.numbering.groups
        if after is None or not (is_emergency or (number and not is_group)):
            return None
        by_gateways = tuple(each for each in after.tried if each.is_gateway)
        if by_gateways:
            may_go_on = _is_the_gateways(by_gateways[-1])
        else:
            may_go_on = is_emergency or (after.status == NOBODY and after.has_only_been_sent_on)
        if not may_go_on:
            return None
        return FindGateway(
            number, NotLocated(after.status, phrase_of(after.status), after.reason), by_gateways, is_emergency
        )

    def _is_emergency(self, asked: Asked) -> bool:
        return asked.source.peer is None and self._config.numbering.is_emergency(asked.dialled, asked.user)

    def _emergency_number(self, asked: Asked) -> str:
        """What was dialled, or what the dial plan has made of it."""
        ruled = self._config.numbering.plan.ruled(asked.dialled, asked.user)
        return asked.dialled if ruled is None or not ruled.number else ruled.number


def _unreached(number: str) -> NotLocated:
    return NotLocated(480, phrase_of(480), f"nobody in the overlay answers {number}, and no gateway reaches it")


def _is_the_gateways(tried: Tried) -> bool:
    """True if a call failed for the gateway's sake: another one may do better.

    Whoever was called is busy, away or unknown by every way, and a 6xx is the last word (RFC 3261 section 21.6).
    """
    if not tried.is_told:
        return True
    return 500 <= tried.status < 600 or tried.status in (408, 430)


def best_of(trunks: Iterable[Trunk], number: str) -> Trunk | None:
    """The trunk of a peer for a number: that which is up and has room, by the longest prefix, then by preference."""
    able = [
        (reach, trunk.terms.preference, -index, trunk)
        for index, trunk in enumerate(trunks)
        if (reach := trunk.terms.reach(number)) is not None
        and trunk.health.is_up
        and (trunk.has_room or number in trunk.terms.emergency)
    ]
    return max(able, key=lambda each: each[:3])[3] if able else None

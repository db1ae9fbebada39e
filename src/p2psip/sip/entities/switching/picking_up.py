"""Call pick-up: a call that rings at somebody's phones is answered at another one: a resolver (proxy/resolvers.py).

Theory of operation. Who dials the code asks the peer beside the phones that ring, by an INVITE with a field of our
own, and that peer's switchboard answers both. Whether he may, says the owner of the line; who he is, his own peer has
asserted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate.identity import asserted
from p2psip.sip.entities.handling.call_handling import ANONYMOUS
from p2psip.sip.entities.handling.handlings import Handlings
from p2psip.sip.entities.numbers.groups import Group
from p2psip.sip.entities.own import is_user
from p2psip.sip.entities.proxy.resolvers import Asked, Resolution
from p2psip.sip.entities.questions import Located, LocateUser, NotLocated
from p2psip.sip.entities.switching.leads import pick_up_target
from p2psip.sip.message.build import phrase_of

PICK_UP_FIELD = "P2PSIP-Pick-Up"
"""In an INVITE between peers: not this user is called, but a call is answered that rings there."""


def may_pick_up(handlings: Handlings, groups: Mapping[str, Group], user: str, who: str, *, is_here: bool) -> bool:
    """True if `who` may answer a call that rings for `user`; if that is a group, where it rings: a member, or who may
    answer the calls of a member whose line is here.
    """
    meant = groups[user].members if user in groups else (user,)
    lines = [handling for name in meant if (handling := handlings.of(name)) is not None]
    return who in meant or any(handling.may_pick_up(who, is_here=is_here) for handling in lines)


class ByPickUp:
    """Where a call rings that somebody wants to answer at another phone."""

    name = "pick-up"

    def __init__(self, config: ServerConfig, handlings: Handlings, ringing: Callable[[str], int | None]) -> None:
        """`ringing` says which call rings for a user or a group."""
        self._config = config
        self._handlings = handlings
        self._ringing = ringing

    def resolve(self, asked: Asked, now: float) -> Resolution | None:
        """resolvers.Resolver"""
        request = asked.routed.request
        if request.method != "INVITE" or PICK_UP_FIELD.lower() not in request.fields or asked.after is not None:
            return None
        if not is_user(asked.uri, self._config):
            return None
        user, who = asked.uri.user_name.lower(), asked.user or asserted(request, self._config.realm)
        if self._handlings.of(user) is None and user not in self._config.numbering.groups:
            if asked.from_peer is not None:
                return NotLocated(404, phrase_of(404), f"{user} has no line on this peer")
            # As who watches it: the peer of the line is meant, whether a phone of it is there or not.
            return LocateUser(asked.uri, user, "INVITE", request.call_id, asked.user, None, is_about_state=True)
        if not may_pick_up(self._handlings, self._config.numbering.groups, user, who, is_here=asked.user is not None):
            why = (
                f"{who or ANONYMOUS} may not pick up calls of {user}: `p2psip line calls {user} --pick-up` says who may"
            )
            return NotLocated(403, phrase_of(403), why)
        call = self._ringing(user)
        if call is None:
            return NotLocated(404, phrase_of(404), f"nothing rings at {user}")
        return Located((pick_up_target(call, self._config.realm),))

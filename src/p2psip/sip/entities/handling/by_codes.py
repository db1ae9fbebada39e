"""Star codes that phones of this peer dial: a resolver (proxy/resolvers.py)."""

from __future__ import annotations

from collections.abc import Callable

from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate.identity import diverted
from p2psip.sip.entities.handling.forward_target import NobodyMeant, forward_target, number_meant
from p2psip.sip.entities.handling.handlings import Handlings
from p2psip.sip.entities.handling.intercom import intercom_fields
from p2psip.sip.entities.handling.star_codes import (
    ECHO,
    INTERCOM,
    MAILBOX,
    PARK,
    PICK_UP,
    PICK_UP_GROUP,
    SERVICES,
    SLOT,
)
from p2psip.sip.entities.mailbox.by_mailbox import MAILBOX_AGENT
from p2psip.sip.entities.own import is_user
from p2psip.sip.entities.proxy.resolvers import Asked, Instead, Resolution
from p2psip.sip.entities.questions import Located, NotLocated, Target
from p2psip.sip.entities.switching.leads import pick_up_target, retrieve_target
from p2psip.sip.entities.switching.picking_up import PICK_UP_FIELD, may_pick_up
from p2psip.sip.message.build import phrase_of
from p2psip.sip.message.uri import SipUri, escape_user
from p2psip.sip.transports.hops import LocalHop

AGENT = "star codes"
"""The agent that serves most of them. Nobody but this resolver leads to it, so that it is told who has dialled."""

LINE_PARAM = "line"


class ByCodes:
    """Only who is a line of this peer dials them, and not who was forwarded to one."""

    name = "star codes"

    def __init__(self, config: ServerConfig, handlings: Handlings, ringing: Callable[[str], int | None]) -> None:
        """`ringing` says which call rings for a user or a group."""
        self._config = config
        self._handlings = handlings
        self._ringing = ringing

    def resolve(self, asked: Asked, now: float) -> Resolution | None:
        """resolvers.Resolver"""
        request = asked.routed.request
        # Of what another peer sends, nobody has proved to be the sender.
        if asked.after is not None or asked.user is None or diverted(request):
            return None
        if request.method != "INVITE" or not is_user(asked.uri, self._config):
            return None
        found = self._config.numbering.codes.read(asked.uri.user_name)
        if found is None or found[0] == ECHO:
            return None
        name, number = found
        if SERVICES[name].changes and not self._is_dialled(asked):
            return NotLocated(403, phrase_of(403), f"somebody else has led a phone of {asked.user} to {asked.dialled}")
        if name == PARK:
            return self._retrieve(number)
        if name == PICK_UP_GROUP:
            return self._pick_up_group(asked.user)
        if name == MAILBOX:
            return self._mailbox(asked.user)
        if SERVICES[name].takes_number:
            meant = self._meant(name, number, asked.user)
            if isinstance(meant, NotLocated):
                return meant
            number = meant
        uri = SipUri(self._config.realm, escape_user(number))
        if name == INTERCOM:
            why = f"{number} is called, and is to answer by itself"
            return Instead(uri, why, fields=intercom_fields(self._config.realm))
        if name == PICK_UP:
            return Instead(uri, f"a call that rings at {number} is answered", fields=((PICK_UP_FIELD, number),))
        code = self._config.numbering.codes.codes[name]
        uri = SipUri(self._config.realm, escape_user(f"{code}{number}"), None, ((LINE_PARAM, escape_user(asked.user)),))
        return Located((Target(uri, (LocalHop(AGENT),), f"{code}, {SERVICES[name].what}"),))

    def _is_dialled(self, asked: Asked) -> bool:
        """True unless a phone has followed a 3xx (RFC 3261 8.1.3.4): To stays what was dialled."""
        to = asked.routed.request.to.uri
        user = to.user_name if isinstance(to, SipUri) else asked.dialled
        return user == asked.dialled or self._config.numbering.codes.read(user) is not None

    def _meant(self, name: str, number: str, user: str) -> str | NotLocated:
        """Whom the number behind a code means, and whether this line may have that."""
        if not number:
            code = self._config.numbering.codes.codes[name]
            return NotLocated(484, phrase_of(484), f"dial {code} and a number right behind it")
        find = forward_target if SERVICES[name].sets else number_meant
        try:
            return find(self._config, number, user)
        except NobodyMeant as error:
            return NotLocated(error.status, phrase_of(error.status), str(error))

    def _retrieve(self, slot: str) -> Located | NotLocated:
        if not SLOT.fullmatch(slot):
            code = self._config.numbering.codes.codes[PARK]
            return NotLocated(484, phrase_of(484), f"calls are parked at 1 to 9: dial {code}1")
        return Located((retrieve_target(slot, self._config.realm),))

    def _pick_up_group(self, user: str) -> Located | NotLocated:
        groups = {name: group for name, group in self._config.numbering.groups.items() if user in group.members}
        if not groups:
            return NotLocated(
                403, phrase_of(403), f"{user} is in no group: a [group.NAME] in dialplan.toml has members"
            )
        members = (member for group in groups.values() for member in group.members if self._may(user, member))
        calls = (call for each in (*groups, *members) if (call := self._ringing(each)) is not None)
        call = next(calls, None)
        if call is None:
            return NotLocated(404, phrase_of(404), f"nothing rings in {', '.join(groups)}")
        return Located((pick_up_target(call, self._config.realm),))

    def _may(self, user: str, member: str) -> bool:
        return user != member and may_pick_up(
            self._handlings, self._config.numbering.groups, member, user, is_here=True
        )

    def _mailbox(self, user: str) -> Instead | Located | NotLocated:
        numbering = self._config.numbering
        if numbering.mailbox:
            uri = SipUri(self._config.realm, escape_user(numbering.mailbox))
            return Instead(uri, f"{numbering.mailbox} has the messages")
        if not self._config.has_mailboxes():
            why = (
                f"{self._config.realm} has no mailboxes: its configuration has no Kinds for them, and nobody who keeps "
                'messages is mailbox = "USER" in dialplan.toml'
            )
            return NotLocated(404, phrase_of(404), why)
        code = numbering.codes.codes[MAILBOX]
        uri = SipUri(self._config.realm, escape_user(code), None, ((LINE_PARAM, escape_user(user)),))
        return Located((Target(uri, (LocalHop(MAILBOX_AGENT),), f"the mailbox of {user}"),))

"""Groups of lines that ring by one number (docs/decisions/switching.md): resolvers (proxy/resolvers.py).

Theory of operation. A group that rings all at once is one question for the places of all its members. One that rings
them in order has the call be for one after the other: while it is for one of them, `ByGroup` is asked again when that
one has not answered in time, or has failed. Of members that have a line here it is decided here whether they ring;
their peers decide of the others.
"""

from __future__ import annotations

from dataclasses import replace

from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate.identity import asserted, diverted, line_uri
from p2psip.sip.entities.handling.call_handling import CallMoment, Decision, Divert, RefuseCall, decide
from p2psip.sip.entities.handling.handlings import Handlings
from p2psip.sip.entities.numbers.groups import Group
from p2psip.sip.entities.own import is_user
from p2psip.sip.entities.proxy.resolvers import Again, Asked, Instead, Resolution, RingsNoMore, diversion
from p2psip.sip.entities.questions import LocateUser, NotLocated, Rung
from p2psip.sip.message.build import phrase_of
from p2psip.sip.message.urgency import is_marked

_NO_ANSWER, _AWAY = 408, 480


def group_of(asked: Asked, config: ServerConfig) -> tuple[str, Group] | None:
    """The group that is called, also while it is one of its members whom the call is for, in order."""
    if asked.routed.request.method != "INVITE" or not is_user(asked.uri, config):
        return None
    name, groups = asked.uri.user_name.lower(), config.numbering.groups
    if name in groups:
        return name, groups[name]
    before = next(
        ((user.lower(), groups[user.lower()]) for user in reversed(asked.before) if user.lower() in groups), None
    )
    # Whoever is called at last rings as he does when he is called himself.
    return before if before is not None and before[1].ring == "in-order" and name != before[1].otherwise else None


class GroupTime:
    """For how long a group rings, or a member of one that rings in order."""

    name = "the time of a group"

    def __init__(self, config: ServerConfig) -> None:
        self._config = config

    def resolve(self, asked: Asked, now: float) -> Resolution | None:
        """resolvers.Resolver"""
        if asked.after is not None or (found := group_of(asked, self._config)) is None:
            return None
        name, group = found
        return Again(float(group.ring_s), f"{name} rings for {group.ring_s} s")


class ByGroup:
    """Who rings where a group is called, and who after that."""

    name = "groups"

    def __init__(self, config: ServerConfig, handlings: Handlings) -> None:
        self._config = config
        self._handlings = handlings

    def resolve(self, asked: Asked, now: float) -> Resolution | None:
        """resolvers.Resolver"""
        if (found := group_of(asked, self._config)) is None:
            return None
        name, group = found
        if group.ring == "in-order":
            if asked.after is None and asked.uri.user_name.lower() != name:
                return None
            tried = self._tried(asked)
            rest = [rung for rung in self._ringing(group.members, asked, now) if rung.user not in tried]
            if rest:
                return self._instead(rest[0], f"{name} is a group, in which {rest[0].user} is called now")
        elif asked.after is None and (rung := self._ringing(group.members, asked, now)):
            return self._all(rung, asked)
        return self._over(name, group, asked)

    def _over(self, name: str, group: Group, asked: Asked) -> Resolution:
        if group.otherwise and group.otherwise not in self._tried(asked):
            return self._instead(Rung(group.otherwise), f"nobody of {name} answers: {group.otherwise} is called")
        if asked.after is None:
            return NotLocated(480, phrase_of(480), f"no member of {name} can be called now")
        if asked.after.status == _NO_ANSWER:
            return RingsNoMore(f"nobody of {name} has answered")
        return NotLocated(asked.after.status, phrase_of(asked.after.status), f"nobody of {name}: {asked.after.reason}")

    def _instead(self, rung: Rung, why: str) -> Instead:
        return Instead(line_uri(rung.user, self._config.realm), why, rung.diversions)

    def _all(self, rung: tuple[Rung, ...], asked: Asked) -> LocateUser:
        request = asked.routed.request
        is_urgent = is_marked(request)
        return LocateUser(
            asked.uri, rung[0].user, "INVITE", request.call_id, asked.user, None, is_urgent=is_urgent, group=rung
        )

    def _tried(self, asked: Asked) -> set[str]:
        users = (*asked.before, asked.uri.user_name, *diverted(asked.routed.request))
        return {user.lower() for user in users}

    def _ringing(self, members: tuple[str, ...], asked: Asked, now: float) -> tuple[Rung, ...]:
        """At whom it rings, each once: not at who calls, who has forwarded the call here, or who takes no call now; who
        forwards all is not there.
        """
        request = asked.routed.request
        moment = CallMoment(
            asserted(request, self._config.realm), self._handlings.minute(now), None, is_marked(request)
        )
        rung: dict[str, Rung] = {}
        for member in members:
            one = self._rings_instead(member, moment) if member != asked.user else None
            # Who is a member himself is so first of all.
            if one is not None and (one.user not in rung or not one.diversions):
                rung[one.user] = one
        nobody = {asked.user, *self._config.numbering.groups, *diverted(request)}
        rings = {user: one for user, one in rung.items() if user not in nobody}
        return tuple(
            replace(one, absent=None) if one.absent is not None and one.absent.user in nobody | rings.keys() else one
            for one in rings.values()
        )

    def _rings_instead(self, member: str, moment: CallMoment) -> Rung | None:
        handling = self._handlings.of(member)
        if handling is None:
            return Rung(member)
        decision = decide(handling, member, moment)
        if isinstance(decision, RefuseCall):
            return None
        absent = self._diverted(member, decide(handling, member, replace(moment, status=_AWAY)))
        return self._diverted(member, decision) or Rung(member, absent=absent)

    def _diverted(self, member: str, decision: Decision | None) -> Rung | None:
        """Who is called for him, if he wants that."""
        if not isinstance(decision, Divert):
            return None
        return Rung(decision.to, (diversion(line_uri(member, self._config.realm), decision.reason),))

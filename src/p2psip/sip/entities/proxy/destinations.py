"""Where a request goes: the resolvers are asked, and the outside where they say so (docs/decisions/resolvers.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from p2psip.base.effects import Asks, Effect
from p2psip.sip.entities.config import ServerLimits
from p2psip.sip.entities.gate.identity import diverted
from p2psip.sip.entities.mailbox.mailbox_questions import FindMailbox
from p2psip.sip.entities.proxy.context import NO_ANSWER, Context, ContextTimers
from p2psip.sip.entities.proxy.resolvers import (
    After,
    Again,
    Asked,
    Given,
    Instead,
    Resolver,
    RingsNoMore,
    diversion,
)
from p2psip.sip.entities.proxy.waiting import Locating, Waiting
from p2psip.sip.entities.questions import FindGateway, FindMixer, Forwarded, Located, LocateUser, NotLocated
from p2psip.sip.message.build import phrase_of


@dataclass(frozen=True, slots=True)
class Sought:
    """What has come of a question: `known` is None as long as the outside is asked.

    `asked` is the question as it stands now, since the request may be for somebody else than it was.
    """

    asked: Asked
    known: Given | Located | NotLocated | RingsNoMore | None


class Destinations:
    """Finds them for one proxy, whose questions and timers it shares. What is found comes back as a value."""

    def __init__(
        self, limits: ServerLimits, resolvers: Sequence[Resolver], asks: Asks[Waiting], timers: ContextTimers
    ) -> None:
        self._limits = limits
        self._resolvers = tuple(resolvers)
        self._asks = asks
        self._timers = timers
        self._effects: list[Effect] = []

    def seek(self, context: Context, asked: Asked, now: float) -> Sought | None:
        """Ask the resolvers; None if none of them knows."""
        context.since = now
        for resolver in self._resolvers:
            match resolver.resolve(asked, now):
                case Instead() as instead:
                    return self._begin_anew(context, asked.anew(instead), now)
                case Again(after_s) if context.is_invite:
                    self._timers.set((context.server, NO_ANSWER), now + after_s, "nobody answers")
                case LocateUser() | FindGateway() | FindMailbox() | FindMixer() as question:
                    return Sought(asked, self._locate(context, asked, question, now))
                case Given() | RingsNoMore() | Located() | NotLocated() as known:
                    return Sought(asked, known)
        return None

    def located(
        self, context: Context, asked: Asked, answer: Located | Forwarded | NotLocated, now: float
    ) -> Sought | None:
        """The outside has said where the user of a question is."""
        context.question = 0
        if isinstance(answer, Forwarded):
            why = f"{asked.uri.user_name} forwards all calls to {answer.uri.user_name}"
            return self._begin_anew(
                context, asked.anew(Instead(answer.uri, why, (diversion(asked.uri, "unconditional"),))), now
            )
        if isinstance(answer, Located):
            others = context.without_sender(asked.uri.user_name, answer.targets)
            if not others:
                answer = NotLocated(480, phrase_of(480), f"no other phone of {context.user} is registered")
            else:
                answer = replace(answer, targets=others)
        if isinstance(answer, NotLocated) and (other := self._seek_another(context, asked, answer, now)) is not None:
            return other
        return Sought(asked, answer)

    def not_located(self, context: Context, asked: Asked, now: float) -> Sought | None:
        """The outside has not answered in time."""
        reason = f"the overlay has not answered in {self._limits.locate_s:g} s"
        return self.located(context, asked, NotLocated(480, phrase_of(480), reason), now)

    def drain(self) -> list[Effect]:
        """Questions since the last call."""
        effects, self._effects = self._effects, []
        return effects

    def _begin_anew(self, context: Context, asked: Asked, now: float) -> Sought | None:
        """It is for somebody else now; but not for ever for somebody else."""
        refusal = context.turn(self._limits.turns)
        if asked.uri.user_name in diverted(asked.routed.request):
            refusal = NotLocated(482, phrase_of(482), f"{asked.uri.user_name} has forwarded this call already")
        if refusal is not None:
            # Of an emergency somebody else may be there who has not been tried.
            other = self._seek_another(context, asked, refusal, now) if context.is_urgent else None
            return other or Sought(asked, refusal)
        self._timers.cancel((context.server, NO_ANSWER))
        context.request = asked.routed.request
        return self.seek(context, asked, now)

    def _locate(
        self,
        context: Context,
        asked: Asked,
        question: LocateUser | FindGateway | FindMailbox | FindMixer,
        now: float,
    ) -> NotLocated | None:
        if self._asks.is_full_for(is_urgent=context.is_urgent):
            return NotLocated(503, phrase_of(503), "too many questions are open")
        ask = self._asks.ask(question, Locating(context, asked), now + self._limits.locate_s)
        context.question = ask.token
        self._effects.append(ask)
        return None

    def _seek_another(self, context: Context, asked: Asked, answer: NotLocated, now: float) -> Sought | None:
        """Who is not there may have said beforehand who is.

        Where the overlay's calls go by other peers, it is known after those alone that nobody is there.
        """
        before = asked.after
        if before is not None and not (asked.rounds == 1 and before.has_only_been_sent_on):
            return None
        after = After(answer.status, answer.reason or answer.phrase, tried=() if before is None else before.tried)
        return self.seek(context, replace(asked, after=after, rounds=0 if before is None else 2), now)

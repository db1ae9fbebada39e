"""What would become of a call: each resolver's word, in order, with the reason. Nothing is sent and nothing changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2psip.sip.entities.gateway.terms import is_number
from p2psip.sip.entities.mailbox.mailbox_questions import FindMailbox
from p2psip.sip.entities.proxy.resolvers import Again, Asked, Given, Instead, Resolution, Resolver, RingsNoMore
from p2psip.sip.entities.questions import FindGateway, FindMixer, Located, LocateUser, NotLocated
from p2psip.sip.message.uri import SipUri


@dataclass(frozen=True, slots=True)
class Word:
    """What one resolver says of a number: in words, "" if it has nothing to say; `number` is what it was asked."""

    resolver: str
    number: str
    says: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """All words, and the user whom the overlay would be asked for, None if nobody; `ends` says what comes of it.

    `outside` is the URI whose servers DNS would be asked for, None if it is in no other domain.
    """

    words: tuple[Word, ...]
    ends: str
    user: str | None = None
    outside: SipUri | None = None
    number: str = ""
    """That for which gateways would be asked at once."""

    def calls_out(self, *, is_nobody: bool) -> str:
        """The number for which gateways are asked; "" for none. `is_nobody`: the overlay knows nobody of that name."""
        return self.number or (self.user if self.user and is_nobody and is_number(self.user) else "")


def explain(resolvers: Sequence[Resolver], asked: Asked, turns_max: int, now: float) -> Explanation:
    """Ask them as the proxy does, until one knows."""
    words: list[Word] = []
    while asked.turns <= turns_max:
        said: Resolution | None = None
        for resolver in resolvers:
            said = resolver.resolve(asked, now)
            words.append(Word(resolver.name, asked.uri.user_name, _in_words(said)))
            if not (said is None or isinstance(said, Again)):
                break
        if isinstance(said, Instead):
            asked = asked.anew(said)
            continue
        assert said is not None, "the last resolver knows a place for anything"
        user = said.user if isinstance(said, LocateUser) else None
        outside = said.target.lead if isinstance(said, Given) and said.target.is_outside else None
        number = said.number if isinstance(said, FindGateway) else ""
        return Explanation(tuple(words), _in_words(said), user, outside, number)
    return Explanation(tuple(words), f"refused: 482, sent on {turns_max} times")


def _in_words(said: Resolution | None) -> str:
    match said:
        case None:
            return ""
        case Again(after_s, why):
            return why or f"is asked again after {after_s:g} s"
        case Instead(uri, why):
            return why or f"{uri.user_name} is called"
        case NotLocated(status, phrase, reason):
            return f"refused: {status}, {reason or phrase}"
        case RingsNoMore(why):
            return why
        case Located(targets):
            return f"goes to {', '.join(target.label or str(target.uri) for target in targets)}"
        case LocateUser(user=user, group=group):
            return f"the overlay is asked for {', '.join(rung.user for rung in group) or user}"
        case FindGateway(number):
            return f"gateways to {number} are asked for"
        case FindMailbox(owner):
            return f"the overlay is asked whether {owner} takes messages"
        case FindMixer(room):
            return f"whoever mixes room {room} is asked for"
        case Given(target):
            return f"goes to {target.label or target.uri}"

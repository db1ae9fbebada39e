"""What others want to know of the requests under way: which calls ring, who declines for whom, whose way is in use."""

from __future__ import annotations

from collections.abc import Iterable

from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.numbers.by_group import group_of
from p2psip.sip.entities.proxy.context import Context
from p2psip.sip.transports.hops import Hop


def is_for_several(context: Context, config: ServerConfig) -> bool:
    """True for a call that several people may answer, each of whom declines for himself alone."""
    return context.is_urgent or (context.asked is not None and group_of(context.asked, config) is not None)


def rings(context: Context) -> bool:
    """True for a call that rings somewhere, and that nobody has answered, refused for all or cancelled."""
    if not context.is_invite or context.final or context.is_closed:
        return False
    return any(branch.is_ringing for branch in context.open_branches)


def ringing_for(user: str, contexts: Iterable[Context]) -> int | None:
    """The eldest call that rings at phones here of this user, or that is for this group; None if there is none."""
    return next((context.server for context in contexts if rings(context) and _is_for(user, context)), None)


def _is_for(user: str, context: Context) -> bool:
    asked = context.asked
    called = () if asked is None else (*asked.before, asked.uri.user_name)
    at_phones = (branch.target.user for branch in context.open_branches if branch.is_ringing)
    return user in map(str.lower, called) or user in at_phones


def ways_of(contexts: Iterable[Context]) -> set[Hop | None]:
    """By which these requests have come and gone."""
    return {hop for one in contexts for hop in (one.source.hop, *(branch.way for branch in one.open_branches))}

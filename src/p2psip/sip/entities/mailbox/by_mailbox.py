"""Who does not reach a user speaks into his mailbox: a resolver (proxy/resolvers.py)."""

from __future__ import annotations

from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate.identity import is_nameless, named
from p2psip.sip.entities.handling.handlings import Handlings
from p2psip.sip.entities.mailbox.mailbox_questions import FindMailbox
from p2psip.sip.entities.own import is_user
from p2psip.sip.entities.proxy.resolvers import After, Asked, RingsNoMore
from p2psip.sip.entities.questions import NotLocated, Target
from p2psip.sip.message.build import phrase_of
from p2psip.sip.message.message import Request
from p2psip.sip.message.urgency import is_marked
from p2psip.sip.message.uri import SipUri, Uri, escape_user
from p2psip.sip.transports.hops import LocalHop

MAILBOX_AGENT, TEXT_AGENT = "mailbox", "texts"

TICKET_PARAM, LONGEST_PARAM = "ticket", "longest"
"""Of the URI by which a caller is led to the agent: which message he leaves, and for how many seconds he may speak."""

IS_COMPOSING = "application/im-iscomposing+xml"

NOT_REACHED = frozenset({404, 408, 430, 480, 486, 500, 503})
"""What is said of somebody who is busy, does not answer, is away, or whose peer is. A 6xx is the last word (16.7)."""


def leaving_target(asked: FindMailbox, ticket: int, longest_s: int, realm: str) -> Target:
    """Where a message is left for the owner of a mailbox."""
    params = ((TICKET_PARAM, str(ticket)), (LONGEST_PARAM, str(longest_s)))
    uri, hop = SipUri(realm, escape_user(asked.owner), None, params), TEXT_AGENT if asked.is_text else MAILBOX_AGENT
    return Target(uri, (LocalHop(hop),), f"the mailbox of {asked.owner}")


class ByMailbox:
    """The caller's peer has the message recorded, since that of who is called may be gone. What rings at this peer for
    who takes messages rings no longer than its owner wants, also for other peers' callers.
    """

    name = "mailboxes"

    def __init__(self, config: ServerConfig, handlings: Handlings) -> None:
        self._config = config
        self._handlings = handlings

    def resolve(self, asked: Asked, now: float) -> FindMailbox | RingsNoMore | None:
        """resolvers.Resolver"""
        after, request = asked.after, asked.routed.request
        is_text = request.method == "MESSAGE"
        if after is None or not (is_text or request.method == "INVITE") or not is_user(asked.uri, self._config):
            return None
        if is_text and (asked.user is None or _is_of_the_moment(request)):
            # What no line has sent: of others, and what is delivered here after it has waited.
            return None
        if is_marked(request) or not self._config.has_mailboxes():
            return None
        owner = asked.uri.user_name.lower()
        if asked.source.peer is not None:
            handling = self._handlings.of(owner)
            is_timer = after.status == 408 and not after.tried and not is_text
            is_over = handling is not None and handling.mailbox and is_timer
            return RingsNoMore(f"{owner} has not answered, and takes messages") if is_over else None
        if after.status not in NOT_REACHED or self._has_spoken(after) or owner in self._config.numbering.groups:
            return None
        otherwise = NotLocated(after.status, phrase_of(after.status), after.reason)
        has_rung = after.has_rung or after.status == 486
        if is_nameless(request):
            return FindMailbox(owner, "", "", "", otherwise, is_text, has_rung)
        # Whom to call back, nobody has proved: who calls from outside has a number at best.
        shown = asked.user or named(request, self._config.realm) or _number(request.from_.uri)
        return FindMailbox(owner, asked.user or "", shown, request.from_.display_name, otherwise, is_text, has_rung)

    def _has_spoken(self, after: After) -> bool:
        return any(tried.uri.param(TICKET_PARAM) is not None for tried in after.tried)


def _is_of_the_moment(request: Request) -> bool:
    """True for what is of no use later: that somebody writes (RFC 3994), or what ends at once (RFC 3428 section 4)."""
    return request.content_type == IS_COMPOSING or request.expires == 0


def _number(uri: Uri) -> str:
    return uri.user_name if isinstance(uri, SipUri) else ""

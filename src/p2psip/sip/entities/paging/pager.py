"""Speaks to many phones at once: who dials the number of a page is heard at all of them (an `AgentCore`).

Theory of operation. The pager answers who pages, and calls each member with what has phones answer by themselves
(handling/intercom.py), in the name of who pages: so the owner of each line says as ever whom it answers so, and peers
prove to each other who it is. Whoever has not answered in a few seconds is not called any more, as his phone rings.
Members hear, and are not heard. Phones that listen to a multicast address on the LAN of who pages hear it as well: they
are sent RTP, and no call.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from p2psip.base.effects import Effect, Note
from p2psip.base.errors import LocalMisuse
from p2psip.media.engine import Performance
from p2psip.media.mixing.mixing_engine import MixingEngine
from p2psip.sip.entities.agents.types import CallEnded, CallEstablished, CallId, IncomingCall
from p2psip.sip.entities.agents.voice_agent import VoiceAgent
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate.identity import ASSERTED, line_uri
from p2psip.sip.entities.handling.by_codes import LINE_PARAM
from p2psip.sip.entities.handling.handlings import Handlings
from p2psip.sip.entities.handling.intercom import intercom_fields
from p2psip.sip.entities.paging.by_page import PAGER
from p2psip.sip.entities.paging.page_terms import EVERYBODY, MEMBERS_MAX, Page
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.uri import SipUri, escape_user

PAGES_AT_ONCE = 3
PAGE_S_MAX = 180.0

ANSWER_S = 6.0
"""Who answers by himself has done so by then: others are not to ring on."""


@dataclass(slots=True)
class _Paging:
    """Somebody who speaks, and whom it is said to."""

    page: Page
    line: str
    called: dict[CallId, str] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)
    missed: list[str] = field(default_factory=list)


class Pager(VoiceAgent):
    """Serves the pages of one peer."""

    name = PAGER

    def __init__(self, config: ServerConfig, handlings: Handlings, rng: random.Random) -> None:
        self._realm = config.realm
        self._pages = {page.number: page for page in config.numbering.pages}
        self._handlings = handlings
        self._paging: dict[CallId, _Paging] = {}
        """By the calls of those who speak."""
        self._mixing = MixingEngine(rng)
        super().__init__(
            SipUri(config.realm, PAGER),
            Performance(),
            rng,
            calls_max=PAGES_AT_ONCE * (1 + MEMBERS_MAX),
            call_s_max=PAGE_S_MAX,
            media=self._mixing,
        )

    def _on_effect(self, effect: Effect, now: float) -> None:
        super()._on_effect(effect, now)
        match effect:
            case IncomingCall(call, _, called):
                self._begin(call, called, now)
            case CallEstablished(call, local):
                if (paging := self._paging.get(call)) is not None:
                    self._mixing.send_as_well(call, [(group, local) for group in paging.page.multicast])
                elif (paging := self._of(call)) is not None:
                    paging.heard.add(paging.called[call])
            case CallEnded(call) if call in self._paging:
                self._end(call, self._paging.pop(call), now)
            case CallEnded(call) if (paging := self._of(call)) is not None:
                user = paging.called.pop(call)
                if user not in paging.heard:
                    paging.missed.append(user)

    def _begin(self, call: CallId, called: SipUri, now: float) -> None:
        page, line = self._pages.get(called.user_name), called.replace(user=called.param(LINE_PARAM)).user_name
        if page is None or len(self._paging) >= PAGES_AT_ONCE:
            self._agent.reject(call, 486, now, f"{PAGES_AT_ONCE} pages are being made")
            return
        self._paging[call] = paging = _Paging(page, line)
        self._mixing.seat(call, str(call))
        shown = NameAddr(SipUri(self._realm, escape_user(page.number)), f"Page {page.name}")
        self._agent.answer(call, now, [(ASSERTED, shown)])
        for user in self._members(page, line):
            self._call(call, paging, user, now)
        self._due.set(call, now + ANSWER_S, "who does not answer a page by himself")

    def _members(self, page: Page, line: str) -> Sequence[str]:
        """Whom it is said to, each once, and not who says it."""
        users = [user for each in page.members for user in (self._handlings.lines if each == EVERYBODY else (each,))]
        return [user for user in dict.fromkeys(users) if user != line][:MEMBERS_MAX]

    def _call(self, speaker: CallId, paging: _Paging, user: str, now: float) -> None:
        fields = [*intercom_fields(self._realm), (ASSERTED, NameAddr(line_uri(paging.line, self._realm)))]
        try:
            call = self._agent.call(line_uri(user, self._realm), now, f"Page {paging.page.name}", fields)
        except LocalMisuse:
            # So many calls there are already.
            paging.missed.append(user)
            return
        paging.called[call] = user
        self._mixing.seat(call, str(speaker), speaks=False)

    def _on_due(self, speaker: CallId, now: float) -> None:
        """Whoever has not answered by himself is not called any more; if nobody has, there is nobody to speak to."""
        if (paging := self._paging.get(speaker)) is None:
            return
        for call, user in list(paging.called.items()):
            if user not in paging.heard:
                self._agent.hang_up(call, now)
        if not (paging.heard or paging.page.multicast):
            self._agent.hang_up(speaker, now)

    def _end(self, speaker: CallId, paging: _Paging, now: float) -> None:
        self._due.cancel(speaker)
        for call, user in list(paging.called.items()):
            if user not in paging.heard:
                paging.missed.append(user)
            self._agent.hang_up(call, now)
        facts: dict[str, object] = {"page": paging.page.name, "by": paging.line, "heard_by": sorted(paging.heard)}
        if paging.missed:
            facts["not_by"] = sorted(paging.missed)
        self._effects.append(Note("page made", facts))

    def _of(self, call: CallId) -> _Paging | None:
        return next((paging for paging in self._paging.values() if call in paging.called), None)

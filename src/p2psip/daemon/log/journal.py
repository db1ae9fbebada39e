"""What a running peer writes into its log: events in a few words, and their facts (design decision 10)."""

from __future__ import annotations

import structlog

from p2psip.base.effects import Effect, Note
from p2psip.media.relay.relay import RelayEnded
from p2psip.media.relay.relayed_stream import SideHeard, SideSilent
from p2psip.sip.entities.registrar.bindings import Binding
from p2psip.sip.entities.reports import RequestCarried


class Journal:
    """The log of one peer. It remembers which phones there are, so as to tell news from repetitions."""

    def __init__(self, overlay: str = "") -> None:
        """Of several peers in one process each says in which `overlay` it is."""
        self._log = structlog.get_logger(overlay=overlay) if overlay else structlog.get_logger()
        self._phones: dict[str, frozenset[str]] = {}

    def info(self, event: str, **facts: object) -> None:
        """Something that went as it should."""
        self._log.info(event, **facts)

    def warning(self, event: str, **facts: object) -> None:
        """Something that an operator should see."""
        self._log.warning(event, **facts)

    def effect(self, effect: Effect) -> None:
        """What the core has to say."""
        match effect:
            case Note(event, facts, is_warning):
                log = self._log.warning if is_warning else self._log.info
                log(event, **{name: _plain(value) for name, value in facts.items()})
            case RequestCarried():
                self._log.info("request carried", **_carried(effect))
            case SideSilent(call):
                self._log.warning("voice in one direction only", call=call, means=effect.words)
            case SideHeard(call, side):
                self._log.info("voice in both directions again", call=call, heard=side)
            case RelayEnded(call, reason, sides, engine, lacks):
                by = {} if engine is None else {"by": engine}
                why = {"why_none": lacks} if lacks else {}
                self._log.info("media carried", call=call, until=reason, media=_plain(sides), **by, **why)
            case _:
                self._log.debug("event", what=str(effect))

    def phones(self, user: str, bindings: tuple[Binding, ...]) -> None:
        """The phones of a user; that one has registered again is no news."""
        phones = {str(binding.contact): binding for binding in bindings}
        known = self._phones.get(user, frozenset())
        for contact in sorted(phones.keys() - known):
            binding = phones[contact]
            facts = {"contact": contact, "via": str(binding.hops[0]), "user_agent": binding.user_agent}
            self._log.info("phone registered", user=user, **facts, phones=len(phones))
        for contact in sorted(known - phones.keys()):
            self._log.info("phone gone", user=user, contact=contact, phones=len(phones))
        self._phones[user] = frozenset(phones)
        if not phones:
            del self._phones[user]


def _carried(report: RequestCarried) -> dict[str, object]:
    facts: dict[str, object] = {
        "method": report.method,
        "from": report.who,
        "to": report.uri,
        "answered_by": report.target,
        "status": report.status,
        "ms": round(report.took_s * 1000, 1),
    }
    if report.rang_s is not None:
        facts["rang_after_ms"] = round(report.rang_s * 1000, 1)
    if report.caller:
        facts["caller"] = report.caller
    if report.causes:
        facts["causes"] = "; ".join(map(str, report.causes))
    return facts


def _plain(value: object) -> object:
    """A fact as it goes into the log."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return "; ".join(map(str, value))
    return value if isinstance(value, int | float | str | bool) or value is None else str(value)

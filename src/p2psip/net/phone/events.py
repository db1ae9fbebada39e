"""What a test phone tells: each event as a line for people and as an object for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.media.session import MediaReport
from p2psip.sip.entities.agents.types import (
    CallEnded,
    CallEstablished,
    CallId,
    EndedBy,
    IncomingCall,
    MediaChanged,
    Registered,
    RegistrationFailed,
    Ringing,
    Unregistered,
)


@dataclass(frozen=True, slots=True)
class PhoneEvent:
    """One event: what, when (since the phone started), for which call, its facts, and a sentence."""

    event: str
    at_s: float
    text: str
    call: CallId | None = None
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """For people."""
        return f"{self.at_s:9.3f} s  {self.text}"

    @property
    def json(self) -> str:
        """For programs: one object, one line."""
        call = {} if self.call is None else {"call": self.call}
        return json.dumps({"event": self.event, "at_ms": round(self.at_s * 1000), **call, **self.facts})


def heard(call: CallId, report: MediaReport, at_s: float) -> PhoneEvent:
    """What came of a call's media."""
    tone = report.tone
    text = f"heard {tone}" if tone else "heard no tone"
    trouble = f", {report.lost} lost" if report.lost else ""
    facts: dict[str, object] = {
        "frequency_hz": round(tone.frequency_hz, 1) if tone else None,
        "level_dbfs": round(tone.level_dbfs, 1) if tone else None,
        "duration_ms": tone.duration_ms if tone else 0,
        "sent": report.sent,
        "received": report.received,
        "lost": report.lost,
        "late": report.late,
        "dropped": report.dropped,
        "jitter_ms": round(report.jitter_ms, 2),
    }
    return PhoneEvent("heard", at_s, f"{text} ({report.received} packets{trouble})", call, facts)


def not_accepted(local: Address, reason: str, at_s: float) -> PhoneEvent:
    """This machine takes no more connections just now."""
    return PhoneEvent(
        "not_accepted", at_s, f"connections at {local} are not accepted: {reason}", facts={"reason": reason}
    )


class Storyteller:
    """Makes events of the agent's effects; remembers when a call began, to say after how long it rang."""

    def __init__(self, server: Address) -> None:
        self._server = server
        self._began_s: dict[CallId, float] = {}

    def dialled(self, call: CallId, target: str, at_s: float) -> PhoneEvent:
        """A call of ours begins."""
        self._began_s[call] = at_s
        return PhoneEvent("calling", at_s, f"calling {target}", call, {"target": target})

    def tell(self, effect: Effect, at_s: float) -> PhoneEvent | None:
        """The event that an effect of the agent is, if it is one."""
        match effect:
            case Registered(expires_s):
                text = f"registered at {self._server} for {expires_s} s"
                return PhoneEvent("registered", at_s, text, facts={"expires_s": expires_s})
            case RegistrationFailed(reason, retry_s):
                facts = {"status": reason.status, "reason": str(reason), "retry_s": round(retry_s, 1)}
                return PhoneEvent("registration_failed", at_s, f"not registered: {reason}", facts=facts)
            case Unregistered(reason):
                return PhoneEvent("unregistered", at_s, "unregistered", facts={"reason": str(reason)})
            case IncomingCall(call, caller, called):
                self._began_s[call] = at_s
                facts = {"from": str(caller.uri), "to": str(called)}
                return PhoneEvent("incoming", at_s, f"{caller.uri} calls, ringing", call, facts)
        return self._tell_of_call(effect, at_s)

    def _tell_of_call(self, effect: Effect, at_s: float) -> PhoneEvent | None:
        match effect:
            case Ringing(call, status, what):
                after_ms = self._after_ms(call, at_s)
                text = f"{what.lower()} after {after_ms} ms"
                return PhoneEvent("ringing", at_s, text, call, {"after_ms": after_ms, "status": status})
            case CallEstablished(call):
                after_ms = self._after_ms(call, at_s)
                facts = {"after_ms": after_ms, **_media(effect)}
                return PhoneEvent("answered", at_s, f"answered after {after_ms} ms", call, facts)
            case MediaChanged(call):
                text = f"media changed: {effect.agreement.direction.value}"
                return PhoneEvent("media_changed", at_s, text, call, _media(effect))
            case CallEnded(call, reason):
                self._began_s.pop(call, None)
                who = {EndedBy.US: "us", EndedBy.THEM: "them", EndedBy.NOBODY: "nobody"}[reason.by]
                facts = {"by": who, "status": reason.status, "reason": str(reason)}
                return PhoneEvent("ended", at_s, f"{reason} ({reason.by.value})", call, facts)
        return None

    def _after_ms(self, call: CallId, at_s: float) -> int:
        return round((at_s - self._began_s.get(call, at_s)) * 1000)


def _media(effect: CallEstablished | MediaChanged) -> dict[str, object]:
    agreement = effect.agreement
    return {
        "local": str(effect.local),
        "remote": str(Address(*agreement.remote)),
        "codec": agreement.codec.name,
        "payload_type": agreement.payload_type,
        "direction": agreement.direction.value,
    }

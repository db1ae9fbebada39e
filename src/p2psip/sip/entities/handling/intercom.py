"""Calls that a phone is to answer by itself, and what else it would do unasked.

There is no RFC that all phones follow: Call-Info with answer-after is what most take, Alert-Info others; RFC 5373 has
Answer-Mode, which few know.
"""

from __future__ import annotations

import re

from p2psip.sip.message.message import Request

_ASKS = {
    "call-info": re.compile(r";\s*answer-after\s*=", re.IGNORECASE),
    "alert-info": re.compile(r"auto-?\s*answer|answer-after|ring-?answer|intercom", re.IGNORECASE),
    "answer-mode": re.compile(r"\s*auto", re.IGNORECASE),
    "priv-answer-mode": re.compile(r"\s*auto", re.IGNORECASE),
}


def intercom_fields(realm: str) -> tuple[tuple[str, str], ...]:
    """What has phones answer by themselves, of which each knows one or another."""
    return (
        ("Call-Info", f"<sip:{realm}>;answer-after=0"),
        ("Alert-Info", f"<http://{realm}>;info=alert-autoanswer;delay=0"),
    )


def ringing_instead(request: Request) -> Request:
    """The call without what has phones answer by themselves."""
    fields = request.fields
    for key, asks in _ASKS.items():
        lines = fields.lines(key)
        if any(asks.search(line) for line in lines):
            fields = fields.with_values(key.title(), [line for line in lines if not asks.search(line)])
    return request.replace(fields=fields)


def acts_unasked(request: Request) -> bool:
    """True for what some phone obeys at once, of all that begins something.

    That is a call that it would answer by itself; a REFER, upon which it calls whom that names, and is heard there; and
    a NOTIFY that it has not subscribed to, by which many can be started anew.
    """
    match request.method:
        case "REFER":
            # RFC 5589 section 6.1 has a transfer outside of the dialog of its call say which that is (RFC 4538), and
            # require that it is looked at.
            return not ("target-dialog" in request.fields and "tdialog" in request.fields.tokens("require"))
        case "NOTIFY":
            # Many mailboxes send theirs without a subscription.
            return (request.fields.first("event") or "").partition(";")[0].strip().lower() != "message-summary"
    return answers_by_itself(request)


def answers_by_itself(request: Request) -> bool:
    """True for a call that some phone would answer by itself."""
    if request.method != "INVITE":
        return False
    return any(asks.search(line) for key, asks in _ASKS.items() for line in request.fields.lines(key))

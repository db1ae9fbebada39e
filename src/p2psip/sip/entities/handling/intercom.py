"""Calls that a phone is to answer by itself.

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


def answers_by_itself(request: Request) -> bool:
    """True for a call that some phone would answer by itself."""
    if request.method != "INVITE":
        return False
    return any(asks.search(line) for key, asks in _ASKS.items() for line in request.fields.lines(key))

"""Session timers (RFC 4028 section 8): phones that can are made to say now and then that a call is still there.

A phone refreshes the session by a re-INVITE or UPDATE; where that is not answered, or does not come in time, it ends
the call by itself. So a phone whose own peer has died does not send for ever, and nobody else could tell it.
"""

from __future__ import annotations

from p2psip.sip.message.fields import Fields
from p2psip.sip.message.message import Request, Response

SESSION_S = 1800
"""Section 4: "1800 seconds (30 minutes) is RECOMMENDED"."""

SESSION_MIN_S = 90
"""Section 5: "the minimum value of the Min-SE header field" is 90 seconds."""

_REFRESHING = frozenset({"INVITE", "UPDATE"})


def is_too_short(request: Request) -> bool:
    """True for a session that would be refreshed too often, of a phone that understands a 422."""
    # 8.1: "If the request contains a Supported header field with a value 'timer', the proxy MAY reject the INVITE
    # request with a 422 (Session Interval Too Small) response".
    return _is_able(request) and (_seconds(request.fields, "session-expires") or SESSION_S) < SESSION_MIN_S


def requested(request: Request) -> Request:
    """A request as it goes on: with a session timer."""
    if request.method not in _REFRESHING:
        return request
    fields, least = request.fields, _seconds(request.fields, "min-se") or SESSION_MIN_S
    session_s = _seconds(fields, "session-expires")
    if session_s is None and "session-expires" in fields:
        # Nobody knows what it says: that is for the other phone to refuse.
        return request
    if session_s is None:
        # "This Session-Expires header field may contain any desired expiration time the proxy would like, but not with
        # a duration lower than the value in the Min-SE header field", "MUST NOT include a refresher parameter".
        return request.replace(fields=fields.with_last("Session-Expires", max(SESSION_S, least)))
    if not _is_able(request) and session_s < SESSION_MIN_S:
        # "Rather, the proxy SHOULD insert a Min-SE header field containing its minimum interval."
        least = max(SESSION_MIN_S, least)
        fields = fields.with_only("Min-SE", least)
    if session_s < least:
        # "the proxy MUST increase the value of the Session-Expires header field to make it equal to Min-SE".
        _, semicolon, params = (fields.first("session-expires") or "").partition(";")
        fields = fields.with_only("Session-Expires", f"{least}{semicolon}{params}")
    return request if fields is request.fields else request.replace(fields=fields)


def answered(request: Request, response: Response) -> Response:
    """A response as it goes back; `request` is what was asked, as it went on."""
    # 8.2: if "the UAC did support the session timer", and the UAS did not, this proxy is the first to know. It "MUST
    # insert a Session-Expires header field into the response with the value it remembered from the forwarded request",
    # "MUST set the value of the 'refresher' parameter to 'uac'", and "add the 'timer' option tag to any Require".
    fields, session_s = response.fields, _seconds(request.fields, "session-expires")
    is_refreshed = request.method in _REFRESHING and response.is_success
    if not is_refreshed or "session-expires" in fields or session_s is None or not _is_able(request):
        return response
    required = [option for option in fields.tokens("require") if option.lower() != "timer"]
    fields = fields.with_last("Session-Expires", f"{session_s};refresher=uac")
    return response.replace(fields=fields.with_only("Require", ", ".join([*required, "timer"])))


def _is_able(request: Request) -> bool:
    return any(option.lower() == "timer" for option in request.fields.tokens("supported"))


def _seconds(fields: Fields, key: str) -> int | None:
    """Delta-seconds of a field; None if it is not there, or says something else."""
    number = (fields.first(key) or "").partition(";")[0].strip()
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else None

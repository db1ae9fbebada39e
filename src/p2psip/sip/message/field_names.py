"""Names of header fields: compact forms, canonical spelling (RFC 3261 sections 7.3.1, 7.3.3 and 20)."""

from __future__ import annotations

from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.grammar import is_token

COMPACT = {
    "a": "accept-contact", "b": "referred-by", "c": "content-type", "d": "request-disposition",
    "e": "content-encoding", "f": "from", "i": "call-id", "j": "reject-contact", "k": "supported",
    "l": "content-length", "m": "contact", "o": "event", "r": "refer-to", "s": "subject", "t": "to",
    "u": "allow-events", "v": "via", "x": "session-expires", "y": "identity",
}  # fmt: skip
"""The registered compact forms."""

_SPELLINGS = (
    "Via", "From", "To", "Call-ID", "CSeq", "Contact", "Max-Forwards", "Route", "Record-Route", "Content-Type",
    "Content-Length", "Expires", "Min-Expires", "User-Agent", "Server", "Allow", "Supported", "Require",
    "Proxy-Require", "Unsupported", "WWW-Authenticate", "Authorization", "Proxy-Authenticate",
    "Proxy-Authorization", "Authentication-Info", "Reason", "Max-Breadth", "Accept", "Event", "Allow-Events",
    "Subscription-State", "Refer-To", "Referred-By", "Replaces", "Subject", "Date", "Timestamp", "Retry-After",
    "Warning", "Path", "Service-Route", "Session-Expires", "Min-SE", "RAck", "RSeq", "P-Asserted-Identity",
    "P-Preferred-Identity", "Privacy", "Organization", "Content-Disposition", "Accept-Encoding", "Accept-Language",
    "Priority", "Flow-Timer", "History-Info", "Diversion", "Call-Info", "Alert-Info", "Error-Info", "Identity",
)  # fmt: skip

KEYS: dict[str, str] = {
    **COMPACT,
    **{short.upper(): long for short, long in COMPACT.items()},
    **{name.lower(): name.lower() for name in _SPELLINGS},
    **{name: name.lower() for name in _SPELLINGS},
}
"""From a usual spelling to the key: the long name in lower case."""

# 25.1: which fields are lists, so that "a, b" on one line equals two lines.
LISTS = frozenset({"via", "contact", "route", "record-route", "path", "service-route"})


def key_of(name: str) -> str:
    """The key of a header field name: long form, lower case."""
    key = KEYS.get(name)
    if key is not None:
        return key
    # 25.1, HCOLON = *( SP / HTAB ) ":" SWS: blanks may stand before the colon.
    name = name.rstrip(" \t")
    if not is_token(name):
        raise BadMessage(f"{name[:40]!r} is not the name of a header field")
    lower = name.lower()
    return COMPACT.get(lower, lower)

"""Telephone numbers as phones send them (RFC 3966, RFC 3261 section 19.1.6), service URNs (RFC 5031), the keypad.

All of them are made into user parts of the overlay: a number is a user name like any other.
"""

from __future__ import annotations

import re

from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.domains.hosted import inward
from p2psip.sip.entities.own import is_own_domain
from p2psip.sip.message.message import Request
from p2psip.sip.message.urgency import is_sos
from p2psip.sip.message.uri import OtherUri, SipUri, TelUri, Uri, escape_user, parse_uri

_GLOBAL = re.compile(r"\+[0-9]+")
_LOCAL = re.compile(r"[0-9A-D*#]+", re.IGNORECASE)
_KEYS = {letter: key for key, letters in enumerate(
    ("abc", "def", "ghi", "jkl", "mno", "pqrs", "tuv", "wxyz"), 2) for letter in letters}  # fmt: skip


def on_keypad(name: str) -> str:
    """The number that one dials to spell a name, a callsign say: its letters by their keys, all but digits left out."""
    return "".join(str(_KEYS.get(each, each)) for each in name.lower() if each in _KEYS or each.isdecimal())


def as_dialled(request: Request, config: ServerConfig) -> Request:
    """A request in whose Request-URI a number, or a service, is a user of the overlay; itself if it is that already."""
    uri = request.uri
    meant = user_meant(uri, config)
    return request if meant is uri else request.replace(uri=meant)


def user_meant(uri: Uri, config: ServerConfig) -> Uri:
    """The SIP URI in the overlay that a `tel:` URI, `;user=phone` or an emergency service means; others as they are."""
    if isinstance(uri, TelUri):
        return _of_number(uri, config) or uri
    if isinstance(uri, SipUri) and uri.host in config.hosted:
        return parse_uri(inward(str(uri), config))
    if isinstance(uri, OtherUri) and is_sos(service := f"{uri.scheme}:{uri.rest}".lower()):
        return SipUri(config.realm, escape_user(service))
    # 19.1.1: only with "user=phone" is the user part a telephone number, with its own parameters, for certain.
    if isinstance(uri, SipUri) and uri.param("user") == "phone" and uri.user and is_own_domain(uri, config):
        meant = _of_number(uri.subscriber, config)
        return uri if meant is None else uri.replace(user=meant.user)
    return uri


def _of_number(tel: TelUri, config: ServerConfig) -> SipUri | None:
    """RFC 3966 5.1.1: separators "are purely for human readability". None if it is no number, or one of elsewhere."""
    digits = tel.digits
    if _GLOBAL.fullmatch(digits):
        return SipUri(config.realm, digits, None, (("user", "phone"),))
    context = next((value for name, value in tel.params if name == "phone-context"), None)
    # 5.1.5: "Local numbers MUST have a 'phone-context' parameter"; many phones leave it out, and mean their own server.
    is_ours = context is None or config.is_own_host(context.lower())
    if not is_ours or not _LOCAL.fullmatch(digits):
        return None
    return SipUri(config.realm, escape_user(digits), None, (("user", "phone"),))

"""Whose password goes where: a phone's to its own peer, and nowhere else (docs/decisions/no-challenges-from-afar.md).

Most phones answer every challenge, whatever its realm, with the one password that they have. Who gets such an answer
can try passwords on it at leisure. So no challenge of anybody else comes to a phone, and no credentials that a phone
has made for its peer go on.
"""

from __future__ import annotations

from p2psip.sip.entities.proxy.context import reason_field
from p2psip.sip.message.build import phrase_of
from p2psip.sip.message.fields import Fields
from p2psip.sip.message.headers import AuthParams
from p2psip.sip.message.message import Response

_CREDENTIALS = ("Authorization", "Proxy-Authorization")
_CHALLENGES = ("www-authenticate", "proxy-authenticate")
_REFUSED = "the other side asks for a password, which phones give to their own peer alone"


def without_own_credentials(fields: Fields, realm: str) -> Fields:
    """The fields of a request that goes on, without what proves something to us.

    RFC 3261 section 22.3: what is for another realm "MUST NOT be consumed".
    """
    for name in _CREDENTIALS:
        lines = fields.lines(name.lower())
        if lines:
            others = [line for line in lines if AuthParams.parse(line).get("realm") != realm]
            fields = fields.with_values(name, others)
    return fields


def without_challenge(response: Response) -> Response:
    """A response of somebody else as its caller may see it: 403 instead of 401 and 407."""
    if response.status not in (401, 407):
        return response
    fields = response.fields.without(*_CHALLENGES).with_last(*reason_field(response.status, _REFUSED))
    return response.replace(status=403, phrase=phrase_of(403), fields=fields)

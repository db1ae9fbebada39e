"""The mark on what is of an emergency, which this peer gives to its phones' requests (sip/message/urgency.py).

Who dials an emergency number has it, and who is called back by those whom the operator has answer such calls.
"""

from __future__ import annotations

from p2psip.sip.entities.numbers.numbering import Numbering
from p2psip.sip.message.message import Request
from p2psip.sip.message.urgency import MARK, RESOURCE_PRIORITY


def marked(request: Request, user: str | None, numbering: Numbering) -> Request:
    """A phone's request with our mark if it is of an emergency, and without any of its own."""
    fields = request.fields.without(RESOURCE_PRIORITY.lower())
    is_meant = numbering.is_emergency(request.sip_uri.user_name, user)
    if is_meant or (user is not None and user in numbering.emergency.to):
        fields = fields.with_last(RESOURCE_PRIORITY, MARK)
    return request.replace(fields=fields)

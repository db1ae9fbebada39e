"""Dialogs (RFC 3261 section 12): what two user agents remember of each other between the requests of a call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from p2psip.sip.message.build import make_request
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Message, Request, Response
from p2psip.sip.message.uri import SipUri


class DialogId(NamedTuple):
    """What a dialog is found by: Call-ID, our tag, their tag."""

    call_id: str
    local_tag: str
    remote_tag: str

    @classmethod
    def of_request(cls, request: Request) -> DialogId:
        """The dialog that a request which came in belongs to (section 12.2.2)."""
        return cls(request.call_id, request.to.tag, request.from_.tag)


class Dialog:
    """One side of a dialog (section 12): identifiers, addresses, route set, remote target, sequence numbers."""

    def __init__(
        self,
        call_id: str,
        local: NameAddr,
        remote: NameAddr,
        remote_target: SipUri,
        route_set: tuple[NameAddr, ...],
        *,
        local_cseq: int,
        remote_cseq: int | None,
    ) -> None:
        self.id = DialogId(call_id, local.tag, remote.tag)
        self.local = local
        self.remote = remote
        self.remote_target = remote_target
        self.route_set = route_set
        self.local_cseq = local_cseq
        self.remote_cseq = remote_cseq
        self.is_confirmed = False

    @classmethod
    def of_uas(cls, invite: Request, local_tag: str) -> Dialog:
        """The dialog that our response to this request creates (section 12.1.1)."""
        # 12.1.1: "The route set MUST be set to the list of URIs in the Record-Route header field from the request,
        # taken in order and preserving all URI parameters. [...] The local sequence number MUST be empty."
        return cls(
            invite.call_id,
            invite.to.with_tag(local_tag),
            invite.from_,
            _target(invite),
            _route_set(invite),
            local_cseq=0,
            remote_cseq=invite.cseq.number,
        )

    @classmethod
    def of_uac(cls, invite: Request, response: Response) -> Dialog:
        """The dialog that this response to our request creates (section 12.1.2)."""
        # 12.1.2: "The route set MUST be set to the list of URIs in the Record-Route header field from the response,
        # taken in reverse order [...]. The remote sequence number MUST be empty".
        return cls(
            invite.call_id,
            invite.from_,
            response.to,
            _target(response),
            _route_set(response)[::-1],
            local_cseq=invite.cseq.number,
            remote_cseq=None,
        )

    @property
    def next_hop(self) -> SipUri:
        """Where a request in this dialog goes first (section 12.2.1.1, and 8.1.2)."""
        return self.route_set[0].sip_uri if self.route_set else self.remote_target

    def request(self, method: str, extra: Iterable[tuple[str, object]] = (), body: bytes = b"") -> Request:
        """The next request of ours in this dialog (section 12.2.1.1)."""
        self.local_cseq += 1
        return self._request(method, self.local_cseq, extra, body)

    def ack(self, invite_cseq: int, extra: Iterable[tuple[str, object]] = (), body: bytes = b"") -> Request:
        """The ACK for a 2xx."""
        # 13.2.2.4: "The sequence number of the CSeq header field MUST be the same as the INVITE being acknowledged".
        return self._request("ACK", invite_cseq, extra, body)

    def admits(self, request: Request) -> bool:
        """Note the sequence number of a request that came in; False if it is out of order (section 12.2.2)."""
        # 12.2.2: "If the remote sequence number was not empty, but the sequence number of the request is lower than
        # the remote sequence number, the request is out of order and MUST be rejected with a 500".
        if self.remote_cseq is not None and request.cseq.number < self.remote_cseq:
            return False
        self.remote_cseq = request.cseq.number
        return True

    def confirm(self, response: Response) -> None:
        """Take what the 2xx to our INVITE says, where a provisional response has begun this dialog before it."""
        # 13.2.2.4: "the dialog MUST be transitioned to the "confirmed" state, and the route set for the dialog MUST be
        # recomputed based on the 2xx response".
        self.route_set, self.remote_target = _route_set(response)[::-1], _target(response)
        self.is_confirmed = True

    def refresh(self, message: Message) -> None:
        """Take the remote target from a target refresh request or its 2xx (sections 12.2.1.2 and 12.2.2)."""
        if message.contacts:
            self.remote_target = _target(message)

    def _request(self, method: str, cseq: int, extra: Iterable[tuple[str, object]], body: bytes) -> Request:
        # 12.2.1.1: "stripping any parameters that are not allowed in a Request-URI".
        uri, routes = self.remote_target.as_request_uri, self.route_set
        if routes and not routes[0].sip_uri.is_loose:
            # 12.2.1.1: a strict router finds itself in the Request-URI, the remote target last in Route.
            uri, routes = routes[0].sip_uri.as_request_uri, (*routes[1:], NameAddr(self.remote_target))
        return make_request(
            method,
            uri,
            from_=self.local,
            to=self.remote,
            call_id=self.id.call_id,
            cseq=cseq,
            routes=routes,
            extra=extra,
            body=body,
        )


def _route_set(message: Message) -> tuple[NameAddr, ...]:
    """The Record-Route values, each of which must be a SIP URI that we can go to."""
    for route in message.record_routes:
        if not isinstance(route.uri, SipUri):
            raise BadMessage(f"{str(route.uri)[:80]!r} in Record-Route is not a SIP URI")
    return message.record_routes


def _target(message: Message) -> SipUri:
    """8.1.1.8: "The Contact header field MUST be present and contain exactly one SIP or SIPS URI"."""
    if len(message.contacts) != 1:
        raise BadMessage(f"{len(message.contacts)} Contacts, where a dialog needs one")
    return message.contacts[0].sip_uri

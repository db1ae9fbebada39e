"""Who watches lines: what a NOTIFY says, and a phone with lamps for whole peers in virtual time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from lxml import etree

from p2psip.sim.sites.site import Site, SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.dialogs.dialog import Dialog
from p2psip.sip.message import digest
from p2psip.sip.message.build import make_request, make_response
from p2psip.sip.message.headers import NameAddr, Via
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri

PRESENCE = b"""<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:bob@overlay">
<tuple id="t"><status><basic>open</basic></status><contact>sip:bob@overlay</contact><note>here</note></tuple>
</presence>"""

CALLS = b"""<?xml version="1.0"?><dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="0" state="full"
 entity="sip:bob@overlay"><dialog id="1"><state>early</state>
 <remote><identity>sip:alice@overlay</identity></remote></dialog>
</dialog-info>"""


def states(notify: Request) -> list[str]:
    """The states of the calls in a dialog-info document."""
    return [element.text or "" for element in etree.fromstring(notify.body).iter("{*}state")]


def basic(notify: Request) -> str:
    """What a presence document says."""
    (element,) = etree.fromstring(notify.body).iter("{*}basic")
    return element.text or ""


def lit(notifies: Iterable[Request]) -> list[str]:
    """What a lamp has shown, one after the other: "" where there is no call."""
    shown = ["/".join(state for state in states(one) if state != "terminated") for one in notifies]
    return [state for state, _ in itertools.groupby(shown)]


class Lamp:
    """A subscription of a phone: what it was answered and told."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.responses: list[Response] = []
        self.notifies: list[Request] = []
        self.dialog: Dialog | None = None

    @property
    def statuses(self) -> list[int]:
        return [response.status for response in self.responses]

    @property
    def is_over(self) -> bool:
        """True once it was told that it is."""
        return bool(self.notifies) and self.state.startswith("terminated")

    @property
    def state(self) -> str:
        """The Subscription-State it was told last."""
        return self.notifies[-1].fields.first("subscription-state") or ""


class LampPhone(SitePhone):
    """A phone that also subscribes and publishes; it sends nothing twice, its LAN loses nothing."""

    def __init__(self, site: Site, user: str, number: int, **options: Any) -> None:
        super().__init__(site, user, number, **options)
        self.lamps: list[Lamp] = []
        self.texts: list[Request] = []
        """Those that it has shown."""
        self.password = str(options.get("password") or f"phone of {user}")
        self.answers_notify = self.answers_text = 200
        self._numbers = itertools.count(1)

    def watch(self, user: str, event: str = "dialog", expires_s: int = 300, **fields: object) -> Lamp:
        """Subscribe to what a user does, as somebody who dials the name at the phone's server."""
        uri = SipUri(self.server.host, user)
        return self._ask("SUBSCRIBE", uri, NameAddr(uri), [("Event", event), ("Expires", expires_s), *fields.items()])

    def publish(self, body: bytes, expires_s: int = 300, **fields: object) -> Lamp:
        """Publish the presence of the phone's user."""
        uri = SipUri(self.server.host, self.user)
        extra = [("Event", "presence"), ("Expires", expires_s), ("Content-Type", "application/pidf+xml")]
        more = [(name.replace("_", "-"), value) for name, value in fields.items()]
        return self._ask("PUBLISH", uri, NameAddr(uri), [*extra, *more], body)

    def write(self, user: str, text: bytes, content_type: str = "text/plain", **fields: object) -> Lamp:
        """Send somebody a text message."""
        uri = SipUri(self.server.host, user)
        return self._ask("MESSAGE", uri, NameAddr(uri), [("Content-Type", content_type), *fields.items()], text)

    def refresh(self, lamp: Lamp, expires_s: int = 300) -> None:
        """Subscribe further, in the dialog; 0 ends it."""
        assert lamp.dialog is not None, f"it was not accepted: {lamp.statuses}"
        extra = [
            ("Contact", self._contact),
            ("Event", lamp.request.fields.first("event")),
            ("Expires", expires_s),
        ]
        lamp.request = lamp.dialog.request("SUBSCRIBE", extra)
        self._say(lamp.request)

    def receive(self, data: bytes) -> None:
        message = parse(data)
        if not self.is_plugged_in:
            return
        if isinstance(message, Request) and message.method == "NOTIFY":
            self._notified(message)
        elif isinstance(message, Request) and message.method == "MESSAGE":
            self.received.append(data)
            self.texts.append(message)
            self._transmit(make_response(message, self.answers_text, to_tag="shown").encode())
        elif isinstance(message, Response) and message.cseq.method in ("SUBSCRIBE", "PUBLISH", "MESSAGE"):
            self._answered(message)
        else:
            super().receive(data)

    def _ask(self, method: str, uri: SipUri, to: NameAddr, extra: list[tuple[str, object]], body: bytes = b"") -> Lamp:
        number = next(self._numbers)
        request = make_request(
            method,
            uri,
            from_=NameAddr(SipUri(self.server.host, self.user)).with_tag(f"lamp{number}"),
            to=to,
            call_id=f"{self.user}-{self.address.host}-{method}-{number}-{self.now}",
            cseq=1,
            extra=[("Contact", self._contact), *extra],
            body=body,
        )
        lamp = Lamp(request)
        self.lamps.append(lamp)
        self._say(request)
        return lamp

    @property
    def _contact(self) -> NameAddr:
        return NameAddr(SipUri(self.address.host, self.user, self.address.port))

    def _say(self, request: Request) -> None:
        branch = f"z9hG4bK{self.user}{next(self._numbers)}{self.now}"
        via = Via("UDP", self.address.host, self.address.port, (("branch", branch), ("rport", None)))
        self._transmit(request.with_new_via(via).encode())

    def _answered(self, response: Response) -> None:
        lamp = next(one for one in self.lamps if one.request.call_id == response.call_id)
        if response.is_provisional:
            return
        if response.status == 407 and "proxy-authorization" not in lamp.request.fields:
            lamp.request = self._authenticated(lamp.request, response)
            self._say(lamp.request)
            return
        lamp.responses.append(response)
        if response.is_success and response.cseq.method == "SUBSCRIBE" and lamp.dialog is None:
            lamp.dialog = Dialog.of_uac(lamp.request, response)

    def _authenticated(self, request: Request, response: Response) -> Request:
        challenge = digest.choose_challenge(digest.read_all(response.fields.lines("proxy-authenticate")))
        assert challenge is not None
        algorithm = digest.algorithm_of(challenge)
        credentials = digest.answer_challenge(
            challenge,
            user=self.user,
            a1_hash=digest.ha1(self.user, challenge.get("realm"), self.password, algorithm),
            method=request.method,
            uri=request.uri_text,
            cnonce="cafe",
        )
        fields = request.fields.with_last("Proxy-Authorization", credentials)
        return request.replace(fields=fields.with_only("CSeq", f"2 {request.method}"))

    def _notified(self, notify: Request) -> None:
        lamp = next((one for one in self.lamps if one.request.call_id == notify.call_id), None)
        status = 481 if lamp is None else self.answers_notify
        if lamp is not None:
            lamp.notifies.append(notify)
        self._transmit(make_response(notify, status, to_tag="none").encode())


def lamps(world: SimulatedPeers, *users: tuple[int, str], **options: Any) -> list[LampPhone]:
    """Lines with phones that have lamps."""
    for number, user in users:
        world.line(number, user)
    world.settle_records(number for number, _ in users)
    phones = [LampPhone(world[number], user, 50 + at, **options) for at, (number, user) in enumerate(users)]
    for phone in phones:
        phone.register()
    world.run(2.0)
    assert all(phone.is_registered for phone in phones)
    return phones


def accepted(world: SimulatedPeers, lamp: Lamp) -> Lamp:
    world.run(15.0, stop=lambda: bool(lamp.notifies) or bool(lamp.statuses and lamp.statuses[-1] >= 300))
    assert lamp.statuses == [200], lamp.responses
    assert len(lamp.notifies) == 1
    # The answer to the NOTIFY is on its way.
    world.run(1.0)
    return lamp

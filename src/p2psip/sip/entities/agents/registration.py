"""The client's side of registration (RFC 3261 section 10.2)."""

from __future__ import annotations

import enum

from p2psip.sip.entities.agents.agent_requests import Alarm, Wiring
from p2psip.sip.entities.agents.types import EndedBy, Ending, Registered, RegistrationFailed, Unregistered
from p2psip.sip.message.build import make_request
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.arrivals import FlowDown
from p2psip.sip.transports.hops import StreamHop

PART = 0
"""The registration's number among the parts that have timers."""

EXPIRES_S_MAX = 7200
"""Refreshed as if no registrar kept us for longer."""

LEAST_S_MAX = 86_400
"""Of a registrar that wants to be asked for longer no more than this is believed."""

REFRESH_S_MIN = 5.0
RETRY_S_FIRST = 2.0
RETRY_S_MAX = 64.0
RETRY_AFTER_S_MAX = 600.0


class _State(enum.Enum):
    OFF = "off"
    TRYING = "trying"
    ON = "on"
    LEAVING = "leaving"


class Registration:
    """Keeps the server told where we are: refreshed at half of its lifetime, tried again for ever after a failure."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._state = _State.OFF
        self._call_id = wiring.transactions.new_tag()
        self._from = NameAddr(wiring.config.address_of_record).with_tag(wiring.transactions.new_tag())
        self._cseq = 0
        self._expires_s = wiring.config.register_expires_s
        self._is_brief = False
        """True if that was too brief a moment ago."""
        self._failures = 0
        self._newest = 0
        self._transaction = 0
        self.service_route: tuple[NameAddr, ...] = ()
        """The way that the registrar wants what we begin to take (RFC 3608), as long as it keeps us."""

    def start(self, now: float) -> None:
        """Register, and stay registered."""
        if self._state in (_State.OFF, _State.LEAVING):
            self._state, self._failures = _State.TRYING, 0
        self._register(self._expires_s, now)

    def refresh(self, now: float) -> None:
        """Register anew, whenever it was to be: the server is another one now."""
        self.service_route = ()
        if self._state in (_State.TRYING, _State.ON):
            self._register(self._expires_s, now)

    def stop(self, now: float) -> None:
        """Tell the server that we go."""
        if self._state is _State.ON:
            self._state = _State.LEAVING
            self._register(0, now)
        elif self._state is _State.TRYING:
            self._wiring.cancel_timers(PART)
            self._wiring.forgo(self._transaction)
            self._newest = 0
            self._leave(Ending(EndedBy.US, "was not registered"))

    def note_sent(self, request: Request, transaction: int, now: float) -> None:
        """Remember what the newest request is: what comes of an older one does not matter any more."""
        self._cseq = self._newest = request.cseq.number
        self._transaction = transaction

    def handle_response(self, request: Request, response: Response, now: float) -> None:
        """What the registrar says."""
        if response.is_provisional or request.cseq.number != self._newest:
            return
        if self._state is _State.LEAVING:
            self._leave(Ending.of(response))
        elif response.is_success:
            self._settle(response, now)
        elif response.status == 423 and self._may_ask_for_longer(response):
            self._register(self._expires_s, now)
        else:
            self._fail(Ending.of(response), response.retry_after, now)

    def handle_failure(self, request: Request, what: str, now: float) -> None:
        """The registrar says nothing."""
        if request.cseq.number != self._newest:
            return
        if self._state is _State.LEAVING:
            self._leave(Ending(EndedBy.NOBODY, what))
        else:
            self._fail(Ending(EndedBy.NOBODY, what), None, now)

    def handle_timer(self, now: float) -> None:
        """Time to refresh, or to try again."""
        self._register(self._expires_s, now)

    def handle_flow_down(self, down: FlowDown, now: float) -> None:
        """Over a connection that we had opened the server finds us no more: register over a new one."""
        if self._state is _State.ON and down.flow % 2 == 0 and isinstance(self._wiring.config.server, StreamHop):
            self._wiring.set_timer(PART, Alarm.REGISTER, now + self._wiring.rng.uniform(0.1, 1.0))

    def _register(self, expires_s: int, now: float) -> None:
        config = self._wiring.config
        self._wiring.cancel_timers(PART)
        self._wiring.forgo(self._transaction)
        request = make_request(
            "REGISTER",
            # 10.2: "The "userinfo" and "@" components of the SIP URI MUST NOT be present".
            SipUri(config.address_of_record.host, port=config.address_of_record.port),
            from_=self._from,
            to=NameAddr(config.address_of_record),
            call_id=self._call_id,
            cseq=self._cseq + 1,
            extra=[
                ("Contact", NameAddr(config.contact).with_param("expires", str(expires_s))),
                ("Allow", self._wiring.allow),
            ],
        )
        self._wiring.send(self, request, config.server, now)

    def _settle(self, response: Response, now: float) -> None:
        granted_s = self._granted_s(response)
        # RFC 3608 section 6: each answer says it anew, or that there is none.
        self.service_route = _service_route(response)
        self._wiring.set_timer(PART, Alarm.REGISTER, now + max(REFRESH_S_MIN, granted_s / 2))
        if self._state is not _State.ON or self._failures:
            self._wiring.effects.append(Registered(granted_s))
        self._state, self._failures, self._is_brief = _State.ON, 0, False

    def _may_ask_for_longer(self, response: Response) -> bool:
        """True if the registrar has said how long it is to be at least, and for the first time in a row."""
        # 10.2.8: "the UA MAY retry the registration after making the expiration interval [...] equal to or greater than
        # the expiration interval within the Min-Expires header field".
        least_s, is_again = response.integer("min-expires") or 0, self._is_brief
        self._is_brief = self._expires_s < least_s <= LEAST_S_MAX
        if self._is_brief:
            self._expires_s = least_s
        return self._is_brief and not is_again

    def _granted_s(self, response: Response) -> int:
        """How long the registrar keeps us: it says so with our Contact, or for all of them."""
        # Many write into our Contact where they have seen us: one alone is ours in any case. If there are several, and
        # none as we have written it, each may be: what is over first tells when (10.2.4).
        contacts, own = response.contacts, self._wiring.config.contact
        ours = [each for each in contacts if own.matches(each.uri)] or contacts
        overall_s = self._expires_s if response.expires is None else response.expires
        return min(EXPIRES_S_MAX, *[_seconds(each, overall_s) for each in ours] or [overall_s])

    def _fail(self, reason: Ending, retry_after_s: int | None, now: float) -> None:
        # 10.2.7: "the UAC SHOULD NOT immediately re-attempt a registration to the same registrar".
        backoff_s = min(RETRY_S_MAX, RETRY_S_FIRST * 2 ** min(self._failures, 10)) * self._wiring.rng.uniform(0.75, 1)
        retry_s = backoff_s if retry_after_s is None else min(RETRY_AFTER_S_MAX, max(backoff_s, retry_after_s))
        self._failures += 1
        self.service_route = ()
        self._wiring.set_timer(PART, Alarm.REGISTER, now + retry_s)
        self._wiring.effects.append(RegistrationFailed(reason, retry_s, self._wiring.config.server))

    def _leave(self, reason: Ending) -> None:
        self._state = _State.OFF
        self._wiring.effects.append(Unregistered(reason))


def _service_route(response: Response) -> tuple[NameAddr, ...]:
    """What cannot be read leads nowhere, and is left out: we are registered all the same."""
    try:
        values = [NameAddr.parse(value, "Service-Route") for value in response.fields.values("service-route")]
    except BadMessage:
        return ()
    return tuple(value for value in values if isinstance(value.uri, SipUri))


def _seconds(contact: NameAddr, overall_s: int) -> int:
    """For how long one Contact is kept."""
    text = contact.param("expires") or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else overall_s

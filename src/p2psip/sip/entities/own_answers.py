"""What a peer's server answers itself: phones that register, what is for the peer, and what goes nowhere."""

from __future__ import annotations

from email.utils import formatdate

from p2psip.base.wallclock import WallClock
from p2psip.sip.entities.bodies import SDP, unreadable
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.registrar.bindings import Bindings, BindingsChanged
from p2psip.sip.entities.registrar.registrar import EXTENSIONS, FLOW_TIMER_S, Registrar
from p2psip.sip.message.build import METHODS, make_response
from p2psip.sip.message.message import Request, Response
from p2psip.sip.transactions.events import RequestArrived
from p2psip.sip.transactions.layer import TransactionLayer

ALLOWED = "REGISTER, OPTIONS"
"""The methods that the server itself serves; it carries any other."""


class OwnAnswers:
    """Of one server."""

    def __init__(self, config: ServerConfig, layer: TransactionLayer, bindings: Bindings, allowed_events: str) -> None:
        self.wall = WallClock(0.0, is_trusted=False)
        """What the date is, which phones set their clocks by."""
        self._config = config
        self._layer = layer
        self._bindings = bindings
        self._registrar = Registrar(config, bindings)
        self._allowed_events = allowed_events

    def register(self, arrived: RequestArrived, user: str, now: float) -> BindingsChanged | None:
        """A REGISTER of a user who has proved to be that; what has changed by it."""
        if unknown := _unsupported(arrived.request):
            self._refuse_extensions(arrived, unknown, now)
            return None
        if fields := unreadable(arrived.request):
            self.reply(arrived, 415, now, None, fields)
            return None
        done = self._registrar.register(arrived.request, arrived.source, user, self._layer.new_tag(), now)
        self._layer.respond(arrived.transaction, self._dated(done.response, now), now)
        if done.watched is not None:
            # RFC 5626 section 5.4: "The server MUST wait for an amount of time larger than the Flow-Timer in order to
            # have a grace period to account for transport delay."
            self._layer.transport.expect_keep_alives(done.watched, 1.5 * FLOW_TIMER_S)
        return BindingsChanged(user, self._bindings.of(user, now)) if done.has_changed else None

    def serve(self, arrived: RequestArrived, now: float) -> None:
        """A request to the peer itself."""
        request = arrived.request
        if unknown := _unsupported(request):
            self._refuse_extensions(arrived, unknown, now)
        elif request.method != "OPTIONS":
            self.refuse_method(arrived, now)
        elif fields := unreadable(request):
            self.reply(arrived, 415, now, None, fields)
        else:
            known = (
                ("Allow", ALLOWED),
                ("Accept", SDP),
                ("Allow-Events", self._allowed_events),
                ("Supported", ", ".join(EXTENSIONS)),
                ("Server", self._config.product),
            )
            self.reply(arrived, 200, now, None, known)

    def refuse_method(self, arrived: RequestArrived, now: float) -> None:
        """Nobody here serves it: events that there are not, a method that belongs elsewhere, or one that is unknown."""
        method = arrived.request.method
        status = 489 if method == "SUBSCRIBE" else 405 if method in METHODS else 501
        # 8.2.1: "The UAS MUST also add an Allow header field to the 405". RFC 6665 4.4.4: what there is to subscribe.
        self.reply(arrived, status, now, None, (("Allow", ALLOWED), ("Allow-Events", self._allowed_events)))

    def reply(
        self,
        arrived: RequestArrived,
        status: int,
        now: float,
        phrase: str | None = None,
        extra: tuple[tuple[str, object], ...] = (),
    ) -> None:
        """Answer in the place of whoever it is for."""
        tag = self._layer.new_tag()
        self._layer.respond(
            arrived.transaction, make_response(arrived.request, status, phrase, to_tag=tag, extra=extra), now
        )

    def _refuse_extensions(self, arrived: RequestArrived, unknown: list[str], now: float) -> None:
        # 8.2.2.3: "MUST respond by generating a response with status code 420 (Bad Extension)", with Unsupported.
        self.reply(arrived, 420, now, None, tuple(("Unsupported", option) for option in unknown))

    def _dated(self, response: Response, now: float) -> Response:
        """With the date, from which many phones have theirs; without it where it may be that of 1970."""
        if not self.wall.is_trusted:
            return response
        # 20.17: "The SIP-date is case-sensitive", "restricts the time zone in SIP-date to "GMT"".
        date = formatdate(self.wall.date(now), usegmt=True)
        return response.replace(fields=response.fields.with_last("Date", date))


def _unsupported(request: Request) -> list[str]:
    """What a request to us requires that is not done here (section 8.2.2.3)."""
    return [option for option in request.fields.tokens("require") if option.lower() not in EXTENSIONS]

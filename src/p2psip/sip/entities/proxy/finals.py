"""The one final response that goes back to who sent a request (RFC 3261 section 16.7 steps 6 to 9, RFC 4320)."""

from __future__ import annotations

from collections.abc import Sequence

from p2psip.base.effects import Effect
from p2psip.base.errors import Cause
from p2psip.sip.entities.proxy.context import Context, reason_field
from p2psip.sip.entities.questions import NotLocated
from p2psip.sip.message.build import make_response, phrase_of
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Response
from p2psip.sip.transactions.layer import TransactionLayer


class Finals:
    """Answers requests that are proxied, each once, and reports what became of it."""

    def __init__(self, layer: TransactionLayer) -> None:
        self._layer = layer
        self._effects: list[Effect] = []

    def best(self, context: Context, now: float) -> None:
        """All branches have ended: send the best back."""
        found = context.best()
        best = None if found is None else found.ending
        if found is None or best is None or (context.is_cancelled and best.status != 487):
            self.own(context, 487, now, "cancelled by the caller")
        elif best.response is None:
            self.own(context, best.status, now, best.reason)
        elif best.status == 503:
            # Step 6: "a 503 ... SHOULD NOT be forwarded upstream"; "it SHOULD generate 500 instead".
            self.own(context, 500, now, f"{found.branch.label} answers 503 {best.response.phrase}")
        else:
            self.respond(context, best.response, found.branch.label, now)

    def refused(self, context: Context, found: NotLocated, now: float) -> None:
        """It goes nowhere: say why, or who is to be asked instead."""
        contacts = [("Contact", NameAddr(uri)) for uri in found.contacts]
        self.own(context, found.status, now, found.reason or found.phrase, found.phrase, contacts)

    def own(
        self,
        context: Context,
        status: int,
        now: float,
        reason: str = "",
        phrase: str | None = None,
        extra: Sequence[tuple[str, object]] = (),
    ) -> None:
        """Answer with a response of our own."""
        if status == 408 and not context.is_invite:
            # RFC 4320 4.2: "MUST NOT send a response with Status-Code of 408 to a non-INVITE request".
            context.final = status
            self._effects.append(context.report(status, phrase_of(status), "", now))
            self._layer.abandon(context.server)
            return
        if reason and not context.causes:
            context.causes.append(Cause("this peer", reason, now))
        fields = [*extra, *([reason_field(status, reason)] if reason else [])]
        if status == 503:
            fields.append(("Retry-After", 5))
        tag = self._layer.new_tag()
        response = make_response(context.original, status, phrase, to_tag=tag, extra=fields)
        self.respond(context, response, "this peer", now)

    def respond(self, context: Context, response: Response, label: str, now: float) -> None:
        """Send it; `label` names who has answered."""
        context.final = response.status
        self._effects.append(context.report(response.status, response.phrase, label, now))
        self._layer.respond(context.server, response, now)

    def drain(self) -> list[Effect]:
        """Reports since the last call."""
        effects, self._effects = self._effects, []
        return effects

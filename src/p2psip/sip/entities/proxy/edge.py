"""Requests and responses at the edge: the proxy carries them in the overlay's terms, each phone has them in its own.

What comes in is rid of what was meant for us, and says who its sender has proved to be; what goes out has our
Record-Route, one for each side, and is in the words of who is there (docs/decisions/names-at-the-edge.md).
"""

from __future__ import annotations

from p2psip.media.relay.rtpengine.engine_calls import PrepareCall
from p2psip.sip.entities.callers.authentication import Authentication, Departing
from p2psip.sip.entities.callers.caller import UNKNOWN, Caller
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate import identity
from p2psip.sip.entities.gate.challenges import without_challenge, without_own_credentials
from p2psip.sip.entities.handling.handlings import Handlings
from p2psip.sip.entities.handling.intercom import answers_by_itself, ringing_instead
from p2psip.sip.entities.naming import Naming, answering
from p2psip.sip.entities.own import WAY_PARAM, is_own_domain
from p2psip.sip.entities.proxy import routing
from p2psip.sip.entities.proxy.anchoring import Anchoring, End
from p2psip.sip.entities.proxy.context import Branch, Context
from p2psip.sip.entities.proxy.resolvers import with_diversions
from p2psip.sip.entities.questions import SignClaims, Signed, Target
from p2psip.sip.entities.registrar.tokens import TokenPlace, Tokens, is_phone
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import BoundHop, Source
from p2psip.sip.transports.layer import TransportLayer


class Edge:
    """Translates for one proxy."""

    def __init__(
        self,
        config: ServerConfig,
        transport: TransportLayer,
        tokens: Tokens,
        naming: Naming,
        anchoring: Anchoring,
        authentication: Authentication,
        handlings: Handlings,
    ) -> None:
        self._config = config
        self._transport = transport
        self._tokens = tokens
        self._naming = naming
        self._anchoring = anchoring
        self._authentication = authentication
        self._handlings = handlings

    def sender(self, request: Request, source: Source, user: str | None) -> TokenPlace | None:
        """Who has sent a request; None if a peer. `user` is the line that he has proved to be."""
        return self._naming.sender(request, source, user)

    def who_is_at(self, hop: BoundHop, target: Target) -> TokenPlace | None:
        """Who is at the other end of a hop for a target; None if a peer."""
        place = self._naming.place(self._transport.far_end(hop), target.user, target.server)
        return place if place is None else place._replace(is_outside=target.is_outside)

    def routed(
        self,
        request: Request,
        source: Source,
        user: str | None,
        place: TokenPlace | None,
        caller: Caller = UNKNOWN,
    ) -> routing.Routed:
        """A request as it came in, without what was meant for us, and in the overlay's terms."""
        # Many phones say so once, in the INVITE: it holds for what else they send in that dialog.
        is_private = user is None and place is not None and place.is_private
        cleaned = self._cleaned(request, source, user, caller, is_private=is_private)
        routed = routing.preprocess(cleaned, self._config, self._tokens)
        named = self._naming.request_from(routed.request, place, is_private or identity.is_nameless(request))
        named = identity.in_call(named, caller, self._config.realm, is_of_peer=source.peer is not None)
        is_from_outside = place is not None and place.is_outside
        domain = "" if place is None else routed.request.sip_uri.host
        is_typed = place is not None and domain != place.server.host
        return routing.Routed(named, routed.place, routed.next_route, is_from_outside, domain, is_typed)

    def question(self, context: Context, branch: Branch, hop: BoundHop, now: float) -> PrepareCall | SignClaims | None:
        """What is asked before a request goes to a target: of the media engine, or, of what goes to another peer, for a
        signature that says who calls; None if nothing.
        """
        if branch.is_prepared:
            return None
        if branch.place is None:
            caller = None if context.source.peer is None else context.caller
            uri = branch.target.uri
            peer = self._transport.far_end(hop).peer or ""
            request = with_diversions(context.request, branch.target.diversions)
            sent = Departing(request, context.original, caller, context.forwarded_before, uri, peer)
            return self._authentication.question(sent, now)
        return self._anchoring.question(context.request, *self._ends(context, branch, hop))

    def copy_for(self, context: Context, branch: Branch, hop: BoundHop, now: float) -> Request:
        """What goes to one target (16.6), all but its Via. Raises NotCarried."""
        self.failed(branch, "another way is tried", now)
        ends = self._ends(context, branch, hop)
        request = with_diversions(context.request, branch.target.diversions)
        prepared = branch.take_prepared()
        if isinstance(prepared, Signed):
            request, prepared = self._authentication.signed(request, prepared), None
        request, branch.carried = self._anchoring.begin(request, *ends, now, prepared)
        record: list[SipUri] = []
        if request.method in routing.RECORD_ROUTED and not request.to.tag and not _is_passed_on(context, branch):
            # RFC 5658 section 5: one for each side, so that each side has one that it can use.
            sides = [routing.side_uri(side, place, self._config, self._transport, self._tokens) for side, place in ends]
            record = sides if sides[0] != sides[1] else sides[:1]
        place = branch.place
        if is_phone(place) and not self._may_speak(request, place):
            request = ringing_instead(request)
        fields = request.fields
        if is_phone(place) and place is not None and not place.is_outside and request.begins:
            fields = identity.with_name(request, self._config.realm, self._config.name_of)
        if place is not None:
            fields = identity.without_proof(fields, is_agent=place.is_agent)
        request = request.replace(fields=self._naming.fields_to(fields, place))
        request = self._naming.body_to(request, place)
        return routing.forwarded(request, branch.target.uri, branch.target.routes, record, branch.breadth)

    def failed(self, branch: Branch, why: str, now: float) -> None:
        """Nothing comes of what was sent to a target; no matter if nothing was."""
        if branch.carried is not None:
            self._anchoring.refused(branch.carried, why, now)
            branch.carried = None

    def ack_for(self, ack: Request, hop: BoundHop, target: Target, now: float) -> Request:
        """An ACK as it goes to a target."""
        ack = self._anchoring.acknowledge(ack, now)
        return ack.replace(fields=self._naming.fields_to(ack.fields, self.who_is_at(hop, target)))

    def heard(self, context: Context, branch: Branch, response: Response, now: float) -> Response:
        """A response of a branch in the overlay's terms."""
        assert branch.side is not None, "who answers was asked"
        response = self._anchoring.answer(branch.carried, context.request, response, now)
        known = identity.answered(response, branch.side, self._who_is_meant(branch), self._config.realm)
        return self._naming.response_from(without_challenge(known), branch.place, identity.is_nameless(response))

    def upstream(self, context: Context, heard: Response) -> Response:
        """A response that was `heard` in the terms of who asked."""
        return answering(context.original, heard.replace(fields=self._naming.fields_to(heard.fields, context.place)))

    def _ends(self, context: Context, branch: Branch, hop: BoundHop) -> tuple[End, End]:
        return (context.source, context.place), (self._transport.far_end(hop), branch.place)

    def _may_speak(self, request: Request, place: TokenPlace | None) -> bool:
        """True unless this is a call that a phone would answer by itself, by whatever name and by whomever it has come
        there, and the owner of its line has not named who calls.
        """
        if not answers_by_itself(request):
            return True
        handling = None if place is None else self._handlings.of(place.user.lower())
        return handling is not None and handling.may_speak(identity.asserted(request, self._config.realm))

    def _who_is_meant(self, branch: Branch) -> str:
        """The line whose phone a branch has gone to, or, at another peer, whose record has led there."""
        target = branch.target
        return target.user if branch.place is not None else target.uri.user_name

    def _cleaned(
        self, request: Request, source: Source, user: str | None, caller: Caller, *, is_private: bool
    ) -> Request:
        """Take off what was meant for us, and say who the sender has proved to be."""
        realm = self._config.realm
        known = identity.requested(request, source, user, realm, is_private=is_private, caller=caller)
        if source.peer is not None and request.begins:
            uri = known.from_.uri
            is_ours = isinstance(uri, SipUri) and is_own_domain(uri, self._config)
            shown = identity.shown_from(known.from_, caller.user, realm, is_ours=is_ours)
            return known if shown is known.from_ else known.replace(fields=known.fields.with_only("From", shown))
        if source.is_trusted:
            return known
        fields = without_own_credentials(known.fields, self._config.realm)
        if user is None and not request.to.tag and not identity.is_nameless(known):
            # Somebody from outside, who may say what he likes.
            fields = fields.with_only("From", identity.shown_from(known.from_, "", realm, is_ours=False))
        return known.replace(fields=fields)


def _is_passed_on(context: Context, branch: Branch) -> bool:
    """True for what another peer has us pass on to another peer: the dialog is theirs, and outlives us."""
    return context.request.sip_uri.param(WAY_PARAM) is not None and context.place is None and branch.place is None

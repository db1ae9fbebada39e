"""The stateful proxy (RFC 3261 section 16, RFC 4320, RFC 5393, RFC 5658, RFC 6026).

Theory of operation. Each request has a `Context`, named by its server transaction, and in it a `Branch` for each
target that has been tried. Where the request goes the resolvers say (proxy/resolvers.py), in the end by asking the
outside (`LocateUser`). Targets are tried in order: the first at once, each next one when `stagger_s` has passed without
a final answer or as soon as one has failed; earlier ones go on ringing meanwhile. The first 2xx wins and the others
are cancelled. When all have failed, or where nobody answers in the time that one of them has set, the resolvers are
asked what comes now; if nothing does, the best failure goes back.

`Destinations` ask where a request goes, `Branches` do what each target needs, and both return what has come of it; what
follows from that is decided here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

from p2psip.base.effects import Asks, Effect
from p2psip.base.errors import Cause
from p2psip.base.timers import Deadline, TimerQueue, Timers, earliest
from p2psip.sip.entities.call_guard import TARGET_REFRESHES, CallUp
from p2psip.sip.entities.callers.caller import UNKNOWN, Caller
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate.identity import diverted
from p2psip.sip.entities.proxy import routing, session_timers, under_way
from p2psip.sip.entities.proxy.acks import Acks
from p2psip.sip.entities.proxy.branches import Branches
from p2psip.sip.entities.proxy.context import (
    NO_ANSWER,
    STAGGER,
    UNREACHABLE,
    Branch,
    BranchEnding,
    Context,
    ContextTimers,
    Result,
)
from p2psip.sip.entities.proxy.destinations import Destinations, Sought
from p2psip.sip.entities.proxy.edge import Edge
from p2psip.sip.entities.proxy.finals import Finals
from p2psip.sip.entities.proxy.resolvers import After, Asked, Given, Resolver, RingsNoMore
from p2psip.sip.entities.proxy.waiting import Locating, Preparing, Resolving, ResolvingAck, Sent, Waiting
from p2psip.sip.entities.questions import TOKEN_STEP, Forwarded, Hops, Located, NotLocated, Target
from p2psip.sip.entities.registrar.bindings import Bindings
from p2psip.sip.entities.registrar.targets import is_disowned
from p2psip.sip.entities.registrar.tokens import Tokens, is_phone
from p2psip.sip.entities.registrar.ways import Ways
from p2psip.sip.message.build import make_trying
from p2psip.sip.message.message import Request, Response
from p2psip.sip.transactions.events import Failure, RequestArrived
from p2psip.sip.transactions.layer import TransactionLayer
from p2psip.sip.transports.hops import FlowHop, Source

_OVERDUE_S = 0.5
"""How often it is looked whether it is known now where a request goes that nobody has answered in time."""

_ELSEWHERE = ("Reason", 'SIP;cause=200;text="Call completed elsewhere"')
_CALLER_LOST = 'SIP;cause=408;text="The connection with the caller\'s peer is lost"'
_STOPPING = ("Reason", 'SIP;cause=480;text="A peer on the way is being stopped"')
_TOO_LONG = ("Reason", 'SIP;cause=408;text="Nobody has answered in time"')


class Proxy:
    """Carries requests and their responses. Calls down to the transaction layer; asks through `drain()`."""

    def __init__(
        self,
        config: ServerConfig,
        layer: TransactionLayer,
        bindings: Bindings,
        tokens: Tokens,
        ways: Ways,
        resolvers: Sequence[Resolver],
        edge: Edge,
        queue: TimerQueue | None = None,
    ) -> None:
        self._config = config
        self._layer = layer
        self._bindings = bindings
        self._ways = ways
        self._edge = edge
        self._contexts: dict[int, Context] = {}
        self._asks: Asks[Waiting] = Asks(
            config.limits.questions, first=2, step=TOKEN_STEP, reserved=config.limits.urgent_questions, queue=queue
        )
        self._acks = Acks(config, layer, tokens, ways, resolvers, self._edge, self._asks)
        self._finals = Finals(layer)
        self._timers: ContextTimers = Timers(queue)
        self._destinations = Destinations(config.limits, resolvers, self._asks, self._timers)
        self._branches = Branches(config.limits, layer, ways, self._edge, self._asks, self._timers)
        self._effects: list[Effect] = []

    def __len__(self) -> int:
        return len(self._contexts)

    @property
    def contexts(self) -> Iterable[Context]:
        """The requests under way, the eldest first."""
        return self._contexts.values()

    def join(self, call: int, target: Target, now: float) -> None:
        """Have a call be answered at one more place, if it still rings."""
        if (context := self._contexts.get(call)) is not None and under_way.rings(context):
            self._settle(context, self._branches.begin(context, target, now), now)

    def awaits(self, flow: int) -> bool:
        """True if an INVITE that has come or gone over a connection has no answer yet."""
        hop = FlowHop(flow)
        return any(
            one.is_invite
            and not one.final
            and (one.source.hop == hop or any(branch.way == hop for branch in one.open_branches))
            for one in self._contexts.values()
        )

    # Requests

    def start(self, arrived: RequestArrived, user: str | None, now: float, caller: Caller = UNKNOWN) -> None:
        """Carry a request that has been validated; `user` is the line that has proved to be its sender, `caller` whom
        another peer has proved to call.
        """
        request, source = arrived.request, arrived.source
        if request.method == "INVITE":
            # 16.2: at once, so that the phone stops repeating itself; 17.2.1 asks for it within 200 ms.
            self._layer.respond(arrived.transaction, make_trying(request), now)
        place = self._edge.sender(request, source, user)
        if user is not None:
            self._ways.note_port(request, source, user, now)
        routed = self._edge.routed(request, source, user, place, caller)
        routed = replace(routed, request=session_timers.requested(routed.request))
        context = Context(
            arrived.transaction,
            routed.request,
            source,
            user,
            now,
            f".{routing.loop_hash(request, source)}",
            routing.breadth_of(request),
            request,
            place,
            caller,
            len(diverted(routed.request)),
        )
        self._contexts[arrived.transaction] = context
        if context.breadth < 1:
            self._answer(context, 440, now)
        elif not self._seek(context, Asked(routed, routed.request.sip_uri, source, user), now):
            self._answer(context, 404, now, f"nobody here knows where {routed.request.uri_text} is")

    def cancel(self, server: int, reasons: list[str], now: float) -> None:
        """The caller has given up (section 16.10); why, is passed on (RFC 3326)."""
        context = self._contexts.get(server)
        if context is None or context.final or not context.is_invite:
            return
        context.is_cancelled = context.is_closed = True
        context.waiting.clear()
        self._cancel_open(context, now, [("Reason", reason) for reason in reasons])
        if not context.open_branches:
            self._finish(context, now)

    def flow_down(self, flow: int, now: float) -> None:
        """A connection is lost: the peer at its other end gets no answer any more to what it has sent over it."""
        for context in [one for one in self._contexts.values() if one.source.hop == FlowHop(flow)]:
            if context.source.peer is not None:
                self.cancel(context.server, [_CALLER_LOST], now)

    def stop(self, now: float) -> None:
        """The server is about to end: who waits for an answer gets one, and nobody rings any more."""
        for context in [one for one in self._contexts.values() if not one.final]:
            context.is_closed = True
            context.waiting.clear()
            self._cancel_open(context, now, [_STOPPING])
            # A phone that knows another server is to try that one (RFC 3263 section 4.3); a peer's caller has none.
            status = 503 if context.source.peer is None else UNREACHABLE
            self._answer(context, status, now, "this peer is being stopped")

    def forward_ack(self, ack: Request, source: Source, now: float) -> None:
        """An ACK to a 2xx: carried without state (section 16.11), or dropped, since nothing can answer it."""
        self._acks.forward(ack, source, now)

    # Responses

    def on_response(self, sent: object, response: Response, now: float) -> None:
        """A response on a branch (section 16.7); `sent` is what the request was sent with."""
        assert isinstance(sent, Sent), "the proxy alone sends requests"
        context, branch = sent
        # Step 3: remove our Via; "if no Via header field values remain, the response was meant for this element".
        fields = response.fields.without_first("via")
        if "via" not in fields:
            return
        if (registered := branch.target.registered) is not None and branch.target.has_missed:
            self._bindings.heard(*registered, now)
        heard = self._edge.heard(context, branch, response.replace(fields=fields), now)
        heard = session_timers.answered(context.request, heard)
        if heard.is_success and (context.is_invite or _moves_a_call(context.request)):
            here = is_phone(context.place), is_phone(branch.place)
            self._effects.append(CallUp(context.request, heard, here, (context.source.hop, branch.way)))
        upstream = self._edge.upstream(context, heard)
        if response.is_provisional:
            self._on_provisional(context, branch, upstream, now)
        elif response.is_success and context.is_invite and context.final and context.final < 300:
            # Step 5: "any 2xx response to an INVITE" goes on, also those after the first.
            self._layer.respond(context.server, upstream, now)
        elif branch.ending is None or (response.is_success and not context.final):
            # A way to a phone that was silent for too long may still bring the one answer that counts.
            self._on_final(context, branch, upstream, now)

    def on_malformed(self, sent: object, response: Response, what: str, now: float) -> None:
        """A response of which a field cannot be read: if it was the last word, there will be none that can."""
        if isinstance(sent, Sent) and not response.is_provisional and sent.branch.ending is None:
            context, branch = sent
            context.note(branch, what, now)
            self._settle(context, context.failed(branch, 502, what), now)

    def on_failure(self, sent: object, failure: Failure, what: str, now: float) -> None:
        """A branch gets no response (section 16.9); try the target's next hop, if it has one (RFC 3263 4.3)."""
        if not isinstance(sent, Sent):
            # A response of ours has got no ACK, and there is nobody to tell.
            return
        context, branch = sent
        if branch.ending is None:
            self._settle(context, self._branches.unsent(context, branch, failure, what, now), now)

    def on_ended(self, transaction: int, now: float) -> None:
        """A transaction is forgotten, and what hung on it."""
        context = self._contexts.pop(transaction, None)
        if context is not None:
            self._forget(context, now)

    # The outside

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        """The answer to a question of ours."""
        waiting = self._asks.answered(token)
        match waiting:
            case Locating(context, asked):
                assert isinstance(answer, Located | Forwarded | NotLocated), f"LocateUser is not answered by {answer}"
                self._follow(context, self._destinations.located(context, asked, answer, now), now)
            case Resolving(context, branch):
                assert isinstance(answer, Hops | NotLocated), f"ResolveUri is not answered by {answer}"
                self._settle(context, self._branches.resolved(context, branch, answer, now), now)
            case Preparing(context):
                self._settle(context, self._branches.prepared(waiting, answer, now), now)
            case ResolvingAck():
                self._acks.resolved(waiting, answer, now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        for waiting in self._asks.expired(now):
            self._on_unanswered(waiting, now)
        for server, which in self._timers.pop_due(now):
            context = self._contexts[server]
            if which == STAGGER:
                self._try_next(context, now)
            elif which == NO_ANSWER:
                self._on_no_answer(context, now)
            else:
                self._settle(context, self._branches.on_timer_c(context, context.branches[which], now), now)

    def drain(self) -> list[Effect]:
        """Questions and reports since the last call."""
        effects, self._effects = self._effects, []
        parts = (self._destinations, self._branches, self._acks, self._finals)
        return [*effects, *(effect for part in parts for effect in part.drain())]

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest([self._timers.next_deadline(), self._asks.next_deadline()])

    # Where to

    def _seek(self, context: Context, asked: Asked, now: float) -> bool:
        """Have the resolvers say where the request goes, and let it go there; False if none of them knows."""
        sought = self._destinations.seek(context, asked, now)
        self._follow(context, sought, now)
        return sought is not None

    def _follow(self, context: Context, sought: Sought | None, now: float) -> None:
        """Let the request go where it goes, as soon as that is known."""
        match sought:
            case Sought(known=Given(target)):
                self._give_up(context, now)
                context.asked = None
                self._settle(context, self._branches.begin(context, target, now), now)
            case Sought(known=RingsNoMore(why)):
                # What its phones say to the CANCEL is awaited: one may have been picked up at this moment.
                context.asked, context.enough = None, why
                self._give_up(context, now)
            case Sought(asked, Located() | NotLocated() as found):
                self._take(context, asked, found, now)

    def _take(self, context: Context, asked: Asked, found: Located | NotLocated, now: float) -> None:
        """What is known of where the request goes: try that, or go back with what there is."""
        if asked.after is not None and isinstance(found, Located):
            found = context.turn(self._config.limits.turns) or found
        if isinstance(found, NotLocated):
            if context.branches:
                # Whoever was to be asked for instead is not there: what became of the others stands.
                context.asked = None
                context.causes.append(Cause("this peer", found.reason or found.phrase, now))
                self._end_if_over(context, now)
            else:
                self._stop_timers(context)
                self._finals.refused(context, found, now)
            return
        if asked.after is not None and asked.after.contacts:
            context.follow()
        self._give_up(context, now)
        targets = found.targets[: self._config.limits.targets]
        context.asked, context.waiting = asked, deque(targets)
        # A caller who has waited long already, for the overlay, gets all places at once.
        is_late = now > context.since + self._config.limits.locate_s / 2
        context.stagger_s = 0.0 if is_late else found.stagger_s
        self._try_next(context, now)

    def _on_no_answer(self, context: Context, now: float) -> None:
        """One of the resolvers wants to hear of it. If it goes nowhere else, it goes on ringing."""
        if context.question:
            # Where it goes is not known yet, so nobody could have answered: the time is over when it is known.
            self._timers.set((context.server, NO_ANSWER), now + _OVERDUE_S, "nobody answers")
        elif not (context.final or context.is_closed):
            self._ask_again(context, After(408, "nobody has answered in time"), now)

    def _ask_again(self, context: Context, after: After, now: float) -> bool:
        """Ask the resolvers what comes now; False if nothing does."""
        asked = context.asked
        return asked is not None and self._seek(context, replace(asked, after=after, rounds=asked.rounds + 1), now)

    def _give_up(self, context: Context, now: float) -> None:
        """Those that have not answered in time ring no more: the next are tried."""
        context.waiting.clear()
        self._branches.cancel(context, now, [_TOO_LONG])

    def _try_next(self, context: Context, now: float) -> None:
        """Start with the next target, if any and if the breadth allows one more."""
        if context.is_closed or not context.waiting or context.free_breadth < 1:
            return
        target = context.waiting.popleft()
        if target.phones and target.phones <= context.reached_phones:
            # A phone that is registered in two places rings once.
            self._try_next(context, now)
            return
        if context.waiting:
            pause_s = context.pause_s(target, context.waiting[0], self._config.limits)
            self._timers.set((context.server, STAGGER), now + pause_s, "next target")
        self._settle(context, self._branches.begin(context, target, now), now)

    def _on_unanswered(self, waiting: Waiting, now: float) -> None:
        match waiting:
            case Locating(context, asked):
                self._follow(context, self._destinations.not_located(context, asked, now), now)
            case Resolving(context, branch):
                self._settle(context, self._branches.not_resolved(context, branch, now), now)
            case Preparing(context):
                self._settle(context, self._branches.prepared(waiting, None, now), now)

    # What became of it

    def _on_provisional(self, context: Context, branch: Branch, response: Response, now: float) -> None:
        if branch.ending is None and not branch.is_alive:
            branch.is_alive = True
            self._branches.start_timer_c(context, branch, now)
        if not context.is_invite or response.status == 100 or branch.ending is not None:
            # RFC 4320 4.1: "An SIP element MUST NOT send any provisional response with a Status-Code other than 100
            # to a non-INVITE request."
            return
        branch.is_ringing = True
        # 16.7 step 2: timer C starts anew with each provisional response but 100.
        self._branches.start_timer_c(context, branch, now)
        if not context.final:
            if context.rang_at is None:
                context.rang_at = now
            self._layer.respond(context.server, response, now)

    def _on_final(self, context: Context, branch: Branch, response: Response, now: float) -> None:
        status = response.status
        if status == 503 and branch.hops and not context.is_closed:
            # RFC 3263 4.3: a 503 is a failure of that hop.
            context.note(branch, "503 " + response.phrase, now)
            self._settle(context, self._branches.send(context, branch, now), now)
            return
        if branch.is_expired and not context.is_closed and status == 487:
            # 16.8: what timer C has ended counts as a 408.
            self._settle(context, context.failed(branch, 408, context.enough or "rang too long"), now)
            return
        if status >= 300:
            context.note(branch, f"{status} {response.phrase}", now)
        registered = branch.target.registered
        if registered is not None and is_disowned(registered, status, self._bindings.of(registered.user, now)):
            self._effects += self._bindings.forget(*registered, now)
            self._settle(context, context.failed(branch, UNREACHABLE, f"{status} {response.phrase}"), now)
            return
        self._settle(context, Result(branch, BranchEnding(status, response)), now)

    def _settle(self, context: Context, result: Result | None, now: float) -> None:
        """If a branch has ended: forward it, try the next target, or end."""
        if result is None:
            return
        branch, ending = result.branch, result.ending
        branch.ending = ending
        if result.is_silence and (registered := branch.target.registered) is not None:
            self._effects += self._bindings.miss(*registered, now)
        if ending.response is None or not ending.response.is_success:
            self._edge.failed(branch, ending.words, now)
        self._timers.cancel(context.key_of(branch))
        if context.final:
            return
        if ending.response is not None and ending.response.is_success:
            # 16.7 step 5: a 2xx goes back at once, whatever the others have said.
            context.is_closed = True
            self._conclude(context, ending.response, branch.label, now)
            self._cancel_open(context, now, [_ELSEWHERE])
            return
        if ending.status >= 600 and not under_way.is_for_several(context, self._config):
            # 16.7 step 5: after a 6xx "the proxy SHOULD cancel all client transactions", and new ones are not begun.
            context.is_closed = True
            context.waiting.clear()
            self._cancel_open(context, now, [])
        if branch.target.others and not context.is_closed and result.is_unreached:
            first, *rest = branch.target.others
            self._settle(context, self._branches.begin(context, first.with_others(rest), now), now)
            return
        self._try_next(context, now)
        self._end_if_over(context, now)

    def _end_if_over(self, context: Context, now: float) -> None:
        """Where all have failed, and nothing is asked: what comes now? If nothing, that was it."""
        if context.final or context.open_branches or context.question or (context.waiting and not context.is_closed):
            return
        best = context.best()
        if not context.is_closed and best is not None and self._ask_again(context, context.after(best.ending), now):
            return
        self._finish(context, now)

    def _finish(self, context: Context, now: float) -> None:
        """All branches have ended: the best goes back."""
        self._stop_timers(context)
        self._finals.best(context, now)

    def _answer(self, context: Context, status: int, now: float, reason: str = "") -> None:
        """Answer with a response of our own."""
        self._stop_timers(context)
        self._finals.own(context, status, now, reason)

    def _conclude(self, context: Context, response: Response, label: str, now: float) -> None:
        self._stop_timers(context)
        self._finals.respond(context, response, label, now)

    def _cancel_open(self, context: Context, now: float, reasons: list[tuple[str, object]]) -> None:
        self._branches.drop_question(context)
        self._branches.cancel(context, now, reasons)

    def _stop_timers(self, context: Context) -> None:
        for which in (STAGGER, NO_ANSWER):
            self._timers.cancel((context.server, which))

    def _forget(self, context: Context, now: float) -> None:
        self._stop_timers(context)
        self._branches.drop_question(context)
        for branch in context.branches:
            self._timers.cancel(context.key_of(branch))
            self._branches.drop_question(branch)
            if branch.ending is None:
                self._edge.failed(branch, "no answer", now)


def _moves_a_call(request: Request) -> bool:
    """True for what may say anew where an end of a call is that is up."""
    return bool(request.to.tag) and request.method in TARGET_REFRESHES

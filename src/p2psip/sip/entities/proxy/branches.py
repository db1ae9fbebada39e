"""What a branch does: the way to one target is found, the request sent, and sent by the next way (RFC 3261 16.6, 16.9).

Each input of a branch returns its `Result` where it has ended by that without a response, and None as long as it goes
on; what follows from a result is for the proxy to say.
"""

from __future__ import annotations

from p2psip.base.effects import Asks, Effect
from p2psip.sip.entities.config import ServerLimits
from p2psip.sip.entities.proxy.anchoring import NotCarried
from p2psip.sip.entities.proxy.context import (
    NO_ANSWER,
    UNREACHABLE,
    Branch,
    BranchEnding,
    Context,
    ContextTimers,
    Result,
)
from p2psip.sip.entities.proxy.edge import Edge
from p2psip.sip.entities.proxy.waiting import Preparing, Resolving, Sent, Waiting
from p2psip.sip.entities.questions import Hops, NotLocated, ResolveUri, Target
from p2psip.sip.entities.registrar.ways import Ways
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.transactions.events import Failure
from p2psip.sip.transactions.layer import TransactionLayer


class Branches:
    """Carries them for one proxy, whose questions and timers it shares."""

    def __init__(
        self,
        limits: ServerLimits,
        layer: TransactionLayer,
        ways: Ways,
        edge: Edge,
        asks: Asks[Waiting],
        timers: ContextTimers,
    ) -> None:
        self._limits = limits
        self._layer = layer
        self._ways = ways
        self._edge = edge
        self._asks = asks
        self._timers = timers
        self._effects: list[Effect] = []

    def begin(self, context: Context, target: Target, now: float) -> Result | None:
        """Try one target."""
        branch = Branch(target)
        # Where somebody else is asked for while it rings, something is left for him.
        sharing = 1 + len(context.waiting) + ((context.server, NO_ANSWER) in self._timers)
        branch.breadth = max(1, context.free_breadth // sharing)
        context.branches.append(branch)
        hops = self._ways.of_target(target, now)
        if hops is None:
            return self._ask_way(context, branch, now)
        branch.may_be_resolved_again = False
        branch.hops.extend(hops)
        return self.send(context, branch, now)

    def resolved(self, context: Context, branch: Branch, answer: Hops | NotLocated, now: float) -> Result | None:
        """The way to a target is known, or that there is none."""
        branch.question = 0
        if isinstance(answer, Hops):
            branch.hops.extend(answer.hops)
            return self.send(context, branch, now)
        context.note(branch, answer.reason or answer.phrase, now)
        return context.failed(branch, answer.status, answer.reason or answer.phrase)

    def not_resolved(self, context: Context, branch: Branch, now: float) -> Result | None:
        """Nobody has said the way in time."""
        what = f"no answer from {branch.label} in {now - context.began_at:.0f} s"
        return self.resolved(context, branch, NotLocated(UNREACHABLE, what), now)

    def prepared(self, waiting: Preparing, answer: object, now: float) -> Result | None:
        """What was asked for before a request is sent: that the media engine carries it, a signature, or None."""
        waiting.branch.prepare(answer)
        return self.send(waiting.context, waiting.branch, now)

    def unsent(self, context: Context, branch: Branch, failure: Failure, what: str, now: float) -> Result | None:
        """It gets no response (section 16.9); try the target's next hop, if it has one (RFC 3263 4.3)."""
        context.note(branch, what, now)
        may_repeat = context.is_invite or failure is Failure.TRANSPORT
        may_go_on = may_repeat and not context.is_closed and not branch.is_ringing
        if may_go_on and branch.hops:
            return self.send(context, branch, now)
        if may_go_on and failure is Failure.TRANSPORT and branch.may_be_resolved_again:
            # The connection that there was has died; where there is another way, or a new connection, it goes on.
            branch.may_be_resolved_again = False
            return self._ask_way(context, branch, now)
        status = 408 if failure is Failure.TIMEOUT else UNREACHABLE
        return context.failed(branch, status, what)

    def send(self, context: Context, branch: Branch, now: float) -> Result | None:
        """Send on the branch's next hop that can be sent to."""
        while branch.hops:
            hop = branch.hops.popleft()
            if context.asks_for_tls(branch) and not self._layer.transport.is_secure(hop):
                context.note(branch, f"sips: asks for TLS, and there is none over {hop}", now)
                continue
            bound = self._layer.transport.bind(hop, now)
            if bound is None:
                context.note(branch, f"no way to {hop}", now)
                continue
            branch.hop, branch.side = hop, self._layer.transport.far_end(bound)
            branch.place = self._edge.who_is_at(bound, branch.target)
            try:
                question = None if self._asks.is_full else self._edge.question(context, branch, bound, now)
                if question is not None:
                    branch.hops.appendleft(hop)
                    self._ask(question, Preparing(context, branch), now + self._limits.engine_s)
                    return None
                copy = self._edge.copy_for(context, branch, bound, now)
            except NotCarried as error:
                return context.failed(branch, error.code, str(error))
            except BadMessage as error:
                return context.failed(branch, error.status, error.what)
            sent = Sent(context, branch)
            branch.transaction = self._layer.request(copy, bound, sent, now, branch_suffix=context.suffix)
            self._start_patience(context, branch, now)
            return None
        what = context.causes[-1].what if context.causes else "no way there"
        return context.failed(branch, UNREACHABLE, what)

    def cancel(self, context: Context, now: float, reasons: list[tuple[str, object]]) -> None:
        """All that are open end; what they say to that is awaited."""
        for branch in context.open_branches:
            branch.give_up()
            if branch.transaction:
                self._layer.cancel(branch.transaction, now, reasons)
            else:
                self.drop_question(branch)
                branch.ending = BranchEnding(487, None, "not tried any more")

    def start_timer_c(self, context: Context, branch: Branch, now: float) -> None:
        """So long it may ring from now on; what is no INVITE has its transaction's own limit."""
        if context.is_invite:
            self._timers.set(context.key_of(branch), now + self._limits.timer_c_s, "rang too long (timer C)")
        else:
            self._timers.cancel(context.key_of(branch))

    def on_timer_c(self, context: Context, branch: Branch, now: float) -> Result | None:
        """16.8: cancel it if it rings; the 487 that follows counts as 408."""
        branch.is_expired = True
        self._layer.cancel(branch.transaction, now)
        if branch.is_alive or not (branch.has_another_way or branch.is_to_peer):
            return None
        # Nothing at all has come by this way. Should it wake up, it is cancelled.
        if branch.has_another_way:
            status, what = 408, f"silent for {self._limits.flow_silence_s:g} s"
        else:
            status, what = UNREACHABLE, f"no answer from {branch.label} in {now - context.began_at:.0f} s"
        context.note(branch, what, now)
        return context.failed(branch, status, what)

    def drop_question(self, asker: Context | Branch) -> None:
        """What was asked is not wanted any more."""
        if asker.question:
            self._effects.append(self._asks.cancel(asker.question))
            asker.question = 0

    def drain(self) -> list[Effect]:
        """Questions since the last call."""
        effects, self._effects = self._effects, []
        return effects

    def _start_patience(self, context: Context, branch: Branch, now: float) -> None:
        """So long nothing at all may come of what was sent."""
        if branch.has_another_way:
            until, what = now + self._limits.flow_silence_s, "this way to the phone is silent"
        elif branch.is_to_peer and context.is_invite:
            # 17.2.1: a server "MUST generate a 100 (Trying) response unless it knows that the TU will generate a
            # provisional or final response within 200 ms".
            until, what = self._reached_by(context, now), "this peer is silent"
        else:
            self.start_timer_c(context, branch, now)
            return
        self._timers.set(context.key_of(branch), until, what)

    def _reached_by(self, context: Context, now: float) -> float:
        """When the caller has waited long enough for a peer."""
        return max(context.began_at + self._limits.resolve_s, now + self._limits.resolve_least_s)

    def _ask_way(self, context: Context, branch: Branch, now: float) -> Result | None:
        """Ask for the way to a target that does not bring it along."""
        is_new = not branch.transaction
        deadline = self._reached_by(context, now) if is_new else context.began_at + self._limits.resolve_s
        if self._asks.is_full_for(is_urgent=context.is_urgent):
            return context.failed(branch, UNREACHABLE, "too many questions are open")
        self._ask(ResolveUri(branch.target.lead, branch.target.is_outside), Resolving(context, branch), deadline)
        return None

    def _ask(self, question: object, waiting: Resolving | Preparing, deadline: float) -> None:
        """A branch waits for an answer, and for nothing else any more."""
        branch = waiting.branch
        self._timers.cancel(waiting.context.key_of(branch))
        ask = self._asks.ask(question, waiting, deadline)
        branch.question, branch.transaction = ask.token, 0
        self._effects.append(ask)

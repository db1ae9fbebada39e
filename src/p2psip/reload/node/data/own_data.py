"""Store, Fetch, Stat and Find: making them and serving them (RFC 6940 section 7.4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from p2psip.base.errors import RequestFailed
from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.timers import Deadline
from p2psip.base.wallclock import WallClock
from p2psip.reload.node.data.commits import Commits
from p2psip.reload.node.data.lending.borrowing import Borrowing
from p2psip.reload.node.data.moving import Moving
from p2psip.reload.node.effects import Done
from p2psip.reload.node.exchange import MESSAGE_OVERHEAD, Exchange, failure_of
from p2psip.reload.node.limits import COMMANDS_MAX
from p2psip.reload.security.errors import SecurityError
from p2psip.reload.security.roles import Signer
from p2psip.reload.storage.fetching import all_values
from p2psip.reload.storage.storage import StorageTime
from p2psip.reload.storage.store.records import CommitFailed, Committed
from p2psip.reload.storage.storing import Rules
from p2psip.reload.storage.verified import Believer, Seen, lacks_certificates
from p2psip.reload.topology.plugin import Topology
from p2psip.reload.transport.outcome import Answer, Outcome
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.transport.transport import Originate, Received
from p2psip.reload.usages.certificate_store import KINDS as CERTIFICATE_KINDS
from p2psip.reload.usages.certificate_store import certificates_in
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.rejections import Forbidden, NotFound, Rejection
from p2psip.reload.wire.storage_messages import FetchAns, FetchReq, FindReq, StatReq, StoreReq


@dataclass(frozen=True, slots=True)
class CommandContext:
    """A command of the layer above, which gave `context`; `fetched` is the resource that it reads, if it is a Fetch."""

    context: object
    fetched: ResourceId | None = None


@dataclass(frozen=True, slots=True)
class CompletionContext:
    """A Fetch of the certificates that the answer to a command lacks."""

    context: object
    answer: Answer


class Data:
    """The data of one node, its own and that which it keeps for the overlay."""

    def __init__(
        self, exchange: Exchange, topology: Topology, commits: Commits, moving: Moving, borrowing: Borrowing
    ) -> None:
        self.storage = commits.storage
        self._seen = Seen()
        self._exchange = exchange
        self._topology = topology
        self._commits = commits
        self._moving = moving
        self._borrowing = borrowing
        self._commands = 0

    def use_rules(self, rules: Rules, now: float) -> None:
        """Accept values by the rules of a new configuration."""
        self.storage.use_rules(rules, now)
        self._borrowing.use_rules()
        self._commits.pull()

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._commits.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Let what has expired go."""
        self._commits.handle_timeout(now)

    def handle_answer(self, token: int, answer: Committed | CommitFailed, now: float) -> list[Originate]:
        """A commit is answered: what may leave now."""
        return self._commits.handle_answer(token, answer, now)

    def set_wall_clock(self, wall: WallClock, now: float) -> None:
        """The date is another."""
        self.storage.handle_wall_clock(wall, now)
        self._commits.pull()

    # Commands of the layer above

    @property
    def reader(self) -> Believer:
        """By what answers are believed; what this node has read is one memory, whoever asked for it."""
        return Believer(self.storage.rules, self._exchange.transport.wall, self._seen)

    def issue_storage_time(self, signer: NodeId, now: float, *, above_ms: int = 0) -> StorageTime:
        """A storage_time for one of our own identities, greater than all that it has used and than `above_ms`."""
        issued = self.storage.issue_storage_time(signer, now, above_ms=above_ms)
        self._commits.pull()
        return issued

    def request(self, asked: OverlayRequest, context: object, now: float) -> None:
        """A request of the layer above; `Done(context, ...)` follows."""
        fetched = asked.body.resource if isinstance(asked.body, FetchReq) else None
        begun = None
        if self._commands < COMMANDS_MAX:
            begun = self._exchange.request(asked, CommandContext(context, fetched), now)
        if begun is None:
            self._exchange.emit(Done(context, RequestFailed("too many requests under way")))
        else:
            self._commands += 1

    def fetch(self, request: FetchReq, context: object, now: float) -> None:
        """Fetch from whoever is responsible; `Done(context, ...)` follows."""
        if self._commands < COMMANDS_MAX and (answer := self._own_answer(request, now)) is not None:
            self._commands += 1
            self.handle_outcome(CommandContext(context, request.resource), answer, now)
        else:
            route = [Destination.resource(request.resource)]
            self.request(OverlayRequest(route, MessageCode.FETCH_REQ, request), context, now)

    def _own_answer(self, request: FetchReq, now: float) -> Answer | None:
        """What we would answer ourselves, which then is no message; None if it is for others, or not that easy."""
        if not self._topology.is_responsible(request.resource):
            return None
        identity, wall, rules = self._exchange.identity, self._exchange.transport.wall, self.storage.rules
        try:
            fetched = self.storage.fetch(request, now, size_max=self._exchange.values_size_max)
            chain = [entry.certificate for entry in identity.certificates]
            member = rules.verifier.check(chain, wall.date(now), wall.is_trusted)
        except (Rejection, SecurityError):
            return None
        signer = Signer(identity.node_id, member)
        return None if fetched.after is not None else Answer(signer, fetched.answer, fetched.certificates, 0.0, 0)

    # Requests of others

    def handle_store(self, request: Received, body: StoreReq, now: float) -> None:
        """7.4.1.2, 10.4: keep it, answer when it is safe on disk, pass it on to the replicas. Raises a Rejection."""
        is_from_holder = self._check_place(request, body)
        holders = self._topology.replicas_for(body.resource)
        certificates = request.message.security_block.certificates
        stored = self.storage.store(body, request.signer, certificates, holders, now, is_from_holder=is_from_holder)
        self._commits.pull()
        self._exchange.answer(request, stored.answer, after=stored.after)
        self._moving.spread(body.resource, stored.places, now)
        self._borrowing.changed(stored.places, now)
        sender = request.signer.node_id
        if body.replica_number:
            self._topology.handle_value_received(sender, now)
        if stored.places and not self._topology.is_from_responsible(sender, body.resource):
            # The rings of two islands grow together: who sent this did not know yet who is responsible.
            self._moving.pass_on(body.resource, stored.places, now)

    def handle_fetch(self, request: Received, body: FetchReq, now: float) -> None:
        """7.4.2. Raises a Rejection."""
        size_max = self._answer_size_max(request)
        if self._borrowing.passes_on(request, body, size_max, now):
            return
        fetched = self.storage.fetch(body, now, size_max=size_max)
        self._exchange.answer(request, fetched.answer, certificates=fetched.certificates, after=fetched.after)

    def handle_stat(self, request: Received, body: StatReq, now: float) -> None:
        """7.4.3. Raises a Rejection."""
        described = self.storage.stat(body, now, size_max=self._answer_size_max(request))
        self._exchange.answer(request, described.answer, after=described.after)

    def handle_find(self, request: Received, body: FindReq, now: float) -> None:
        """7.4.4. Raises a Rejection."""
        # 7.4.4.2: "If the processing peer is not responsible for the specified Resource-ID, it SHOULD return an
        # Error_Not_Found error code."
        if not self._topology.is_responsible(body.resource):
            raise NotFound("this peer is not responsible for the resource")
        found = self.storage.find(body, now)
        self._exchange.answer(request, found.answer, after=found.after)

    def _answer_size_max(self, request: Received) -> int:
        """How large values and certificates of the answer may be: as the requester says, and as one message holds."""
        asked_max = request.message.header.max_response_length
        room = self._exchange.values_size_max
        return max(0, min(room, asked_max - MESSAGE_OVERHEAD) if asked_max else room)

    def _check_place(self, request: Received, body: StoreReq) -> bool:
        """True if the sender is one from which values come here as copies. Raises a Rejection."""
        is_responsible = self._topology.is_responsible(body.resource)
        if body.replica_number == 0:
            # 7.4.1.1: "If the replica number is zero, then the peer MUST check that it is responsible for the
            # resource and, if not, reject the request."
            if not is_responsible:
                raise NotFound("this peer is not responsible for the resource")
            return False
        sender = request.signer.node_id
        # "replica StoreReqs MUST come from nodes which are either in the known replica set for a given resource or
        # which are closer than some node in the replica set. If this check fails, the request MUST be rejected with
        # an Error_Forbidden error." What is ours, anybody may give us: docs/decisions/values-of-another-island.md.
        plausible = self._topology.may_hold(sender, body.resource)
        if not (is_responsible or plausible):
            raise Forbidden("the sender is no peer from which values come here")
        return plausible

    # Outcomes

    def handle_outcome(self, context: CommandContext | CompletionContext, outcome: Outcome, now: float) -> None:
        """A request of the layer above is over."""
        if isinstance(context, CompletionContext):
            outcome = _completed(context.answer, outcome)
        elif isinstance(outcome, Answer) and self._complete(context, outcome, now):
            return
        self._commands -= 1
        result = outcome if isinstance(outcome, Answer) else failure_of(outcome)
        self._exchange.emit(Done(context.context, result))

    def _complete(self, context: CommandContext, answer: Answer, now: float) -> bool:
        """Look in the Certificate Store (section 8) for what an answer lacks; False if there is nothing to look for.

        Values that only one user or node may write are at the Resource-ID under which its certificate is as well.
        """
        rules = self.storage.rules
        kinds = [kind for kind in CERTIFICATE_KINDS if kind in rules.kinds]
        body = answer.body
        if context.fetched is None or not kinds or not isinstance(body, FetchAns):
            return False
        if not lacks_certificates(body, answer.certificates, rules):
            return False
        request = FetchReq(context.fetched, tuple(all_values(rules.kinds[kind]) for kind in kinds))
        completion = CompletionContext(context.context, answer)
        asked = OverlayRequest([Destination.resource(context.fetched)], MessageCode.FETCH_REQ, request)
        return self._exchange.request(asked, completion, now) is not None


def _completed(answer: Answer, outcome: Outcome) -> Answer:
    """An answer with the certificates that were found, if any were."""
    if not isinstance(outcome, Answer) or not isinstance(outcome.body, FetchAns):
        return answer
    found = (*outcome.certificates, *certificates_in(outcome.body))
    return replace(answer, certificates=tuple(dict.fromkeys((*answer.certificates, *found))))

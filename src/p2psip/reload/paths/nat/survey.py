"""A survey: what this node is behind, found out with the help of other members (RFC 5780 section 4, RFC 4787).

Theory of operation. RFC 5780 asks a server with two addresses; here other members are those addresses. A Binding
request to a member's port of links says as whom it sees us. To see who gets in, a member is asked, over the link that
we have with it, to send a probe to where such a request came from: from a further port of its own, or to have a third
member send it, to whom nothing was ever sent from there. So each of these tests has a further port of ours, a "spare";
the port of links itself is tried as well, as a router may forward it.

    mapping      the same spare to several members: as whom does each of them see it?           (4.3)
    filtering    a new spare, one member, probes from a third member and from another port      (4.4)
    reachable    the same for the port of links, by a member that we never sent anything to; where our router has
                 mapped it to another port than the one that members see, to that
    hairpinning  from one spare to the outside address of another                               (4.5)
    lifetime     spares that are silent for a while, and a probe to each then                   (4.6)

It is a sequence of steps with things to wait for between them, and so it is written: `_steps` goes on whenever
something has happened. Everything is asked over links of members; the only packets beside are to the ports of links of
members, to a further port of a member that it has told of, and to our own outside address.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.paths.ice.checks import TRANSACTION_BYTES, CheckAnswer, read
from p2psip.reload.paths.limits import SURVEY_HELPERS_MAX
from p2psip.reload.paths.nat.reach import CONFIRMATIONS, EndpointDependence, Reach
from p2psip.reload.paths.values import CloseSpare, SendSpare, SendStun
from p2psip.reload.wire.private_messages import ProbeWay, ReachAns
from p2psip.stun.message import BINDING, MessageClass, NotStun, StunMessage, decode
from p2psip.turn.peers import scope_of

BIND_WAITS_S: Final = (0.5, 0.5, 1.0, 1.0, 1.0)
"""After how long a Binding request goes out again, and how long the last is waited for: RFC 8489's Rc is for servers of
which nobody knows whether they are there."""

ANSWER_MAX_S: Final = 8.0
"""How long a member may take to answer what it is asked over its link."""

PROBE_S: Final = 1.0
"""How long after a member has said that it sent a probe that may take."""

PROBES: Final = 3
"""So often it is asked before a probe that does not come is held against the box, and not against the way."""

BUSY_S: Final = 5.0
"""After how long a member is asked again that has been asked too often for the moment."""

BUSY_MAX_S: Final = 40.0
"""How much of that there is in one survey: then it ends without what is missing."""

HAIRPIN_S: Final = 0.4
LIFETIMES_S: Final = (30.0, 60.0, 120.0)
"""RFC 4787 REQ-5: a mapping "MUST NOT expire in less than two minutes"; many do after 30 s or 60 s."""

_TO_MAPPED: Final = (ProbeWay.OTHER_MEMBER_TO_MAPPED, ProbeWay.OTHER_PORT_TO_MAPPED)
_TOKEN = slice(8, 8 + TRANSACTION_BYTES)


class SurveyHelper(NamedTuple):
    """A member that we are linked with, and where it has its port of links."""

    node: NodeId
    address: Address
    is_certain: bool = True
    """True if it is at that port for us over UDP, if UDP passes; else it has told so, and may be behind a NAT."""


@dataclass(frozen=True, slots=True)
class AskHelper(Effect):
    """Ask a member for a probe; `handle_answer` with this number is to follow. `avoid` has sent one already.

    `is_stranger_wanted`: it is to come from one to which nothing was sent from the port of links.
    """

    number: int
    node: NodeId
    way: ProbeWay
    token: bytes
    avoid: tuple[NodeId, ...] = ()
    is_stranger_wanted: bool = False
    mapped: Address | None = None
    """Where the probe is to go, with the ways to a port that our router has mapped."""


@dataclass(slots=True)
class _Binding:
    """A Binding request from one of our ports, `spare` being None for the port of links, and what came of it."""

    spare: int | None
    server: Address
    request: bytes
    sent: int = 1
    mapped: Address | None = None
    local: Address | None = None
    is_over: bool = False


class _Probe(NamedTuple):
    """What was asked for, and from where the probe has come; None where it has not."""

    answer: ReachAns
    source: Address | None


Steps = Generator[None, None, None]


class Survey:
    """One survey. `reach` is what it knows so far; `is_over`: it will not know more, but for how long mappings last."""

    def __init__(
        self,
        helpers: Sequence[SurveyHelper],
        known_hosts: frozenset[str],
        spares: Iterator[int],
        rng: random.Random,
        now: float,
        queue: TimerQueue | None = None,
        *,
        wants_lifetime: bool = False,
        mapped: Address | None = None,
    ) -> None:
        """`helpers` are at different hosts, the best first; to `known_hosts` something was sent from the port of links.
        `spares` are numbers for further ports. `rng` is one that nobody outside can guess. `mapped` is where our router
        says that the port of links is.
        """
        self.reach = Reach(now)
        self.is_over = False
        self._helpers = tuple(helpers[:SURVEY_HELPERS_MAX])
        self._known_hosts = known_hosts
        self._spares = spares
        self._rng = rng
        self._now = now
        self._wants_lifetime = wants_lifetime
        self._mapped = mapped
        self._locals: dict[int, Address] = {}
        """Our spares; those that are not open yet have port 0."""
        self._bindings: dict[bytes, _Binding] = {}
        self._asked: dict[int, ReachAns | None] = {}
        """Answers by the numbers of questions; None for one that was refused."""
        self._last_heard = 0
        """The number of the last question to which a member said anything, and be it no."""
        self._busy: set[int] = set()
        """Questions that are to be asked again later."""
        self._busy_left_s = BUSY_MAX_S
        self._number = 0
        self._came: dict[tuple[int | None, bytes], Address] = {}
        """From where probes have come, by port and token."""
        self._tokens: set[bytes] = set()
        self._timers: Timers[bytes | str] = Timers(queue)
        self._effects: list[Effect] = []
        self.is_done = False
        """True when there is nothing more to come."""
        self._steps = self._all_steps()
        self._advance(now)

    # What comes

    def handle_stun(self, spare: int | None, local: Address | None, remote: Address, data: bytes, now: float) -> bool:
        """A STUN message has come to one of our ports, `spare` being None for the port of links; True if it is ours."""
        token = bytes(data[_TOKEN])
        binding = self._bindings.get(token)
        if binding is None and token not in self._tokens:
            return False
        if binding is not None and binding.spare == spare and isinstance(answer := read(data), CheckAnswer):
            if remote == binding.server and not binding.is_over:
                self._timers.cancel(token)
                binding.mapped, binding.is_over = answer.mapped, True
                binding.local = local if spare is None else self._locals.get(spare)
        elif _is_probe(data):
            self._came.setdefault((spare, token), remote)
        self._advance(now)
        return True

    def handle_opened(self, spare: int, local: Address) -> None:
        """A further port of ours is there."""
        if spare in self._locals:
            self._locals[spare] = local

    def handle_answer(self, number: int, answer: ReachAns | None, now: float, *, is_there: bool = True) -> None:
        """A member has done what it was asked for, or does not do it; `is_there` is False where nothing was heard."""
        self._asked[number] = answer
        if is_there:
            self._last_heard = number
        self._advance(now)

    def handle_busy(self, number: int, now: float) -> None:
        """A member, or the one that it asked, does not do it now, as it has been asked too often."""
        self._busy.add(number)
        self._last_heard = number
        self._advance(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Ask again; wait no longer."""
        for key in self._timers.pop_due(now):
            if isinstance(key, bytes):
                binding = self._bindings[key]
                if binding.sent == len(BIND_WAITS_S):
                    binding.is_over = True
                else:
                    binding.sent += 1
                    self._send_binding(key, binding, now)
        self._advance(now)

    def close(self) -> None:
        """Nobody wants to know any more."""
        self.is_done = True
        self._steps.close()
        self._timers.clear()
        self._effects += [CloseSpare(spare) for spare in self._locals]
        self._locals.clear()

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    # The steps

    def _all_steps(self) -> Steps:
        yield from self._find_mapping()
        if not self.reach.is_udp_blocked:
            for place, helper in enumerate(self._helpers):
                # The third is asked where one of the two before has found an open port, and the other could not.
                if place < CONFIRMATIONS or len(set(self.reach.opened_by)) == 1:
                    yield from self._find_filtering(helper)
            for place, helper in enumerate(self._helpers):
                if place < CONFIRMATIONS or len(set(self.reach.reached_by)) == 1:
                    yield from self._find_whether_reachable(helper)
            if self.reach.has_nat and self.reach.mapping is EndpointDependence.NONE:
                # Else a spare has no outside address that the other one could be told.
                yield from self._find_hairpin()
        self.is_over = True
        if self._wants_lifetime and self.reach.address is not None and not self.reach.is_open:
            yield from self._find_lifetime()

    def _find_mapping(self) -> Steps:
        """RFC 5780 4.3: as whom do several of them see one and the same port?"""
        spare = self._spare()
        seen = [self._bind(spare, helper.address) for helper in self._helpers]
        links = [self._bind(None, helper.address) for helper in self._helpers]
        yield from self._until(lambda: all(each.is_over for each in (*seen, *links)), sum(BIND_WAITS_S))
        by_links = [each for each in links if each.mapped is not None]
        # Members that only the port of links has opened a way to do not answer others.
        answered = [each for each in seen if each.mapped is not None] or by_links
        port = _farthest(by_links)
        # Those that are on our side of a firewall answer whatever that does.
        outside = scope_of(self._helpers[0].address.host)
        certain = {helper.address for helper in self._helpers if helper.is_certain}
        beyond = [each for each in (*seen, *links) if scope_of(each.server.host) is outside]
        is_silent = all(each.mapped is None for each in beyond)
        asked = [each for each in beyond if each.server in certain]
        self._know(
            helpers=len(self._helpers),
            is_udp_blocked=is_silent and (yield from self._is_anybody_there(asked)),
            local=port and port.local,
            address=port and port.mapped,
            mapping=_dependence(answered),
        )

    def _is_anybody_there(self, silent: Sequence[_Binding]) -> Generator[None, None, bool]:
        """Whether one of those that say nothing over UDP says something over its link: else they may have died."""
        for helper in self._helpers:
            requests = [each.request for each in silent if each.server == helper.address]
            if requests:
                before = self._number
                yield from self._ask(AskHelper(0, helper.node, ProbeWay.SAME_PORT, bytes(requests[0][_TOKEN])))
                if self._last_heard > before:
                    return True
        return False

    def _find_filtering(self, helper: SurveyHelper) -> Steps:
        """4.4: who gets in that was not asked for? First test II, then test III."""
        bound = self._bind(self._spare(), helper.address)
        yield from self._until(lambda: bound.is_over, sum(BIND_WAITS_S))
        if bound.mapped is None:
            return
        other = yield from self._probe(helper, ProbeWay.OTHER_MEMBER, bound)
        if other is not None and other.source is not None and other.source.host != helper.address.host:
            self._know(opened_by=(*self.reach.opened_by, *other.answer.members))
            self._know_filtering(EndpointDependence.NONE)
        port = yield from self._probe(helper, ProbeWay.OTHER_PORT, bound)
        if port is None:
            return
        is_kept_out = other is None or other.source is None
        if is_kept_out and (port.source is None or port.source.host != helper.address.host):
            self._know_filtering(EndpointDependence.ADDRESS_AND_PORT)
        elif other is not None and other.source is None:
            self._know_filtering(EndpointDependence.ADDRESS)
        if self.reach.mapping in (None, EndpointDependence.SOME):
            yield from self._find_port_dependence(helper, bound, port.answer.port)

    def _find_port_dependence(self, helper: SurveyHelper, bound: _Binding, port: int) -> Steps:
        """4.3, test III: the same host, another port."""
        assert bound.spare is not None, "filtering is found out with a spare"
        again = self._bind(bound.spare, helper.address._replace(port=port))
        yield from self._until(lambda: again.is_over, sum(BIND_WAITS_S))
        if again.mapped is not None:
            if again.mapped != bound.mapped:
                self._know(mapping=EndpointDependence.ADDRESS_AND_PORT)
            elif self.reach.mapping is EndpointDependence.SOME:
                self._know(mapping=EndpointDependence.ADDRESS)

    def _find_whether_reachable(self, helper: SurveyHelper) -> Steps:
        """The port of links: it may be forwarded, be the box as it may."""
        bound = self._bind(None, helper.address)
        yield from self._until(lambda: bound.is_over, sum(BIND_WAITS_S))
        if bound.mapped is None or bound.local is None:
            return
        if self._mapped not in (None, bound.mapped):
            yield from self._find_whether_mapped(helper, bound)
            return
        other = yield from self._probe(helper, ProbeWay.OTHER_MEMBER, bound, is_stranger_wanted=True)
        if other is not None and other.source is not None:
            if other.source.host not in self._known_hosts:
                self._know(reached_by=(*self.reach.reached_by, *other.answer.members))
        elif other is None and self.reach.filtering is EndpointDependence.ADDRESS_AND_PORT:
            # There is nobody to whom nothing was ever sent. But where another port of somebody does not get in at other
            # ports of ours, and does at this one, this one is forwarded.
            port = yield from self._probe(helper, ProbeWay.OTHER_PORT, bound)
            if port is not None and port.source is not None and port.source != helper.address:
                self._know(reached_by=(*self.reach.reached_by, helper.node))

    def _find_whether_mapped(self, helper: SurveyHelper, bound: _Binding) -> Steps:
        """What our router has mapped is another port than the one that this member sees: whoever was sent nothing from
        that one is let in to it by the mapping alone.
        """
        other = yield from self._probe(helper, ProbeWay.OTHER_MEMBER_TO_MAPPED, bound, is_stranger_wanted=True)
        if other is not None and other.source is not None:
            if other.source.host not in self._known_hosts:
                self._know(reached_by=(*self.reach.reached_by, *other.answer.members))
        elif other is None:
            # There is no stranger.
            port = yield from self._probe(helper, ProbeWay.OTHER_PORT_TO_MAPPED, bound)
            if port is not None and port.source is not None and port.source.host == helper.address.host:
                self._know(reached_by=(*self.reach.reached_by, helper.node))

    def _find_hairpin(self) -> Steps:
        """4.5, between two ports, of which each has sent to the other's outside address: so no filter keeps it out."""
        helper = self._helpers[0]
        two = [self._bind(self._spare(), helper.address) for _ in range(2)]
        yield from self._until(lambda: all(each.is_over for each in two), sum(BIND_WAITS_S))
        first, second = two
        if first.mapped is None or second.mapped is None:
            return
        tokens = [self._token(), self._token()]
        for _ in range(PROBES):
            for (source, target), token in zip(((first, second), (second, first)), tokens, strict=True):
                assert source.spare is not None, "both are spares"
                assert target.mapped is not None, "looked at above"
                self._effects.append(SendSpare(source.spare, target.mapped, probe(token)))
            yield from self._until(lambda: self._has_any(tokens), HAIRPIN_S)
        self._know(hairpins=self._has_any(tokens))

    def _find_lifetime(self) -> Steps:
        """4.6, with a port for each time, which is silent for so long."""
        helper, began = self._helpers[0], self._now
        ports = [self._bind(self._spare(), helper.address) for _ in LIFETIMES_S]
        yield from self._until(lambda: all(each.is_over for each in ports), sum(BIND_WAITS_S))
        for silent_s, bound in zip(LIFETIMES_S, ports, strict=True):
            yield from self._until(lambda: False, max(0.0, began + silent_s - self._now))
            came = None if bound.mapped is None else (yield from self._probe(helper, ProbeWay.SAME_PORT, bound))
            if came is None:
                continue
            if came.source is None:
                self._know(forgets_s=silent_s)
                return
            self._know(keeps_s=silent_s)

    # What steps are made of

    def _until(self, is_so: Callable[[], bool], patience_s: float) -> Steps:
        """Wait for something, for so long."""
        deadline = self._now + patience_s
        self._timers.set("step", deadline, "survey of what we are behind")
        while self._now < deadline and not is_so():
            yield
        self._timers.cancel("step")

    def _probe(
        self, helper: SurveyHelper, way: ProbeWay, bound: _Binding, *, is_stranger_wanted: bool = False
    ) -> Generator[None, None, _Probe | None]:
        """Have a probe sent to where a request of ours came from; None if nobody does that."""
        token, is_link = bytes(bound.request[_TOKEN]), bound.spare is None
        self._came.pop((bound.spare, token), None)
        found: _Probe | None = None
        for _ in range(PROBES):
            mapped = self._mapped if way in _TO_MAPPED else None
            sent = self.reach.reached_by if is_link else self.reach.opened_by
            answer = yield from self._ask(AskHelper(0, helper.node, way, token, sent, is_stranger_wanted, mapped))
            if answer is None:
                return found
            yield from self._until(lambda: (bound.spare, token) in self._came, PROBE_S)
            found = _Probe(answer, self._came.get((bound.spare, token)))
            if found.source is not None:
                break
        return found

    def _ask(self, question: AskHelper) -> Generator[None, None, ReachAns | None]:
        """What a member answers; None if it does not do that, or not soon."""
        while True:
            self._number += 1
            number = self._number
            self._effects.append(replace(question, number=number))
            yield from self._until(lambda number=number: number in self._asked or number in self._busy, ANSWER_MAX_S)  # type: ignore[misc]
            if number not in self._busy:
                return self._asked.pop(number, None)
            if self._busy_left_s < BUSY_S:
                self._know(is_cut_short=True)
                return None
            self._busy_left_s -= BUSY_S
            yield from self._until(lambda: False, BUSY_S)

    def _bind(self, spare: int | None, server: Address) -> _Binding:
        token = self._token()
        request = StunMessage(MessageClass.REQUEST, BINDING, token, has_fingerprint=True).encode()
        binding = self._bindings[token] = _Binding(spare, server, request)
        self._send_binding(token, binding, self._now)
        return binding

    def _send_binding(self, token: bytes, binding: _Binding, now: float) -> None:
        spare, server, request = binding.spare, binding.server, binding.request
        send = SendStun(None, server, request) if spare is None else SendSpare(spare, server, request)
        self._effects.append(send)
        self._timers.set(token, now + BIND_WAITS_S[binding.sent - 1], "no word on our address")

    def _spare(self) -> int:
        spare = next(self._spares)
        self._locals[spare] = Address("0.0.0.0", 0)
        return spare

    def _token(self) -> bytes:
        token = self._rng.randbytes(TRANSACTION_BYTES)
        self._tokens.add(token)
        return token

    def _has_any(self, tokens: Sequence[bytes]) -> bool:
        return any(token in tokens for _, token in self._came)

    def _know(self, **found: object) -> None:
        self.reach = replace(self.reach, **found)  # type: ignore[arg-type]

    def _know_filtering(self, found: EndpointDependence) -> None:
        """What one test has shown; a packet that got in once counts more than one that did not."""
        order = (EndpointDependence.NONE, EndpointDependence.ADDRESS, EndpointDependence.ADDRESS_AND_PORT)
        known = self.reach.filtering
        if known is None or order.index(found) < order.index(known):
            self._know(filtering=found)

    def _advance(self, now: float) -> None:
        self._now = now
        if not self.is_done and next(self._steps, self) is self:
            self.close()


def probe(token: bytes) -> bytes:
    """What is sent to see whether it comes: an indication, which nobody answers (RFC 8489 section 2)."""
    return StunMessage(MessageClass.INDICATION, BINDING, token, has_fingerprint=True).encode()


def _is_probe(data: bytes) -> bool:
    try:
        message = decode(data)
    except NotStun:
        return False
    return (message.message_class, message.method) == (MessageClass.INDICATION, BINDING)


def _is_far(binding: _Binding) -> bool:
    """True if its server sees us as another: with one that is on our side of the NAT nothing is found out."""
    return binding.mapped != binding.local


def _farthest(bindings: Sequence[_Binding]) -> _Binding | None:
    return next(filter(_is_far, bindings), next(iter(bindings), None))


def _dependence(answered: Sequence[_Binding]) -> EndpointDependence | None:
    """4.3: "If XOR-MAPPED-ADDRESS in test II is the same [...], the mapping behavior is endpoint-independent"."""
    if not answered:
        return None
    far = [each for each in answered if _is_far(each)]
    if not far:
        # 4.3: there is no NAT.
        return EndpointDependence.NONE
    if len(far) < 2:
        return None
    return EndpointDependence.NONE if len({each.mapped for each in far}) == 1 else EndpointDependence.SOME

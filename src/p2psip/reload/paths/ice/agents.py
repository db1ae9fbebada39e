"""The agents of one node, by their ufrags: whose a STUN message is, and how many there may be."""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from typing import Final

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.rto import RoundTripEstimator
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.paths.ice.agent import Agent, AgentsGround
from p2psip.reload.paths.ice.candidate_addresses import CandidateAddress, Mapped, decoded, relay_wait_s
from p2psip.reload.paths.ice.checks import KNOWN_TO_ICE, CheckCredentials, CheckRequest, CheckRole, Plain, read
from p2psip.reload.paths.ice.restraint import Restraint
from p2psip.reload.paths.ice.values import AgentAllowance, PairReport, PathLost, PathsSuspected
from p2psip.reload.paths.limits import ICE_AGENTS_MAX, ICE_PAIRS_IN_ALL_MAX, ICE_PAIRS_MAX
from p2psip.reload.paths.values import Parameters, SendStun
from p2psip.stun.binding import answer_binding

ICE_CHARACTERS: Final = string.ascii_letters + string.digits + "+/"
UFRAG_CHARACTERS: Final = 4
PASSWORD_CHARACTERS: Final = 22
"""RFC 8445 section 5.3: a ufrag has at least 24 bits of randomness, a password 128; each of these characters is 6."""


class Agents:
    """All agents of one node. Containment is of the ufrags that they have said in an Attach."""

    def __init__(self, rng: random.Random, queue: TimerQueue | None = None) -> None:
        """`rng` is one that nobody outside can guess: from it are passwords and transactions."""
        self._agents: dict[bytes, Agent] = {}
        self._ground = AgentsGround(Timers(queue), Restraint(), {}, rng)
        self._effects: list[Effect] = []

    def __len__(self) -> int:
        return len(self._agents)

    def __contains__(self, ufrag: bytes) -> bool:
        return ufrag in self._agents

    @property
    def is_full(self) -> bool:
        """True if no further agent may be opened now: all that there are have begun."""
        return len(self._agents) >= ICE_AGENTS_MAX and all(each.has_begun for each in self._agents.values())

    @property
    def restraint(self) -> Restraint:
        """What all that is sent to who may not be there is counted in."""
        return self._ground.restraint

    # Commands

    def open(self, candidates: Sequence[CandidateAddress], *, is_controlling: bool) -> CheckCredentials:
        """An agent for a session that has these candidates: what to say in the Attach besides them.

        From now on it answers the checks of whoever knows its password. `is_full` must be false; the oldest that still
        waits for the other end's words may have to go.
        """
        assert not self.is_full, "look at is_full before opening"
        if len(self._agents) >= ICE_AGENTS_MAX:
            self.close(next(ufrag for ufrag, each in self._agents.items() if not each.has_begun))
        ufrag = self._secret(UFRAG_CHARACTERS)
        while ufrag in self._agents:
            ufrag = self._secret(UFRAG_CHARACTERS)
        own = CheckCredentials(ufrag, self._secret(PASSWORD_CHARACTERS))
        role = CheckRole.drawn(is_controlling, self._ground.rng)
        self._agents[ufrag] = Agent(own, candidates, role, self._ground)
        return own

    def begin(self, ufrag: bytes, theirs: Parameters, now: float, *, was_relayed: bool = False) -> None:
        """The other end's words are here. PathChosen follows, or PathLost. `was_relayed`: the path that this one is to
        replace goes over a relay.
        """
        agent = self._agents[ufrag]
        pairs = sum(each.pairs for each in self._agents.values() if each.path is None)
        pairs_max = min(ICE_PAIRS_MAX, max(ICE_PAIRS_IN_ALL_MAX - pairs, 1))
        credentials = CheckCredentials(theirs.ufrag, theirs.password)
        candidates = decoded(theirs.candidates)
        relay_s = relay_wait_s(agent.candidates, candidates, was_relayed=was_relayed)
        agent.begin(credentials, candidates, AgentAllowance(pairs_max, relay_s), now)
        self._collect(agent, now)

    def close(self, ufrag: bytes) -> None:
        """Nobody wants this one any more; no matter if it is gone."""
        if (agent := self._agents.pop(ufrag, None)) is not None:
            agent.close()

    def sent(self, ufrag: bytes, now: float) -> bool:
        """Data is to be sent on the path of an agent; False if the other end has not consented lately: then it must not
        be.
        """
        agent = self._agents.get(ufrag)
        if agent is None:
            return False
        agent.sent(now)
        return agent.may_send(now)

    def lose_local(self, address: Address, reason: str, now: float) -> None:
        """An address of ours, which a relay had lent us, is ours no more: paths from there need another."""
        for agent in list(self._agents.values()):
            agent.lose_local(address, reason, now)
            self._collect(agent, now)

    def heard(self, ufrag: bytes, now: float) -> None:
        """Data has come on the path of an agent."""
        if (agent := self._agents.get(ufrag)) is not None:
            agent.heard(now)

    def round_trip(self, ufrag: bytes) -> RoundTripEstimator | None:
        """What consent says of it on the path of an agent; None without a path."""
        agent = self._agents.get(ufrag)
        return None if agent is None or agent.consent is None else agent.consent.round_trip

    def is_doubted(self, ufrag: bytes) -> bool:
        """True if the path of an agent has not answered lately."""
        return (agent := self._agents.get(ufrag)) is not None and agent.is_doubted

    def doubt(self, now: float) -> None:
        """Something is another in the network: see whether each path in use still works."""
        for agent in self._agents.values():
            agent.doubt(now)

    def use_candidates(self, candidates: Sequence[CandidateAddress], now: float) -> None:
        """Our addresses are others. Each agent has those of the ports that it had; its relays it has as before."""
        for agent in list(self._agents.values()):
            ports = {each.base.port for each in agent.candidates if not each.is_relayed}
            fresh = [each for each in candidates if not each.is_relayed and each.base.port in ports]
            agent.use_candidates([*fresh, *(each for each in agent.candidates if each.is_relayed)], now)
            self._collect(agent, now)

    def reports(self, ufrag: bytes) -> tuple[PairReport, ...]:
        """What has become of the pairs of an agent."""
        agent = self._agents.get(ufrag)
        return () if agent is None else agent.reports()

    def path(self, ufrag: bytes) -> PairReport | None:
        """The pair that is the path of an agent, and how it stands."""
        agent = self._agents.get(ufrag)
        return None if agent is None or agent.path is None else agent.path.report()

    def is_relayed(self, ufrag: bytes) -> bool:
        """True if the path of an agent goes over a relay."""
        agent = self._agents.get(ufrag)
        return agent is not None and agent.path is not None and agent.path.is_relayed

    def mapped(self) -> list[Mapped]:
        """As whom those see us with whom there is a direct path: they are our STUN servers (RFC 6940 6.5.1.4)."""
        return [mapped for each in self._agents.values() if (mapped := each.mapped) is not None]

    # From the driver

    def handle_datagram(self, local: Address, remote: Address, data: bytes, now: float) -> None:
        """A STUN message has come to an address of ours. What is not for anybody is dropped."""
        message = read(data)
        if message is Plain.QUESTION:
            if (answer := answer_binding(data, remote, KNOWN_TO_ICE)) is not None:
                self._effects.append(SendStun(local, remote, answer))
        elif isinstance(message, CheckRequest):
            if (agent := self._agents.get(message.receiver)) is not None:
                agent.handle_request(message, local, remote, now)
                self._collect(agent, now)
        elif not isinstance(message, Plain) and (agent := self._ground.owners.get(message.transaction)) is not None:
            agent.handle_answer(message, local, remote, now)
            self._collect(agent, now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._ground.timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Check, repeat, nominate, ask for consent."""
        for ufrag, what, transaction in self._ground.timers.pop_due(now):
            agent = self._agents[ufrag]
            agent.handle_due(what, transaction, now)
            self._collect(agent, now)

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    # Inside

    def _collect(self, agent: Agent, now: float) -> None:
        for effect in agent.drain():
            self._effects.append(effect)
            if isinstance(effect, PathsSuspected):
                self.doubt(now)
            if isinstance(effect, PathLost):
                self.close(agent.own.ufrag)

    def _secret(self, characters: int) -> bytes:
        return "".join(self._ground.rng.choice(ICE_CHARACTERS) for _ in range(characters)).encode()

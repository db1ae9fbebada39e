"""The agents of one node: whose a STUN message is, and how many there may be."""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from typing import Final

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.paths.ice.agent import Agent, Ground
from p2psip.reload.paths.ice.candidate_addresses import CandidateAddress, decoded
from p2psip.reload.paths.ice.checks import CheckCredentials, CheckRequest, CheckRole, Plain, read
from p2psip.reload.paths.ice.restraint import Restraint
from p2psip.reload.paths.ice.values import PairReport, PathLost, SendDatagram
from p2psip.reload.paths.limits import ICE_AGENTS_MAX, ICE_PAIRS_IN_ALL_MAX, ICE_PAIRS_MAX
from p2psip.reload.paths.values import Parameters
from p2psip.stun.binding import answer_binding

ICE_CHARACTERS: Final = string.ascii_letters + string.digits + "+/"
UFRAG_CHARACTERS: Final = 4
PASSWORD_CHARACTERS: Final = 22
"""RFC 8445 section 5.3: a ufrag has at least 24 bits of randomness, a password 128; each of these characters is 6."""

TIE_BREAKER_BITS: Final = 64


class Agents:
    """All agents of one node, by the numbers of their sessions."""

    def __init__(self, rng: random.Random, queue: TimerQueue | None = None) -> None:
        """`rng` is one that nobody outside can guess: from it are passwords and transactions."""
        self._agents: dict[int, Agent] = {}
        self._by_ufrag: dict[bytes, Agent] = {}
        self._ground = Ground(Timers(queue), Restraint(), {}, rng)
        self._effects: list[Effect] = []

    def __len__(self) -> int:
        return len(self._agents)

    def __contains__(self, session: int) -> bool:
        return session in self._agents

    @property
    def is_full(self) -> bool:
        """True if no further agent may be opened now."""
        return len(self._agents) >= ICE_AGENTS_MAX

    # Commands

    def open(self, session: int, candidates: Sequence[CandidateAddress], *, is_controlling: bool) -> CheckCredentials:
        """An agent for a session that has these candidates: what to say in the Attach besides them.

        From now on it answers the checks of whoever knows its password. `is_full` must be false.
        """
        assert not self.is_full, "look at is_full before opening"
        ufrag = self._secret(UFRAG_CHARACTERS)
        while ufrag in self._by_ufrag:
            ufrag = self._secret(UFRAG_CHARACTERS)
        own = CheckCredentials(ufrag, self._secret(PASSWORD_CHARACTERS))
        role = CheckRole(is_controlling, self._ground.rng.getrandbits(TIE_BREAKER_BITS))
        made = Agent(session, own, candidates, role, self._ground)
        self._agents[session] = self._by_ufrag[ufrag] = made
        return own

    def begin(self, session: int, theirs: Parameters, now: float) -> None:
        """The other end's words are here. PathChosen follows, or PathLost."""
        agent = self._agents[session]
        pairs = sum(each.pairs for each in self._agents.values() if each.path is None)
        pairs_max = min(ICE_PAIRS_MAX, max(ICE_PAIRS_IN_ALL_MAX - pairs, 1))
        credentials = CheckCredentials(theirs.ufrag, theirs.password)
        agent.begin(credentials, decoded(theirs.candidates), pairs_max, now)
        self._collect(agent)

    def close(self, session: int) -> None:
        """Nobody wants this one any more; no matter if it is gone."""
        if (agent := self._agents.pop(session, None)) is not None:
            agent.close()
            del self._by_ufrag[agent.own.ufrag]

    def sent(self, session: int, now: float) -> bool:
        """Data is to be sent on the path of a session; False if the other end has not consented lately: then it must
        not be.
        """
        agent = self._agents.get(session)
        if agent is None:
            return False
        agent.sent(now)
        return agent.may_send(now)

    def reports(self, session: int) -> tuple[PairReport, ...]:
        """What has become of the pairs of a session."""
        agent = self._agents.get(session)
        return () if agent is None else agent.reports()

    # From the driver

    def handle_datagram(self, local: Address, remote: Address, data: bytes, now: float) -> None:
        """A STUN message has come to an address of ours. What is not for anybody is dropped."""
        message = read(data)
        if message is Plain.QUESTION:
            if (answer := answer_binding(data, remote)) is not None:
                self._effects.append(SendDatagram(local, remote, answer))
        elif isinstance(message, CheckRequest):
            if (agent := self._by_ufrag.get(message.receiver)) is not None:
                agent.handle_request(message, local, remote, now)
                self._collect(agent)
        elif not isinstance(message, Plain) and (agent := self._ground.owners.get(message.transaction)) is not None:
            agent.handle_answer(message, local, remote, now)
            self._collect(agent)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._ground.timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Check, repeat, nominate, ask for consent."""
        for session, what, transaction in self._ground.timers.pop_due(now):
            agent = self._agents[session]
            agent.handle_due(what, transaction, now)
            self._collect(agent)

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    # Inside

    def _collect(self, agent: Agent) -> None:
        effects = agent.drain()
        self._effects += effects
        if any(isinstance(effect, PathLost) for effect in effects):
            self.close(agent.number)

    def _secret(self, characters: int) -> bytes:
        return "".join(self._ground.rng.choice(ICE_CHARACTERS) for _ in range(characters)).encode()

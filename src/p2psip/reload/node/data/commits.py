"""Commits of the storage: passed up as questions, and what waits for their answers held back."""

from __future__ import annotations

from p2psip.base.effects import Ask
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.base.waiting_room import WaitingRoom
from p2psip.reload.node.exchange import Exchange
from p2psip.reload.storage.storage import Storage
from p2psip.reload.storage.store.records import CommitFailed, Committed
from p2psip.reload.transport.transport import Originate


class Commits:
    """Persist before you answer: the storage of a node, its commits under way, and the gate before its messages."""

    def __init__(self, exchange: Exchange, storage: Storage, gate: WaitingRoom[Originate]) -> None:
        self.storage = storage
        self._exchange = exchange
        self._gate = gate
        self._queue = TimerQueue(exchange.queue)
        self._overdue: Timers[int] = self._queue.scope()
        storage.join(self._queue)

    def pull(self) -> None:
        """Pass the storage's questions up; from now on what depends on their answers is held back."""
        for effect in self.storage.drain():
            if isinstance(effect, Ask):
                self._gate.expect(effect.token)
                self._overdue.set(effect.token, effect.deadline, "commit overdue")
            self._exchange.emit(effect)

    def handle_answer(self, token: int, answer: Committed | CommitFailed, now: float) -> list[Originate]:
        """A commit is answered: what may leave now."""
        self.storage.handle_answer(token, answer, now)
        self.pull()
        self._overdue.cancel(token)
        if isinstance(answer, Committed):
            return self._gate.release(token)
        self._failed(token, answer.reason, now)
        return []

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._queue.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Let what has expired go."""
        self.storage.handle_timeout(now)
        self.pull()
        for token in self._overdue.pop_due(now):
            self._failed(token, "the disk does not answer", now)

    def _failed(self, token: int, reason: str, now: float) -> None:
        held = self._gate.release(token)
        self._exchange.transport.handle_commit_failed(token, now)
        self._exchange.warn("commit failed", reason=reason, held_back=len(held))

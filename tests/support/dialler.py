"""In the place of a node, for tests of what is below it: attempts to connect, and what becomes of them."""

from __future__ import annotations

import random

from p2psip.base.effects import Effect
from p2psip.base.timers import Deadline
from p2psip.reload.paths.paths import Paths
from p2psip.reload.paths.values import Candidate, Ended, PathEvent, Purpose, Session


class Dialler:
    """The core of paths, and the attempts that a test wants. `ended` is told of one that came to nothing."""

    def __init__(self) -> None:
        self.paths = Paths(random.Random(1))
        self._numbers: dict[int, int] = {}

    def dial(self, number: int, candidates: tuple[Candidate, ...], now: float) -> None:
        """Connect; `number` is what the test calls it, whichever candidate answers."""
        assert self.paths.connect(Session(Purpose.RELOAD, candidates), number, now) is not None

    def handle_path(self, event: PathEvent, now: float) -> None:
        """As a node's."""
        for over in self.paths.handle(event, now):
            self._over(over)

    def up(self, path: int) -> int:
        """A link is up: what the test calls it; an accepted one has its own number."""
        context = self.paths.up(path)
        if isinstance(context, int):
            self._numbers[path] = context
        return self.called(path)

    def called(self, path: int) -> int:
        """What the test calls a link."""
        return self._numbers.get(path, path)

    def path_of(self, number: int) -> int:
        """The number that it has with the driver."""
        return next((path for path, called in self._numbers.items() if called == number), number)

    def down(self, path: int, reason: str, now: float) -> None:
        """A connection is down."""
        self._over(self.paths.down(path, reason, now))

    def handle_timeout(self, now: float) -> None:
        """As a node's."""
        for ended in self.paths.handle_timeout(now):
            self._over(ended)

    def next_deadline(self) -> Deadline | None:
        """As a node's."""
        return self.paths.next_deadline()

    def drain(self) -> list[Effect]:
        """As a node's."""
        return self.paths.drain()

    def _over(self, ended: Ended | None) -> None:
        if ended is not None:
            assert isinstance(ended.context, int)
            self.ended(ended.context, ended.reason)

    def ended(self, number: int, reason: str) -> None:
        """A test's own business."""
        raise NotImplementedError

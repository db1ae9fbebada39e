"""Connecting without ICE (RFC 6940 section 6.5.1.11): candidates are dialled until one answers.

Theory of operation. An attempt has a session's candidates, best first. Each is opened a little after the one before;
the first whose other end answers at all is the path, and only there the handshake goes on. All others are given up.

                    last one fails, or patience ends
       OPENING ------------------------------------------> Ended
          |  answered, and not by this machine               ^
          v                                                  | the handshake fails
       SECURING ---------------------------------------------'
          |  its certificates are there
          v
        (up: the context of the attempt, and the connection is the node's)

With ICE the same attempt checks pairs of candidates before there is a path; what comes after is the same.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from p2psip.base.address import Address, source_key
from p2psip.base.allowance import oldest_of_most
from p2psip.base.effects import Effect
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.paths.limits import (
    DIALLED_CANDIDATES_MAX,
    DIALLED_CANDIDATES_PER_MEMBER_MAX,
    DIALS_MAX,
    HANDSHAKES_MAX,
)
from p2psip.reload.paths.values import (
    CALL_RECORDS,
    PASSIVE,
    Candidate,
    Ended,
    HangUp,
    Open,
    Purpose,
    Refusal,
    Secure,
    Session,
)
from p2psip.turn.values import STUN_TURN

DIAL_STAGGER_S = 0.25
"""How long a candidate has before the next is tried beside it (RFC 8305 section 5)."""

DIAL_MAX_S = 8.0
"""How long all of them have to answer."""

PROTOCOLS = {Purpose.RELAY: STUN_TURN, Purpose.CALLS: CALL_RECORDS}
"""What a stream says that it is for, where nothing else tells."""

UNWANTED = "there is another path"
OURSELVES = "that is this machine itself"
SLOWER = "another candidate was faster"


@dataclass(eq=False, slots=True)
class _Attempt:
    """One session's candidates, by the number of the connection that each is to be."""

    number: int
    session: Session
    context: object
    candidates: dict[int, Candidate]
    """Those that have not failed."""
    opened: set[int] = field(default_factory=set)
    """Those of them that the driver works on."""
    chosen: int | None = None
    stalls: int = 0
    """How often its handshake has stood still."""
    reasons: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    """Of each candidate that is no path why not."""

    @property
    def over(self) -> tuple[Refusal, ...]:
        """The same; of a candidate that was tried twice the last reason."""
        return tuple(Refusal(*each) for each in dict(self.refusals).items())


class Dialling:
    """The attempts under way, and the handshakes of who has connected with us."""

    def __init__(self, queue: TimerQueue | None = None) -> None:
        self._numbers = iter(range(2, 1 << 62, 2))
        self._listening: frozenset[Address] = frozenset()
        self._attempts: dict[int, _Attempt] = {}
        self._by_path: dict[int, _Attempt] = {}
        self._timers: Timers[tuple[str, int]] = Timers(queue)
        self._busy: dict[Address, int] = {}
        """Whose DTLS handshake with us is under way; all datagrams between two ports are one association's."""
        self._waiting: dict[Address, deque[int]] = {}
        self._handshaking: dict[int, str] = {}
        self._effects: list[Effect] = []

    def __len__(self) -> int:
        return len(self._attempts)

    def __iter__(self) -> Iterator[Session]:
        return (attempt.session for attempt in self._attempts.values())

    def contexts(self) -> tuple[object, ...]:
        """What they are for, the oldest first."""
        return tuple(attempt.context for attempt in self._attempts.values())

    @property
    def is_full(self) -> bool:
        """True if no further attempt may begin now."""
        return len(self._attempts) >= DIALS_MAX

    def has_room_for(self, session: Session, besides: Iterable[Session] = ()) -> bool:
        """False if others have us open too many sockets already, or this user has.

        Each candidate is a socket, for as long as nobody answers there; or a place that is checked, of those `besides`.
        """
        asked = [each for each in (*self, *besides) if each.asked_by]
        in_all = sum(len(each.candidates) for each in asked)
        of_user = sum(len(each.candidates) for each in asked if each.asked_by == session.asked_by)
        count = len(session.candidates)
        is_too_much = in_all + count > DIALLED_CANDIDATES_MAX or of_user + count > DIALLED_CANDIDATES_PER_MEMBER_MAX
        return not self.is_full and not (session.asked_by and is_too_much)

    # What the node wants

    def connect(self, session: Session, context: object, now: float) -> int:
        """Begin to connect; `context` comes back from `up`, or in `Ended`. The number of the first connection tried.

        There must be candidates, and `is_full` be false.
        """
        assert session.candidates, "somewhere to go"
        assert not self.is_full, "look at is_full before connecting"
        number = next(self._numbers)
        attempt = self._attempts[number] = _Attempt(number, session, context, {})
        self._begin(attempt, [number, *(next(self._numbers) for _ in session.candidates[1:])], now)
        return number

    def _begin(self, attempt: _Attempt, paths: Sequence[int], now: float) -> None:
        attempt.chosen = None
        attempt.candidates = dict(zip(paths, attempt.session.candidates, strict=True))
        for rank, path in enumerate(paths):
            self._by_path[path] = attempt
            if rank:
                self._timers.set(("open", path), now + rank * DIAL_STAGGER_S, "next candidate")
        self._timers.set(("patience", attempt.number), now + DIAL_MAX_S, "nobody answers")
        self._open(attempt, paths[0])

    def withdraw(self, is_unwanted: Callable[[Session], bool]) -> None:
        """Dial no more for the sessions of which that is true."""
        for attempt in [each for each in self._attempts.values() if is_unwanted(each.session)]:
            for path in list(attempt.candidates):
                self._give_up(attempt, path, UNWANTED)
            self._end(attempt)

    def listening(self, addresses: frozenset[Address]) -> None:
        """Where this machine accepts connections; an unspecified host stands for all of its addresses."""
        self._listening = addresses

    # What becomes of it

    def opened(self, path: int, local: Address) -> Ended | None:
        """Somebody has answered, the first of this attempt or too late."""
        attempt = self._by_path.get(path)
        if attempt is None or attempt.chosen is not None:
            return None
        candidate = attempt.candidates[path]
        if candidate.address.host == local.host and self._listens_at(candidate.address):
            # Many networks have the same private addresses: this one of the other's is one of ours as well.
            self._effects.append(HangUp(path, OURSELVES))
            return self.down(path, OURSELVES)
        self._choose(attempt, path)
        self._effects.append(Secure(path))
        return None

    def made_for(self, path: int) -> Session | None:
        """The session of the attempt that this is a path of."""
        attempt = self._by_path.get(path)
        return None if attempt is None else attempt.session

    def refusals(self, path: int) -> tuple[Refusal, ...]:
        """Why the attempt that this is a path of has none by its other candidates."""
        attempt = self._by_path.get(path)
        return () if attempt is None else attempt.over

    def being_secured(self, path: int) -> Session | None:
        """The session of the attempt whose path this is, and whose handshake is not done."""
        attempt = self._by_path.get(path)
        return None if attempt is None or attempt.chosen != path else attempt.session

    def stalled(self, path: int, candidates: tuple[Candidate, ...], now: float) -> None:
        """The handshake of an attempt stood still: it begins anew with these, as often as there are kinds of links.

        Then it is over, as it is down.
        """
        attempt = self._by_path[path]
        attempt.stalls += 1
        if attempt.stalls <= len({candidate.link_type for candidate in candidates}):
            self._forget(attempt, path)
            attempt.session = replace(attempt.session, candidates=candidates)
            self._begin(attempt, [next(self._numbers) for _ in candidates], now)

    def zoned(self, path: int, addresses: Iterable[Address], now: float) -> None:
        """A link-local candidate is tried on each link, as no candidate says on which it is."""
        attempt = self._by_path.get(path)
        if attempt is None or attempt.chosen is not None:
            return
        candidate = attempt.candidates[path]
        self._release(path)
        attempt.opened.discard(path)
        for rank, address in enumerate(addresses):
            number = next(self._numbers) if rank else path
            attempt.candidates[number] = candidate._replace(address=address)
            self._by_path[number] = attempt
            self._timers.set(("open", number), now + rank * DIAL_STAGGER_S, "next link of this machine")

    def up(self, path: int) -> object | None:
        """A connection has shown its certificates: what it was made for; None for one that was accepted."""
        self._handshaking.pop(path, None)
        attempt = self._by_path.get(path)
        if attempt is None:
            return None
        self._choose(attempt, path)
        self._end(attempt)
        return attempt.context

    def down(self, path: int, reason: str) -> Ended | None:
        """A connection could not be made, or ended before it was up. `Ended` if it was the last of its attempt."""
        self._handshaking.pop(path, None)
        attempt = self._by_path.get(path)
        if attempt is None:
            return None
        attempt.refusals.append(Refusal(attempt.candidates[path], reason))
        if attempt.chosen == path:
            self._end(attempt)
            return Ended(attempt.session, attempt.context, reason, refusals=attempt.over)
        attempt.reasons.append(f"{attempt.candidates[path]}: {reason}")
        self._forget(attempt, path)
        return None if attempt.candidates else self._given_up(attempt)

    def accepted(self, path: int, remote: Address) -> None:
        """Somebody has connected and has yet to say who: there may be so many of them, and no more."""
        self._handshaking[path] = source_key(remote.host)
        if len(self._handshaking) > HANDSHAKES_MAX:
            oldest = oldest_of_most(self._handshaking)
            del self._handshaking[oldest]
            self._effects.append(HangUp(oldest, "too many handshakes at once"))

    # Time

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> list[Ended]:
        """Try the next candidates; give up on who does not answer."""
        ended: list[Ended] = []
        for what, number in self._timers.pop_due(now):
            if what == "open":
                self._open(self._by_path[number], number)
                continue
            attempt = self._attempts[number]
            silent = ", ".join(map(str, attempt.candidates.values()))
            attempt.reasons.append(f"no answer in {DIAL_MAX_S:g} s from {silent}")
            attempt.refusals += [
                Refusal(each, f"no answer in {DIAL_MAX_S:g} s") for each in attempt.candidates.values()
            ]
            ended.append(self._given_up(attempt))
        return ended

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    # Inside

    def _open(self, attempt: _Attempt, path: int) -> None:
        candidate = attempt.candidates[path]
        if not candidate.is_stream:
            if candidate.address in self._busy:
                self._waiting.setdefault(candidate.address, deque()).append(path)
                return
            self._busy[candidate.address] = path
        attempt.opened.add(path)
        protocol = PROTOCOLS.get(attempt.session.purpose, b"") if candidate.is_stream else b""
        # 6.5.1.13: "The node that sent the Attach request MUST be the TLS server."
        is_server = attempt.session.is_simultaneous and attempt.session.local.role == PASSIVE
        self._effects.append(Open(path, candidate, protocol, is_server))

    def _listens_at(self, address: Address) -> bool:
        """True for an address of this machine at which we listen: other nodes may run beside us, at others."""
        hosts = [listening.host for listening in self._listening if listening.port == address.port]
        return address.host in hosts or any(ipaddress.ip_address(host).is_unspecified for host in hosts)

    def _choose(self, attempt: _Attempt, path: int) -> None:
        """Give up the others of an attempt, and wait no longer."""
        attempt.chosen = path
        self._timers.cancel(("patience", attempt.number))
        for other in [each for each in attempt.candidates if each != path]:
            attempt.refusals.append(Refusal(attempt.candidates[other], SLOWER))
            self._give_up(attempt, other, SLOWER)

    def _give_up(self, attempt: _Attempt, path: int, reason: str) -> None:
        is_open = path in attempt.opened
        self._forget(attempt, path)
        if is_open:
            self._effects.append(HangUp(path, reason))

    def _given_up(self, attempt: _Attempt) -> Ended:
        for path in list(attempt.candidates):
            self._give_up(attempt, path, "nobody answered")
        self._end(attempt)
        return Ended(attempt.session, attempt.context, "; ".join(attempt.reasons), refusals=attempt.over)

    def _end(self, attempt: _Attempt) -> None:
        for path in list(attempt.candidates):
            self._forget(attempt, path)
        self._timers.cancel(("patience", attempt.number))
        del self._attempts[attempt.number]

    def _forget(self, attempt: _Attempt, path: int) -> None:
        self._timers.cancel(("open", path))
        self._release(path)
        attempt.opened.discard(path)
        del attempt.candidates[path], self._by_path[path]

    def _release(self, path: int) -> None:
        """The DTLS handshake with an address is over, or not wanted any more: who waits for it has its turn."""
        address = self._by_path[path].candidates[path].address
        waiting = self._waiting.get(address, deque())
        if path in waiting:
            waiting.remove(path)
        elif self._busy.get(address) == path:
            del self._busy[address]
            if waiting:
                following = waiting.popleft()
                self._open(self._by_path[following], following)
        if not waiting:
            self._waiting.pop(address, None)

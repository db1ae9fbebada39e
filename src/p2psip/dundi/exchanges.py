"""The transactions with all neighbours: whose a message is, what is said again, and what is encrypted.

Theory of operation. A message belongs to the transaction that its destination names, or, if that is not known to its
sender yet, to the one that this sender has begun by its source. What belongs nowhere begins a transaction, if its
command may, or is answered by INVALID. With a neighbour of whom there are keys, questions and answers are encrypted; an
ENCREJ to a question that has named its key by the checksum has it asked once more, with the key itself.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.timers import Deadline, Timers
from p2psip.dundi.elements import EID, ENCRYPTED, Eid
from p2psip.dundi.limits import EXCHANGES_MAX
from p2psip.dundi.message import TRANSACTION_MAX, CommandCode, DundiMessage, Element, NotDundi, Said
from p2psip.dundi.neighbour import Neighbour
from p2psip.dundi.session_keys import SessionKey
from p2psip.dundi.transaction import AGAIN_S, LINGER_S, Heard, Transaction
from p2psip.dundi.values import SendDundi

OPENING: Final = frozenset(
    {
        CommandCode.DPDISCOVER,
        CommandCode.EIDQUERY,
        CommandCode.PRECACHERQ,
        CommandCode.REGREQ,
        CommandCode.NULL,
        CommandCode.ENCRYPT,
    }
)
"""What may begin a transaction."""

NO_ANSWER: Final = "no answer"
"""Why nothing comes of it where nobody has said anything."""

SILENT_S: Final = 10.0
"""How long what is acknowledged may be without an answer: longer than anybody waits for it."""

IN_CLEAR: Final = frozenset(
    {CommandCode.NULL, CommandCode.CANCEL, CommandCode.ENCREJ, CommandCode.INVALID, CommandCode.UNKNOWN}
)
"""What has nothing in it that is worth to be hidden, and is needed where keys do not fit."""


@dataclass(slots=True, eq=False)
class NeighbourExchange:
    """A transaction with a neighbour. `purpose` is ours, None for what the neighbour has begun."""

    neighbour: Neighbour
    transaction: Transaction
    purpose: object
    began_at: float
    asked: Said | None = None
    """What we have begun it with."""
    key: SessionKey | None = None
    """What it is encrypted with."""
    is_whole: bool = False
    """True if the key itself has been sent in it."""
    began_with: int = 0
    """The source of what it began with, of a neighbour's; 0 of our own."""


@dataclass(frozen=True, slots=True)
class Came:
    """Something new has come in an exchange; `said` None: our last word is acknowledged."""

    exchange: NeighbourExchange
    said: Said | None
    is_encrypted: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing will come of an exchange any more; `purpose` is what it was begun for, None if by the neighbour."""

    exchange: NeighbourExchange
    purpose: object
    reason: str


class Exchanges:
    """Those of one entity."""

    def __init__(self, eid: Eid, neighbours: Mapping[Address, Neighbour], rng: random.Random) -> None:
        self._eid = eid
        self._neighbours = neighbours
        self._rng = rng
        self._exchanges: dict[int, NeighbourExchange] = {}
        self._begun: dict[tuple[Address, int], NeighbourExchange] = {}
        self._timers: Timers[int] = Timers()
        self._effects: list[Effect] = []
        self.strangers = 0

    def __len__(self) -> int:
        return len(self._exchanges)

    # What we say

    def begin(self, neighbour: Neighbour, said: Said, purpose: object, now: float) -> NeighbourExchange | None:
        """Ask a neighbour something; None if too much is under way."""
        exchange = self._open(neighbour, purpose, now)
        if exchange is not None:
            exchange.asked = said
            self._ask(exchange, now)
        return exchange

    def answer(self, exchange: NeighbourExchange, said: Said, now: float) -> None:
        """Our last word to what a neighbour has begun."""
        if exchange.key is not None and said.command not in IN_CLEAR:
            said, is_final = self._sealed(exchange.key, said), True
        else:
            is_final = said.is_final
        self._say(exchange, said, now, is_final=is_final)

    def cancel(self, exchange: NeighbourExchange, now: float) -> None:
        """Nobody wants to know any more."""
        if not exchange.transaction.is_over:
            exchange.purpose = None
            self._say(exchange, Said(CommandCode.CANCEL, is_final=True), now, is_final=True)

    def cancel_all(self, purpose: object, now: float) -> None:
        """The same of what was begun for this."""
        for exchange in [each for each in self._exchanges.values() if each.purpose is purpose]:
            self.cancel(exchange, now)

    def is_open(self, exchange: NeighbourExchange) -> bool:
        """True as long as an answer may be given in it."""
        transaction = exchange.transaction
        is_there = self._exchanges.get(transaction.number) is exchange
        return is_there and not (transaction.is_over or transaction.has_ended)

    # What comes

    def handle(self, remote: Address, data: bytes, now: float) -> Came | Failed | None:
        """A datagram. What comes of it is to be acted upon, and then settled."""
        neighbour = self._neighbours.get(remote)
        if neighbour is None:
            self.strangers += 1
            return None
        try:
            frame = DundiMessage.decode(data)
        except NotDundi:
            neighbour.dropped += 1
            return None
        exchange = self._of(neighbour, frame, now)
        if exchange is None:
            return None
        match exchange.transaction.hear(frame):
            case Heard.OVER:
                self._linger(exchange, now)
                return Came(exchange, None)
            case Heard.REPEATED:
                self._send(neighbour, exchange.transaction.last)
                return None
            case Heard.NOTHING:
                if not exchange.transaction.is_awaited and not exchange.transaction.is_over:
                    self._timers.set(exchange.transaction.number, now + SILENT_S, "nothing more has come")
                return None
        return self._came(exchange, frame.said, now)

    def settle(self, came: Came, now: float) -> None:
        """What has come is acted upon: acknowledge it, if nothing that was said has done so."""
        assert came.said is not None
        exchange = came.exchange
        acknowledgement = exchange.transaction.acknowledge(is_final=came.said.is_final)
        if acknowledgement is not None:
            self._send(exchange.neighbour, acknowledgement)
        if exchange.transaction.is_over:
            self._linger(exchange, now)

    def handle_timeout(self, now: float) -> list[Failed]:
        """Say again what nobody has acknowledged, and give up what has taken too long."""
        return [failed for number in self._timers.pop_due(now) if (failed := self._on_timer(number, now)) is not None]

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def drain(self) -> list[Effect]:
        """Datagrams since the last call."""
        effects, self._effects = self._effects, []
        return effects

    # Inside

    def _open(self, neighbour: Neighbour, purpose: object, now: float) -> NeighbourExchange | None:
        if sum(each.neighbour is neighbour for each in self._exchanges.values()) >= EXCHANGES_MAX:
            return None
        number = self._rng.randint(1, TRANSACTION_MAX - 1)
        while number in self._exchanges:
            number = number % (TRANSACTION_MAX - 1) + 1
        self._exchanges[number] = exchange = NeighbourExchange(neighbour, Transaction(number), purpose, now)
        return exchange

    def _ask(self, exchange: NeighbourExchange, now: float) -> None:
        said, neighbour = exchange.asked, exchange.neighbour
        assert said is not None
        if neighbour.terms.keys is not None and said.command not in IN_CLEAR:
            exchange.key = key = neighbour.own_key(now)
            introduced = neighbour.introduce(key, is_whole=exchange.is_whole)
            exchange.is_whole = len(introduced) > 1
            said = self._sealed(key, said, (EID.of(self._eid), *introduced))
        self._say(exchange, said, now, is_final=said.is_final)

    def _sealed(self, key: SessionKey, said: Said, before: tuple[Element, ...] = ()) -> Said:
        return Said(CommandCode.ENCRYPT, (*before, ENCRYPTED.of(key.encrypt(said, self._rng))))

    def _say(self, exchange: NeighbourExchange, said: Said, now: float, *, is_final: bool) -> None:
        self._send(exchange.neighbour, exchange.transaction.say(said, is_final=is_final))
        self._timers.set(exchange.transaction.number, now + AGAIN_S, "no acknowledgement")

    def _send(self, neighbour: Neighbour, frame: DundiMessage | None) -> None:
        assert frame is not None
        self._effects.append(SendDundi(neighbour.terms.address, frame.encode()))

    def _of(self, neighbour: Neighbour, frame: DundiMessage, now: float) -> NeighbourExchange | None:
        remote = neighbour.terms.address
        if frame.destination:
            exchange = self._exchanges.get(frame.destination)
            if exchange is not None and exchange.neighbour is neighbour:
                return exchange
        elif (known := self._begun.get((remote, frame.source))) is not None:
            return known
        elif frame.source and frame.said.command in OPENING and not frame.sequence:
            if not neighbour.may_request(now) or (exchange := self._open(neighbour, None, now)) is None:
                neighbour.dropped += 1
                return None
            exchange.began_with = frame.source
            self._begun[remote, frame.source] = exchange
            return exchange
        if frame.said.command not in (CommandCode.ACK, CommandCode.INVALID) and neighbour.may_be_refused(now):
            refusal = DundiMessage(
                frame.destination, frame.source, frame.sequence, frame.expected, Said(CommandCode.INVALID)
            )
            self._send(neighbour, refusal)
        neighbour.dropped += 1
        return None

    def _came(self, exchange: NeighbourExchange, said: Said, now: float) -> Came | Failed | None:
        if said.command == CommandCode.ENCRYPT:
            return self._unsealed(exchange, said, now)
        if said.command == CommandCode.ENCREJ and exchange.asked is not None:
            return self._rejected(exchange, now)
        if said.command == CommandCode.INVALID:
            # It wants no acknowledgement: that would belong nowhere as well.
            exchange.transaction.end()
            self._linger(exchange, now)
            return Failed(exchange, exchange.purpose, "it knows nothing of what it was asked")
        return Came(exchange, said)

    def _unsealed(self, exchange: NeighbourExchange, said: Said, now: float) -> Came | Failed | None:
        try:
            if exchange.asked is None and exchange.key is None:
                exchange.key = exchange.neighbour.their_key(said, now)
            data = ENCRYPTED.last(said)
            if exchange.key is None or data is None:
                raise NotDundi("nothing is encrypted that could be read")
            return Came(exchange, exchange.key.decrypt(data), is_encrypted=True)
        except NotDundi as error:
            exchange.neighbour.unread(error)
            if exchange.asked is not None:
                failed = Failed(exchange, exchange.purpose, str(error))
                self.cancel(exchange, now)
                return failed
            self._say(exchange, Said(CommandCode.ENCREJ, is_final=True), now, is_final=True)
            return None

    def _rejected(self, exchange: NeighbourExchange, now: float) -> Failed | None:
        """The neighbour does not know our key: it is told, in a transaction of its own."""
        self.settle(Came(exchange, Said(CommandCode.ENCREJ, is_final=True)), now)
        if exchange.is_whole or exchange.key is None:
            why = "it does not take our key: compare inkey and outkey on both sides"
            return Failed(exchange, exchange.purpose, why)
        anew = self._open(exchange.neighbour, exchange.purpose, now)
        if anew is None:
            return Failed(exchange, exchange.purpose, "too much is under way")
        anew.asked, anew.began_at, anew.is_whole = exchange.asked, exchange.began_at, True
        exchange.purpose = None
        self._ask(anew, now)
        return None

    def _linger(self, exchange: NeighbourExchange, now: float) -> None:
        self._timers.set(exchange.transaction.number, now + LINGER_S, "nothing is said again any more")

    def _on_timer(self, number: int, now: float) -> Failed | None:
        exchange = self._exchanges[number]
        transaction = exchange.transaction
        if transaction.is_awaited and transaction.may_say_again:
            transaction.transmissions += 1
            self._send(exchange.neighbour, transaction.last)
            self._timers.set(number, now + AGAIN_S, "no acknowledgement")
            return None
        del self._exchanges[number]
        self._begun.pop((exchange.neighbour.terms.address, exchange.began_with), None)
        if transaction.is_over:
            return None
        transaction.end()
        return Failed(exchange, exchange.purpose, NO_ANSWER)

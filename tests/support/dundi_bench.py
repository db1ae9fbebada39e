"""An entity of ours and an Asterisk, with a network between them that loses what it is told to, in virtual time."""

from __future__ import annotations

import ipaddress
import random
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from fake_asterisk import DPRESPONSE, EIDRESPONSE, FINAL, FakeAsterisk, Packet, taken_apart

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect, Note
from p2psip.dundi.elements import Eid
from p2psip.dundi.entity import Entity
from p2psip.dundi.session_keys import EntityKeys
from p2psip.dundi.values import EntityTerms, FindOwn, NeighbourTerms, NumberSought, OfferedContext, SendDundi

US, THEM, THIRD = (Eid.parse(f"00:00:5E:00:53:{last}") for last in ("01", "02", "03"))
HERE, THERE, ELSEWHERE = Address("192.0.2.1", 4520), Address("198.51.100.2", 4520), Address("203.0.113.9", 4520)


@cache
def pair(name: str) -> rsa.RSAPrivateKey:
    """A pair of keys, made once."""
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)


def keys(*, is_encrypted: bool) -> EntityKeys | None:
    return EntityKeys(pair("theirs").public_key(), pair("ours")) if is_encrypted else None


def neighbour(name: str = "pbx", eid: Eid = THEM, address: Address = THERE, **changes: object) -> NeighbourTerms:
    calls = (ipaddress.ip_network(address.host),)
    terms = NeighbourTerms(name, eid, address, None, ("e164", "home"), frozenset({"e164", "home"}), calls)
    return replace(terms, **changes)  # type: ignore[arg-type]


TERMS = EntityTerms(
    US,
    HERE,
    "192.0.2.1",
    (neighbour(),),
    (OfferedContext("e164", ("4930555",)), OfferedContext("home", ("4", "70"), 10), OfferedContext("closed", ("",))),
    about={"organization": "The club", "email": "post@club.example"},
)


class DundiBench:
    """`users` of the overlay by their numbers; `loses` says which datagrams do not arrive."""

    def __init__(self, *, is_encrypted: bool = False, **changes: object) -> None:
        terms = replace(TERMS, neighbours=(neighbour(keys=keys(is_encrypted=is_encrypted)),))
        self.entity = Entity(replace(terms, **changes), random.Random(1))  # type: ignore[arg-type]
        self.now = 0.0
        self.users = {"+4930555123": "+4930555123", "42": "42", "45": "dl1abc", "46": "x" * 300}
        self.loses: Callable[[bytes], bool] = lambda _: False
        self.sent: list[tuple[float, bytes]] = []
        self.found: list[NumberSought] = []
        self.notes: list[Note] = []
        self.asked: list[str] = []
        self.is_overlay_mute = False
        self._incoming: deque[tuple[Address, bytes]] = deque()
        self._is_settling = False
        mine, theirs = (pair("theirs"), pair("ours").public_key()) if is_encrypted else (None, None)
        self.asterisk = FakeAsterisk(bytes(THEM), self.from_asterisk, own=mine, other=theirs)
        self.others: dict[Address, FakeAsterisk] = {THERE: self.asterisk}

    def up(self) -> DundiBench:
        """Started, and everybody has answered."""
        self.entity.start(self.now)
        self.run(0.5)
        self.sent.clear()
        for each in self.others.values():
            each.heard.clear()
        return self

    def add(self, address: Address, eid: Eid) -> FakeAsterisk:
        """One more Asterisk, at an address of its own."""
        self.others[address] = FakeAsterisk(bytes(eid), lambda data: self.came(data, address))
        return self.others[address]

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self._settle()
            due = self.entity.next_deadline()
            if due is None or due.at > end:
                self.now = end
                return
            self.now = max(self.now, due.at)
            self.entity.handle_timeout(self.now)

    def find(self, number: str) -> NumberSought:
        """What has come of asking for a number."""
        self.entity.find(number, "context", self.now)
        for _ in range(100):
            self._settle()
            if self.found:
                return self.found.pop()
            self.run(0.1)
        raise AssertionError("a search ends")

    def from_asterisk(self, data: bytes) -> None:
        self.came(data, THERE)

    def came(self, data: bytes, remote: Address = THERE) -> None:
        if not self.loses(data):
            self._incoming.append((remote, data))
        self._settle()

    @property
    def packets(self) -> list[Packet]:
        """What we have sent, taken apart."""
        return [taken_apart(data) for _, data in self.sent]

    def _settle(self) -> None:
        """One input after the other, each with all that it wants done."""
        if self._is_settling:
            return
        self._is_settling = True
        self._do_all()
        while self._incoming:
            self.entity.handle_datagram(*self._incoming.popleft(), self.now)
            self._do_all()
        self._is_settling = False

    def _do_all(self) -> None:
        while effects := self.entity.drain():
            for effect in effects:
                self._do(effect)

    def _do(self, effect: Effect) -> None:
        match effect:
            case SendDundi(remote, data):
                self.sent.append((self.now, data))
                if not self.loses(data) and remote in self.others:
                    self.others[remote].hear(data)
            case Ask(token, FindOwn(number)):
                self.asked.append(number)
                if not self.is_overlay_mute:
                    self.entity.handle_answer(token, self.users.get(number, ""), self.now)
            case NumberSought():
                self.found.append(effect)
            case Note():
                self.notes.append(effect)


BOTH = pytest.mark.parametrize("is_encrypted", [False, True], ids=["clear", "encrypted"])


def said(bench: DundiBench) -> list[int]:
    """The commands that the Asterisk has heard, those that were encrypted among them."""
    return [each.said for each in bench.asterisk.heard]


def answer(bench: DundiBench) -> Packet:
    """The one answer that the Asterisk has heard."""
    (found,) = [each for each in bench.asterisk.heard if each.said in (DPRESPONSE | FINAL, EIDRESPONSE | FINAL)]
    return found

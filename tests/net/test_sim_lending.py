"""Clients that lend their peer storage (docs/decisions/lending.md) in virtual time: they serve, go, lie, and forget."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import pytest

from p2psip.base.effects import Effect, Note
from p2psip.base.ids import ResourceId
from p2psip.reload.config.configuration import SIP_REGISTRATION_KIND, AccessControl, Kind
from p2psip.reload.link.link import IDLE_S
from p2psip.reload.node.data.lending.borrowing import LEASE_MAX_S, PATIENCE_S
from p2psip.reload.node.data.lending.lenders import DISTRUST_S, PAUSE_S
from p2psip.reload.node.effects import RequestRefused, Write
from p2psip.reload.node.facts import LenderFacts
from p2psip.reload.node.limits import LENT_WINDOW
from p2psip.reload.storage.store.records import Put, Record
from p2psip.reload.storage.stored_values import Certificates, sign_value
from p2psip.reload.storage.verified import read_answer
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import ErrorCode, MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.kinds import DataModel
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.private_messages import PrivateReq
from p2psip.reload.wire.storage_messages import (
    DataValue,
    DictionaryEntry,
    DictionarySpecifier,
    FetchAns,
    FetchKindResponse,
    FetchReq,
    StoredData,
    StoredDataSpecifier,
    StoreKindData,
    StoreReq,
)
from p2psip.reload.wire.usages.lend_messages import LEND, LendReq
from p2psip.sim.capture import Tap
from p2psip.sim.registrations import ask, fill, grow, line, missing, wait_until, wait_whole
from p2psip.sim.signer import SimulatedIdentity
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.topologies import CASES
from p2psip.sim.world import Host

LARGE = Kind(0xF0000077, DataModel.DICTIONARY, AccessControl.USER_NODE_MATCH, max_count=16, max_size=16384)
KINDS = (SIP_REGISTRATION_KIND, LARGE)
SEED = "lending 5"
"""The client's peer is responsible for 7 of 12 letters, and is not the bootstrap node."""

ROOM = 1 << 20
LIFETIME_S = 7200
VALUE = 5000


@dataclass
class Letter:
    """A large value that a line of a peer has stored, and what it says."""

    line: SimulatedIdentity
    host: Host
    resource: ResourceId
    content: bytes


class Lent:
    """An overlay of peers, large values in it, and clients that lend."""

    def __init__(
        self, seed: str, peers: int = 4, letters: int = 12, *, lend_bytes: int = ROOM, **settings: object
    ) -> None:
        self.overlay = grow(seed, peers, required_kinds=KINDS, **settings)
        self.said: list[tuple[str, str]] = []
        self._do = self.overlay.world._do
        self.overlay.world._do = self._listen  # type: ignore[method-assign]
        self.client = self.overlay.add_client(0, lend_bytes=lend_bytes)
        self.wait(lambda: self.borrower is not None)
        self.letters = [self.put(number) for number in range(letters)]
        self.overlay.world.run_for(10.0)

    def _listen(self, host: Host, effect: Effect) -> None:
        if isinstance(effect, Note):
            self.said.append((host.name, effect.event))
        self._do(host, effect)

    def wait(self, condition: Callable[[], bool], limit_s: float = 60.0) -> float:
        return wait_until(self.overlay, limit_s, condition)

    @property
    def borrower(self) -> Host | None:
        """The peer that the client lends to."""
        node = self.overlay.node(self.client).lending.borrower
        return next((host for host in self.overlay.alive() if self.overlay.node(host).node_id == node), None)

    def lender(self, host: Host | None = None) -> LenderFacts:
        """What the peer knows of the one client that lends to it."""
        host = host or self.borrower
        assert host is not None
        (facts,) = self.overlay.node(host).lenders(self.overlay.world.now)
        return facts

    def put(self, number: int, content: bytes | None = None) -> Letter:
        """A line stores its value."""
        writer, hosts = line(f"letter {number}"), self.overlay.alive()
        host = hosts[number % len(hosts)]
        node = self.overlay.node(host)
        resource = node.hash_name(writer.user.encode())
        content = content or f"letter {number}".encode().ljust(VALUE, b".")

        def run(context: object, now: float) -> None:
            node.add_client(writer, now)
            issued = node.issue_storage_time(writer.node_id, now)
            value = signed(writer, resource, content, issued.storage_time_ms)
            request = StoreReq(resource, 0, (StoreKindData(LARGE.kind_id, 0, (value,)),))
            node.store(writer, request, context, now, after=issued.after)

        done = self.overlay.wait_done(host, self.overlay.command(host, run))
        assert isinstance(done.result, Answer), done.result
        return Letter(writer, host, resource, content)

    def get(self, letter: Letter, asking: Host | None = None) -> tuple[bytes | None, float]:
        """What a peer that is not responsible reads, and how long that takes."""
        responsible = self.overlay.responsible_for(letter.resource)
        host = asking or next(each for each in self.overlay.alive() if each not in responsible)
        request = FetchReq(letter.resource, (StoredDataSpecifier(LARGE.kind_id, 0, DictionarySpecifier(())),))
        began = self.overlay.world.now
        command = self.overlay.command(host, lambda context, now: self.overlay.node(host).fetch(request, context, now))
        result = self.overlay.wait_done(host, command).result
        assert isinstance(result, Answer), result
        assert isinstance(result.body, FetchAns)
        reader = self.overlay.node(host).reader
        verified = read_answer(letter.resource, result.body, result.certificates, reader, self.overlay.world.now)
        (kind,) = result.body.kind_responses
        assert isinstance(kind, FetchKindResponse)
        assert not verified.dropped
        found = [value.data for value in verified.values]
        return found[0] if found else None, self.overlay.world.now - began

    def borrowed(self) -> list[Letter]:
        """Those that the borrower is responsible for."""
        return [each for each in self.letters if self.overlay.responsible_for(each.resource) == [self.borrower]]

    def all_found(self, letters: Iterable[Letter] | None = None) -> float:
        """Every value is read as it was written; returns how long the slowest took."""
        took = []
        for letter in letters or self.letters:
            found, seconds = self.get(letter)
            assert found == letter.content, letter.line.user
            took.append(seconds)
        return max(took)

    def has_said(self, host: Host, event: str) -> bool:
        """True if that is in the log of a node."""
        return (host.name, event) in self.said

    def at_client(self, letter: Letter) -> Record:
        """The copy that the client has."""
        (record,) = self.client.store.records(letter.resource, LARGE.kind_id)
        return record


def signed(writer: SimulatedIdentity, resource: ResourceId, content: bytes, storage_time_ms: int) -> StoredData:
    entry = DictionaryEntry(bytes(writer.node_id), DataValue(True, content))
    return sign_value(writer, resource, LARGE.kind_id, entry, storage_time_ms, LIFETIME_S)


def lent_with_letters(seed: str) -> tuple[Lent, list[Letter]]:
    lent = Lent(seed)
    borrowed = lent.borrowed()
    assert len(borrowed) >= 2, "choose another seed"
    assert lent.lender().count == len(borrowed), "all that it is responsible for is with the client"
    return lent, borrowed


def test_values_placed_on_a_client_are_fetched_through_its_peer() -> None:
    """5.5: "the client contributes its storage capacity to its associated peer"."""
    lent, borrowed = lent_with_letters(SEED)
    assert lent.borrower is not None
    tap = Tap(lent.overlay)
    lent.all_found(borrowed)
    passed = [each for each in tap.between(lent.borrower.name, lent.client.name) if each.code is MessageCode.FETCH_REQ]
    given = [each for each in tap.between(lent.borrower.name, lent.client.name) if each.code is MessageCode.FETCH_ANS]
    assert len(passed) == len(given) == len(borrowed), "each was asked of the client"
    assert lent.lender().answered == len(borrowed), "and answered with what it gave back"
    assert lent.lender().failed == 0
    facts = lent.overlay.node(lent.client).lending
    assert facts.count == facts.reads == len(borrowed)
    assert facts.size_bytes == lent.lender().size_bytes


@pytest.mark.parametrize("topology", CASES)
def test_it_is_so_with_any_topology(topology: str) -> None:
    lent = Lent("any topology", letters=16, topology_plugin=topology)
    lent.all_found()
    assert lent.lender().count == lent.lender().answered == len(lent.borrowed()) > 0
    lent.overlay.world.crash(lent.client, is_silent=True)
    lent.all_found()


def test_what_a_client_gives_back_is_what_readers_get() -> None:
    """Not the own copy: what the peer itself has on its disk is not even looked at."""
    lent, (letter, *_) = lent_with_letters(SEED)
    assert lent.borrower is not None
    (own,) = lent.borrower.store.records(letter.resource, LARGE.kind_id)
    certificates = lent.borrower.store.certificates(own.chain)
    assert certificates is not None
    lent.borrower.store._apply(Put(replace(own, data=own.data[:-40] + bytes(40)), certificates))
    assert lent.get(letter)[0] == letter.content


def test_a_call_waits_for_no_client() -> None:
    lent, _ = lent_with_letters(SEED)
    assert lent.borrower is not None
    records = fill(lent.overlay, 12)
    lent.overlay.world.run_for(10.0)
    tap = Tap(lent.overlay)
    assert missing(lent.overlay, records) == []
    assert not tap.between(lent.borrower.name, lent.client.name)


@pytest.mark.parametrize("is_silent", [False, True])
def test_a_client_that_goes_takes_nothing_with_it(is_silent: bool) -> None:
    lent, borrowed = lent_with_letters(SEED)
    lent.overlay.world.crash(lent.client, is_silent=is_silent)
    slowest = lent.all_found()
    assert slowest < PATIENCE_S + 1.0
    began = lent.overlay.world.now
    lent.all_found(borrowed)
    assert lent.overlay.world.now - began < 1.0, "it cost one read a moment, and those after it nothing"


def test_what_waits_for_a_client_is_answered_when_its_link_goes() -> None:
    lent, (letter, *_) = lent_with_letters(SEED)
    do = lent.overlay.world._do

    def crash_when_asked(host: Host, effect: Effect) -> None:
        do(host, effect)
        if host is lent.borrower and isinstance(effect, Write) and host.links[effect.link].host is lent.client:
            lent.overlay.world.crash(lent.client)

    lent.overlay.world._do = crash_when_asked  # type: ignore[method-assign]
    found, seconds = lent.get(letter)
    assert (found, seconds < PATIENCE_S) == (letter.content, True)


def test_a_client_that_leaves_and_comes_again_has_what_it_had() -> None:
    lent, borrowed = lent_with_letters(SEED)
    lent.overlay.world.call(lent.client, lent.overlay.node(lent.client).leave)
    lent.overlay.world.run_for(5.0)
    lent.overlay.world.crash(lent.client)
    lent.all_found()
    kept = lent.client.store
    borrower = lent.borrower
    lent.client = lent.overlay.add_client(0, lend_bytes=ROOM)
    lent.client.store.__dict__.update(kept.__dict__)
    tap = Tap(lent.overlay)
    lent.wait(lambda: lent.borrower is not None)
    assert lent.borrower is borrower
    lent.overlay.world.run_for(20.0)
    assert borrower is not None
    stores = [each for each in tap.seen if each.code is MessageCode.STORE_REQ]
    assert not [each for each in stores if lent.client.name in (each.sender, each.receiver)], "neither has to give any"
    lent.all_found(borrowed)
    assert lent.lender().answered == len(borrowed)


def test_a_slow_client_is_not_waited_for() -> None:
    lent, (letter, other, *_) = lent_with_letters(SEED)
    do = lent.overlay.world._do

    def late(host: Host, effect: Effect) -> None:
        if host is lent.client and isinstance(effect, Write):
            lent.overlay.world._later(2.0, do, host, effect)
        else:
            do(host, effect)

    lent.overlay.world._do = late  # type: ignore[method-assign]
    found, seconds = lent.get(letter)
    assert found == letter.content
    assert PATIENCE_S <= seconds < PATIENCE_S + 0.5
    assert not lent.lender().is_asked
    lent.overlay.world.run_for(5.0)
    assert lent.lender().answered == 0, "what came too late is no answer"
    found, seconds = lent.get(other)
    assert (found, seconds < 0.5) == (other.content, True)
    lent.overlay.world._do = do  # type: ignore[method-assign]
    lent.overlay.world.run_for(PAUSE_S)
    lent.get(other)
    assert lent.lender().answered == 1, "it is asked again after a while"


def test_what_was_replaced_while_the_client_was_asked_is_not_given_to_anybody() -> None:
    lent, (letter, *_) = lent_with_letters(SEED)
    do = lent.overlay.world._do

    def late(host: Host, effect: Effect) -> None:
        if host is lent.client and isinstance(effect, Write):
            lent.overlay.world._later(0.8, do, host, effect)
        else:
            do(host, effect)

    lent.overlay.world._do = late  # type: ignore[method-assign]
    reading = next(host for host in lent.overlay.alive() if host is not lent.borrower)
    request = FetchReq(letter.resource, (StoredDataSpecifier(LARGE.kind_id, 0, DictionarySpecifier(())),))
    node = lent.overlay.node(reading)
    command = lent.overlay.command(reading, lambda context, now: node.fetch(request, context, now))
    lent.overlay.world.run_for(0.3)
    number = next(n for n, each in enumerate(lent.letters) if each is letter)
    lent.put(number, b"newer".ljust(VALUE, b"!"))
    assert lent.overlay.done(reading, command) is None, "it is still waited for"
    result = lent.overlay.wait_done(reading, command).result
    assert isinstance(result, Answer)
    assert isinstance(result.body, FetchAns)
    (response,) = result.body.kind_responses
    assert isinstance(response, FetchKindResponse)
    assert [stored.data_value.value[:5] for stored in response.values] == [b"newer"]


def forge(lent: Lent, letter: Letter, value: StoredData) -> None:
    """The client has something else where it should have what was placed there."""
    record, encoded = (
        lent.at_client(letter),
        Certificates.decode(lent.client.store.certificates(lent.at_client(letter).chain) or b""),
    )
    lent.client.store._apply(Put(replace(record, data=value.encode()), encoded.encode()))


@pytest.mark.parametrize("what", ["older", "another's", "altered", "newer"])
def test_a_client_that_lies_is_found_out_and_asked_no_more(what: str) -> None:
    """A value that it has kept back, one of somebody else, one that was changed, and one that its writer has signed and
    never stored: whatever it is, it is not what was placed there.
    """
    lent, (letter, other, *_) = lent_with_letters(SEED)
    borrower = lent.borrower
    assert borrower is not None
    there = StoredData.decode(lent.at_client(letter).data, model=LARGE.data_model)
    if what == "older":
        number = next(n for n, each in enumerate(lent.letters) if each is letter)
        letter.content = b"what is true now".ljust(VALUE, b"!")
        lent.put(number, letter.content)
        lent.overlay.world.run_for(10.0)
        forge(lent, letter, there)
    elif what == "another's":
        entry = DictionaryEntry(bytes(letter.line.node_id), DataValue(True, b"x" * VALUE))
        writer = line("somebody")
        forged = sign_value(writer, letter.resource, LARGE.kind_id, entry, there.storage_time, LIFETIME_S)
        forge(lent, letter, forged)
    elif what == "altered":
        value = replace(there.value, value=DataValue(True, b"x" * VALUE))
        forge(lent, letter, replace(there, value=value))
    else:
        forge(lent, letter, signed(letter.line, letter.resource, b"x" * VALUE, there.storage_time + 1))
    found, seconds = lent.get(letter)
    assert found == letter.content
    assert seconds < PATIENCE_S
    assert lent.overlay.node(borrower).lenders(lent.overlay.world.now) == ()
    assert lent.has_said(borrower, "lent storage gave back something else")
    tap = Tap(lent.overlay)
    assert lent.get(other)[0] == other.content
    lent.overlay.world.run_for(2 * LEASE_MAX_S)
    asked = [each.code for each in tap.between(borrower.name, lent.client.name) if each.sender == borrower.name]
    assert MessageCode.FETCH_REQ not in asked
    assert MessageCode.STORE_REQ not in asked
    lent.overlay.world.run_for(DISTRUST_S)
    lent.wait(lambda: lent.borrower is not None)


def test_a_client_that_has_lost_something_is_no_liar() -> None:
    lent, (letter, other, *_) = lent_with_letters(SEED)
    lent.client.store._remove(lent.at_client(letter).place)
    assert lent.get(letter)[0] == letter.content
    assert lent.lender().failed == 1
    lent.overlay.world.run_for(LEASE_MAX_S)
    assert lent.at_client(letter), "it is placed there again"
    answered = lent.lender().answered
    assert lent.get(letter)[0] == letter.content
    assert lent.get(other)[0] == other.content
    assert lent.lender().answered == answered + 2


def test_what_is_new_replaces_what_was_placed() -> None:
    lent, (letter, *_) = lent_with_letters(SEED)
    number = next(n for n, each in enumerate(lent.letters) if each is letter)
    content = b"second thoughts".ljust(VALUE, b"?")
    lent.put(number, content)
    assert lent.get(letter)[0] == content, "at once, from the own copy"
    assert lent.lender().answered == 0
    lent.overlay.world.run_for(10.0)
    assert lent.get(letter)[0] == content
    assert lent.lender().answered == 1


def test_a_client_forgets_at_the_end_of_a_lifetime() -> None:
    lent, borrowed = lent_with_letters(SEED)
    assert lent.overlay.node(lent.client).lending.count == len(borrowed)
    lent.overlay.world.run_for(LIFETIME_S)
    assert lent.overlay.node(lent.client).lending.count == 0
    assert lent.get(borrowed[0])[0] is None
    lent.overlay.world.run_for(LEASE_MAX_S)
    assert lent.lender().count == 0


def test_a_client_keeps_no_more_than_it_lends() -> None:
    lent = Lent(SEED, lend_bytes=2 * (VALUE + 500))
    borrowed = lent.borrowed()
    assert len(borrowed) > 2
    assert lent.lender().count == lent.overlay.node(lent.client).lending.count == 2
    assert lent.lender().size_bytes <= 2 * (VALUE + 500)
    lent.all_found()
    assert lent.lender().answered == 2


def test_a_peer_that_says_nothing_of_limits_is_limited_by_the_client() -> None:
    """The client's own limit holds whatever its peer believes."""
    lent = Lent(SEED, lend_bytes=2 * (VALUE + 500))
    assert lent.borrower is not None
    lent.overlay.node(lent.borrower)._borrowing._lenders._lenders[lent.overlay.node(lent.client).node_id].room = ROOM
    lent.overlay.world.run_for(LEASE_MAX_S)
    lent.overlay.node(lent.borrower)._borrowing._lenders._lenders[lent.overlay.node(lent.client).node_id].room = ROOM
    for number in range(12, 30):
        lent.letters.append(lent.put(number))
    lent.overlay.world.run_for(10.0)
    assert lent.overlay.node(lent.client).lending.size_bytes <= 2 * (VALUE + 500)
    refusals = lent.said.count((lent.borrower.name, "not placed with a client"))
    assert 0 < refusals <= LENT_WINDOW, "who is full is offered nothing more"
    lent.all_found()


def test_when_the_peer_dies_the_next_has_the_records_and_the_room() -> None:
    lent, _ = lent_with_letters(SEED)
    dead = lent.borrower
    assert dead is not None
    lent.overlay.world.crash(dead, is_silent=True)
    wait_whole(lent.overlay, 120.0)
    lent.wait(lambda: lent.borrower not in (None, dead), 120.0)
    lent.overlay.world.run_for(20.0)
    lent.all_found()
    assert lent.lender().count == len(lent.borrowed())


def test_a_peer_that_has_lost_its_disk_gets_back_what_its_client_has() -> None:
    lent = Lent("alone", peers=1, letters=6)
    assert lent.overlay.node(lent.client).lending.count == 6
    peer = lent.overlay.world.hosts["p0"]
    lent.overlay.world.crash(peer, is_silent=True)
    lent.overlay.world.run_for(5.0)
    peer = lent.overlay.add_peer(0)
    assert lent.overlay.node(peer).records_held.count == 0
    # Its Node-ID is the same: the client believes that it lends to it still, until an idle link is tried, and fails.
    lent.wait(lambda: bool(lent.overlay.node(peer).lenders(lent.overlay.world.now)), 2 * IDLE_S)
    lent.overlay.world.run_for(10.0)
    for letter in lent.letters:
        assert lent.get(letter, peer)[0] == letter.content
    assert lent.has_said(lent.client, "gives back what it keeps")


def test_a_client_that_does_not_lend_refuses_as_before() -> None:
    overlay = grow(SEED, 4, required_kinds=KINDS)
    client = overlay.add_client(0)
    wait_until(overlay, 60.0, lambda: overlay.node(client).is_connected)
    tap = Tap(overlay)
    overlay.world.run_for(LEASE_MAX_S)
    assert not [each for each in tap.seen if each.code is MessageCode.PRIVATE_REQ]
    asking = overlay.alive()[0]
    for code, body in (
        (MessageCode.STORE_REQ, StoreReq(ResourceId(bytes(16)), 1, ())),
        (MessageCode.FETCH_REQ, FetchReq(ResourceId(bytes(16)), ())),
    ):
        assert refused(overlay, asking, client, code, body) is ErrorCode.FORBIDDEN


def refused(overlay: SimulatedOverlay, asking: Host, host: Host, code: MessageCode, body: Struct) -> ErrorCode | None:
    asked = OverlayRequest([Destination.node(overlay.node(host).node_id)], code, body)
    result = overlay.wait_done(asking, ask(overlay, asking, asked)).result
    return result.code if isinstance(result, RequestRefused) else None


def test_a_client_keeps_values_for_its_peer_alone() -> None:
    lent, (letter, *_) = lent_with_letters(SEED)
    other = next(host for host in lent.overlay.alive() if host is not lent.borrower)
    specifier = StoredDataSpecifier(LARGE.kind_id, 0, DictionarySpecifier(()))
    for code, body in (
        (MessageCode.STORE_REQ, StoreReq(letter.resource, 1, ())),
        (MessageCode.FETCH_REQ, FetchReq(letter.resource, (specifier,))),
    ):
        assert refused(lent.overlay, other, lent.client, code, body) is ErrorCode.FORBIDDEN
    assert lent.borrower is not None
    original = StoreReq(letter.resource, 0, ())
    assert refused(lent.overlay, lent.borrower, lent.client, MessageCode.STORE_REQ, original) is ErrorCode.FORBIDDEN


def test_nobody_lends_by_the_word_of_another() -> None:
    lent, _ = lent_with_letters(SEED)
    overlay = lent.overlay
    asking, far = next(
        (one, other)
        for one in overlay.world.hosts.values()
        for other in overlay.alive()
        if one is not other and not overlay.node(one).is_linked(overlay.node(other).node_id)
    )
    said = PrivateReq(LEND, LendReq(ROOM, 600).encode())
    assert refused(overlay, asking, far, MessageCode.PRIVATE_REQ, said) is ErrorCode.FORBIDDEN


@pytest.mark.parametrize("body", [b"", b"\x00", bytes(12), bytes(13), LendReq(0, 600).encode(), LendReq(5, 0).encode()])
def test_an_offer_that_is_none_is_refused(body: bytes) -> None:
    overlay = grow(SEED, 2, required_kinds=KINDS)
    asking, peer = overlay.alive()
    assert refused(overlay, asking, peer, MessageCode.PRIVATE_REQ, PrivateReq(LEND, body)) is ErrorCode.INVALID_MESSAGE


def test_a_peer_without_the_extension_is_asked_and_left_alone() -> None:
    overlay = grow(SEED, 3, required_kinds=KINDS)
    for host in overlay.alive():
        del overlay.node(host)._serving.private[LEND]
    client = overlay.add_client(0, lend_bytes=ROOM)
    tap = Tap(overlay)
    overlay.world.run_for(300.0)
    assert overlay.node(client).lending.borrower is None
    assert len([each for each in tap.seen if each.code is MessageCode.PRIVATE_REQ]) == 3, "each was asked once"
    assert overlay.node(client).lending.count == 0


def test_a_peer_that_is_to_borrow_nothing_does_not() -> None:
    overlay = grow(SEED, 3, required_kinds=KINDS)
    for host in overlay.alive():
        overlay.node(host)._borrowing._size_max = 0
    client = overlay.add_client(0, lend_bytes=ROOM)
    overlay.world.run_for(60.0)
    assert overlay.node(client).lending.borrower is None

"""Requests for data, of others and of our own (p2psip.reload.node.data.own_data, .commits)."""

from __future__ import annotations

import pytest
from data_bench import (
    KIND,
    NOW_MS,
    WHO,
    Bench,
    fetch_request,
    keys_of,
    resource_of,
    store_request,
    users_between,
    value_of,
)
from node_bench import ME, Heard, nid

from p2psip.base.ids import ResourceId
from p2psip.reload.node.effects import Done
from p2psip.reload.node.limits import COMMANDS_MAX, HELD_COST
from p2psip.reload.storage.metadata import describe
from p2psip.reload.storage.verified import Believer, read_answer
from p2psip.reload.topology.chord.ring import hash_name
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.usages.certificate_store import store_request as store_certificate
from p2psip.reload.wire.contents import ErrorCode, MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.kinds import CERTIFICATE_BY_NODE, CERTIFICATE_BY_USER
from p2psip.reload.wire.link_messages import PingReq
from p2psip.reload.wire.storage_messages import (
    FetchAns,
    FetchKindResponse,
    FetchReq,
    FindAns,
    FindKindData,
    FindReq,
    StatAns,
    StatKindResponse,
    StatReq,
    StoreAns,
    StoreKindData,
    StoreKindResponse,
)
from p2psip.sim.signer import SimulatedIdentity

# Requests


@pytest.mark.must("10.4/1", "10.4/2", "7.4.1.2/1")
def test_10_4_a_store_is_kept_answered_and_replicated() -> None:
    """ "it MUST store the data and return a success response. It MUST then send a Store request to its successor in the
    Neighbor Table and to that peer's successor, incrementing the replica number for each successor."
    """
    bench = Bench()
    bench.store_as(WHO)
    answer = bench.hear_one(50, MessageCode.STORE_ANS)
    assert answer.body == StoreAns((StoreKindResponse(KIND, 1, (nid(150), nid(160))),))
    assert bench.holds(WHO)
    for number, place in enumerate((150, 160), start=1):
        (store,) = bench.stores_heard(place)
        assert keys_of(store) == [(resource_of(WHO), number)]
        assert store.signer == nid(ME)
        assert WHO.certificates[0] in store.certificates
    assert bench.stores_heard(170) == []


def test_persist_before_you_answer() -> None:
    """The answer waits for the disk; nothing else does, and a repetition of the request is no second Store."""
    bench = Bench()
    bench.holds_commits = True
    bench.store_as(WHO)
    bench.send(50, MessageCode.PING_REQ, PingReq())
    assert [message.code for message in bench.heard(50)] == [MessageCode.PING_ANS]
    assert len(bench.commits) == 1
    bench.answer_commits()
    assert bench.hear_one(50).code is MessageCode.STORE_ANS


def test_what_is_read_before_it_is_on_disk_waits_as_well() -> None:
    """An answer read from uncommitted state carries that state's token."""
    bench = Bench()
    bench.holds_commits = True
    bench.store_as(WHO)
    bench.send(50, MessageCode.FETCH_REQ, fetch_request(WHO), destinations=[Destination.resource(resource_of(WHO))])
    assert bench.heard(50) == []
    bench.answer_commits()
    assert [message.code for message in bench.heard(50)] == [MessageCode.STORE_ANS, MessageCode.FETCH_ANS]


def test_what_waits_for_a_slow_disk_is_bounded_and_may_be_asked_for_again() -> None:
    """However often somebody asks for the same; once the disk has answered everybody is served."""
    bench = Bench()
    bench.node._messages._gate._size_max = 100 * HELD_COST
    bench.holds_commits = True
    bench.store_as(WHO)
    fetch, where = fetch_request(WHO), [Destination.resource(resource_of(WHO))]
    for transaction in [*[4711] * 200, 4712]:
        bench.send(150, MessageCode.FETCH_REQ, fetch, destinations=where, transaction_id=transaction)
    bench.answer_commits()
    assert bench.hear_one(50, MessageCode.STORE_ANS)
    answers = [answer.header.transaction_id for answer in bench.heard(150, MessageCode.FETCH_ANS)]
    assert 10 < len(answers) < 100
    assert set(answers) == {4711}
    bench.send(150, MessageCode.FETCH_REQ, fetch, destinations=where, transaction_id=4712)
    assert bench.hear_one(150, MessageCode.FETCH_ANS).header.transaction_id == 4712


def test_a_disk_that_fails_lets_nothing_out_and_the_request_be_repeated() -> None:
    """Nothing acknowledged is lost, as nothing was acknowledged."""
    bench = Bench()
    bench.holds_commits = True
    request = store_request(WHO)
    where = [Destination.resource(request.resource)]
    for _ in range(2):
        bench.send(50, MessageCode.STORE_REQ, request, signer=WHO, destinations=where, transaction_id=4711)
        assert len(bench.commits) == 1
        bench.answer_commits(failure="no space left")
        assert bench.heard(50) == []
    (first, _) = bench.notes("commit failed")
    assert first.facts["reason"] == "no space left"


def test_a_disk_that_never_answers_holds_nothing_for_ever() -> None:
    """The commit is overdue after a minute: what waited for it is let go of."""
    bench = Bench()
    bench.holds_commits = True
    bench.store_as(WHO)
    bench.run_for(61.0)
    assert [note.facts["reason"] for note in bench.notes("commit failed")] == ["the disk does not answer"]
    assert bench.heard(50, MessageCode.STORE_ANS) == []


@pytest.mark.must("7.4.1.1/4")
def test_7_4_1_1_who_is_not_responsible_rejects_an_original_store() -> None:
    """ "The peer MUST check that it is responsible for the resource if the replica number is zero"."""
    bench = Bench()
    (stranger,) = users_between(100, 150, 1)
    request = store_request(stranger)
    bench.send(50, MessageCode.STORE_REQ, request, signer=stranger)
    assert bench.hear_one(50, MessageCode.ERROR).error.error_code is ErrorCode.NOT_FOUND
    assert not bench.holds(stranger)


@pytest.mark.must("7.4.1.1/5", "7.4.1.1/12", "10.4/3")
def test_replicas_come_from_peers() -> None:
    """7.4.1.1: "it MUST check that [...] the request sender is consistent with being the responsible node"."""
    bench = Bench()
    (theirs,) = users_between(170, 50, 1)
    bench.link(7)
    bench.pass_on(theirs, 7)
    assert bench.hear_one(7, MessageCode.ERROR).error.error_code is ErrorCode.FORBIDDEN
    bench.pass_on(theirs, 50)
    assert bench.hear_one(50, MessageCode.STORE_ANS)
    assert bench.holds(theirs)
    assert not any(bench.stores_heard(place) for place in (50, 150, 160, 170))


@pytest.mark.parametrize("generation", [1, 99])
def test_who_holds_no_copies_cannot_choose_the_generation_counter(generation: int) -> None:
    """docs/decisions/values-of-another-island.md: what is ours any member may give us; of the counter, which nobody
    signs, it has no say. Were it set back, readers who have seen it before would take a new value for the old one.
    """
    bench = Bench()
    for time_ms in (NOW_MS, NOW_MS + 1, NOW_MS + 2):
        bench.store_as(WHO, time_ms=time_ms)
    bench.link(7)
    bench.pass_on(WHO, 7, time_ms=NOW_MS + 2, generation=generation)
    assert bench.hear_one(7, MessageCode.STORE_ANS).body == StoreAns((StoreKindResponse(KIND, 3, ()),))
    bench.pass_on(WHO, 7, time_ms=NOW_MS + 3, generation=generation)
    assert bench.hear_one(7, MessageCode.STORE_ANS).body == StoreAns(
        (StoreKindResponse(KIND, max(4, generation + 1), ()),)
    )


@pytest.mark.must("7.4.1.1/5", "7.4.1.1/11", "7.4.1.1/12")
def test_7_4_1_1_replicas_come_from_the_replica_set_or_from_nearer() -> None:
    """ "replica StoreReqs MUST come from nodes which are either in the known replica set for a given resource or which
    are closer than some node in the replica set. If this check fails, the request MUST be rejected with an
    Error_Forbidden error."
    """
    bench = Bench(150, 50, 160, 170, 30)
    (theirs,) = users_between(100, 150, 1)
    for place in (30, 50):
        bench.pass_on(theirs, place)
        assert bench.hear_one(place, MessageCode.ERROR).error.error_code is ErrorCode.FORBIDDEN
    assert not bench.holds(theirs)
    for place in (160, 170):
        bench.pass_on(theirs, place, time_ms=NOW_MS + place)
        assert bench.hear_one(place, MessageCode.STORE_ANS)
    assert bench.holds(theirs)


def test_values_of_our_own_range_come_from_anybody() -> None:
    """Two islands meet: who has our values is not in our replica set. The values are signed, whoever brings them."""
    bench = Bench(150, 50, 160, 170, 30)
    bench.pass_on(WHO, 30)
    assert bench.hear_one(30, MessageCode.STORE_ANS)
    assert bench.holds(WHO)


def test_a_value_passed_on_to_the_wrong_peer_goes_further() -> None:
    """Two rings grow together: 170 thinks that this is ours, we know that it is 150's."""
    bench = Bench()
    (theirs,) = users_between(100, 150, 1)
    bench.pass_on(theirs, 170)
    (store,) = bench.stores_heard(150)
    assert store.header.destination_list == (Destination.resource(resource_of(theirs)),)
    assert keys_of(store) == [(resource_of(theirs), 1)]


def test_7_4_3_a_stat_is_served_as_a_fetch_is() -> None:
    """The request is the same; the answer has metadata, and no certificates of those who signed the values."""
    bench = Bench()
    bench.store_as(WHO)
    request = StatReq(resource_of(WHO), fetch_request(WHO).specifiers)
    bench.send(150, MessageCode.STAT_REQ, request, destinations=[Destination.resource(request.resource)])
    answer = bench.hear_one(150, MessageCode.STAT_ANS)
    assert answer.body == StatAns((StatKindResponse(KIND, 1, (describe(value_of(WHO)),)),))
    assert WHO.certificates[0] not in answer.certificates


def test_7_4_4_2_a_find_is_served_by_who_is_responsible() -> None:
    """ "If the processing peer is not responsible for the Resource-ID, it SHOULD return an Error_Not_Found"."""
    bench = Bench()
    bench.store_as(WHO)
    ours, theirs = ResourceId(nid(60)), ResourceId(nid(140))
    bench.send(150, MessageCode.FIND_REQ, FindReq(ours, (KIND,)), destinations=[Destination.resource(ours)])
    assert bench.hear_one(150, MessageCode.FIND_ANS).body == FindAns((FindKindData(KIND, resource_of(WHO)),))
    bench.send(150, MessageCode.FIND_REQ, FindReq(theirs, (KIND,)))
    assert bench.hear_one(150, MessageCode.ERROR).error.error_code is ErrorCode.NOT_FOUND


def test_stat_and_find_are_commands_as_fetch_is() -> None:
    bench = Bench()
    (theirs,) = users_between(100, 150, 1)
    resource = resource_of(theirs)
    answers = {
        MessageCode.STAT_REQ: (MessageCode.STAT_ANS, StatAns((StatKindResponse(KIND, 0, ()),))),
        MessageCode.FIND_REQ: (MessageCode.FIND_ANS, FindAns((FindKindData(KIND, resource),))),
    }
    route = [Destination.resource(resource)]
    stat = OverlayRequest(route, MessageCode.STAT_REQ, StatReq(resource, fetch_request(theirs).specifiers))
    bench.node.request(stat, "stat", bench.now)
    bench.node.request(OverlayRequest(route, MessageCode.FIND_REQ, FindReq(resource, ())), "find", bench.now)
    bench.settle()
    for asked, (code, body) in answers.items():
        bench.answer(150, bench.hear_one(150, asked), code, body)
    done = [effect for effect in bench.take(Done) if isinstance(effect, Done)]
    assert [one.context for one in done] == ["stat", "find"]
    assert [one.result.body for one in done if isinstance(one.result, Answer)] == [body for _, body in answers.values()]


def test_a_fetch_brings_the_certificates_along() -> None:
    """6.3.4: "a peer storing data is obligated to retain certificates for the data that it holds"."""
    bench = Bench()
    bench.store_as(WHO)
    bench.send(150, MessageCode.FETCH_REQ, fetch_request(WHO), destinations=[Destination.resource(resource_of(WHO))])
    answer = bench.hear_one(150, MessageCode.FETCH_ANS)
    assert isinstance(answer.body, FetchAns)
    (kind,) = answer.body.kind_responses
    assert isinstance(kind, FetchKindResponse)
    assert len(kind.values) == 1
    assert WHO.certificates[0] in answer.certificates


# Commands


@pytest.mark.parametrize("is_found", [True, False])
def test_8_certificates_that_an_answer_lacks_are_looked_for_in_the_certificate_store(is_found: bool) -> None:
    """6.3.4: "some certificates MAY be omitted" where there is another way to get them; it is tried once."""
    bench = Bench()
    bench.have_certificate_store()
    (theirs,) = users_between(100, 150, 1)
    resource = resource_of(theirs)

    def asked() -> Heard:
        heard = [one for one in bench.heard(150, MessageCode.FETCH_REQ) if isinstance(one.body, FetchReq)]
        (request,) = [one for one in heard if one.body.resource == resource]  # type: ignore[attr-defined]
        return request

    bench.node.fetch(fetch_request(theirs), "asked", bench.now)
    bench.settle()
    answer = FetchAns((FetchKindResponse(KIND, 1, (value_of(theirs),)),))
    bench.answer(150, asked(), MessageCode.FETCH_ANS, answer)
    assert bench.take(Done) == []
    request = asked()
    assert isinstance(request.body, FetchReq)
    assert [specifier.kind for specifier in request.body.specifiers] == [CERTIFICATE_BY_NODE, CERTIFICATE_BY_USER]
    if is_found:
        stored = store_certificate(theirs, CERTIFICATE_BY_USER, 0, NOW_MS, hash_name).kind_data[0]
        assert isinstance(stored, StoreKindData)
        found = FetchAns((FetchKindResponse(CERTIFICATE_BY_USER, 1, stored.values),))
        bench.answer(150, request, MessageCode.FETCH_ANS, found)
    else:
        bench.refuse(150, request, ErrorCode.UNKNOWN_KIND)
    (done,) = [effect for effect in bench.take(Done) if isinstance(effect, Done)]
    assert done.context == "asked"
    assert isinstance(done.result, Answer)
    assert done.result.body == answer
    reader = Believer(bench.node.reader.rules, bench.node.reader.wall)
    verified = read_answer(resource, answer, done.result.certificates, reader, bench.now)
    assert bool(verified.values) is is_found


def test_an_answer_that_lacks_nothing_is_not_added_to() -> None:
    bench = Bench()
    bench.have_certificate_store()
    bench.store_as(WHO)
    bench.node.fetch(fetch_request(WHO), "asked", bench.now)
    bench.settle()
    assert len(bench.take(Done)) == 1


@pytest.mark.parametrize("is_on_disk", [True, False])
def test_what_this_node_is_responsible_for_it_reads_itself(is_on_disk: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """No message to itself that is signed, verified and answered; what is not on disk yet waits as for others."""
    bench = Bench()
    bench.holds_commits = not is_on_disk
    bench.store_as(WHO)
    bench.heard(50)
    with monkeypatch.context() as patched:
        if is_on_disk:
            patched.delattr(SimulatedIdentity, "sign")
        bench.node.fetch(fetch_request(WHO), "own", bench.now)
    bench.settle()
    assert len(bench.take(Done)) == is_on_disk
    bench.node.fetch(fetch_request(WHO), "later", bench.now)
    bench.answer_commits()
    bench.settle()
    done = [effect for effect in bench.take(Done) if isinstance(effect, Done)]
    assert [one.context for one in done] == (["later"] if is_on_disk else ["own", "later"])
    for one in done:
        assert isinstance(one.result, Answer)
        assert (one.result.signer.node_id, one.result.hops) == (nid(ME), 0)
        assert isinstance(one.result.body, FetchAns)
        assert read_answer(resource_of(WHO), one.result.body, one.result.certificates, bench.node.reader, 0.0).values


def test_a_command_ends_once() -> None:
    """With its answer, or with why there is none."""
    bench = Bench()
    (theirs,) = users_between(100, 150, 1)
    for context in ("first", "second"):
        bench.node.fetch(fetch_request(theirs), context, bench.now)
    bench.settle()
    first, second = bench.heard(150, MessageCode.FETCH_REQ)
    bench.answer(150, first, MessageCode.FETCH_ANS, FetchAns((FetchKindResponse(KIND, 0, ()),)))
    bench.refuse(150, second, ErrorCode.FORBIDDEN)
    done = [effect for effect in bench.take(Done) if isinstance(effect, Done)]
    assert [effect.context for effect in done] == ["first", "second"]
    assert isinstance(done[0].result, Answer)
    assert "Error_Forbidden" in str(done[1].result)


def test_commands_are_bounded() -> None:
    """One more is over at once."""
    bench = Bench()
    (theirs,) = users_between(100, 150, 1)
    for number in range(COMMANDS_MAX + 1):
        bench.node.fetch(fetch_request(theirs), number, bench.now)
    done = [effect for effect in bench.node.drain() if isinstance(effect, Done)]
    assert [effect.context for effect in done if "too many" in str(effect.result)] == [COMMANDS_MAX]


def test_a_store_of_ours_waits_until_its_storage_time_is_on_disk() -> None:
    """Each signer remembers its last storage_time; if the disk fails, the Store does."""
    bench = Bench()
    bench.holds_commits = True
    (theirs,) = users_between(100, 150, 1)
    for fails in (False, True):
        issued = bench.node.issue_storage_time(theirs.node_id, bench.now)
        request = store_request(theirs, time_ms=issued.storage_time_ms)
        bench.node.store(theirs, request, "asked", bench.now, after=issued.after)
        bench.settle()
        bench.run_for(4.0)
        assert bench.stores_heard(150) == []
        bench.answer_commits(failure="no space left" if fails else "")
        stores = bench.stores_heard(150)
        assert bool(stores) is not fails
        if stores:
            bench.accept(150, stores[0])
    done = [effect for effect in bench.take(Done) if isinstance(effect, Done)]
    assert isinstance(done[0].result, Answer)
    assert "its disk failed" in str(done[1].result)

"""RFC 8489 (STUN): what messages are, what servers answer, how both ends prove who they are."""

from __future__ import annotations

import random

import pytest
from ice_pair import FIRST, IcePair
from turn_bench import PEER, SERVER, Bench, Speaker, code_of

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.reload.paths.ice.checks import (
    CheckAnswer,
    CheckCredentials,
    CheckRequest,
    CheckRole,
    Plain,
    encode_conflict,
    encode_request,
    encode_success,
    read,
)
from p2psip.stun.attributes import (
    ERROR_CODE,
    LIFETIME,
    NONCE,
    PASSWORD_ALGORITHM,
    PASSWORD_ALGORITHMS,
    REALM,
    SOFTWARE,
    UNKNOWN_ATTRIBUTES,
    USERNAME,
    XOR_MAPPED_ADDRESS,
    Algorithm,
    StunErrorCode,
)
from p2psip.stun.binding import answer_binding
from p2psip.stun.credentials import (
    OFFERED,
    PASSWORD_ALGORITHMS_BIT,
    StunCredential,
    long_term_key,
    security_features,
)
from p2psip.stun.integrity import SHA1, SHA256, integrity_of, is_signed, signed
from p2psip.stun.message import BINDING, MESSAGE_BYTES_MAX, MessageClass, NotStun, StunMessage, decode
from p2psip.turn.client import TurnClient
from p2psip.turn.client_values import Loss, RelayLost
from p2psip.turn.methods import ALLOCATE, REFRESH
from p2psip.turn.values import Flow, Transmit

CLIENT = Address("192.0.2.7", 4000)
ID = b"twelve bytes"
ROLE = CheckRole(is_controlling=True, tie_breaker=7)
BOB = CheckCredentials(b"bobs", b"p" * 22)
CHECK = encode_request(ID, b"alic", BOB, 1, ROLE)
PROOF = (0x0006, 0x0008, 0x001C, 0x0014, 0x0015, 0x001D, 0x001E, 0x8002)
"""USERNAME, both integrities, REALM, NONCE, PASSWORD-ALGORITHM, USERHASH, PASSWORD-ALGORITHMS."""


def binding(*attributes: tuple[int, bytes], transaction: bytes = ID) -> StunMessage:
    return StunMessage(MessageClass.REQUEST, BINDING, transaction, attributes)


def client() -> TurnClient:
    return TurnClient(Flow(CLIENT, SERVER), StunCredential("alice", "secret"), random.Random(1))


def sent(by: TurnClient) -> bytes:
    """The one thing that it sends."""
    [effect] = by.drain()
    assert isinstance(effect, Transmit)
    return effect.data


def challenged(code: int = 401, *instead: tuple[int, bytes], realm: str = "overlay") -> tuple[TurnClient, bytes]:
    """A client whose first request was answered so, and what it sends then."""
    asking = client()
    asking.allocate(0.0)
    asking.handle_data(challenge(decode(sent(asking)), code, *instead, realm=realm), 0.0)
    return asking, sent(asking)


def challenge(request: StunMessage, code: int, *instead: tuple[int, bytes], realm: str = "overlay") -> bytes:
    more = instead or (NONCE.of(nonce()), PASSWORD_ALGORITHMS.of(OFFERED))
    attributes = (ERROR_CODE.of(StunErrorCode(code)), REALM.of(realm), *more)
    return StunMessage(MessageClass.ERROR, request.method, request.transaction, attributes).encode()


def nonce() -> str:
    """One of a server that has algorithms for passwords."""
    answer = Speaker(Bench(), CLIENT).try_once(ALLOCATE)
    found = NONCE.first(answer)
    assert found is not None
    return found


# 5, 6: messages


@pytest.mark.must("8489 5/1", "8489 5/3", "8489 5/7", "8489 6.1/1", "8489 6.1/2")
def test_5_the_header() -> None:
    """Two zero bits, the cookie, the length without the header; what has others is no STUN."""
    for data in (CHECK, binding().encode()):
        assert data[0] >> 6 == 0
        assert data[4:8] == bytes.fromhex("2112a442")
        assert int.from_bytes(data[2:4], "big") == len(data) - 20
        assert decode(data).message_class is MessageClass.REQUEST
    for at, bits in ((0, 0x80), (0, 0x40), (4, 1), (3, 4)):
        with pytest.raises(NotStun):
            decode(bytes(byte ^ bits if place == at else byte for place, byte in enumerate(CHECK)))


@pytest.mark.must("8489 5/4", "8489 5/5")
def test_5_each_transaction_has_96_bits_of_its_own_and_keeps_them_when_it_is_sent_again() -> None:
    asking = client()
    asking.allocate(0.0)
    first = sent(asking)
    asking.handle_timeout(0.5)
    assert sent(asking) == first, "the same request, bit by bit"
    numbers = {decode(challenged()[1]).transaction, decode(first).transaction}
    pair = IcePair()
    pair.passes = lambda _: False
    pair.begin_both()
    pair.run(5.0)
    by_pair = {read(each[3]).transaction for each in pair.sent}  # type: ignore[union-attr]
    assert len(by_pair) == 2, "one of each end, sent several times"
    assert all(len(each) == 12 for each in numbers | by_pair)
    assert len(numbers) == 2


@pytest.mark.must("8489 5/6", "8489 12/1", "8489 12/2", "8489 12/3", "8489 6.3.1/2")
@pytest.mark.parametrize("has_fingerprint", [False, True])
@pytest.mark.parametrize("is_stream", [False, True])
def test_12_basic_server(is_stream: bool, has_fingerprint: bool) -> None:
    """Binding over UDP and TCP, with or without a fingerprint, as often as it comes: the same answer."""
    bench = Bench()
    request = StunMessage(MessageClass.REQUEST, BINDING, ID, (), has_fingerprint).encode()
    answers = [bench.hand(Flow(SERVER, CLIENT, is_stream), request) for _ in range(2)]
    assert answers[0] == answers[1]
    [answer] = answers[0]
    assert isinstance(answer, Transmit)
    read_again = decode(answer.data)
    assert (read_again.transaction, XOR_MAPPED_ADDRESS.first(read_again)) == (ID, CLIENT)
    assert len(bench.server) == 0
    refused = Speaker(bench, CLIENT).try_once(ALLOCATE, transaction=b"another one!")
    assert (refused.message_class, refused.transaction) == (MessageClass.ERROR, b"another one!")


@pytest.mark.must("8489 6.1/4")
def test_6_1_no_request_is_longer_than_every_path_carries() -> None:
    """Checks, and the longest that a client of a relay says: "1280 bytes" for IPv6, "548 bytes" over IPv4."""
    assert len(CHECK) <= 548
    asking = Speaker(Bench(), CLIENT)
    asking.relayed()
    assert asking.proof is not None
    peers = tuple((0x0012, bytes(20)) for _ in range(16))
    longest = StunMessage(MessageClass.REQUEST, 8, ID, (*peers, *asking.proof.attributes))
    assert len(signed(longest, asking.proof.key, asking.proof.integrity).encode()) <= MESSAGE_BYTES_MAX - 48


@pytest.mark.must("8489 6.2.2/2")
def test_6_2_2_a_server_never_goes_back_to_a_client_whose_stream_has_ended() -> None:
    bench = Bench()
    asking = Speaker(bench, CLIENT, is_stream=True)
    relayed = asking.relayed()
    asking.permit(PEER)
    bench.server.handle_flow_down(asking.flow)
    bench.server.handle_relayed(relayed, PEER, b"data", 0.0)
    assert bench.settle() == []


@pytest.mark.must("8489 6.3/1", "8489 6.3.1.1/1", "8489 6.3.1.1/2", "8489 14.8/9")
def test_6_3_1_what_must_be_understood_and_is_not_is_named_and_the_rest_ignored() -> None:
    def answered(*attributes: tuple[int, bytes]) -> StunMessage:
        answer = answer_binding(binding(*attributes).encode(), CLIENT)
        assert answer is not None
        return decode(answer)

    assert answered((0xC001, b"optional")).message_class is MessageClass.SUCCESS
    refused = answered((0x7001, b""), (0xC001, b""), (0x7002, b"x"))
    assert code_of(refused) == 420
    assert UNKNOWN_ATTRIBUTES.first(refused) == (0x7001, 0x7002)
    at_relay = Speaker(Bench(), CLIENT).ask(ALLOCATE, (0x7001, b""))
    assert (code_of(at_relay), UNKNOWN_ATTRIBUTES.first(at_relay)) == (420, (0x7001,))


@pytest.mark.must("8489 6.3.4/1")
def test_6_3_4_after_500_nothing_is_sent_again() -> None:
    asking, data = challenged()
    request = decode(data)
    key = long_term_key("alice", "overlay", "secret", Algorithm.SHA256)
    error = (ERROR_CODE.of(StunErrorCode(500)),)
    answer = StunMessage(MessageClass.ERROR, request.method, request.transaction, error)
    asking.handle_data(signed(answer, key, SHA256).encode(), 0.0)
    [effect] = asking.drain()
    assert isinstance(effect, RelayLost)
    assert asking.next_deadline() is None


# 9.1: short-term credentials, which are those of ICE


@pytest.mark.must("8489 9.1.2/1", "8489 9.1.2/2", "8489 9.1.5/1")
def test_9_1_2_a_check_has_its_user_name_and_the_one_integrity_that_ice_has() -> None:
    """RFC 8445 section 7.1 is the "external mechanism" by which both ends know that it is MESSAGE-INTEGRITY."""
    message = decode(CHECK)
    assert USERNAME.first(message) == "bobs:alic"
    assert [kind for kind, _ in message.attributes if kind in (SHA1, SHA256)] == [SHA1]
    assert is_signed(CHECK, BOB.password)


@pytest.mark.must(
    "8489 9.1.3/1", "8489 9.1.3/2", "8489 9.1.3/3", "8489 9.1.3/4", "8489 9.1.3/5", "8489 9.1.3/6", "8489 9.1.3/7",
    "8489 9.1.3/8", "8489 9.1.3/9", "8489 9.1.3/13",
)  # fmt: skip
def test_9_1_3_what_does_not_prove_itself_gets_no_answer_whether_request_or_indication() -> None:
    pair = IcePair()
    pair.passes = lambda _: False
    pair.begin_both()
    own, theirs = pair.words
    right = CheckCredentials(own.ufrag, own.password)
    here, there = (candidates[0].base for candidates in pair.candidates)
    true = encode_request(ID, theirs.ufrag, right, 1, CheckRole(is_controlling=False, tie_breaker=1))
    without = tuple(each for each in decode(true).attributes if each[0] != SHA1)
    bad = [
        StunMessage(MessageClass.REQUEST, BINDING, ID, without).encode(),
        encode_request(ID, theirs.ufrag, CheckCredentials(b"none", own.password), 1, ROLE),
        encode_request(ID, theirs.ufrag, CheckCredentials(own.ufrag, b"wrong"), 1, ROLE),
        signed(StunMessage(MessageClass.INDICATION, BINDING, ID, without), b"wrong").encode(),
        StunMessage(MessageClass.INDICATION, BINDING, ID, without).encode(),
    ]
    for data in bad:
        before = len(pair.sent)
        pair.arrive(FIRST, here, there, data)
        assert pair.sent[before:] == []
    pair.arrive(FIRST, here, there, true)
    assert isinstance(read(pair.sent[before][3]), CheckAnswer), "so it was not for another reason"


@pytest.mark.must("8489 9.1.3/11", "8489 9.1.3/12")
def test_9_1_3_an_answer_is_signed_by_the_same_password_and_names_nobody() -> None:
    for data in (encode_success(ID, CLIENT, BOB.password), encode_conflict(ID, BOB.password)):
        assert integrity_of(data) is SHA1
        assert is_signed(data, BOB.password)
        assert not USERNAME.within(decode(data))


@pytest.mark.must("8489 9.1.4/1", "8489 9.1.4/2", "8489 9.1.4/3")
def test_9_1_4_an_answer_that_is_not_signed_is_as_if_it_had_not_come() -> None:
    pair = IcePair()
    pair.passes = lambda _: False
    pair.begin_both()
    here, there = (candidates[0].base for candidates in pair.candidates)
    request = next(found for each in pair.sent if each[1] == here and isinstance(found := read(each[3]), CheckRequest))
    unsigned = StunMessage(
        MessageClass.SUCCESS, BINDING, request.transaction, (XOR_MAPPED_ADDRESS.of(here, request.transaction),)
    )
    for data in (unsigned.encode(), encode_success(request.transaction, here, b"wrong")):
        pair.arrive(FIRST, here, there, data)
    assert [str(each.outcome) for each in pair.agents[FIRST].reports(pair.words[FIRST].ufrag)] == [
        "no answer to 1 check yet"
    ]
    pair.arrive(FIRST, here, there, encode_success(request.transaction, here, pair.words[1].password))
    assert "works" in pair.agents[FIRST].reports(pair.words[FIRST].ufrag)[0].outcome


# 9.2: long-term credentials


@pytest.mark.must("8489 9.2.3.1/1")
def test_9_2_3_1_the_first_request_proves_nothing() -> None:
    asking = client()
    asking.allocate(0.0)
    assert not {kind for kind, _ in decode(sent(asking)).attributes} & set(PROOF)


@pytest.mark.must(
    "8489 9.2.4/1", "8489 9.2.4/2", "8489 9.2.4/3", "8489 9.2.4/5", "8489 9.2.4/9", "8489 9.2.4/10", "8489 9.2.4/11",
    "8489 9.2.4/12", "8489 9.2.4/13", "8489 9.2.4/14", "8489 9.2.4/15", "8489 9.2/1", "8489 9.2/2",
)  # fmt: skip
def test_9_2_4_who_does_not_prove_himself_is_challenged() -> None:
    """Without integrity, with a user name that nobody has, with another password: 401, each with all that he needs."""
    bench = Bench()
    nobody, guesser = Speaker(bench, CLIENT), Speaker(bench, CLIENT._replace(port=4001))
    nobody.credential = StunCredential("99999:nobody", "secret")
    guesser.credential = StunCredential(guesser.credential.username, "wrong")
    plain = Speaker(bench, CLIENT._replace(port=4002)).try_once(ALLOCATE)
    for answer in (plain, nobody.ask(ALLOCATE), guesser.ask(ALLOCATE)):
        assert code_of(answer) == 401
        assert REALM.first(answer) == "overlay"
        assert PASSWORD_ALGORITHMS.first(answer) == OFFERED
        found = NONCE.first(answer)
        assert found is not None
        assert found.startswith("obMatJos2")
        assert security_features(found) & PASSWORD_ALGORITHMS_BIT
        kinds = {kind for kind, _ in answer.attributes}
        assert not kinds & {USERNAME.kind, 0x001E, SHA1, SHA256}


@pytest.mark.must("8489 9.2.4/19", "8489 9.2.4/20", "8489 9.2.3.2/1", "8489 9.2.3.2/2")
@pytest.mark.parametrize("knows_algorithms", [True, False])
def test_9_2_4_answers_are_signed_as_the_request_was(knows_algorithms: bool) -> None:
    bench = Bench()
    member = bench.members.issue("alice", 1000, 0.0)
    asking = Speaker(bench, CLIENT)
    found = NONCE.first(asking.try_once(ALLOCATE))
    assert found is not None
    who = (USERNAME.of(member.username), REALM.of("overlay"), NONCE.of(found))
    kind, algorithm = (SHA256, Algorithm.SHA256) if knows_algorithms else (SHA1, Algorithm.MD5)
    chosen = (PASSWORD_ALGORITHMS.of(OFFERED), PASSWORD_ALGORITHM.of((algorithm,))) if knows_algorithms else ()
    key = long_term_key(member.username, "overlay", member.password, algorithm)
    request = StunMessage(MessageClass.REQUEST, ALLOCATE, ID, ((0x0019, b"\x11\0\0\0"), *who, *chosen))
    [answer] = bench.hand(asking.flow, signed(request, key, kind).encode())
    assert isinstance(answer, Transmit)
    assert integrity_of(answer.data) is kind
    assert is_signed(answer.data, key)
    assert decode(answer.data).message_class is MessageClass.SUCCESS
    assert not {each for each, _ in decode(answer.data).attributes} & {0x0006, 0x0014, 0x0015, 0x001E}


@pytest.mark.must(
    "8489 9.2.5/3", "8489 9.2.5/5", "8489 9.2.5/6", "8489 9.2.5/7", "8489 9.2.5/8", "8489 9.2.5/18",
)  # fmt: skip
def test_9_2_5_a_challenge_is_answered_with_what_it_said() -> None:
    challenge_nonce = nonce()
    asking, data = challenged(401, NONCE.of(challenge_nonce), PASSWORD_ALGORITHMS.of(OFFERED), realm="this overlay")
    request = decode(data)
    assert USERNAME.first(request) == "alice"
    assert (REALM.first(request), NONCE.first(request)) == ("this overlay", challenge_nonce)
    assert PASSWORD_ALGORITHMS.first(request) == OFFERED
    assert PASSWORD_ALGORITHM.first(request) == (Algorithm.SHA256,)
    assert integrity_of(data) is SHA256
    key = long_term_key("alice", "this overlay", "secret", Algorithm.SHA256)
    assert is_signed(data, key)
    asking.doubt(0.0)
    asking.close(0.0)
    assert integrity_of(sent(asking)) is SHA256, "and so is every later one"


@pytest.mark.must("8489 9.2.5/10")
def test_9_2_5_after_a_second_401_the_same_words_are_not_said_again() -> None:
    asking, data = challenged()
    asking.handle_data(challenge(decode(data), 401), 0.0)
    [effect] = asking.drain()
    assert isinstance(effect, RelayLost)
    assert effect.loss is Loss.CREDENTIAL


@pytest.mark.must("8489 9.2.5/11", "8489 9.2.5/12")
def test_9_2_5_after_438_it_is_said_again_with_the_new_nonce() -> None:
    asking, data = challenged()
    asking.handle_data(challenge(decode(data), 438, NONCE.of("another"), PASSWORD_ALGORITHMS.of(OFFERED)), 0.0)
    again = sent(asking)
    assert NONCE.first(decode(again)) == "another"
    assert {USERNAME.kind, REALM.kind} <= {kind for kind, _ in decode(again).attributes}
    assert integrity_of(again) is not None


@pytest.mark.must("8489 9.2.5/13")
@pytest.mark.parametrize("is_weakened", [True, False])
def test_9_2_5_any_answer_from_which_the_algorithms_were_taken_is_ignored(is_weakened: bool) -> None:
    """Its integrity may be right: who can break MD5 would have it so."""
    asking, data = challenged()
    request = decode(data)
    key = long_term_key("alice", "overlay", "secret", Algorithm.SHA256)
    attributes = (ERROR_CODE.of(StunErrorCode(500)), NONCE.of(nonce()))
    attributes += () if is_weakened else (PASSWORD_ALGORITHMS.of(OFFERED),)
    answer = StunMessage(MessageClass.ERROR, request.method, request.transaction, attributes)
    asking.handle_data(signed(answer, key, SHA256).encode(), 0.0)
    effects: list[Effect] = asking.drain()
    assert [type(each) for each in effects] == ([] if is_weakened else [RelayLost])


@pytest.mark.must("8489 9.2.5/14", "8489 9.2.5/15", "8489 14.8/8")
def test_9_2_5_a_400_that_nobody_has_signed_is_as_if_it_had_not_come() -> None:
    asking, data = challenged()
    request = decode(data)
    error = StunMessage(MessageClass.ERROR, ALLOCATE, request.transaction, (ERROR_CODE.of(StunErrorCode(400)),))
    asking.handle_data(error.encode(), 0.0)
    assert asking.drain() == []
    assert asking.next_deadline() is not None


# 14: attributes


@pytest.mark.must("8489 14/1", "8489 14/2", "8489 14/3", "8489 14/4", "8656 18/1")
@pytest.mark.parametrize("size", range(9))
def test_14_type_length_value_and_padding_that_is_zero_and_that_nobody_reads(size: int) -> None:
    data = bytearray(binding((0xC001, b"\xff" * size), (0xC002, b"next")).encode())
    assert len(data) % 4 == 0
    assert data[20:24] == bytes.fromhex("c001") + size.to_bytes(2, "big")
    padding = slice(24 + size, 24 + size + -size % 4)
    assert data[padding] == bytes(-size % 4)
    data[padding] = b"\xaa" * (-size % 4)
    assert decode(bytes(data)).attributes == ((0xC001, b"\xff" * size), (0xC002, b"next"))


@pytest.mark.must("8489 14.7/1")
def test_14_7_the_fingerprint_is_the_last() -> None:
    for data in (CHECK, encode_success(ID, CLIENT, BOB.password), encode_conflict(ID, BOB.password)):
        assert data[-8:-4] == bytes.fromhex("80280004")


@pytest.mark.must("8489 14.3/1", "8489 14.3/2", "8489 14.9/1", "8489 14.10/1", "8489 14.14/1", "8489 14.8/1")
def test_14_texts_are_as_short_as_they_must_be_and_read_as_long_as_they_may_be() -> None:
    """Fewer than 128 characters, and of user names fewer than 509 bytes; 763 bytes are read."""
    bench = Bench()
    member = bench.members.issue("f" * 64, 10**9, 0.0)
    assert len(member.username.encode()) < 509
    refused = Speaker(bench, CLIENT).try_once(ALLOCATE)
    for attribute in (REALM, NONCE):
        text = attribute.first(refused)
        assert text is not None
        assert len(text) < 128
    asking = client()
    asking.allocate(0.0)
    software = SOFTWARE.first(decode(sent(asking)))
    assert software is not None
    assert len(software) < 128
    longest = "\N{SNOWMAN}" * 254 + "x"
    assert len(longest.encode()) == 763
    for attribute in (USERNAME, REALM, NONCE, SOFTWARE):
        assert attribute.first(binding(attribute.of(longest))) == longest
        with pytest.raises(NotStun):
            attribute.first(binding((attribute.kind, b"x" * 764)))
    broken = Speaker(bench, CLIENT).ask(REFRESH, (LIFETIME.kind, b"xyz"))
    reason = ERROR_CODE.first(broken)
    assert reason is not None
    assert len(reason.reason) < 128


def test_what_is_no_check_is_none() -> None:
    """So the checks above are read as such."""
    assert isinstance(read(CHECK), CheckRequest)
    assert read(binding().encode()) is Plain.QUESTION

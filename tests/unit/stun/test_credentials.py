"""Long-term credentials at both ends (RFC 8489 section 9.2), and the keys."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2psip.base.address import Address
from p2psip.stun.attributes import (
    ERROR_CODE,
    NONCE,
    PASSWORD_ALGORITHM,
    PASSWORD_ALGORITHMS,
    REALM,
    USERHASH,
    USERNAME,
    Algorithm,
    StunErrorCode,
)
from p2psip.stun.credentials import (
    NONCE_LIFETIME_S,
    OFFERED,
    PASSWORD_ALGORITHMS_BIT,
    USERNAME_ANONYMITY_BIT,
    CannotAnswer,
    Proof,
    StunAdmitted,
    StunCredential,
    StunGate,
    StunRefused,
    User,
    long_term_key,
    opaque_string,
    security_features,
    short_term_key,
    userhash,
)
from p2psip.stun.integrity import SHA1, SHA256, is_signed, signed
from p2psip.stun.message import BINDING, MessageClass, NotStun, StunMessage, decode

ALICE = StunCredential("alice", "secret")
CLIENT = Address("192.0.2.7", 4000)
ID = b"twelve bytes"


class _Known:
    def find(self, username: str, now: float) -> User | None:
        return User("node alice", "secret") if username == "alice" and now < 10_000 else None


def gate() -> StunGate:
    return StunGate("overlay", _Known(), b"nobody guesses it")


def request(*attributes: tuple[int, bytes]) -> StunMessage:
    return StunMessage(MessageClass.REQUEST, BINDING, ID, attributes)


def challenge(*attributes: tuple[int, bytes]) -> StunMessage:
    return StunMessage(MessageClass.ERROR, BINDING, ID, attributes)


def judged(
    at: StunGate, message: StunMessage, source: Address = CLIENT, now: float = 0.0
) -> StunAdmitted | StunRefused:
    data = message.encode()
    return at.judge(decode(data), data, source, now)


def first_refusal(at: StunGate) -> StunMessage:
    refused = judged(at, request())
    assert isinstance(refused, StunRefused)
    assert refused.code == 401
    return challenge(*refused.attributes)


def proven(proof: Proof) -> StunMessage:
    return signed(request(*proof.attributes), proof.key, proof.integrity)


def test_asked_challenged_and_admitted() -> None:
    at = gate()
    refusal = first_refusal(at)
    assert (REALM.first(refusal), PASSWORD_ALGORITHMS.first(refusal)) == ("overlay", OFFERED)
    proof = ALICE.proof(refusal)
    assert judged(at, proven(proof)) == StunAdmitted("node alice", proof.key, SHA256)


def test_who_knows_no_algorithms_goes_by_md5() -> None:
    """9.2.4: "the request is processed as though PASSWORD-ALGORITHM were MD5"."""
    at = gate()
    nonce = NONCE.first(first_refusal(at))
    assert nonce is not None
    key = long_term_key("alice", "overlay", "secret", Algorithm.MD5)
    asked = request(USERNAME.of("alice"), REALM.of("overlay"), NONCE.of(nonce))
    assert judged(at, signed(asked, key, SHA1)) == StunAdmitted("node alice", key, SHA1)


@pytest.mark.parametrize("who", [StunCredential("bob", "secret"), StunCredential("alice", "wrong")])
def test_another_user_or_password(who: StunCredential) -> None:
    at = gate()
    refused = judged(at, proven(who.proof(first_refusal(at))))
    assert isinstance(refused, StunRefused)
    assert refused.code == 401


def test_a_credential_that_has_ended() -> None:
    at = gate()
    refused = judged(at, proven(ALICE.proof(first_refusal(at))), now=10_000)
    assert isinstance(refused, StunRefused)
    assert refused.code == 401


@pytest.mark.must("8489 9.2.4/16", "8489 9.2.4/17", "8489 9.2.4/18")
def test_438_and_the_nonce_in_it_is_valid() -> None:
    at = gate()
    asked = proven(ALICE.proof(first_refusal(at)))
    assert isinstance(judged(at, asked, now=NONCE_LIFETIME_S - 1), StunAdmitted)
    stale = judged(at, asked, now=NONCE_LIFETIME_S)
    assert isinstance(stale, StunRefused)
    assert stale.code == 438
    assert isinstance(judged(at, proven(ALICE.proof(challenge(*stale.attributes))), now=NONCE_LIFETIME_S), StunAdmitted)


@pytest.mark.must("8489 9.2.4/4")
def test_the_nonce_of_another_address_is_no_nonce() -> None:
    at = gate()
    stolen = judged(at, proven(ALICE.proof(first_refusal(at))), source=Address("192.0.2.7", 4001))
    assert isinstance(stolen, StunRefused)
    assert stolen.code == 438


@pytest.mark.must("8489 9.2.4/7")
@pytest.mark.parametrize("missing", [USERNAME.kind, REALM.kind, NONCE.kind, PASSWORD_ALGORITHM.kind])
def test_400_what_has_to_be_there(missing: int) -> None:
    at = gate()
    proof = ALICE.proof(first_refusal(at))
    less = replace(proof, attributes=tuple(pair for pair in proof.attributes if pair[0] != missing))
    assert judged(at, proven(less)) == StunRefused(400, (ERROR_CODE.of(StunErrorCode(400)),))


@pytest.mark.must("8489 9.2.4/8")
def test_400_algorithms_that_somebody_has_shortened() -> None:
    """The bid-down: MD5 alone is what comes at the client, and what it sends back shows it."""
    at = gate()
    refusal = first_refusal(at)
    less = replace(
        refusal,
        attributes=tuple(
            PASSWORD_ALGORITHMS.of((Algorithm.MD5,)) if kind == PASSWORD_ALGORITHMS.kind else (kind, value)
            for kind, value in refusal.attributes
        ),
    )
    refused = judged(at, proven(ALICE.proof(less)))
    assert isinstance(refused, StunRefused)
    assert refused.code == 400


@pytest.mark.must("8489 9.2.5/1", "8489 9.2.5/2")
def test_9_2_5_algorithms_that_somebody_took_away() -> None:
    refusal = first_refusal(gate())
    less = replace(refusal, attributes=tuple(p for p in refusal.attributes if p[0] != PASSWORD_ALGORITHMS.kind))
    with pytest.raises(CannotAnswer):
        ALICE.proof(less)


@pytest.mark.must("8489 9.2.5/9")
def test_9_2_5_algorithms_of_which_none_is_known() -> None:
    with pytest.raises(CannotAnswer):
        ALICE.proof(challenge(REALM.of("r"), NONCE.of("n"), PASSWORD_ALGORITHMS.of((7, 9))))


def test_no_challenge() -> None:
    with pytest.raises(NotStun):
        ALICE.proof(challenge(REALM.of("r")))


@pytest.mark.must("8489 9.2.5/4")
def test_9_2_5_an_anonymous_user_name() -> None:
    nonce = "obMatJos2" + "QAAA" + "rest"
    assert security_features(nonce) == USERNAME_ANONYMITY_BIT
    proof = ALICE.proof(challenge(REALM.of("overlay"), NONCE.of(nonce)))
    asked = proven(proof)
    assert USERHASH.first(asked) == userhash("alice", "overlay")
    assert not USERNAME.within(asked)
    assert is_signed(asked.encode(), long_term_key("alice", "overlay", "secret", Algorithm.MD5))


@pytest.mark.parametrize(
    ("nonce", "features"),
    [("", 0), ("obMatJos2", 0), ("obMatJos2A", 0), ("obMatJos2!!!!x", 0), ("obMatJos2gAAA", PASSWORD_ALGORITHMS_BIT)],
)
def test_9_2_the_nonce_cookie(nonce: str, features: int) -> None:
    assert security_features(nonce) == features


def test_8265_opaque_strings() -> None:
    assert opaque_string("a\u00a0e\u0301") == "a é"
    assert short_term_key("a\u00a0b") == b"a b"

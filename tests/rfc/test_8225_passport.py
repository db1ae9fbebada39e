"""RFC 8225: PASSporT, by the examples of the document."""

from __future__ import annotations

import json

import pytest

from p2psip.sip.entities.callers import passport
from p2psip.sip.entities.callers.passport import Claims, Party
from p2psip.sip.message.errors import BadMessage

NUMBER = Party("tn", "12155551212")
ALICE = Party("uri", "sip:alice@example.com")
HEAD = "eyJhbGciOiJFUzI1NiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9jZXJ0LmV4YW1wbGUub3JnL3Bhc3Nwb3J0LmNlciJ9"
PAYLOAD = (
    "eyJkZXN0Ijp7InVyaSI6WyJzaXA6YWxpY2VAZXhhbXBsZS5jb20iXX0sImlhdCI6"
    "MTQ3MTM3NTQxOCwib3JpZyI6eyJ0biI6IjEyMTU1NTUxMjEyIn19"
)
SIGNATURE = "VLBCIVDCaeK6M4hLJb6SHQvacAQVvoiiEOWQ_iUkqk79UD81fHQ0E1b3_GluIkba7UWYRM47ZbNFdOJquE35cw"


@pytest.mark.must("8224 4.1/2", "8225 4.1/1", "8225 5/1", "8225 6/1", "8225 6/2")
def test_a_the_example_is_serialised_so() -> None:
    """Appendix A, steps 1 to 6."""
    head = passport.header("ES256", "https://cert.example.org/passport.cer")
    payload = Claims(NUMBER, frozenset({ALICE}), 1471375418).encode()
    assert passport.signing_input(head, payload) == f"{HEAD}.{PAYLOAD}".encode()


def test_a_the_example_is_read_so() -> None:
    """The signature in Appendix A is of neither key that stands beside it: that of RFC 7515 A.3 is tried instead."""
    token = passport.read(f"{HEAD}.{PAYLOAD}.{SIGNATURE}")
    assert (token.alg, token.x5u, token.ppt) == ("ES256", "https://cert.example.org/passport.cer", "")
    assert token.claims == Claims(NUMBER, frozenset({ALICE}), 1471375418)
    assert len(token.signature) == 64


@pytest.mark.must(
    "8225 5.1.1/1",
    "8225 5.2.2/1",
    "8225 5.2.2/4",
    "8225 6/2",
    "8225 8.1/1",
    "8225 9/1",
    "8225 9/2",
    "8225 9/3",
    "8225 9/4",
    "8225 9/6",
)
def test_9_1_keys_in_order_and_no_blanks() -> None:
    dig = "021ACC5427ABEB9C533F3E4B652E7D463F5442CD54F17A03A27DF9B07F4619B2"
    claims = Claims(NUMBER, frozenset({ALICE}), 1443208345, (("sha-256", dig),))
    assert claims.encode().decode() == (
        '{"dest":{"uri":["sip:alice@example.com"]},"iat":1443208345,"mky":[{"alg":"sha-256","dig":"' + dig + '"}],'
        '"orig":{"tn":"12155551212"}}'
    )


@pytest.mark.must("8225 5.2.1/1")
def test_5_2_1_numbers_before_uris_each_in_order() -> None:
    dest = frozenset({Party("uri", "sip:b@x"), Party("uri", "sip:a@x"), Party("tn", "1")})
    assert json.loads(Claims(NUMBER, dest, 1).encode())["dest"] == {"tn": ["1"], "uri": ["sip:a@x", "sip:b@x"]}


def token_of(head: object, payload: object, signature: bytes = b"s") -> str:
    parts = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in (head, payload)]
    return ".".join(map(passport.to_base64, (*parts, signature)))


GOOD_HEAD = {"alg": "ES256", "typ": "passport", "x5u": "x"}
GOOD = {"orig": {"tn": "1"}, "dest": {"tn": ["2"]}, "iat": 1}


@pytest.mark.must(
    "8225 3/1", "8225 4.1/1", "8225 5.1.1/1", "8225 5.2.1/1", "8225 5.2.1/2", "8225 5.2.1/3", "8225 8.3/2"
)
@pytest.mark.parametrize(
    ("head", "payload"),
    [
        ({**GOOD_HEAD, "typ": "JWT"}, GOOD),
        ({"alg": "ES256", "x5u": "x"}, GOOD),
        ({**GOOD_HEAD, "alg": 7}, GOOD),
        (GOOD_HEAD, {**GOOD, "orig": {"tn": "1", "uri": "sip:a@b"}}),
        (GOOD_HEAD, {**GOOD, "orig": {}}),
        (GOOD_HEAD, {**GOOD, "orig": {"tn": ["1"]}}),
        (GOOD_HEAD, {**GOOD, "orig": {"name": "boss"}}),
        (GOOD_HEAD, {**GOOD, "dest": {}}),
        (GOOD_HEAD, {**GOOD, "dest": {"tn": []}}),
        (GOOD_HEAD, {**GOOD, "dest": {"tn": [str(n) for n in range(17)]}}),
        (GOOD_HEAD, {**GOOD, "iat": "1"}),
        (GOOD_HEAD, {**GOOD, "iat": 1.5}),
        (GOOD_HEAD, {"orig": {"tn": "1"}, "dest": {"tn": ["2"]}}),
        (GOOD_HEAD, b"["),
        (GOOD_HEAD, b"[" * 2900),
        (GOOD_HEAD, b'{"x":' * 550),
        (GOOD_HEAD, b"1" * 2900),
        (b"\xff\xfe", GOOD),
        (GOOD_HEAD, {**GOOD, "more": "x" * 4000}),
    ],
)
def test_what_is_no_passport(head: object, payload: object) -> None:
    assert passport.read(token_of(GOOD_HEAD, GOOD)).claims.dest == {Party("tn", "2")}
    with pytest.raises(BadMessage):
        passport.read(token_of(head, payload))


@pytest.mark.parametrize("text", ["", "a", "a.b", "..", "a..c", "a.b.c.d", "a.b.!", "a.=.c", "A" * 5 + ".A.A"])
def test_nor_is_this(text: str) -> None:
    with pytest.raises(BadMessage):
        passport.read(text)

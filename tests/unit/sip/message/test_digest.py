"""Digest authentication: the RFC's examples, and a server that is not fooled."""

from __future__ import annotations

import random

import pytest

from p2psip.sip.message import digest
from p2psip.sip.message.digest import Authenticator, Worth
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import AuthParams

HA1S = (digest.ha1_by_algorithm("alice", "overlay", "secret"),)
HERE = "192.0.2.1"


def answered(
    challenge: AuthParams, password: str = "secret", uri: str = "sip:overlay", count: int = 1, method: str = "REGISTER"
) -> AuthParams:
    algorithm = digest.algorithm_of(challenge)
    a1_hash = digest.ha1("alice", challenge.get("realm"), password, algorithm)
    return digest.answer_challenge(
        challenge, user="alice", a1_hash=a1_hash, method=method, uri=uri, cnonce="0a4f113b", nonce_count=count
    )


def authenticator(**options: object) -> Authenticator:
    return Authenticator("overlay", random.Random(1), **options)  # type: ignore[arg-type]


# Vectors


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_7616_3_9_1(algorithm: str, response: str) -> None:
    """The example of RFC 7616 section 3.9.1."""
    credentials = AuthParams.parse(
        'Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", '
        f"algorithm={algorithm}, "
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, '
        'cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth'
    )
    a1_hash = digest.ha1("Mufasa", "http-auth@example.org", "Circle of Life", algorithm)
    assert digest.response_digest(credentials, a1_hash, "GET") == response


@pytest.mark.must("3261 22.4/1")
def test_2617_without_qop() -> None:
    """The example of RFC 2069 as corrected by its erratum."""
    credentials = AuthParams.parse(
        'Digest username="Mufasa", realm="testrealm@host.com", '
        'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", uri="/dir/index.html"'
    )
    a1_hash = digest.ha1("Mufasa", "testrealm@host.com", "CircleOfLife")
    assert digest.response_digest(credentials, a1_hash, "GET") == "1949323746fe6a43ef61f9606e7febea"


# Server and client


@pytest.mark.must("7616 3.6/1", "8760 3/2")
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_right_password(algorithm: str) -> None:
    server = authenticator(algorithms=(algorithm,))
    [challenge] = server.challenges(HERE, 0.0)
    credentials = server.find([str(answered(challenge))])
    assert credentials is not None
    assert server.is_fresh(credentials, HERE, 1.0)
    assert server.check("REGISTER", credentials, HA1S, HERE, 1.0) is Worth.VALID


@pytest.mark.must("8760 2.4/1")
def test_8760_what_is_not_understood_is_ignored() -> None:
    """ "The client MUST ignore any challenge it does not understand": in whatever order they come."""
    challenges = digest.read_all(
        [
            'Digest realm="r", nonce="n", algorithm=SHA-512-256, qop="auth"',
            'Odd realm="r", nonce="n"',
            'Digest realm="r", nonce="n", algorithm=MD5-sess',
            'Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth-int"',
            'Digest realm="r", nonce="n", qop="auth"',
        ]
    )
    assert digest.choose_challenge(challenges) is challenges[-1]
    assert digest.choose_challenge(challenges[:-1]) is None


def test_7616_3_3_userhash_is_not_offered_and_not_taken() -> None:
    """What is not said is "false"; a hashed name would name nobody here."""
    server = authenticator()
    [challenge] = server.challenges(HERE, 0.0)
    assert "userhash" not in challenge.params
    for value, is_found in (("true", False), ("TRUE", False), ("false", True)):
        credentials = answered(challenge)
        credentials.params["userhash"] = value
        assert (server.find([str(credentials)]) is not None) is is_found


@pytest.mark.must("7616 3.4/1")
def test_7616_3_4_two_user_names_are_an_error() -> None:
    server = authenticator()
    credentials = answered(server.challenges(HERE, 0.0)[0])
    credentials.params["username*"] = "UTF-8''alice"
    with pytest.raises(BadMessage, match="two user names"):
        server.find([str(credentials)])
    del credentials.params["username"]
    assert server.find([str(credentials)]) is None


@pytest.mark.must("7616 3.3/5", "7616 3.3/6", "7616 3.4/5", "7616 3.4/6")
def test_7616_3_what_is_quoted_and_what_is_not() -> None:
    """In what a server writes and in what a client does, whatever the challenge had."""

    def quoted(params: dict[str, str]) -> set[str]:
        return {name for name, value in params.items() if value.startswith('"')}

    challenge = authenticator().challenges(HERE, 0.0, stale=True)[0]
    assert (quoted(challenge.params), challenge.params.keys() - quoted(challenge.params)) == (
        {"realm", "nonce", "qop"},
        {"stale", "algorithm"},
    )
    bare = AuthParams.parse('Digest realm="r", nonce="n", opaque=o, algorithm=MD5, qop=auth')
    credentials = answered(bare)
    assert quoted(credentials.params) == {"username", "realm", "nonce", "uri", "response", "cnonce", "opaque"}
    assert credentials.params["nc"] == "00000001"


@pytest.mark.must("7616 3.7/1", "7616 3.7/2", "8760 2.3/1", "8760 2.3/2")
def test_8760_favourite_first() -> None:
    server = authenticator(algorithms=("SHA-256", "MD5"))
    challenges = server.challenges(HERE, 0.0)
    assert [challenge.get("algorithm") for challenge in challenges] == ["SHA-256", "MD5"]
    assert digest.choose_challenge(challenges) is challenges[0]
    unknown = AuthParams.parse('Digest realm="r", nonce="n", algorithm=SHA-512-256')
    other_qop = AuthParams.parse('Digest realm="r", nonce="n", qop="auth-int"')
    assert digest.choose_challenge([unknown, other_qop, challenges[1]]) is challenges[1]
    assert digest.choose_challenge([unknown]) is None


@pytest.mark.must("7616 3.6/1")
def test_wrong_password() -> None:
    server = authenticator()
    [challenge] = server.challenges(HERE, 0.0)
    assert server.check("REGISTER", answered(challenge, "guess"), HA1S, HERE, 0.0) is Worth.WRONG


def test_password_for_another_method() -> None:
    server = authenticator()
    [challenge] = server.challenges(HERE, 0.0)
    assert server.check("INVITE", answered(challenge), HA1S, HERE, 0.0) is Worth.WRONG


def test_any_of_the_ways_to_type_a_password_is_right() -> None:
    kept = digest.logins(["alice", "Alice"], "overlay", ["secret", "SECRET"])
    assert list(kept) == ["alice", "Alice"]
    server = authenticator()
    for password, verdict in (("secret", Worth.VALID), ("SECRET", Worth.VALID), ("Secret", Worth.WRONG)):
        [challenge] = server.challenges(HERE, 0.0)
        assert server.check("REGISTER", answered(challenge, password), kept["alice"], HERE, 0.0) is verdict


def test_a_nonce_is_good_where_it_was_sent() -> None:
    """RFC 7616 section 5.4: "free to construct the nonce such that it MAY only be used from a particular client"."""
    server = authenticator()
    [challenge] = server.challenges(HERE, 0.0)
    credentials = answered(challenge)
    assert not server.is_fresh(credentials, "192.0.2.2", 0.0)
    assert server.check("REGISTER", credentials, HA1S, "192.0.2.2", 0.0) is Worth.STALE
    assert server.check("REGISTER", credentials, HA1S, HERE, 0.0) is Worth.VALID


def test_nonce_ages() -> None:
    server = authenticator(nonce_lifetime_s=10.0)
    [challenge] = server.challenges(HERE, 0.0)
    credentials = answered(challenge)
    assert server.is_fresh(credentials, HERE, 10.0)
    assert not server.is_fresh(credentials, HERE, 10.1)
    assert server.check("REGISTER", credentials, HA1S, HERE, 10.1) is Worth.STALE
    assert server.challenges(HERE, 11.0, stale=True)[0].get("stale") == "true"


@pytest.mark.parametrize("nonce", ["", "x", "..", "1.1.1", "0.1." + "f" * 24, "\u0661.1.00", "1." + "0" * 24])
def test_nonce_of_somebody_else(nonce: str) -> None:
    server = authenticator()
    credentials = answered(AuthParams("Digest", {"realm": '"overlay"', "nonce": f'"{nonce}"', "qop": '"auth"'}))
    assert not server.is_fresh(credentials, HERE, 0.0)
    assert server.check("REGISTER", credentials, HA1S, HERE, 0.0) is Worth.STALE


@pytest.mark.must("3261 22.4/7", "8760 3/2")
def test_replay() -> None:
    """RFC 7616 3.4: nc must grow; the nonce may be used again with a higher one."""
    server = authenticator()
    [challenge] = server.challenges(HERE, 0.0)
    uses = [answered(challenge, count=count) for count in (1, 1, 3, 2, 4)]
    verdicts = [server.check("REGISTER", credentials, HA1S, HERE, 0.0) for credentials in uses]
    assert verdicts == [Worth.VALID, Worth.STALE, Worth.VALID, Worth.STALE, Worth.VALID]


@pytest.mark.must("3261 22.4/1", "3261 22.4/7")
def test_old_client_without_qop_may_use_a_nonce_once() -> None:
    server = authenticator()
    [challenge] = server.challenges(HERE, 0.0)
    plain = AuthParams("Digest", {name: value for name, value in challenge.params.items() if name != "qop"})
    credentials = server.find([str(answered(plain))])
    assert credentials is not None
    assert server.check("REGISTER", credentials, HA1S, HERE, 0.0) is Worth.VALID
    assert server.check("REGISTER", credentials, HA1S, HERE, 0.0) is Worth.STALE


def test_counts_are_bounded_and_forgetting_opens_no_replay() -> None:
    server = authenticator(nonces_max=2)
    used = [server.challenges(HERE, 0.0)[0] for _ in range(4)]
    for challenge in used:
        assert server.check("REGISTER", answered(challenge), HA1S, HERE, 0.0) is Worth.VALID
    for challenge in used:
        assert server.check("REGISTER", answered(challenge), HA1S, HERE, 0.0) is Worth.STALE


@pytest.mark.must("3261 22.3/6", "7616 3.4/2")
@pytest.mark.parametrize(
    "text",
    [
        "Basic abc",
        'Digest username="alice", realm="other", nonce="n", uri="sip:a", response="r"',
        'Digest username="alice", realm="overlay", nonce="n", uri="sip:a"',
        'Digest username="alice", realm="overlay", nonce="n", uri="sip:a", response="r", algorithm=SHA-256',
        'Digest username="alice", realm="overlay", nonce="n", uri="sip:a", response="r", qop=auth-int',
        'Digest username="alice", realm="overlay", nonce="n", uri="sip:a", response="r", qop=auth',
    ],
)
def test_credentials_that_are_not_for_us(text: str) -> None:
    assert authenticator().find([text]) is None


def test_malformed_count() -> None:
    server = authenticator()
    [challenge] = server.challenges(HERE, 0.0)
    params = answered(challenge).params | {"nc": "zz"}
    signature = digest.response_digest(AuthParams("Digest", params), HA1S[0]["MD5"], "REGISTER")
    credentials = AuthParams("Digest", params | {"response": f'"{signature}"'})
    assert server.check("REGISTER", credentials, HA1S, HERE, 0.0) is Worth.STALE


def test_client_gives_back_opaque() -> None:
    challenge = AuthParams.parse('Digest realm="overlay", nonce="n", opaque="5ccc069c"')
    credentials = answered(challenge)
    assert credentials.get("opaque") == "5ccc069c"
    assert credentials.get("nc") == ""


def test_a_challenge_in_any_case_can_be_answered() -> None:
    """RFC 3261 7.3.1: values that are not quoted strings are case-insensitive; "auth" is a token in quotes."""
    challenge = AuthParams.parse('DIGEST Realm="r", NONCE="n", Algorithm=md5, QOP="AUTH,auth-int"')
    assert digest.choose_challenge([challenge]) is challenge

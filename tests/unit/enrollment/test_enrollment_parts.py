"""Names, passwords, forms, certificate requests and the allowance for wrong passwords."""

from __future__ import annotations

import random

import pytest
from accounts import CHEAP
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from p2psip.base.errors import LocalMisuse
from p2psip.enrollment.csr import CSR_SIZE_MAX, make_request, read_request
from p2psip.enrollment.form import FORM_SIZE_MAX, EnrollmentForm, check_accept, read_form
from p2psip.enrollment.passwords import (
    USUAL,
    check_new_password,
    generate_password,
    hash_password,
    is_password,
)
from p2psip.enrollment.refusals import BadCsr, BadForm, NotAcceptable
from p2psip.enrollment.user_names import account_name, full_name, is_peer_name, is_user_name, next_name, peer_name
from p2psip.reload.security.keys import public_key_hash
from p2psip.reload.wire.common import SignatureAlgorithm
from p2psip.sim.membership import ALGORITHMS, OVERLAY, key


@pytest.mark.parametrize("name", ["alice", "1001", "+49301234", "dj0abc", "a.b-c_d+e", "x" * 64])
def test_legal_names(name: str) -> None:
    assert account_name(name, OVERLAY) == f"{name}@{OVERLAY}"
    assert account_name(f"{name}@{OVERLAY}", OVERLAY) == f"{name}@{OVERLAY}"
    assert is_user_name(f"{name}@{OVERLAY}", OVERLAY)


@pytest.mark.parametrize(
    "name", ["", "Alice", "a b", "ä", "a\0", "a\n", "a@other.example", "a@b@club.example", "x" * 65, ".a", "a.", "*43"]
)
def test_11_3_only_legal_characters(name: str) -> None:
    """ "Enrollment servers SHOULD take care to allow only legal characters in the name (e.g., no embedded NULs)"."""
    with pytest.raises(LocalMisuse, match="cannot be a user name"):
        account_name(name, OVERLAY)
    assert not is_user_name(full_name(name, OVERLAY), OVERLAY)


def test_peers_have_names_of_their_own() -> None:
    assert peer_name("garden", OVERLAY) == peer_name("peer-garden", OVERLAY) == f"peer-garden@{OVERLAY}"
    assert is_peer_name(peer_name("garden", OVERLAY))
    assert not is_peer_name(f"alice@{OVERLAY}")


def test_a_name_that_is_taken_is_followed_by_another() -> None:
    names = ["peer-hill@x.example"]
    for _ in range(3):
        names.append(next_name(names[-1]))
    assert names[1:] == ["peer-hill-2@x.example", "peer-hill-3@x.example", "peer-hill-4@x.example"]
    assert next_name("peer-7@x.example") == "peer-7-2@x.example"
    assert len(next_name("p" * 64 + "@x.example").partition("@")[0]) == 64
    assert is_user_name(next_name("peer-hill-9@x.example"), "x.example")


def test_a_hash_knows_its_password_only() -> None:
    rng = random.Random(1)
    kept = hash_password("pässword", rng, CHEAP)
    assert is_password("pässword", kept)
    assert not is_password("passwort", kept)
    assert "ssword" not in kept
    assert hash_password("pässword", rng, CHEAP) != kept


@pytest.mark.must("11.3/7")
def test_11_3_passwords_are_compared_as_binary_objects() -> None:
    """The same letter in two Unicode forms is two passwords."""
    assert not is_password("pa\u0308ssword", hash_password("p\u00e4ssword", random.Random(1), CHEAP))


@pytest.mark.long
def test_the_default_cost_is_memory_hard() -> None:
    assert 128 * USUAL.r << USUAL.log_n == 32 << 20
    kept = hash_password("x", random.Random(1))
    assert kept.startswith(f"scrypt${USUAL.log_n}${USUAL.r}${USUAL.p}$")
    assert is_password("x", kept)


@pytest.mark.parametrize("password", ["", "short", "x" * 1025, "with\0null", "line\nbreak"])
def test_passwords_that_protect_nothing(password: str) -> None:
    with pytest.raises(LocalMisuse):
        check_new_password(password)


def test_generated_passwords_are_good_ones() -> None:
    rng = random.Random(1)
    made = {check_new_password(generate_password(rng)) for _ in range(50)}
    assert len(made) == 50


BOUNDARY = "XX"


def form(*parts: tuple[str, bytes], headers: str = "", end: str = "--") -> bytes:
    """A multipart body."""
    body = b""
    for name, value in parts:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n{headers}\r\n'
        body += head.encode() + value + b"\r\n"
    return body + f"--{BOUNDARY}{end}\r\n".encode()


TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def test_a_form_with_everything() -> None:
    """Binary parts with and without a file name are the same thing."""
    csr = bytes(range(256))
    parts = (("csr", csr), ("username", "älice".encode()), ("password", b"p w"), ("nodeids", b"3"))
    expected = EnrollmentForm(csr, "älice", "p w", 3)
    assert read_form(TYPE, form(*parts)) == expected
    assert read_form(TYPE, form(*parts, headers="Content-Type: application/pkcs10\r\n")) == expected
    assert read_form(TYPE, form(*parts).replace(b'"csr"', b'"csr"; filename="a.p10"')) == expected


def test_a_renewal_has_a_csr_only() -> None:
    assert read_form(TYPE, form(("csr", b"x"))) == EnrollmentForm(b"x")


@pytest.mark.parametrize(
    ("content_type", "body", "why"),
    [
        ("", b"", "not multipart"),
        ("application/x-www-form-urlencoded", b"csr=x", "not multipart"),
        ("multipart/form-data", form(("csr", b"x")), "not multipart"),
        (TYPE, b"", "ends too soon"),
        (TYPE, b"garbage", "not multipart"),
        (TYPE, form(("csr", b"x"), end=""), "ends too soon"),
        (TYPE, form(("username", b"x")), 'no form parameter "csr"'),
        (TYPE, form(("csr", b"x"), ("username", b"x")), "without a password"),
        (TYPE, form(("csr", b"x"), ("password", b"x")), "without a password"),
        (TYPE, form(("csr", b"x"), ("username", b"\xff"), ("password", b"x")), "not UTF-8"),
        (TYPE, form(("csr", b"x"), ("username", b"x" * 300), ("password", b"x")), "longer than"),
        (TYPE, form(("csr", b"x"), ("nodeids", b"-1")), "no number"),
        (TYPE, form(("csr", b"x"), ("nodeids", "٣".encode())), "no number"),
        (TYPE, form(("csr", b"x"), ("nodeids", b"999999999999999999999")), "longer than"),
        (TYPE, form(("csr", b"x"), ("csr", b"y")), "twice"),
        (TYPE, form(("", b"x")), "no name"),
        (TYPE, form(*((f"n{number}", b"") for number in range(30))), "too many"),
        (TYPE, form(("csr", bytes(FORM_SIZE_MAX))), "at most"),
        (TYPE, form(("csr", b"x"), headers="X: y\r\n" * 50), "not multipart"),
    ],
)
def test_bad_forms(content_type: str, body: bytes, why: str) -> None:
    with pytest.raises(BadForm, match=why):
        read_form(content_type, body)


@given(st.binary(max_size=300), st.sampled_from([TYPE, "multipart/form-data; boundary=\x00", "x" * 50]))
def test_any_body_is_a_form_or_a_bad_form(body: bytes, content_type: str) -> None:
    for data in (body, form(("csr", body))[: len(body) * 2], b"--XX\r\n" + body):
        try:
            read_form(content_type, data)
        except BadForm:
            continue


@pytest.mark.parametrize(
    "accept", ["application/pkix-cert", "", "*/*", "text/html, application/*;q=0.5", "Application/PKIX-Cert; q=1"]
)
def test_clients_that_take_certificates(accept: str) -> None:
    check_accept(accept)


def test_clients_that_do_not() -> None:
    with pytest.raises(NotAcceptable):
        check_accept("text/html")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_request_says_which_key_and_name(algorithm: SignatureAlgorithm) -> None:
    request = read_request(make_request(key(algorithm), f"alice@{OVERLAY}"))
    assert (request.user, request.algorithm) == (f"alice@{OVERLAY}", algorithm)
    assert request.key_hash == public_key_hash(key(algorithm).public_key())


def _request(
    signer: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, subject: list[tuple[x509.ObjectIdentifier, str]]
) -> x509.CertificateSigningRequest:
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in subject])
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return x509.CertificateSigningRequestBuilder().subject_name(name).sign(signer, algorithm)


def test_what_common_tools_write_is_understood() -> None:
    """PEM, and the name as e-mail address or common name of the subject."""
    private = key()
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    for oid in (NameOID.EMAIL_ADDRESS, NameOID.COMMON_NAME):
        pem = _request(private, [(oid, "a@b")]).public_bytes(serialization.Encoding.PEM)
        assert read_request(pem).user == "a@b"


def test_bad_requests() -> None:
    der = serialization.Encoding.DER
    private = key()
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    tampered = bytearray(make_request(private, "a@b"))
    tampered[-1] ^= 1
    cases = {
        b"": "not a PKCS#10",
        b"garbage": "not a PKCS#10",
        b"-----BEGIN CERTIFICATE REQUEST-----": "not a PKCS#10",
        bytes(CSR_SIZE_MAX + 1): "a CSR of",
        bytes(tampered): "its signature is wrong",
        _request(private, []).public_bytes(der): "0 user names",
        _request(private, [(NameOID.COMMON_NAME, "a"), (NameOID.EMAIL_ADDRESS, "b")]).public_bytes(der): "2 user names",
        _request(ec.generate_private_key(ec.SECP384R1()), [(NameOID.COMMON_NAME, "a")]).public_bytes(der): "its key",
        _request(ed25519.Ed25519PrivateKey.generate(), [(NameOID.COMMON_NAME, "a")]).public_bytes(der): "its key",
    }
    for data, why in cases.items():
        with pytest.raises(BadCsr, match=why):
            read_request(data)


def test_random_damage_to_a_request_is_one_exception() -> None:
    good, rng = make_request(key(), "a@b"), random.Random(2)
    for _ in range(300):
        damaged = bytearray(good)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        with pytest.raises(BadCsr):
            read_request(bytes(damaged))

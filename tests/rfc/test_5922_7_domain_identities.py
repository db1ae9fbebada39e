"""Whose a certificate is, as a SIP domain: RFC 5922 section 7."""

from __future__ import annotations

import datetime
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from p2psip.net.sockets.server_names import is_of_domain

KEY = ec.generate_private_key(ec.SECP256R1())
BEGIN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


def name(text: str) -> x509.GeneralName:
    return x509.DNSName(text)


def certificate(*names: x509.GeneralName, common_name: str = "cn.example") -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = x509.CertificateBuilder(subject, subject, KEY.public_key(), 1, BEGIN, BEGIN + datetime.timedelta(1))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("names", "domain"),
    [
        ([uri("sip:example.org")], "example.org"),
        ([uri("SIP:Example.ORG")], "example.org"),
        ([name("example.org")], "example.org"),
        ([name("EXAMPLE.org"), name("example.net")], "example.org"),
        # A URI that is no SIP domain does not put the DNS names aside.
        ([uri("https://example.org/"), name("example.org")], "example.org"),
        ([uri("sip:alice@example.org"), name("example.org")], "example.org"),
        ([x509.IPAddress(ipaddress.ip_address("192.0.2.1"))], "192.0.2.1"),
        ([x509.IPAddress(ipaddress.ip_address("2001:db8::1"))], "[2001:db8::1]"),
        ([], "cn.example"),
    ],
)
def test_7_1_what_is_an_identity(names: list[x509.GeneralName], domain: str) -> None:
    assert is_of_domain(certificate(*names), domain)


@pytest.mark.parametrize(
    ("names", "domain"),
    [
        # "if and only if no other identity is found that matches the "sip" URI type".
        ([uri("sip:example.net"), name("example.org")], "example.org"),
        # "a value with a userpart identifies an individual user, not a domain".
        ([uri("sip:alice@example.org")], "example.org"),
        ([uri("sips:example.org")], "example.org"),
        # "Implementations MUST NOT match suffixes", "MUST NOT match any form of wildcard".
        ([name("example.org")], "sip.example.org"),
        ([name("sip.example.org")], "example.org"),
        ([name("*.example.org")], "sip.example.org"),
        # The Common Name counts "if and only if the subjectAltName does not appear in the certificate".
        ([name("example.org")], "cn.example"),
        ([], "example.org"),
    ],
)
def test_7_1_and_7_2_what_is_none(names: list[x509.GeneralName], domain: str) -> None:
    assert not is_of_domain(certificate(*names), domain)

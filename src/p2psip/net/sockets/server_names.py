"""Whose a server's certificate is (RFC 2818 section 3.1, RFC 5922)."""

from __future__ import annotations

import ipaddress

from cryptography import x509
from cryptography.x509.oid import NameOID


def is_named(certificate: bytes, name: str) -> bool:
    """True if a server's certificate is for this host name or address (RFC 2818 section 3.1)."""
    leaf = x509.load_der_x509_certificate(certificate)
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        given = names.get_values_for_type(x509.DNSName)
        # "If a subjectAltName extension of type dNSName is present, that MUST be used as the identity. Otherwise, the
        # (most specific) Common Name field in the Subject field of the certificate MUST be used."
        common = [str(entry.value) for entry in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        return any(_matches(pattern.lower(), name.lower()) for pattern in given or common[-1:])
    return address in names.get_values_for_type(x509.IPAddress)


def is_of_domain(certificate: bytes, domain: str) -> bool:
    """True if a certificate is for this SIP domain (RFC 5922 section 7), or for the address if that is one."""
    leaf = x509.load_der_x509_certificate(certificate)
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        # 7.1: "the implementation MAY examine the CN field of the certificate."
        return domain in (
            str(entry.value).lower() for entry in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        )
    uris = [uri.partition(":") for uri in names.get_values_for_type(x509.UniformResourceIdentifier)]
    # "a value with a userpart identifies an individual user, not a domain".
    of_sip = [host.lower() for scheme, _, host in uris if scheme.lower() == "sip" and "@" not in host]
    # DNS names count "if and only if no other identity is found that matches the "sip" URI type".
    identities = of_sip or [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    # 7.2: "Implementations MUST match the values in their entirety": no wildcard.
    return domain in identities or domain.strip("[]") in addresses


def _matches(pattern: str, name: str) -> bool:
    """ "Names may contain the wildcard character * which is considered to match any single domain name component"."""
    if not pattern.startswith("*."):
        return pattern == name
    first, dot, rest = name.partition(".")
    return bool(first and dot) and rest == pattern[2:]

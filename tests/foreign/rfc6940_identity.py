"""Configuration, enrollment, certificates and signatures, from RFC 6940 alone (sections 6.3.4, 7.1, 11, 14.15)."""

from __future__ import annotations

import base64
import hashlib
import http.client
import re
import secrets
import socket
import ssl
import time
import urllib.parse
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import rfc6940_bytes as wire
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

SHA256 = 4
RSA, ECDSA = 1, 3
"""IANA's TLS HashAlgorithm and SignatureAlgorithm registries."""

REGISTERED = {"SIP-REGISTRATION": 0x1, "TURN-SERVICE": 0x2, "CERTIFICATE_BY_NODE": 0x3, "CERTIFICATE_BY_USER": 0x10}
"""14.6, and RFC 7904 section 9.1."""

NAMESPACE = "{urn:ietf:params:xml:ns:p2p:config-base}"
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class NotBelieved(Exception):
    """A certificate or a signature that does not hold."""


# Certificates


class Certificate:
    """A member's certificate (11.3): its user name and its Node-IDs."""

    def __init__(self, der: bytes) -> None:
        self.der = der
        self.x509 = x509.load_der_x509_certificate(der)
        try:
            names = self.x509.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            raise NotBelieved("no subjectAltName") from None
        (self.user,) = names.get_values_for_type(x509.RFC822Name)
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        self.node_ids = tuple(_node_of(uri) for uri in uris)


def _node_of(uri: str) -> bytes:
    """14.15: "a hexadecimal-encoded Destination List object", 11.3: "with a single entry of type "node_id""."""
    matched = re.fullmatch(r"reload://([0-9a-fA-F]+)@([^/]+)/?", uri)
    if matched is None:
        raise NotBelieved(f"not a RELOAD URI of a node: {uri}")
    entry = wire.whole(bytes.fromhex(matched[1]), wire.read_destination)
    if entry.type != 1:
        raise NotBelieved(f"no Node-ID in {uri}")
    return entry.value


class Trust:
    """The trust anchors of an overlay, and what leads to them."""

    def __init__(self, roots: Sequence[bytes], bad_nodes: Iterable[bytes] = ()) -> None:
        self.roots = [x509.load_der_x509_certificate(der) for der in roots]
        self._bad = frozenset(bad_nodes)

    def check(self, der: bytes, others: Sequence[bytes] = ()) -> Certificate:
        """The certificate, if a chain of valid ones leads from it to an anchor."""
        certificate = Certificate(der)
        if self._bad.intersection(certificate.node_ids):
            raise NotBelieved("a bad-node")
        pool = [x509.load_der_x509_certificate(other) for other in others if other != der]
        step, now = certificate.x509, time.time()
        for _ in range(4):
            if not step.not_valid_before_utc.timestamp() <= now <= step.not_valid_after_utc.timestamp():
                raise NotBelieved("not valid at this time")
            if any(_is_issued(step, root) for root in self.roots):
                return certificate
            step = next((each for each in pool if _is_authority(each) and _is_issued(step, each)), None)
            if step is None:
                break
        raise NotBelieved("no chain to a root-cert")

    def author(self, signed: bytes, signature: wire.Signature, certificates: Sequence[bytes]) -> tuple[bytes, str]:
        """Node-ID and user name of who signed `signed` followed by the SignerIdentity."""
        kind, value = signature.identity[0], wire.Reader(signature.identity[3:])
        if kind not in (1, 2) or value.number(1) != SHA256 or signature.hash_algorithm != SHA256:
            raise NotBelieved(f"identity type {kind}")
        wanted = value.vector(1)
        for der in certificates:
            certificate = Certificate(der)
            for node_id in certificate.node_ids:
                if wanted == hashlib.sha256((node_id if kind == 2 else b"") + der).digest():
                    if kind == 1 and len(certificate.node_ids) != 1:
                        raise NotBelieved("cert_hash with a certificate of several Node-IDs")
                    self.check(der, certificates)
                    _verify(certificate.x509, signature, signed + signature.identity)
                    return node_id, certificate.user
        raise NotBelieved("the signer's certificate is not in the bucket")


def _is_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _verify(certificate: x509.Certificate, signature: wire.Signature, signed: bytes) -> None:
    key = certificate.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey) and signature.signature_algorithm == RSA:
            key.verify(signature.value, signed, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(key, ec.EllipticCurvePublicKey) and signature.signature_algorithm == ECDSA:
            key.verify(signature.value, signed, ec.ECDSA(hashes.SHA256()))
        else:
            raise NotBelieved(f"signature algorithm {signature.signature_algorithm} with another key")
    except InvalidSignature:
        raise NotBelieved("the signature is wrong") from None


# Identity


@dataclass(frozen=True)
class Identity:
    """Who we are: a key and its certificate, with those that lead to the root."""

    key: PrivateKey
    certificate: Certificate
    which: int = 0
    """As which of the certificate's Node-IDs."""

    def acting_as(self, which: int) -> Identity:
        return replace(self, which=which)

    @property
    def node_id(self) -> bytes:
        return self.certificate.node_ids[self.which]

    @property
    def user(self) -> str:
        return self.certificate.user

    def sign(self, data: bytes) -> wire.Signature:
        """6.3.4: "one for a certificate with only one Node-ID and one for a certificate with multiple Node-IDs"."""
        several = len(self.certificate.node_ids) > 1
        digest = hashlib.sha256((self.node_id if several else b"") + self.certificate.der).digest()
        value = wire.number(SHA256, 1) + wire.vector(digest, 1)
        identity = wire.number(2 if several else 1, 1) + wire.vector(value, 2)
        if isinstance(self.key, rsa.RSAPrivateKey):
            signed = self.key.sign(data + identity, padding.PKCS1v15(), hashes.SHA256())
            return wire.Signature(SHA256, RSA, identity, signed)
        return wire.Signature(SHA256, ECDSA, identity, self.key.sign(data + identity, ec.ECDSA(hashes.SHA256())))

    def message(
        self, header: wire.Header, code: int, body: bytes, certificates: Iterable[bytes] = (), extensions: bytes = b""
    ) -> bytes:
        """A signed message, with these certificates beside our own."""
        signed = wire.contents(code, body, extensions)
        # "overlay || transaction_id || MessageContents || SignerIdentity"
        prefix = wire.number(header.overlay, 4) + wire.number(header.transaction, 8)
        bucket = wire.certificate_bucket(dict.fromkeys([self.certificate.der, *certificates]))
        payload = signed + bucket + self.sign(prefix + signed).encode()
        return header.encode(len(payload)) + payload

    def stored(self, resource: bytes, kind: int, value: wire.Value, lifetime_s: int, storage_time: int) -> wire.Stored:
        """7.1: the input is "resource_id || kind || storage_time || StoredDataValue || SignerIdentity"."""
        return wire.Stored(storage_time, lifetime_s, value, self.sign(data_prefix(resource, kind, storage_time, value)))


def data_prefix(resource: bytes, kind: int, storage_time: int, value: wire.Value) -> bytes:
    return resource + wire.number(kind, 4) + wire.number(storage_time, 8) + value.encode(signing=True)


def message_prefix(message: wire.Message) -> bytes:
    header = message.header
    return wire.number(header.overlay, 4) + wire.number(header.transaction, 8) + message.contents


# 11.1, 11.2 The configuration


@dataclass(frozen=True)
class Kind:
    """What a kind-block says."""

    model: str
    access: str
    max_count: int
    max_size: int
    max_node_multiple: int


@dataclass(frozen=True)
class Configuration:
    """What this peer wants to know of the document."""

    name: str
    sequence: int
    roots: list[bytes]
    enrollment: list[str]
    bootstrap: list[tuple[str, int]]
    max_message_bytes: int
    ttl: int
    reliability_s: float
    kinds: dict[int, Kind]
    signers: list[str]
    kind_signers: list[str]
    trust: Trust

    def updated(self, document: bytes) -> Configuration:
        """6.5.4.2: a newer document, signed by a configuration-signer of the one that we have."""
        new = read_configuration(document, self.name, self.roots[0], self.signers)
        if new.sequence <= self.sequence:
            raise NotBelieved(f"configuration {new.sequence} is not newer than {self.sequence}")
        return new

    def with_kinds(self, blocks: Iterable[bytes]) -> Configuration:
        """6.5.4.1: kind-blocks, which "assume a default namespace"; each must be signed by a kind-signer."""
        known = dict(self.kinds)
        for block in blocks:
            _check_blob(self.trust, *_signed_blob(block, "kind", "kind-signature", ""), self.kind_signers)
            wrapped = b'<x xmlns="%s">%s</x>' % (NAMESPACE.strip("{}").encode(), block)
            known |= [_kind(each) for each in ElementTree.fromstring(wrapped).iter(NAMESPACE + "kind")]
        return replace(self, kinds=known)

    @property
    def overlay(self) -> int:
        return wire.overlay_hash(self.name)

    @property
    def models(self) -> dict[int, str]:
        return {kind: entry.model for kind, entry in self.kinds.items()}


def read_configuration(document: bytes, name: str, anchor: bytes, signers: Sequence[str] = ()) -> Configuration:
    """The configuration of this overlay, whose root is known beforehand; its signature and its Kinds' are verified.

    `signers` are the configuration-signers "from the previous extant configuration"; of the first, its own.
    """
    blob, signatures = _signed_blob(document, "configuration", "signature", f'instance-name="{name}"')
    element = next(each for each in ElementTree.fromstring(document) if each.get("instance-name") == name)

    def texts(tag: str) -> list[str]:
        return [(child.text or "").strip() for child in element.findall(NAMESPACE + tag)]

    roots = [base64.b64decode(text) for text in texts("root-cert")]
    if anchor not in roots:
        raise NotBelieved("not the root-cert that we were told")
    trust = Trust([anchor])
    _check_blob(trust, blob, signatures, signers or texts("configuration-signer"))
    for block in re.findall(rb"<kind-block>.*?</kind-block>", blob, re.DOTALL):
        kind_blob, kind_signatures = _signed_blob(block, "kind", "kind-signature", "")
        _check_blob(trust, kind_blob, kind_signatures, texts("kind-signer"))
    return Configuration(
        name=name,
        sequence=int(element.get("sequence", "0")),
        roots=roots,
        enrollment=texts("enrollment-server"),
        bootstrap=[(each.attrib["address"], int(each.get("port", "6084"))) for each in _all(element, "bootstrap-node")],
        max_message_bytes=int((texts("max-message-size") or ["5000"])[0]),
        ttl=int((texts("initial-ttl") or ["100"])[0]),
        reliability_s=int((texts("overlay-reliability-timer") or ["3000"])[0]) / 1000,
        kinds=dict(_kind(each) for each in element.iter(NAMESPACE + "kind")),
        signers=texts("configuration-signer"),
        kind_signers=texts("kind-signer"),
        trust=Trust(roots, [bytes.fromhex(text) for text in texts("bad-node")]),
    )


def _all(element: ElementTree.Element, tag: str) -> list[ElementTree.Element]:
    return element.findall(NAMESPACE + tag)


def _kind(element: ElementTree.Element) -> tuple[int, Kind]:
    def text(tag: str, default: str = "0") -> str:
        return (element.findtext(NAMESPACE + tag) or default).strip()

    limits = (int(text(tag)) for tag in ("max-count", "max-size", "max-node-multiple"))
    name = element.get("name")
    kind_id = REGISTERED[name] if name else int(element.attrib["id"])
    return kind_id, Kind(text("data-model"), text("access-control"), *limits)


def _signed_blob(document: bytes, tag: str, signature: str, mark: str) -> tuple[bytes, list[bytes]]:
    """ "including, the first < at the start of <configuration> up to and including the > in </configuration>"."""
    pattern = rf"(<{tag}\s[^>]*{mark}.*?</{tag}>)((?:\s*<{signature}\b[^>]*>[^<]*</{signature}>)*)".encode()
    matched = re.search(pattern, document, re.DOTALL)
    if matched is None:
        raise NotBelieved(f"no {tag}")
    signatures = re.findall(rb">([^<]+)<", matched[2])
    return matched[1], [base64.b64decode(each) for each in signatures if each.strip()]


def _check_blob(trust: Trust, blob: bytes, signatures: list[bytes], signers: Sequence[str]) -> None:
    """ "signed using the standard SecurityBlock": the blob and, as in every signature of RELOAD, the SignerIdentity."""
    for block in signatures:
        certificates, signature = wire.whole(
            block, lambda r: (r.list(2, wire.read_certificate), wire.read_signature(r))
        )
        node_id, _ = trust.author(blob, signature, certificates)
        if node_id.hex() in [signer.lower() for signer in signers]:
            return
    raise NotBelieved("not signed by one who may")


def https(url: str, overlay: str, anchor: bytes, method: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    """One HTTPS request. "The server certificate MUST match the overlay name" (11.3; 11.2 where no URL is given)."""
    context = ssl.create_default_context(cadata=anchor)
    address = urllib.parse.urlsplit(url)
    connection = http.client.HTTPSConnection(address.hostname or "", address.port or 443, timeout=30)
    plain = socket.create_connection((address.hostname, address.port or 443), timeout=30)
    connection.sock = context.wrap_socket(plain, server_hostname=overlay)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, address.path or "/", body or None, {"Host": overlay, **named})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def fetch_configuration(origin: str, overlay: str, anchor: bytes) -> Configuration:
    """11.2: GET of /.well-known/reload-config."""
    url = f"{origin}/.well-known/reload-config"
    status, document = https(url, overlay, anchor, "GET", Accept="application/p2p-overlay+xml")
    if status != 200:
        raise NotBelieved(f"{url}: {status}")
    return read_configuration(document, overlay, anchor)


# 11.3 Enrollment


class EnrollmentRefused(Exception):
    """The server's token."""


def enroll(
    configuration: Configuration, username: str, password: str, user: str, key: PrivateKey, node_ids: int = 1
) -> Identity:
    """A certificate for `user` and this key, from the overlay's enrollment server."""
    names = x509.SubjectAlternativeName([x509.RFC822Name(user)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=True)
    request = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    boundary = secrets.token_hex(16)
    fields = [("username", "", username.encode()), ("password", "", password.encode())]
    if node_ids > 1:
        fields.append(("nodeids", "", b"%d" % node_ids))
    fields.append(("csr", "application/pkcs10", request))
    status, answer = https(
        configuration.enrollment[0],
        configuration.name,
        configuration.roots[0],
        "POST",
        _form(boundary, fields),
        Content_Type=f"multipart/form-data; boundary={boundary}",
        Accept="application/pkix-cert",
    )
    if status != 200:
        raise EnrollmentRefused(answer.decode())
    return Identity(key, configuration.trust.check(answer))


def _form(boundary: str, fields: Iterable[tuple[str, str, bytes]]) -> bytes:
    """RFC 2388."""
    parts = b""
    for name, content_type, value in fields:
        kind = f"Content-Type: {content_type}\r\n" if content_type else ""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n{kind}\r\n'
        parts += head.encode() + value + b"\r\n"
    return parts + f"--{boundary}--\r\n".encode()


def tls_contexts(identity: Identity, roots: Sequence[bytes], directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For the TLS client and the TLS server of a link: each shows its certificate and demands the other's."""
    files = directory / f"{identity.node_id.hex()}.pem"
    key = identity.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files.write_bytes(key + identity.certificate.x509.public_bytes(serialization.Encoding.PEM))
    made = []
    for protocol in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER):
        context = ssl.SSLContext(protocol)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        for root in roots:
            context.load_verify_locations(cadata=root)
        context.load_cert_chain(files)
        made.append(context)
    return made[0], made[1]

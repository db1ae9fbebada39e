"""Foreign peers for tests: enrolled, joined, and their stores and fetches in a line each."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import rfc6940_bytes as wire
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from rfc6940_identity import Certificate, Configuration, Identity, PrivateKey, enroll
from rfc6940_loop import LoopThread
from rfc6940_peer import Peer
from rfc6940_ring import after
from rfc6940_store import verified

LIFETIME_S = 600
ENROLLMENTS_MAX = 50


def anchor_der(path: Path) -> bytes:
    """The trust anchor, which somebody has handed over beforehand."""
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return certificate.public_bytes(serialization.Encoding.DER)


def new_key(*, is_rsa: bool = False) -> PrivateKey:
    if is_rsa:
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1())


class Fetched(NamedTuple):
    """One Kind of a FetchAns, and the user names of who signed its values."""

    generation: int
    values: list[wire.Value]
    authors: set[str]

    @property
    def data(self) -> list[bytes | None]:
        """The values; None where there is none."""
        return [value.data if value.exists else None for value in self.values]


class Stranger:
    """A foreign peer, step by step; everything it needs is got from the network by itself."""

    def __init__(
        self, configuration: Configuration, identity: Identity, directory: Path, *, compresses: bool = False
    ) -> None:
        self.loop = LoopThread()
        self.peer = Peer(configuration, identity, directory, seed=identity.node_id.hex(), compresses=compresses)
        self.loop.do(self.peer.listen())
        self._last_ms = 0

    @property
    def node_id(self) -> bytes:
        return self.peer.node_id

    @property
    def hex(self) -> str:
        return self.node_id.hex()

    def join(self) -> bytes:
        return self.loop.do(self.peer.join())

    def leave(self) -> None:
        self.loop.do(self.peer.leave())

    def close(self) -> None:
        self.loop.do(self.peer.close())
        self.loop.close()

    def request(
        self, code: int, body: bytes, *destinations: wire.Destination, **fields: object
    ) -> tuple[wire.Message, bytes]:
        return self.loop.do(self.peer.request(code, body, *destinations, **fields))  # type: ignore[arg-type]

    def ping(self, *destinations: wire.Destination, **fields: object) -> bytes:
        """Who answers."""
        message, author = self.request(wire.PING, wire.vector(b"", 2), *destinations, **fields)
        response_id, time_ms = wire.whole(message.body, lambda r: (r.number(8), r.number(8)))
        assert abs(time_ms / 1000 - time.time()) < 60, "6.5.3.2: represented in the same way as storage_time"
        assert response_id
        return author

    # Data

    def now_ms(self) -> int:
        """A storage_time that is later than the last one."""
        self._last_ms = max(self._last_ms + 1, int(time.time() * 1000))
        return self._last_ms

    def store(
        self, resource: bytes, kind: int, *values: wire.Value, generation: int = 0, lifetime_s: int = LIFETIME_S
    ) -> int:
        """Store values of our own; the generation counter afterwards."""
        signed = [self.peer.identity.stored(resource, kind, value, lifetime_s, self.now_ms()) for value in values]
        body = wire.store(resource, 0, [wire.KindData(kind, generation, signed)])
        message, _ = self.request(wire.STORE, body, wire.resource(resource))
        (answer,) = wire.whole(message.body, wire.read_store_answer)
        assert answer.kind == kind
        return answer.generation

    def fetch(self, resource: bytes, kind: int, wanted: bytes | None = None, generation: int = 0) -> Fetched:
        """What is there. Nothing but gaps comes without a signature that holds, by the answer's own certificates."""
        body = wire.fetch(resource, [wire.Specifier(kind, generation, wanted)])
        message, _ = self.request(wire.FETCH, body, wire.resource(resource))
        models, trust = self.peer.configuration.models, self.peer.configuration.trust
        (found,) = wire.whole(message.body, lambda r: r.list(4, lambda k: wire.read_kind_data(k, models)))
        assert found.kind == kind
        signed = [each for each in found.values if each.signature != wire.NO_SIGNATURE]
        assert all(not each.value.exists for each in found.values if each not in signed)
        authors = {verified(trust, resource, kind, each, message.certificates)[1] for each in signed}
        return Fetched(found.generation, [each.value for each in found.values], authors)


def member(
    configuration: Configuration, account: str, *, name: str = "", node_ids: int = 1, is_rsa: bool = False
) -> Identity:
    """A new key and its certificate; the account's password is the one that LiveOverlay gave it."""
    user = f"{name or account}@{configuration.name}"
    return enroll(configuration, account, f"account of {account}", user, new_key(is_rsa=is_rsa), node_ids)


def member_just_after(configuration: Configuration, target: bytes, others: Iterable[bytes]) -> Identity:
    """Enroll key after key until the server's Node-ID is the first after `target` on the ring."""
    ring = list(others)
    for _ in range(ENROLLMENTS_MAX):
        identity = member(configuration, "admin")
        if all(after(target, identity.node_id) < after(target, other) for other in ring):
            return identity
    raise AssertionError("the enrollment server gave no Node-ID in this part of the ring")


def self_made(configuration: Configuration, node_id: bytes, directory: Path) -> Stranger:
    """Whoever likes can make a certificate like a member's, with any Node-ID."""
    key = new_key()
    uri = f"reload://0110{node_id.hex()}@{configuration.name}/"
    names = [x509.UniformResourceIdentifier(uri), x509.RFC822Name(f"admin@{configuration.name}")]
    began = datetime.now(UTC) - timedelta(hours=1)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Trust anchor of {configuration.name}")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(began).not_valid_after(began + timedelta(days=2))
    made = builder.add_extension(x509.SubjectAlternativeName(names), critical=False).sign(key, hashes.SHA256())
    identity = Identity(key, Certificate(made.public_bytes(serialization.Encoding.DER)))
    return Stranger(configuration, identity, directory)

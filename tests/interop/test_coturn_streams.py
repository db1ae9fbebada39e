"""The relay of a peer over TCP and over TLS (RFC 8656 section 3.1), asked by coturn's client."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import load_der_x509_certificate
from relay_host import HOST, RelayAtWork, relay_at_work

from p2psip.net.sockets.tls import make_context
from p2psip.sim.membership import OVERLAY, Club, key, node_id

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("turnutils_uclient") is None, reason="no coturn (Debian: coturn)"),
]

PATIENCE_S = 120.0
LOOK_S = 0.05
MESSAGES = ("-y", "-c", "-X", "-s", "-n", "20", "-z", "20")
"""Two clients send each other twenty messages, and wait 20 ms after each; by Send and Data."""


def certificate(number: int) -> bytes:
    """A member's."""
    return Club.of().certificate(f"user{number}@{OVERLAY}", [node_id(number)], number=number)


def pem_files(directory: Path, number: int) -> tuple[str, str]:
    """A member's certificate and key."""
    shown, secret = directory / "member.crt", directory / "member.key"
    shown.write_bytes(load_der_x509_certificate(certificate(number)).public_bytes(Encoding.PEM))
    secret.write_bytes(key(number=number).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(shown), str(secret)


async def talk(relay: RelayAtWork, options: Sequence[str]) -> str:
    """What the client says of its messages, once it has ended well."""
    credential = relay.credential("alice")
    who = ("-u", credential.username, "-w", credential.password, "-p", str(relay.address.port))
    client = await asyncio.create_subprocess_exec(
        "turnutils_uclient",
        *options,
        *MESSAGES,
        *who,
        HOST,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(client.communicate(), PATIENCE_S)
    finally:
        if client.returncode is None:
            client.kill()
            await client.wait()
    assert client.returncode == 0, said.decode()
    return said.decode()


@pytest.mark.parametrize("is_tls", [False, True])
def test_coturns_client_over_a_stream(tmp_path: Path, is_tls: bool) -> None:
    """None of its messages is lost; and when it has gone, its streams and allocations have."""
    shown, secret = pem_files(tmp_path, 1)

    async def main() -> None:
        async with relay_at_work(make_context((certificate(2),), key(number=2))) as relay:
            said = await talk(relay, ["-t", *(("-S", "-i", shown, "-k", secret) if is_tls else ())])
            assert "Total lost packets 0" in said, said
            for _ in range(int(PATIENCE_S / LOOK_S)):
                await asyncio.sleep(LOOK_S)
                if not (relay.streams or len(relay.core.paths.own_relay)):
                    break
            assert (relay.streams, len(relay.core.paths.own_relay), relay.core.links) == (0, 0, [])

    asyncio.run(main())

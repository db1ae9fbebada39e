"""The certificate of an application is renewed while it runs: kept, used, and no connection lost."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from free_ports import free_port

import p2psip
from p2psip.api import Overlay
from p2psip.api import connecting as connecting_module
from p2psip.base.errors import Cause, RequestFailed
from p2psip.base.wallclock import WallClock
from p2psip.daemon import service
from p2psip.daemon.renewing import renewal
from p2psip.daemon.state import client_state
from p2psip.daemon.state.client_state import load_client
from p2psip.daemon.state.settings import make_settings
from p2psip.daemon.state.state import load_state, save_document, save_identity, save_key, save_settings
from p2psip.net import node_host
from p2psip.net.disk.files import write_file
from p2psip.reload.config.configuration import BootstrapNode, OverlayConfiguration
from p2psip.reload.config.document import Document, parse
from p2psip.reload.config.write import build
from p2psip.reload.security.authority import DAY_S
from p2psip.reload.security.certificates import chain_to_pem
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.keys import PrivateKey, key_to_pem
from p2psip.sim.membership import DATE, OVERLAY, Club, founding, key, node_id

HERE = "127.0.0.1"
TODAY = DATE + 300 * DAY_S
"""Of the year of a certificate, more than two thirds are over."""

ALICE = f"alice@{OVERLAY}"
SOON_S = 120.0


@dataclass
class EnrollmentServer:
    """In its place: it answers when it may, after some failures, with a certificate for another year."""

    may_answer: asyncio.Event
    failures: int = 0
    asked: int = 0

    async def enroll(self, configuration: OverlayConfiguration, user: str, key: PrivateKey) -> CertifiedIdentity:
        await self.may_answer.wait()
        self.asked += 1
        if self.asked <= self.failures:
            raise RequestFailed("not enrolled", (Cause("https://192.0.2.1:8443", "cannot connect", 0.0),))
        issued = Club.of().certificate(user, [node_id(2)], number=2, begins=TODAY, ends=TODAY + 365 * DAY_S)
        return CertifiedIdentity(key, [issued])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> EnrollmentServer:
    """The date is 300 days later than that of the certificates."""
    for module in (service, connecting_module, node_host):
        monkeypatch.setattr(module, "read_wall_clock", lambda *_: WallClock(TODAY - node_host.boot_time()))
    there = EnrollmentServer(asyncio.Event())
    monkeypatch.setattr(client_state, "enroll", there.enroll)
    monkeypatch.setattr(renewal, "CHECK_S", 0.1)
    return there


@pytest.fixture
def peer(tmp_path: Path) -> service.PeerService:
    """The only peer of the overlay."""
    club, directory = Club.of(), tmp_path / "peer"
    directory.mkdir()
    port = free_port()
    values = {
        "name": "garden", "fingerprint": club.anchor.fingerprint, "listen": [HERE], "phone_listen": [HERE],
        "overlay_port": port, "sip_port": free_port(), "phone_port": free_port(), "first": True,
    }  # fmt: skip
    document = document_with(port)
    save_settings(directory, make_settings(values, "test"))
    save_document(directory, document)
    save_key(directory, key())
    certificate = club.certificate(f"peer-garden@{OVERLAY}", [node_id(1)], begins=TODAY - DAY_S)
    save_identity(directory, CertifiedIdentity(key(), [certificate]))
    client = tmp_path / "client"
    client.mkdir()
    save_document(client, document)
    settings = {"fingerprint": club.anchor.fingerprint, "listen": HERE}
    write_file(client / "client.toml", "".join(f"{k} = {json.dumps(v)}\n" for k, v in settings.items()).encode())
    write_file(client / "client.key", key_to_pem(key(number=2)))
    write_file(client / "client.crt", chain_to_pem([club.certificate(ALICE, [node_id(2)], number=2)]))
    return service.PeerService(load_state(directory))


def document_with(port: int) -> Document:
    founded = founding()
    nodes = (BootstrapNode(HERE, port),)
    changed = replace(founded.configuration, bootstrap_nodes=nodes)
    return parse(build(changed, founded.signer))


def until(overlay: Overlay) -> float:
    return overlay._session.identity.not_after


def renew_while_connected(peer: service.PeerService, client: Path, server: EnrollmentServer) -> None:
    """The same connection goes on, with another certificate."""

    async def use() -> None:
        async with p2psip.connect(client) as overlay:
            links = {link.number for link in overlay._session.node.links()}
            assert until(overlay) < TODAY + 100 * DAY_S
            server.may_answer.set()
            for _ in range(500):
                await asyncio.sleep(0.02)
                if until(overlay) > TODAY + 364 * DAY_S:
                    break
            await overlay.ping(node_id(1))
            assert links <= {link.number for link in overlay._session.node.links()}
            assert load_client(client).identity.chain == overlay._session.identity.chain

    async def main() -> None:
        ready = asyncio.Event()
        serving = asyncio.create_task(peer.run(lambda _: ready.set()))
        await ready.wait()
        async with asyncio.timeout(SOON_S):
            await use()
        serving.cancel()
        await asyncio.wait([serving])
        await asyncio.sleep(0.05)

    asyncio.run(main())


def test_it_is_renewed_and_used(
    peer: service.PeerService, server: EnrollmentServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "p2psip")
    renew_while_connected(peer, tmp_path / "client", server)
    assert server.asked == 1
    assert f"certificate renewed user={ALICE} until=2028-11-10" in caplog.text


def test_a_failure_explains_itself_and_is_tried_again(
    peer: service.PeerService,
    server: EnrollmentServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(renewal, "RETRY_FIRST_S", 0.1)
    server.failures = 2
    renew_while_connected(peer, tmp_path / "client", server)
    assert server.asked == 3
    (first, *_) = (record.message for record in caplog.records if "not renewed" in record.message)
    assert "reason=not enrolled; https://192.0.2.1:8443: cannot connect until=2028-01-15" in first
    assert "means=it is valid until then again_in_s=0.1" in first

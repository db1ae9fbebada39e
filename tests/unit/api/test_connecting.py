"""p2psip.api.connecting: what is refused before anything is sent, and an overlay that is not there."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from free_ports import free_port

import p2psip
from p2psip.api import LocalMisuse, RequestFailed
from p2psip.enrollment.client import self_enroll
from p2psip.reload.config.configuration import BootstrapNode, OverlayConfiguration
from p2psip.reload.security.keys import generate_key
from p2psip.reload.wire.common import HashAlgorithm, SignatureAlgorithm


def configuration(**settings: object) -> OverlayConfiguration:
    nodes = (BootstrapNode("127.0.0.1", free_port()),)
    fields: dict[str, object] = {"no_ice": True, "self_signed_digest": HashAlgorithm.SHA256, "bootstrap_nodes": nodes}
    return OverlayConfiguration("club.example", **(fields | settings))  # type: ignore[arg-type]


def connect(here: OverlayConfiguration, timeout_s: float = 5.0) -> None:
    key = generate_key(SignatureAlgorithm.ECDSA)
    identity = self_enroll(here, key, "alice@club.example", random.Random(1))

    async def run() -> None:
        async with p2psip.connect(configuration=here, identity=identity, listen="127.0.0.1", timeout_s=timeout_s):
            pass

    asyncio.run(run())


def test_an_overlay_that_permits_no_clients() -> None:
    with pytest.raises(LocalMisuse, match="permits no clients"):
        connect(configuration(clients_permitted=False))


def test_an_overlay_that_asks_for_more_than_there_is() -> None:
    with pytest.raises(LocalMisuse, match="mandatory extension urn:other"):
        connect(configuration(mandatory_extensions=("urn:other",)))


def test_nobody_is_there() -> None:
    with pytest.raises(RequestFailed, match=r"was not reached in 0\.5 s; this node: .*refused"):
        connect(configuration(), timeout_s=0.5)


def test_what_is_no_state_directory(tmp_path: Path) -> None:
    async def run(**given: object) -> None:
        async with p2psip.connect(**given):  # type: ignore[arg-type]
            pass

    with pytest.raises(LocalMisuse, match="client init"):
        asyncio.run(run(state_dir=tmp_path))
    with pytest.raises(LocalMisuse, match="give the state directory, or"):
        asyncio.run(run())
    with pytest.raises(LocalMisuse, match="give the state directory, or"):
        asyncio.run(run(state_dir=tmp_path, configuration=configuration()))


def test_the_package_has_nothing_else() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        p2psip.nonsense  # noqa: B018

"""When the peers of a site begin together, and when one of them ends."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from free_ports import free_port

from p2psip.base.errors import LocalMisuse, RequestFailed
from p2psip.daemon.overlays import several
from p2psip.daemon.overlays.several import SeveralOverlays, run_site
from p2psip.daemon.service import PeerService, TookAnotherName
from p2psip.daemon.state.overlays_file import OVERLAYS_FILE, load_overlays
from p2psip.daemon.state.settings import make_settings
from p2psip.daemon.state.state import (
    Expelled,
    PeerState,
    load_state,
    save_document,
    save_identity,
    save_key,
    save_settings,
)
from p2psip.enrollment.founding import Founding, Terms, found
from p2psip.reload.config.document import parse
from p2psip.reload.security.authority import DAY_S, Validity
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.sim.membership import DATE, key, node_id

HERE = "127.0.0.1"
CLUB, MESH = "club.example", "mesh.example"
Run = Callable[[PeerService, Callable[[Mapping[str, object]], None]], Any]


def founded(overlay: str) -> Founding:
    return found(overlay, f"admin@{overlay}", Terms(), random.Random(overlay), DATE)


def peer(directory: Path, overlay: str, **settings: object) -> PeerState:
    """The state directory of the first peer of an overlay, with ports that nobody has."""
    directory.mkdir()
    founding = founded(overlay)
    values = {
        "name": "garden", "fingerprint": founding.anchor.fingerprint, "listen": [HERE], "phone_listen": [HERE],
        "overlay_port": free_port(), "sip_port": free_port(), "phone_port": free_port(together=2), "first": True,
        "multicast": False,
    }  # fmt: skip
    save_settings(directory, make_settings(values | settings, "test"))
    save_document(directory, parse(founding.document))
    save_key(directory, key())
    validity = Validity(DATE - 365 * DAY_S, DATE + 365 * DAY_S)
    issued = founding.anchor.issue(
        key().public_key(), f"peer-garden@{overlay}", [node_id(1)], random.Random(1), validity
    )
    save_identity(directory, CertifiedIdentity(key(), [issued]))
    return load_state(directory)


@pytest.fixture
def first(tmp_path: Path) -> PeerState:
    """A peer whose site is in another overlay as well."""
    state = peer(tmp_path / "club", CLUB)
    peer(tmp_path / "mesh", MESH)
    (state.directory / OVERLAYS_FILE).write_text(f'[overlays]\n"{MESH}" = "../mesh"\n')
    return state


def site_of(first: PeerState) -> SeveralOverlays:
    found = load_overlays(first.directory, CLUB)
    assert found is not None
    return SeveralOverlays(first, found)


def run(first: PeerState, when_ready: Callable[[SeveralOverlays], Any] | None = None) -> None:
    """Run the site until it is ready, and this has been done; then it is told to stop."""

    async def main() -> None:
        site, ready = site_of(first), asyncio.Event()
        running = asyncio.create_task(site.run(lambda _: ready.set()))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED, timeout=60)
        if not running.done() and when_ready is not None:
            await when_ready(site)
        if not running.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await running

    asyncio.run(main())


async def until(holds: Callable[[], object]) -> None:
    for _ in range(3000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not in time")


def facts(site: SeveralOverlays, of: str = CLUB) -> dict[str, object]:
    (told,) = site._report(of)
    return told


def test_both_are_peers_and_both_stop_when_they_are_told_to(first: PeerState) -> None:
    async def look(site: SeveralOverlays) -> None:
        await until(lambda: facts(site).get("member") and facts(site, MESH).get("member"))
        assert facts(site)["directory"] == str(first.directory.parent / "mesh")
        assert facts(site, MESH)["directory"] == str(first.directory)

    run(first, look)
    mesh = load_state(first.directory.parent / "mesh")
    for state in (first, mesh):
        socket.create_server((HERE, state.settings.overlay_port)).close()


def test_without_the_file_it_is_a_peer_alone(tmp_path: Path) -> None:
    asyncio.run(run_site(peer(tmp_path / "club", CLUB), lambda _: os.kill(os.getpid(), signal.SIGTERM)))


@pytest.mark.parametrize("error", [RequestFailed("it is revoked"), LocalMisuse("port 1 is taken")])
def test_another_that_ends_leaves_the_first(
    first: PeerState, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = asyncio.Event()
    ordinary: Run = PeerService._until_stopped  # type: ignore[assignment]

    async def over(service: PeerService, *rest: Any) -> None:
        if service._state.configuration.instance_name == MESH:
            await ends.wait()
            raise error
        await ordinary(service, *rest)

    monkeypatch.setattr(PeerService, "_until_stopped", over)

    async def look(site: SeveralOverlays) -> None:
        await until(lambda: "member" in facts(site))
        ends.set()
        await until(lambda: facts(site)["ended"])
        assert facts(site) == {
            "overlay": MESH, "directory": str(first.directory.parent / "mesh"), "ended": str(error)
        }  # fmt: skip
        crossing = site._services[CLUB]._peer.server._agents._by_name[f"asks {MESH}"]
        assert crossing._ended == str(error)  # type: ignore[attr-defined]

    with structlog.testing.capture_logs() as log:
        run(first, look)
    (entry,) = (entry for entry in log if entry["event"] == "the peer of an overlay has ended")
    assert (entry["overlay"], entry["reason"]) == (MESH, str(error))


def test_another_that_is_expelled_is_not_begun(first: PeerState, monkeypatch: pytest.MonkeyPatch) -> None:
    def expelled(directory: Path) -> PeerState:
        raise Expelled(f"{directory}: it is revoked")

    monkeypatch.setattr(several, "load_state", expelled)

    async def look(site: SeveralOverlays) -> None:
        assert str(facts(site)["ended"]).endswith("it is revoked")

    run(first, look)


def test_another_that_starts_anew_has_all_start_anew(first: PeerState, monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary: Run = PeerService._until_stopped  # type: ignore[assignment]

    async def over(service: PeerService, *rest: Any) -> None:
        if service._state.configuration.instance_name == MESH:
            raise TookAnotherName
        await ordinary(service, *rest)

    monkeypatch.setattr(PeerService, "_until_stopped", over)
    with pytest.raises(TookAnotherName):
        run(first)


def test_the_first_that_ends_ends_all(first: PeerState, monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary: Run = PeerService._until_stopped  # type: ignore[assignment]
    stopped: list[str] = []

    async def over(service: PeerService, *rest: Any) -> None:
        if service._state.configuration.instance_name == CLUB:
            raise RequestFailed("it is revoked")
        await ordinary(service, *rest)
        stopped.append(MESH)

    monkeypatch.setattr(PeerService, "_until_stopped", over)
    with pytest.raises(RequestFailed, match="it is revoked"):
        run(first)
    assert stopped == [MESH]


def test_a_directory_of_another_overlay_is_said(first: PeerState) -> None:
    (first.directory / OVERLAYS_FILE).write_text('[overlays]\n"ham.example" = "../mesh"\n')
    with pytest.raises(LocalMisuse, match=r"is the directory of a peer of mesh\.example: write that, not ham"):
        site_of(first)


def test_a_directory_that_is_none_is_said(first: PeerState) -> None:
    (first.directory / OVERLAYS_FILE).write_text('[overlays]\n"ham.example" = "../ham"\n')
    with pytest.raises(LocalMisuse, match="is not the state directory of a peer: `p2psip peer init` makes one"):
        site_of(first)


@pytest.mark.parametrize(
    "settings", [{"domains": (MESH,)}, {"neighbours": (f"{MESH}=192.0.2.1:5060",)}], ids=["a name", "a neighbour"]
)
def test_a_name_that_would_mean_two_things_is_said(first: PeerState, settings: dict[str, Any]) -> None:
    values = {**{name: getattr(first.settings, name) for name in first.settings.__struct_fields__}, **settings}
    clashing = replace(first, settings=make_settings(values, "test"))
    with pytest.raises(LocalMisuse, match=f"{MESH} is an overlay of this site, and a name or domain of the peer"):
        site_of(clashing)

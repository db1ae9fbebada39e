"""Phones that nobody here wrote, and peers that ask for both digests, in either order (docs/decisions/digests.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from baresip import Baresip, needs_baresip
from linphone import Linphone, needs_linphone
from live_overlay import LiveOverlay, LivePeer, phone_password
from our_phone import OurPhone
from sipp import Account, needs_sipp, registering

pytestmark = pytest.mark.slow

BETTER_FIRST = ("--phone-digest", "SHA-256", "--phone-digest", "MD5")
MD5_FIRST = ("--phone-digest", "MD5", "--phone-digest", "SHA-256")


@dataclass(frozen=True)
class Sites:
    """Two peers at which alice has a line: one prefers SHA-256, the other MD5."""

    better: LivePeer
    compatible: LivePeer


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    with LiveOverlay(tmp_path_factory.mktemp("digests"), peers=2, users=("alice",)) as overlay:
        better, compatible = overlay.peers
        overlay.add_lines([(better, "alice"), (compatible, "alice")])
        for peer, flags in ((better, BETTER_FIRST), (compatible, MD5_FIRST)):
            peer.stop()
            peer.run(*flags)
        yield Sites(better, compatible)


def at(sites: Sites, which: str) -> LivePeer:
    return sites.better if which == "better" else sites.compatible


@needs_linphone
@pytest.mark.parametrize("which", ["better", "compatible"])
def test_linphone_takes_either(tmp_path: Path, sites: Sites, which: str) -> None:
    peer = at(sites, which)
    with Linphone(tmp_path, "alice", server=peer.server, password=phone_password("alice")) as alice:
        alice.wait_registered()
        peer.wait_phones("alice", 1)


@pytest.mark.parametrize("which", ["better", "compatible"])
def test_ours_takes_either(sites: Sites, which: str) -> None:
    with OurPhone("alice", server=at(sites, which).server, password=phone_password("alice")) as alice:
        alice.wait("registered")


@needs_sipp
def test_sipp_looks_at_the_first(tmp_path: Path, sites: Sites) -> None:
    """Debian's 3.6 knows MD5 alone."""
    phone = "127.0.0.1:9"
    account = Account(sites.compatible.server, "alice", phone_password("alice"))
    registering(tmp_path, account, phone).run()
    account = Account(sites.better.server, "alice", phone_password("alice"))
    with registering(tmp_path, account, phone) as sipp:
        sipp.wait_failed()
    assert "must use MD5" in sipp.log


@needs_baresip
def test_an_old_baresip_gives_up(tmp_path: Path, sites: Sites) -> None:
    """Debian's 1.0: at any challenge that it does not know, wherever it stands."""
    server = sites.compatible.server
    with Baresip(tmp_path, "alice", server=server, password=phone_password("alice")) as alice:
        alice.wait("REGISTER_FAIL")


@needs_linphone
def test_linphone_knows_sha_256(tmp_path: Path, sites: Sites) -> None:
    """Where nothing else is asked for."""
    peer = sites.better
    peer.stop()
    peer.run("--phone-digest", "SHA-256")
    with Linphone(tmp_path, "alice", server=peer.server, password=phone_password("alice")) as alice:
        alice.wait_registered()
        peer.wait_phones("alice", 1)

"""Peers whose clocks are wrong, in years: what the README promises of machines with no right date.

Their processes have a wall clock that is off by what the environment says; what Python imports first is
`sitecustomize`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from live_overlay import LiveOverlay, eventually, phone_password
from our_phone import OurPhone

pytestmark = pytest.mark.slow(60)

OFFSET = "CLOCK_OFFSET_S"
PATCH = f"""\
import os, time
right, offset_s = time.time, float(os.environ.get("{OFFSET}", "0"))
time.time = lambda: right() + offset_s
"""
YEAR_S = 365.25 * 86400.0
TO_1970_S = 3600.0 - time.time()
"""A machine without a battery that has run for an hour."""


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveOverlay]:
    """Two peers with a line each, made by the right date, and stopped."""
    directory = tmp_path_factory.mktemp("clocks")
    (directory / "sitecustomize.py").write_text(PATCH)
    with LiveOverlay(directory / "live", peers=2, users=("alice", "bob")) as live:
        live.add_lines([(live.peers[0], "alice"), (live.peers[1], "bob")])
        for peer in live.peers:
            peer.stop()
        yield live


@pytest.mark.parametrize(
    ("first_s", "second_s"),
    [
        (TO_1970_S, TO_1970_S),
        (2 * YEAR_S, 2 * YEAR_S),
        (0.0, TO_1970_S),
        (TO_1970_S, 0.0),
        (0.0, 2 * YEAR_S),
        (2 * YEAR_S, TO_1970_S),
    ],
    ids=["all in 1970", "all ahead", "one in 1970", "the first in 1970", "one ahead", "one ahead, one in 1970"],
)
def test_calls_work_by_whatever_date(overlay: LiveOverlay, first_s: float, second_s: float) -> None:
    first, second = overlay.peers
    try:
        for peer, offset_s in ((first, first_s), (second, second_s)):
            peer.run(within=("env", f"PYTHONPATH={overlay.directory.parent}", f"{OFFSET}={offset_s}"))
        for peer, offset_s in ((first, first_s), (second, second_s)):
            assert peer.status()["date_trusted"] is (offset_s == 0)
            eventually("the two are linked", lambda peer=peer: peer.status()["successors"])  # type: ignore[misc]
        for peer, user in ((first, "alice"), (second, "bob")):
            peer.wait_placed(user)
        with (
            OurPhone("alice", server=first.server, password=phone_password("alice")) as alice,
            OurPhone("bob", server=second.server, password=phone_password("bob"), answer_ms=0) as bob,
        ):
            alice.wait("registered")
            bob.wait("registered")
            alice.command("call bob")
            alice.wait("answered")
            time.sleep(1.0)
            alice.command("hangup")
            assert alice.wait("heard")["received"] > 20
    finally:
        for peer in overlay.peers:
            if peer.is_running:
                peer.stop()

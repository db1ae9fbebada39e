"""`p2psip check` and `p2psip nat` of peers that run: as processes, behind NATs of a real kernel, with phones."""

from __future__ import annotations

from pathlib import Path

import pytest
from kernel_nat import needs_nft
from live_overlay import LiveOverlay, eventually, phone_password
from nat_sites import PORT_RESTRICTED, PUBLIC, inside, nat_sites
from networks import needs_networks
from our_phone import OurPhone

pytestmark = pytest.mark.slow


def steps_of(said: dict[str, list[dict[str, object]]]) -> dict[object, object]:
    """What holds."""
    return {step["step"]: step["ok"] for step in said["steps"]}


def test_a_site_is_checked_from_its_files_to_a_call(tmp_path: Path) -> None:
    with LiveOverlay(tmp_path, peers=2, users=("alice", "bob")) as overlay:
        here, there = overlay.peers
        for peer, user in ((here, "alice"), (there, "bob")):
            peer.add_line(user)
            peer.wait_placed(user)
        check = ("check", "--peer", here.directory)
        asks = (*check, "--user", "alice", "--password-file", overlay.phone_password_file("alice"), "--call", "bob")
        steps = steps_of(overlay.command_json(*asks, status=1))
        assert [name for name, is_good in steps.items() if is_good is False] == ["phone of alice", "call to bob"]
        with OurPhone("bob", server=there.server, password=phone_password("bob"), plays=440, answer_ms=0):
            there.wait_phones("bob", 1)
            steps = steps_of(overlay.command_json(*asks, status=1))
            assert steps["call to bob"] is True
            assert steps["echo (*43)"] is True
        there.stop()
        assert steps_of(overlay.command_json("check", "--peer", there.directory, status=1))["peer"] is False


@needs_networks
@needs_nft
def test_what_a_peer_behind_a_nat_of_the_kernel_is_told(tmp_path: Path) -> None:
    """The public peer alone can be asked by others: that is enough for the filter, and not for more."""
    hosts = (PUBLIC, inside(0))
    with LiveOverlay(tmp_path, peers=0, hosts=hosts) as overlay:
        overlay.command("overlay", "set", tmp_path / "overlay", "no-ice=false", "--sign")
        public, behind = [overlay.add_peer() for _ in hosts]
        with nat_sites(PORT_RESTRICTED) as world:
            try:
                public.run("--first", namespace=world.public.name)
                behind.run(namespace=world.sites[0].name)
                behind.wait_joined()
                eventually("they are linked", lambda: behind.status()["links"])
                found = overlay.command_json("nat", "--peer", behind.directory)
                assert found["nat"] is True
                assert found["address"].startswith("198.51.100.10:")
                assert found["filtering"] == "address-and-port-dependent"
                assert (found["open"], found["dialable"], found["udp_blocked"]) == (False, False, False)
                (link,) = behind.status()["links"]
                assert link["pair"] == "host to host"
                assert link["local"].startswith(inside(0))
            finally:
                for peer in (behind, public):
                    if peer.is_running:
                        peer.stop()

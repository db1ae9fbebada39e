"""Two peers on one machine have ports of their own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from p2psip.daemon.overlays.port_clashes import port_clash
from p2psip.daemon.state.settings import make_settings

OTHERS = {"overlay_port": 7084, "sip_port": 7062, "phone_port": 7060}


def state(name: str, **settings: object) -> Any:
    values = {"name": name, "fingerprint": "0" * 64, **settings}
    return SimpleNamespace(directory=Path(name), settings=make_settings(values, "test"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, ""),
        ({"overlay_port": 6084}, "mesh/peer.toml: overlay_port has port 6084, as overlay_port in club/peer.toml"),
        ({"sip_port": 5061}, "mesh/peer.toml: sip_port has port 5061, as phone_tls in club/peer.toml"),
        ({"phone_port": 5061}, "mesh/peer.toml: phone_port has port 5061, as phone_tls in club/peer.toml"),
        ({"overlay_port": 6084, "listen": ("192.0.2.1",)}, "overlay_port has port 6084"),
        ({"phone_port": 5059}, "phone_tls has port 5060, as phone_port in club/peer.toml"),
        ({"phone_port": 5059, "phone_tls": False}, ""),
    ],
)
def test_a_port_of_both_is_said(settings: dict[str, object], said: str) -> None:
    clash = port_clash(state("club"), state("mesh", **{**OTHERS, **settings}))
    assert clash.startswith(said) or said in clash
    assert bool(clash) == bool(said)


def test_at_two_addresses_a_port_between_peers_is_two_and_one_for_phones_is_not() -> None:
    one = state("club", listen=("192.0.2.1",), phone_listen=("192.0.2.1",))
    assert port_clash(one, state("mesh", listen=("192.0.2.2",), phone_port=7060)) == ""
    assert port_clash(one, state("mesh", listen=("::",), phone_port=7060)) == ""
    assert "overlay_port" in port_clash(one, state("mesh", listen=("0.0.0.0",), phone_port=7060))
    assert "phone_port" in port_clash(one, state("mesh", listen=("192.0.2.2",), phone_listen=("192.0.2.2",)))

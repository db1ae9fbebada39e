"""Calls of real peers behind NATs and firewalls (sites_behind_nats.py), of phones of three makes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from baresip import hears, needs_baresip, talk
from linphone import needs_linphone
from netlab import needs_lab
from sites_behind_nats import PITCH, TALK_S, Sites, call, silence_s, sites_behind_nats

pytestmark = [pytest.mark.slow(90), needs_lab]

Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    with sites_behind_nats(tmp_path_factory.mktemp("behind")) as made:
        yield made


@pytest.mark.parametrize(
    ("here", "there"),
    [("noudp", "sym"), ("port", "noudp"), ("sym", "port"), ("six", "alsosix"), ("six", "sym"), ("noudp", "alsosix")],
)
def test_phones_hear_each_other(sites: Sites, here: str, there: str, record_property: Record) -> None:
    """Where UDP does not pass, over TLS to a relay; between IPv4 and IPv6 over one that has both."""
    with sites.phone(here) as caller, sites.phone(there) as callee:
        caller.wait("registered")
        callee.wait("registered")
        call(caller, callee)
        time.sleep(TALK_S)
        record_property("silent_s", silence_s(caller, callee))


@needs_baresip
@pytest.mark.parametrize(("here", "there"), [("sym", "port"), ("noudp", "six")])
def test_baresip_calls_baresip(sites: Sites, here: str, there: str, tmp_path: Path) -> None:
    """Told nothing but a server, a user and a password, they hear each other through two NATs."""
    with sites.baresip(tmp_path, here) as caller, sites.baresip(tmp_path, there) as callee:
        caller.wait_registered()
        callee.wait_registered()
        talk(caller, callee, sites.peers[here].server)
        assert hears(caller, PITCH[there])
        assert hears(callee, PITCH[here])


@needs_baresip
@needs_linphone
def test_linphone_calls_baresip(sites: Sites, tmp_path: Path) -> None:
    """And is called by it; without a sound card it says nothing, so that it is the calls alone that are tried."""
    with sites.linphone(tmp_path, "port") as linphone, sites.baresip(tmp_path, "sym") as baresip:
        linphone.wait_registered()
        baresip.wait_registered()
        linphone.dial(f"sip:sym@{sites.peers['port'].server}")
        baresip.wait("CALL_ESTABLISHED")
        linphone.wait_connected()
        linphone.hang_up()
        baresip.wait("CALL_CLOSED")
        linphone.wait_ended()
        baresip.dial(f"sip:port@{sites.peers['sym'].server}")
        linphone.wait_incoming()
        linphone.command("answer")
        baresip.wait("CALL_ESTABLISHED")
        baresip.hang_up()
        linphone.wait_ended()

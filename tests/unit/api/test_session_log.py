"""What the Python API logs, by way of `logging`, is limited as a peer's log is."""

from __future__ import annotations

import logging
from typing import cast

import pytest

from p2psip.api.client_session import ClientSession
from p2psip.base.effects import Note
from p2psip.daemon.log.limits import FACT_MAX, OF_SOURCE
from p2psip.reload.node.application import ApplicationNode
from p2psip.reload.security.identity import CertifiedIdentity


class Bare:
    """What is in the session's node, of which nothing is asked here."""

    node = None


def session() -> ClientSession:
    return ClientSession(cast("ApplicationNode", Bare()), cast("CertifiedIdentity", None), lambda document: None)


def test_one_source_has_a_share_and_what_is_left_out_is_told(caplog: pytest.LogCaptureFixture) -> None:
    here = session()
    with caplog.at_level(logging.INFO, "p2psip"):
        for port in range(1000, 1000 + OF_SOURCE.burst + 7):
            here.handle_effect(Note("link refused", {"remote": f"192.0.2.1:{port}"}, is_warning=True))
        here.handle_effect(Note("link refused", {"remote": "192.0.2.9:1"}, is_warning=True))
        assert len(caplog.messages) == OF_SOURCE.burst + 1
        here.close()
    assert caplog.messages[-1] == "lines left out of=link refused count=7"


def test_what_remotes_say_is_printable_and_short(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "p2psip"):
        session().warning("said", reason="\x1b[2J\n" + "x" * 100_000)
    (line,) = caplog.messages
    assert line.isprintable()
    assert len(line) < 2 * FACT_MAX

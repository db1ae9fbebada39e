"""RFC 7851 sections 7 and 9.6: who may ask for what, in the overlay configuration."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.enrollment.founding import Founding, Terms, found
from p2psip.plugins import obstacles
from p2psip.reload.config.configuration import DIAGNOSTICS_NAMESPACE, DiagnosticAccess
from p2psip.reload.config.document import parse
from p2psip.reload.config.errors import ConfigurationError
from p2psip.reload.config.write import build
from p2psip.reload.wire.diagnostics import DiagnosticKind

ALICE, BOB = NodeId(b"a" * 16), NodeId(b"b" * 16)
DATE = 1_800_000_000.0


@pytest.fixture(scope="module")
def founding() -> Founding:
    """A new overlay."""
    rng = random.Random(7851)
    return found("club.example", "admin@club.example", Terms(), rng, DATE)


def test_7_diagnostic_kinds_are_written_and_read(founding: Founding) -> None:
    """ "diagnostic-kind: This has the attribute "kind" with the hexadecimal number", "access-node: This element
    contains one hexadecimal number indicating a NodeID".
    """
    access = (
        DiagnosticAccess(DiagnosticKind.STATUS_INFO, frozenset([ALICE, BOB])),
        DiagnosticAccess(DiagnosticKind.BATTERY_STATUS, frozenset([BOB])),
    )
    document = build(replace(founding.configuration, diagnostic_kinds=access), founding.signer)
    assert b'<diagnostics:diagnostic-kind kind="0x0010"><diagnostics:access-node>6262' in document
    read = parse(document).configuration
    assert read.diagnostic_kinds == access
    assert read.extensions == ()
    assert read.permits_diagnostics(ALICE, DiagnosticKind.STATUS_INFO)
    assert not read.permits_diagnostics(ALICE, DiagnosticKind.BATTERY_STATUS)
    assert not read.permits_diagnostics(BOB, DiagnosticKind.APP_UPTIME)


def test_9_6_an_overlay_may_demand_diagnostics(founding: Founding) -> None:
    """<mandatory-extension> urn:ietf:params:xml:ns:p2p:config-diagnostics: we can be a member."""
    configuration = replace(founding.configuration, mandatory_extensions=(DIAGNOSTICS_NAMESPACE,))
    assert obstacles(parse(build(configuration, founding.signer)).configuration) == []


def test_a_new_overlay_lets_its_members_trace(founding: Founding) -> None:
    """Load, size of the Routing Table, software and uptime; nothing that tells what is stored or who calls."""
    permits = founding.configuration.permits_diagnostics
    open_to_all = {kind for kind in DiagnosticKind if permits(ALICE, kind)}
    assert open_to_all == {
        DiagnosticKind.STATUS_INFO,
        DiagnosticKind.ROUTING_TABLE_SIZE,
        DiagnosticKind.SOFTWARE_VERSION,
        DiagnosticKind.MACHINE_UPTIME,
        DiagnosticKind.APP_UPTIME,
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'kind="0x0001"', b'kind="zero"'),
        (b'kind="0x0001"', b'kind="0x0000"'),
        (b'kind="0x0001"', b'kind="0xffff"'),
        (b">" + str(ALICE).encode() + b"<", b">6161<"),
        (b"<diagnostics:access-node>" + str(ALICE).encode() + b"</diagnostics:access-node>", b""),
    ],
)
def test_7_what_cannot_be_meant_is_refused(founding: Founding, old: bytes, new: bytes) -> None:
    """One exception, as for every other fault of the document."""
    access = (DiagnosticAccess(DiagnosticKind.STATUS_INFO, frozenset([ALICE])),)
    document = build(replace(founding.configuration, diagnostic_kinds=access), founding.signer)
    assert old in document
    with pytest.raises(ConfigurationError):
        parse(document.replace(old, new))


def test_7_an_administrator_is_told_as_well(founding: Founding) -> None:
    """Who writes a configuration."""
    with pytest.raises(LocalMisuse, match="access-node"):
        replace(founding.configuration, diagnostic_kinds=(DiagnosticAccess(1, frozenset()),))

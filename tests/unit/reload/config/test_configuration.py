"""What a configuration says, as values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.plugins import obstacles, topology_names
from p2psip.reload.config.configuration import (
    SEQUENCE_MAX,
    SIP_REGISTRATION_KIND,
    AccessControl,
    BootstrapNode,
    DomainRestriction,
    Kind,
    OverlayConfiguration,
    is_dns_name,
)
from p2psip.reload.wire.common import SignatureAlgorithm
from p2psip.reload.wire.kinds import DataModel
from p2psip.sim.membership import node_id

PLAIN = OverlayConfiguration("club.example")


def test_what_is_not_said_has_the_rfc_s_default() -> None:
    """Section 11.1, element by element."""
    assert PLAIN.topology_plugin == "CHORD-RELOAD"
    assert (PLAIN.node_id_length, PLAIN.turn_density, PLAIN.initial_ttl) == (16, 1, 100)
    assert (PLAIN.max_message_size, PLAIN.overlay_reliability_timer_ms) == (5000, 3000)
    assert (PLAIN.clients_permitted, PLAIN.no_ice, PLAIN.chord_reactive) == (True, False, True)
    assert PLAIN.overlay_link_protocols == ("TLS",)
    assert PLAIN.self_signed_digest is None
    assert PLAIN.expiration is None
    assert BootstrapNode("192.0.2.1").port == 6084


def test_6_3_2_the_overlay_field_is_the_end_of_the_sha1_of_the_name() -> None:
    """ "the lower 32 bits of the SHA-1 [RFC3174] hash of the overlay name"."""
    import hashlib

    assert PLAIN.overlay_hash == int(hashlib.sha1(b"club.example").hexdigest()[-8:], 16)


@pytest.mark.parametrize(
    "name", ["club.example", "x", "3com.com", "A-b.C", "a" * 63, ".".join(["a" * 63] * 3 + ["a" * 61])]
)
def test_dns_names(name: str) -> None:
    assert is_dns_name(name)


@pytest.mark.must("6.3.2/3")
@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "a..b",
        "-a.b",
        "a-.b",
        "a_b",
        "a b",
        "ä.de",
        "a.b.",
        "a" * 64,
        ".".join(["a" * 63] * 3 + ["a" * 62]),
        "a\n",
    ],
)
def test_names_that_dns_does_not_have(name: str) -> None:
    assert not is_dns_name(name)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"instance_name": "a b"}, "DNS name"),
        ({"sequence": -1}, "sequence number"),
        ({"sequence": SEQUENCE_MAX + 1}, "sequence number"),
        ({"node_id_length": 15}, "node-id-length"),
        ({"initial_ttl": 256}, "initial-ttl"),
        ({"overlay_reliability_timer_ms": 199}, "overlay-reliability-timer must be at least 200 ms"),
        ({"max_message_size": 10}, "max-message-size"),
        ({"turn_density": 256}, "turn-density"),
        ({"chord_update_interval_s": 0}, "chord-update-interval"),
        ({"chord_ping_interval_s": -5}, "chord-ping-interval"),
        ({"successors": 2}, "successors"),
        ({"signature_algorithms": frozenset()}, "signature-algorithm"),
        ({"bootstrap_nodes": (BootstrapNode("192.0.2.1", 0),)}, "port"),
        ({"enrollment_servers": ("http://club.example",)}, "https"),
        ({"bad_nodes": frozenset({NodeId(bytes(20))})}, "16 bytes"),
        ({"required_kinds": (replace(SIP_REGISTRATION_KIND, max_count=0),)}, "kind 0x1"),
        ({"required_kinds": (replace(SIP_REGISTRATION_KIND, kind_id=0),)}, "kind 0x0"),
        (
            {"required_kinds": (Kind(0xF0000001, DataModel.SINGLE, AccessControl.NODE_MULTIPLE, 1, 1),)},
            "kind 0xf0000001",
        ),
    ],
)
def test_rules_of_11_1(change: dict[str, object], rule: str) -> None:
    with pytest.raises(LocalMisuse, match=rule):
        replace(PLAIN, **change)  # type: ignore[arg-type]


def test_models_are_those_of_registered_and_required_kinds() -> None:
    private = Kind(0xF0000001, DataModel.ARRAY, AccessControl.NODE_MATCH, 1, 1)
    models = replace(PLAIN, required_kinds=(private,)).models
    assert models[0x1] is DataModel.DICTIONARY
    assert models[0x2] is DataModel.SINGLE
    assert models[0xF0000001] is DataModel.ARRAY
    assert replace(PLAIN, required_kinds=(private,)).kinds == {0xF0000001: private}


def test_expiration() -> None:
    assert PLAIN.is_valid_at(1e12)
    assert replace(PLAIN, expiration=100.0).is_valid_at(99.0)
    assert not replace(PLAIN, expiration=100.0).is_valid_at(100.0)


def test_this_release_can_be_in_the_overlays_that_it_makes() -> None:
    assert obstacles(replace(PLAIN, no_ice=True)) == []


NOT_INSTALLED = (
    f"topology plug-in KADEMLIA is not installed here (there is {', '.join(topology_names())}):"
    " install the package that has it"
)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"no_ice": False, "overlay_link_protocols": ("TLS-TCP-FH-NO-ICE",)}, "no overlay link protocol DTLS"),
        ({"topology_plugin": "KADEMLIA"}, NOT_INSTALLED),
        ({"node_id_length": 20}, "Node-IDs of 20 bytes"),
        ({"overlay_link_protocols": ("EXP-PROTOCOL",)}, "no overlay link protocol TLS or DTLS"),
        (
            {"shared_secret": "x", "signature_algorithms": frozenset({SignatureAlgorithm.ECDSA})},
            "a shared secret, but no RSA keys for links that need one",
        ),
        ({"mandatory_extensions": ("urn:x", "urn:ietf:params:xml:ns:p2p:config-chord")}, "mandatory extension urn:x"),
        (
            {"required_kinds": (Kind(0xF0000001, DataModel.SINGLE, AccessControl.NODE_ID_MATCH, 1, 1),)},
            "kind 0xf0000001",
        ),
    ],
)
def test_what_this_release_cannot_do_is_named(change: dict[str, object], what: str) -> None:
    assert obstacles(replace(PLAIN, **({"no_ice": True} | change))) == [what]  # type: ignore[arg-type]


def test_secrets_do_not_show() -> None:
    assert "hunter2" not in repr(replace(PLAIN, shared_secret="hunter2", bad_nodes=frozenset({node_id(1)})))


@pytest.mark.parametrize(
    ("restriction", "hosted"),
    [
        (None, set()),
        (DomainRestriction(), set()),
        (DomainRestriction(False, (r"club-b\.example",)), set()),
        (DomainRestriction(True, (r"club\.example", r"club-b\.example", "c.example")), {"club-b.example", "c.example"}),
        # What stands for more than one name is nobody's domain.
        (DomainRestriction(True, (r".*\.my\.example", r"club-[bc]\.example", "example")), set()),
    ],
)
def test_7904_3_4_the_domains_that_are_named_have_users_of_their_own(
    restriction: DomainRestriction | None, hosted: set[str]
) -> None:
    """RFC 7904 section 3.4: "Each <pattern> element defines a pattern for constructing admissible resource names."""
    configuration = replace(PLAIN, domain_restriction=restriction)
    assert configuration.hosted_domains == hosted

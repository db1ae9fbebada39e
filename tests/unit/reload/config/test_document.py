"""Reading configuration documents, and writing them."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2psip.reload.config.blobs import DEPTH_MAX, DOCUMENT_SIZE_MAX, blobs
from p2psip.reload.config.calls_by import CallsBy
from p2psip.reload.config.configuration import (
    BASE_NAMESPACE,
    SIP_REGISTRATION_KIND,
    AccessControl,
    BootstrapNode,
    DomainRestriction,
    Extension,
    Kind,
    OverlayConfiguration,
)
from p2psip.reload.config.document import parse
from p2psip.reload.config.errors import ConfigurationError
from p2psip.reload.config.write import build
from p2psip.reload.wire.common import HashAlgorithm, SignatureAlgorithm
from p2psip.reload.wire.extensions.routing_mode import RouteMode
from p2psip.reload.wire.kinds import DataModel
from p2psip.sim.membership import DATE, founding, node_id

HEAD = f'<?xml version="1.0" encoding="UTF-8"?>\n<overlay xmlns="{BASE_NAMESPACE}">'
CHORD = 'xmlns:chord="urn:ietf:params:xml:ns:p2p:config-chord"'
SIP = 'xmlns:sip="urn:ietf:params:xml:ns:p2p:config-base:sip"'


def document(elements: str, attributes: str = 'instance-name="club.example"', after: str = "") -> bytes:
    """A document with one configuration."""
    return f"{HEAD}<configuration {attributes}>{elements}</configuration>{after}</overlay>".encode()


def read(elements: str, attributes: str = 'instance-name="club.example"') -> OverlayConfiguration:
    """What it says."""
    return parse(document(elements, attributes)).configuration


def kind(body: str, head: str = 'id="4026531841"', signature: str = "") -> str:
    """required-kinds with one Kind."""
    return f"<required-kinds><kind-block><kind {head}>{body}</kind>{signature}</kind-block></required-kinds>"


KIND = (
    "<data-model>ARRAY</data-model><access-control>NODE-MATCH</access-control>"
    "<max-count>3</max-count><max-size>9</max-size>"
)

FULL = OverlayConfiguration(
    instance_name="club.example",
    sequence=7,
    expiration=DATE,
    root_certs=(b"one", b"two" * 50),
    enrollment_servers=("https://[2001:db8::1]:8443/enroll?a=1&b=<2>",),
    self_signed_digest=HashAlgorithm.SHA1,
    bootstrap_nodes=(BootstrapNode("192.0.2.1"), BootstrapNode("2001:db8::1", 7000)),
    turn_density=20,
    clients_permitted=False,
    no_ice=True,
    chord_update_interval_s=11,
    chord_ping_interval_s=12,
    chord_reactive=False,
    shared_secret='<&"',
    max_message_size=4000,
    initial_ttl=30,
    overlay_reliability_timer_ms=200,
    overlay_link_protocols=("TLS", "EXP-PROTOCOL"),
    kind_signers=frozenset({node_id(1), node_id(2)}),
    configuration_signers=frozenset({node_id(3)}),
    bad_nodes=frozenset({node_id(4), node_id(5)}),
    mandatory_extensions=("urn:x",),
    required_kinds=(
        SIP_REGISTRATION_KIND,
        Kind(
            0xF0000001,
            DataModel.ARRAY,
            AccessControl.NODE_MULTIPLE,
            22,
            4,
            max_node_multiple=3,
            extensions=(Extension("urn:k", "k", b'<k xmlns="urn:k">1</k>'),),
        ),
    ),
    domain_restriction=DomainRestriction(True, (r"dht\.example\.com", ".*&")),
    extensions=(Extension("urn:y", "q", b'<q xmlns="urn:y" a="1">t<z></z></q>'),),
    successors=9,
    sip_tunnel=True,
    calls_by=CallsBy.BOTH,
    route_mode=RouteMode.RPR,
    signature_algorithms=frozenset({SignatureAlgorithm.RSA}),
)


def test_what_is_written_is_read() -> None:
    assert parse(build(FULL, founding().signer)).configuration == FULL


def test_what_is_read_is_written_the_same_again() -> None:
    raw = build(FULL, founding().signer)
    again = build(parse(raw).configuration, founding().signer)
    assert parse(again).configuration == FULL


@settings(max_examples=40)
@given(
    st.builds(
        replace,
        st.just(FULL),
        sequence=st.integers(0, 0xFFFE),
        shared_secret=st.none() | st.text("<>&\"' azä€", min_size=1).map(str.strip).filter(bool),
        bootstrap_nodes=st.lists(
            st.builds(BootstrapNode, st.ip_addresses().map(str), st.integers(1, 65535)), unique=True
        ).map(tuple),
        bad_nodes=st.frozensets(st.integers(1, 1 << 100).map(node_id), max_size=5),
        root_certs=st.lists(st.binary(max_size=300), max_size=3).map(tuple),
        turn_density=st.integers(0, 255),
        chord_reactive=st.booleans(),
        expiration=st.none() | st.integers(0, 4_000_000_000).map(float),
    )
)
def test_any_configuration_survives_writing_and_reading(configuration: OverlayConfiguration) -> None:
    assert parse(build(configuration, founding().signer)).configuration == configuration


def test_an_empty_configuration_has_the_defaults() -> None:
    assert read("") == OverlayConfiguration("club.example")
    assert parse(f"{HEAD}<configuration instance-name='club.example'/></overlay>".encode()).configuration == read("")


def test_booleans_have_two_writings_each() -> None:
    """ "two lexical representations, "1" or "true" for the concept true, and "0" or "false" for [...] false"."""
    for text, value in ((" true ", True), ("1", True), ("0", False), ("false", False)):
        assert read(f"<no-ice>{text}</no-ice>").no_ice is value
    with pytest.raises(ConfigurationError, match="not valid by the grammar"):
        read("<no-ice>yes</no-ice>")


def test_several_overlays_in_one_document_are_told_apart() -> None:
    configuration = "<configuration instance-name='{}'><turn-density>{}</turn-density></configuration>"
    signature = "<signature>{}</signature>"
    raw = (
        HEAD
        + configuration.format("a.example", 1)
        + signature.format("AAAA")
        + configuration.format("b.example", 2)
        + signature.format("BBBB")
        + signature.format("CCCC")
        + "</overlay>"
    ).encode()
    found = parse(raw, "b.example")
    assert found.configuration.turn_density == 2
    assert found.signed == configuration.format("b.example", 2).encode()
    assert found.signatures == (bytes.fromhex("041041"), bytes.fromhex("082082"))
    assert parse(raw, "a.example").signatures == (bytes(3),)
    for wanted in (None, "c.example"):
        with pytest.raises(ConfigurationError, match=r"the document has a.example, b.example"):
            parse(raw, wanted)


def test_the_signed_bytes_are_the_bytes_as_they_stand() -> None:
    """ "a binary blob that cannot be changed -- including any whitespace changes"."""
    inner = " <topology-plugin>\n CHORD-RELOAD &#x20;</topology-plugin >\t<!-- > --> "
    attributes = "instance-name = 'club.example'\n"
    raw = b"\xef\xbb\xbf" + document(inner, attributes)
    assert parse(raw).signed == f"<configuration {attributes}>{inner}</configuration>".encode()


def test_the_signed_bytes_of_prefixed_and_empty_elements() -> None:
    raw = (
        f'<p:overlay xmlns:p="{BASE_NAMESPACE}"><p:configuration instance-name="club.example"><p:required-kinds>'
        '<p:kind-block><p:kind id="7"/></p:kind-block></p:required-kinds></p:configuration\n></p:overlay>'
    ).encode()
    (found,) = blobs(raw)
    assert found.kinds == [b'<p:kind id="7"/>']
    assert found.signed.startswith(b"<p:configuration ")
    assert found.signed.endswith(b"</p:required-kinds></p:configuration\n>")


def test_a_kind_is_signed_from_its_first_to_its_last_angle_bracket() -> None:
    signature = "<kind-signature>AAAA</kind-signature>"
    found = parse(document(kind(KIND, signature=signature)))
    assert found.kinds[0].signed == f'<kind id="4026531841">{KIND}</kind>'.encode()
    assert found.kinds[0].signature == bytes(3)
    assert parse(document(kind(KIND))).kinds[0].signature is None


def test_iana_knows_registered_kinds_better() -> None:
    """ "clients MUST ignore them in favor of the IANA versions."."""
    (found,) = read(kind(KIND, 'name="SIP-REGISTRATION"')).required_kinds
    assert (found.kind_id, found.data_model) == (1, DataModel.DICTIONARY)
    assert found.access_control is AccessControl.USER_NODE_MATCH
    assert (found.max_count, found.max_size) == (3, 9)
    (found,) = read(kind(KIND, 'name="TURN-SERVICE"')).required_kinds
    assert found.max_node_multiple == 20


@pytest.mark.parametrize("name", ["domain-restriction", "domain-restrictions"])
@pytest.mark.parametrize("inside", [True, False], ids=["in the Kind", "in the configuration"])
def test_rfc_7904_both_spellings_in_both_places(name: str, inside: bool) -> None:
    element = f'<sip:{name} {SIP} enable="true"><sip:pattern>a\\.b</sip:pattern></sip:{name}>'
    elements = kind(KIND + element, 'name="SIP-REGISTRATION"') if inside else element
    assert read(elements).domain_restriction == DomainRestriction(True, ("a\\.b",))
    bare = f"<sip:{name} {SIP}/>"
    assert read(bare).domain_restriction == DomainRestriction(False, ())


def test_foreign_elements_and_attributes_are_kept_or_passed_over() -> None:
    found = read(
        '<e:x xmlns:e="urn:e" e:a="1"> y <e:z/></e:x>', 'instance-name="club.example" xmlns:e="urn:e" e:more="1"'
    )
    (extension,) = found.extensions
    assert (extension.namespace, extension.name) == ("urn:e", "x")
    assert b"y" in extension.xml


def test_own_settings_are_extension_elements() -> None:
    found = read(
        '<o:successors xmlns:o="urn:p2psip:config">8</o:successors>'
        '<o:signature-algorithm xmlns:o="urn:p2psip:config">ecdsa-sha256</o:signature-algorithm>'
        '<o:later xmlns:o="urn:p2psip:config"/>'
    )
    assert found.successors == 8
    assert found.signature_algorithms == {SignatureAlgorithm.ECDSA}
    assert [extension.name for extension in found.extensions] == ["later"]


@pytest.mark.must("11.1/3")
def test_dates_are_utc() -> None:
    for text in ("2027-01-15T08:00:00Z", "2027-01-15T08:00:00.0z", "2027-01-15t08:00:00+00:00"):
        assert read("", f'instance-name="club.example" expiration="{text.upper()}"').expiration == DATE
    for text in ("2027-01-15T08:00:00", "2027-01-15T09:00:00+01:00", "2027-01-15", "2027-01-15T24:00:00Z"):
        with pytest.raises(ConfigurationError):
            read("", f'instance-name="club.example" expiration="{text}"')


BILLION_LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><l>&c;</l>"""


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not well-formed"),
        (b"\x00\xff garbage", "not well-formed"),
        (BILLION_LAUGHS, "DOCTYPE"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', "DOCTYPE"),
        (b'<?xml version="1.0" encoding="UTF-16"?><x/>', "UTF-16, not in UTF-8"),
        ("<x>".encode("utf-16"), "not well-formed"),
        (b"<x>\xff</x>", "not well-formed"),
        (b"<x>&unknown;</x>", "not well-formed"),
        (b"<x>" * (DEPTH_MAX + 1), "deeper"),
        (b" " * (DOCUMENT_SIZE_MAX + 1), "at most"),
        (b"<x/>", "not valid by the grammar"),
        (f"{HEAD}</overlay>".encode(), "not valid by the grammar"),
        (document("<unknown/>"), "not valid by the grammar"),
        (document("<no-ice>true</no-ice><no-ice>true</no-ice>"), "not valid by the grammar"),
        (document("", 'instance-name="a b"'), "DNS name"),
        (document("", 'instance-name="club.example" sequence="70000"'), "sequence number"),
        (document("", 'instance-name="club.example" expiration="-0044-03-15T00:00:00Z"'), "no date and time in UTC"),
        (document("<bad-node>xyz</bad-node>"), "hexadecimal"),
        (document("<bad-node>6ebc45d31a900c06</bad-node>"), "16 to 20 bytes"),
        (document("<overlay-reliability-timer>100</overlay-reliability-timer>"), "at least 200 ms"),
        (document("<enrollment-server>http://x</enrollment-server>"), "https"),
        (
            document(kind(KIND).replace("</required-kinds>", kind(KIND).removeprefix("<required-kinds>"))),
            "twice",
        ),
        (
            document('<o:signature-algorithm xmlns:o="urn:p2psip:config">rot13</o:signature-algorithm>'),
            "rot13",
        ),
        (document("", after="<signature>A</signature>"), "grammar|base64"),
        (document("", after="<signature>AAЮA</signature>"), "grammar|base64"),
    ],
)
def test_bad_documents_are_one_exception_that_says_why(raw: bytes, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        parse(raw)


def test_random_damage_is_one_exception_or_another_document() -> None:
    raw, rng = build(FULL, founding().signer), random.Random(3)
    for _ in range(300):
        damaged = bytearray(raw)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            parse(bytes(damaged))
        except ConfigurationError:
            continue

"""RFC 6940 section 11.1: each element, what it may say, and what becomes of it; section 14.16."""

from __future__ import annotations

import random
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from node_bench import NodeBench

from p2psip.base.errors import LocalMisuse
from p2psip.base.timers import TimerQueue
from p2psip.net.disk.files import write_document
from p2psip.plugins import obstacles
from p2psip.reload.config.configuration import (
    AccessControl,
    Kind,
    OverlayConfiguration,
)
from p2psip.reload.config.document import parse
from p2psip.reload.config.errors import ConfigurationError, OtherOverlay
from p2psip.reload.config.kind_blocks import kind_block, parse_kind_block
from p2psip.reload.config.signatures import verify_document, verify_kind
from p2psip.reload.config.write import build, draft
from p2psip.reload.node.keeping.reconfigure import CLIENT_STAY_S
from p2psip.reload.node.parts import make_topology
from p2psip.reload.topology.chord.plugin import PLUGIN
from p2psip.reload.topology.client_topology import ClientTopology
from p2psip.reload.wire.kinds import DataModel
from p2psip.reload.wire.link_messages import NO_ICE, OverlayLinkType
from p2psip.sim.membership import DATE, Club, founding
from p2psip.sim.registrations import grow

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<overlay xmlns="urn:ietf:params:xml:ns:p2p:config-base" {}>'
NAME = 'instance-name="club.example"'
KIND = (
    "<data-model>ARRAY</data-model><access-control>NODE-MATCH</access-control>"
    "<max-count>1</max-count><max-size>9</max-size>"
)


def document(inside: str, attributes: str = NAME, declarations: str = "", after: str = "") -> bytes:
    """A document with one configuration, unsigned."""
    head = HEAD.format(declarations)
    return f"{head}<configuration {attributes}>{inside}</configuration>{after}</overlay>".encode()


def read(inside: str, attributes: str = NAME, declarations: str = "") -> OverlayConfiguration:
    return parse(document(inside, attributes, declarations)).configuration


def with_kind(kind: str, which: str = 'id="4026531856"') -> OverlayConfiguration:
    return read(f"<required-kinds><kind-block><kind {which}>{kind}</kind></kind-block></required-kinds>")


def refuses(inside: str, why: str, attributes: str = NAME) -> None:
    with pytest.raises(ConfigurationError, match=why):
        read(inside, attributes)


@pytest.mark.must("11.1/1", "11.1/2", "14.16/2")
def test_well_formed_utf_8_and_valid_by_the_grammar() -> None:
    for raw in (b"<overlay>", b"\xff" + document(""), document("").decode().encode("utf-16")):
        with pytest.raises(ConfigurationError, match="not well-formed"):
            parse(raw)
    with pytest.raises(ConfigurationError, match="is in ISO-8859-1, not in UTF-8"):
        parse(document("").replace(b"UTF-8", b"ISO-8859-1"))
    refuses("<speed>9</speed>", "not valid by the grammar")
    for made in (build(founding().configuration, founding().signer), draft(founding().configuration)):
        assert made.startswith(b'<?xml version="1.0" encoding="UTF-8"?>')
        assert parse(made).configuration == founding().configuration


@pytest.mark.must("11.1/4")
def test_node_id_length() -> None:
    assert read("").node_id_length == 16
    for length in range(16, 21):
        assert read(f"<node-id-length>{length}</node-id-length>").node_id_length == length
    for length in (15, 21, 0, -1):
        refuses(f"<node-id-length>{length}</node-id-length>", "from 16 to 20")
    refuses("<node-id-length>20</node-id-length><bad-node>" + "00" * 16 + "</bad-node>", "must have 20 bytes")
    assert obstacles(read("<node-id-length>20</node-id-length>"))


@pytest.mark.must("11.1/5")
def test_enrollment_servers_are_https() -> None:
    two = "<enrollment-server>https://a.example</enrollment-server><enrollment-server>https://b/x</enrollment-server>"
    assert read(two).enrollment_servers == ("https://a.example", "https://b/x")
    refuses("<enrollment-server>http://a.example</enrollment-server>", "must be https")


@pytest.mark.must("11.1/7", "11.1/8")
def test_clients_permitted() -> None:
    """True or absent where they are; false where "the nodes are not allowed to remain clients"."""
    assert read("").clients_permitted
    assert read("<clients-permitted> 1 </clients-permitted>").clients_permitted
    forbids = read("<clients-permitted>false</clients-permitted>")
    assert not forbids.clients_permitted
    assert b"<clients-permitted>true</clients-permitted>" in draft(read(""))
    assert b"<clients-permitted>false</clients-permitted>" in draft(forbids)
    refuses("<clients-permitted>maybe</clients-permitted>", "grammar")
    with pytest.raises(LocalMisuse, match="permits no clients"):
        _client_of(forbids)
    assert _client_of(read("")) is not None


def _client_of(configuration: OverlayConfiguration) -> ClientTopology:
    node_id = Club.of().member().node_id
    topology = make_topology(PLUGIN, node_id, configuration, random.Random(1), 0.0, is_client=True, queue=TimerQueue())
    assert isinstance(topology, ClientTopology)
    return topology


@pytest.mark.parametrize("is_permitted", [True, False])
def test_who_remains_a_client_where_it_must_not_is_cut_off(is_permitted: bool) -> None:
    bench = NodeBench(clients_permitted=is_permitted)
    bench.become_ring(150, 50)
    bench.link(120)
    bench.run_for(CLIENT_STAY_S - 1.0)
    assert bench.hung_up() == []
    bench.run_for(2.0)
    assert len(bench.hung_up()) == (0 if is_permitted else 1)
    assert bool(bench.notes("link closed")) is not is_permitted


@pytest.mark.long
def test_peers_are_not_taken_for_clients() -> None:
    overlay = grow("no clients", 12, clients_permitted=False)
    overlay.world.run_for(2 * CLIENT_STAY_S)
    assert overlay.is_ring()
    for host in overlay.alive():
        node = overlay.node(host)
        assert node._reconfiguring.overstayed(overlay.world.now) == []


@pytest.mark.must("11.1/9")
def test_no_ice() -> None:
    """Then all links are such; else none is."""
    assert read("<no-ice>true</no-ice>").link_types == NO_ICE
    assert read("").link_types == (OverlayLinkType.DTLS_UDP_SR, OverlayLinkType.TLS_TCP_FH)
    assert obstacles(read("<no-ice>1</no-ice>")) == obstacles(read("")) == []


@pytest.mark.must("11.1/10")
def test_overlay_reliability_timer() -> None:
    assert read("").overlay_reliability_timer_ms == 3000
    assert read("<overlay-reliability-timer>200</overlay-reliability-timer>").overlay_reliability_timer_ms == 200
    refuses("<overlay-reliability-timer>199</overlay-reliability-timer>", "at least 200 ms")


@pytest.mark.must("11.1/12", "11.1/28")
def test_what_this_release_does_not_know_keeps_it_out_in_words() -> None:
    """A document that wants what we cannot do is understood so far that we can say so, and leave."""
    wants = {
        "<mandatory-extension>urn:x</mandatory-extension>": "mandatory extension urn:x",
        "<topology-plugin>KADEMLIA</topology-plugin>": "topology plug-in KADEMLIA",
        '<self-signed-permitted digest="md5">1</self-signed-permitted>': "self-signed certificates by the digest md5",
        _block('name="NEW-KIND"', KIND): "kind NEW-KIND",
        _block('id="4026531856"', KIND.replace("ARRAY", "HEAP")): "kind 4026531856: data model HEAP",
        _block('id="4026531856"', KIND.replace("NODE-MATCH", "ANY")): "kind 4026531856: access control ANY",
    }
    for inside, words in wants.items():
        assert any(what.startswith(words) for what in obstacles(read(f"<no-ice>true</no-ice>{inside}")))
    # "the namespace is case-sensitive".
    known = "<no-ice>true</no-ice><mandatory-extension>urn:ietf:params:xml:ns:p2p:config-{}</mandatory-extension>"
    assert obstacles(read(known.format("chord"))) == []
    assert obstacles(read(known.format("CHORD"))) != []


def _block(which: str, kind: str) -> str:
    return f"<required-kinds><kind-block><kind {which}>{kind}</kind></kind-block></required-kinds>"


@pytest.mark.must("11.1/13", "11.1/14", "11.1/17")
def test_required_kinds_are_supported_and_whole() -> None:
    (kind,) = with_kind(KIND).required_kinds
    assert kind == Kind(0xF0000010, DataModel.ARRAY, AccessControl.NODE_MATCH, max_count=1, max_size=9)
    assert with_kind(KIND).kinds == {0xF0000010: kind}
    assert with_kind(KIND).models[0xF0000010] is DataModel.ARRAY
    for element in ("data-model", "access-control", "max-count", "max-size"):
        without = KIND[: KIND.index(f"<{element}>")] + KIND[KIND.index(f"</{element}>") + len(element) + 3 :]
        with pytest.raises(ConfigurationError, match="grammar"):
            with_kind(without)
    both = _block('id="4026531856"', KIND).replace("</required-kinds>", "")
    both += _block('id="4026531856"', KIND).replace("<required-kinds>", "")
    with pytest.raises(ConfigurationError, match="twice"):
        read(both)


@pytest.mark.must("11.1/15", "11.1/16")
def test_max_node_multiple() -> None:
    multiple = KIND.replace("NODE-MATCH", "NODE-MULTIPLE")
    (kind,) = with_kind(multiple + "<max-node-multiple>3</max-node-multiple>").required_kinds
    assert kind.max_node_multiple == 3
    for wrong in (multiple, multiple + "<max-node-multiple>0</max-node-multiple>"):
        with pytest.raises(ConfigurationError, match="out of range"):
            with_kind(wrong)


@pytest.mark.must("11.1/18")
def test_the_registry_goes_before_the_document() -> None:
    """As in the RFC's own example: SIP-REGISTRATION is no SINGLE with USER-MATCH, whatever a document says."""
    said = KIND.replace("ARRAY", "SINGLE").replace("NODE-MATCH", "USER-MATCH")
    for which in ('name="SIP-REGISTRATION"', 'id="1"'):
        (kind,) = with_kind(said, which).required_kinds
        assert (kind.kind_id, kind.data_model, kind.access_control) == (
            1,
            DataModel.DICTIONARY,
            AccessControl.USER_NODE_MATCH,
        )
        assert (kind.max_count, kind.max_size) == (1, 9)


@pytest.mark.must("11.1/19", "11.1/20", "11.1/21")
def test_every_kind_is_signed() -> None:
    club, signer = Club.of(), founding().signer
    raw = build(club.configuration, signer)
    start, end = raw.index(b"<kind-signature>"), raw.index(b"</kind-signature>") + len(b"</kind-signature>")
    assert raw[raw.index(b"<kind ") : start].endswith(b"</kind>")
    block = parse(raw).kinds[0]
    assert verify_kind(club.configuration, block, club.verifier, DATE, True).node_id == signer.node_id
    bare = parse(raw[:start] + raw[end:])
    with pytest.raises(ConfigurationError, match="no signature"):
        verify_kind(club.configuration, bare.kinds[0], club.verifier, DATE, True)
    other = replace(club.configuration, kind_signers=frozenset())
    with pytest.raises(ConfigurationError, match="may not sign it"):
        verify_kind(other, block, club.verifier, DATE, True)


@pytest.mark.must("6.5.4.1/1")
def test_a_kind_block_stands_alone_with_the_rfc_s_namespace_as_default() -> None:
    raw = build(founding().configuration, founding().signer)
    for entry in parse(raw).kinds:
        alone = parse_kind_block(kind_block(entry))
        assert (alone.kind, alone.signed, alone.signature) == (entry.kind, entry.signed, entry.signature)
    bare = f'<kind-block><kind id="4026531856">{KIND}</kind></kind-block>'.encode()
    assert parse_kind_block(bare).kind.kind_id == 0xF0000010
    assert parse_kind_block(b'<?xml version="1.0"?>\n' + bare).kind.max_size == 9
    for wrong in (bare + bare, b"", bare[:-3], bare.replace(b"kind-block", b"kind"), bare.decode().encode("utf-16")):
        with pytest.raises(ConfigurationError):
            parse_kind_block(wrong)
    escape = bare + b"</required-kinds><bad-node>" + b"00" * 16 + b"</bad-node><required-kinds>"
    with pytest.raises(ConfigurationError):
        parse_kind_block(escape)


def test_several_configurations_each_with_its_signatures() -> None:
    """ "The file MAY contain multiple "configuration" elements, where each one contains the configuration information
    for a different overlay. Each configuration element MAY be followed by signature elements"."""
    ours = build(founding().configuration, founding().signer)
    theirs = build(replace(founding().configuration, instance_name="other.example"), founding().signer)
    begin, end = theirs.index(b"<configuration"), theirs.index(b"</overlay>")
    both = ours.replace(b"</overlay>", theirs[begin:end] + b"</overlay>")
    for name in ("club.example", "other.example"):
        document = parse(both, name)
        assert document.configuration.instance_name == name
        assert len(document.signatures) == 1
        signers = founding().configuration.configuration_signers
        assert verify_document(document, Club.of().verifier, signers, DATE, True).node_id in signers
    for name in (None, "third.example"):
        with pytest.raises(OtherOverlay, match=r"the document has club\.example, other\.example"):
            parse(both, name)
    twice = ours.replace(b"</overlay>", ours[ours.index(b"<configuration") : ours.index(b"</overlay>")] + b"</overlay>")
    with pytest.raises(OtherOverlay):
        parse(twice, "club.example")


def test_extensions_are_kept_byte_for_byte() -> None:
    """Also where their prefix is declared outside of them, and the attributes of <configuration>."""
    inside = "<x:speed   unit='km/h'>9<!-- why --><x:to >\n A</x:to></x:speed><y:z xmlns:y='urn:y'  />"
    found = read(inside, NAME + ' x:note="1 &lt; 2"', 'xmlns:x="urn:x" xmlns:unused="urn:u"')
    assert [extension.xml for extension in found.extensions] == [
        inside[: inside.index("<y:z")].encode(),
        inside[inside.index("<y:z") :].encode(),
    ]
    written = draft(found)
    assert inside[: inside.index("<y:z")].encode() in written
    assert b"unused" not in written
    assert parse(written).configuration == found
    again = parse(build(replace(found, sequence=2), founding().signer))
    assert again.configuration == replace(found, sequence=2)
    assert [(attribute.namespace, attribute.value) for attribute in found.attributes] == [("urn:x", "1 < 2")]


def test_a_prefix_that_means_something_else_here_is_written_out() -> None:
    found = read("<chord:x>1</chord:x>", NAME, 'xmlns:chord="urn:not-chord"')
    (extension,) = parse(draft(found)).configuration.extensions
    assert (extension.namespace, extension.name) == ("urn:not-chord", "x")


@pytest.mark.must("14.16/1")
def test_a_document_with_a_shared_secret_is_its_owner_s_only(tmp_path: Path) -> None:
    for secret, mode in (("password", 0o600), (None, 0o644)):
        configuration = replace(founding().configuration, shared_secret=secret)
        write_document(tmp_path / "config.xml", draft(configuration), configuration)
        assert stat.S_IMODE((tmp_path / "config.xml").stat().st_mode) & 0o077 == mode & 0o077
        assert parse((tmp_path / "config.xml").read_bytes()).configuration.shared_secret == secret
        assert "password" not in repr(configuration)

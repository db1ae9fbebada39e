"""RFC 6940 sections 6.3.2.1 and 6.5.4 among simulated peers: a new configuration, and a new Kind, reach everybody."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.reload.config.configuration import AccessControl, Kind, OverlayConfiguration
from p2psip.reload.config.document import Document, parse
from p2psip.reload.config.kind_blocks import kind_block, parse_kind_block
from p2psip.reload.config.sequence import is_newer, next_sequence
from p2psip.reload.config.write import build
from p2psip.reload.node.effects import ConfigurationChanged
from p2psip.reload.node.keeping.config_updates import LearnedKind, effective
from p2psip.reload.storage.stored_values import sign_value
from p2psip.reload.topology.chord.ring import hash_name
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import ErrorCode, ErrorResponse, MessageCode
from p2psip.reload.wire.header import CONFIGURATION_SEQUENCE_ANY, Destination
from p2psip.reload.wire.kinds import DataModel
from p2psip.reload.wire.link_messages import ConfigUpdateReq, PingReq
from p2psip.reload.wire.rejections import (
    ConfigTooOld,
    DataTooLarge,
    Forbidden,
    IncompatibleWithOverlay,
    InvalidMessage,
    Rejection,
)
from p2psip.reload.wire.storage_messages import (
    DataValue,
    FetchReq,
    SingleSpecifier,
    StoredDataSpecifier,
    StoreKindData,
    StoreReq,
)
from p2psip.sim.capture import Tap
from p2psip.sim.invariants import chord_of
from p2psip.sim.registrations import ask, grow, wait_until
from p2psip.sim.signer import SimulatedIdentity
from p2psip.sim.simulated_overlay import ADMIN, SimulatedOverlay, simulated_configuration
from p2psip.sim.world import Host

NOTES = Kind(0xF0000010, DataModel.SINGLE, AccessControl.USER_MATCH, max_count=1, max_size=100)


def give(overlay: SimulatedOverlay, host: Host, document: Document) -> None:
    """The operator of a peer gives it a document."""
    node = overlay.node(host)

    overlay.world.call(host, lambda now: node.accept_configuration(document.raw, now))


def refused(overlay: SimulatedOverlay, host: Host, raw: bytes) -> Rejection:
    """Why a peer does not take a document."""
    with pytest.raises(Rejection) as caught:
        overlay.node(host).accept_configuration(raw, overlay.world.now)
    assert not any(isinstance(effect, ConfigurationChanged) for effect in overlay.node(host).drain())
    return caught.value


def sequences(overlay: SimulatedOverlay) -> set[int]:
    """The configurations that the living peers have."""
    return {overlay.node(host).configuration.sequence for host in overlay.alive()}


def signed(overlay: SimulatedOverlay, signer: SimulatedIdentity = ADMIN, **changes: object) -> bytes:
    """A document as somebody would sign it."""
    return build(replace(overlay.configuration, **changes), signer)  # type: ignore[arg-type]


@pytest.fixture
def pair() -> SimulatedOverlay:
    """Two peers that know each other and have nothing to say at present."""
    grown = grow("pair", 2)
    grown.world.run_for(20.0)
    return grown


@pytest.mark.must("6.3.2.1/2", "6.3.2.1/7")
def test_sequence_numbers_are_compared_and_counted_modulo_65535() -> None:
    assert next_sequence(65533) == 65534
    assert next_sequence(65534) == 0
    assert is_newer(0, 65534)
    assert not is_newer(65534, 0)
    assert is_newer(32767, 0)
    assert not is_newer(32768, 0)
    assert not is_newer(7, 7)
    with pytest.raises(LocalMisuse, match="sequence number must be from 0 to 65534"):
        OverlayConfiguration("a.example", sequence=CONFIGURATION_SEQUENCE_ANY)


def test_after_65534_comes_0_in_a_running_overlay() -> None:
    overlay = grow("wrap", 3, sequence=65534)
    give(overlay, overlay.world.hosts["p1"], overlay.revise(turn_density=3))
    wait_until(overlay, 5.0, lambda: sequences(overlay) == {0})


@pytest.mark.must("6.3.2.1/3", "6.3.2.1/4", "6.3.2.1/5", "6.3.2.1/6", "6.5.4/1", "6.5.4.2/4", "11.1/27")
def test_who_asks_with_an_old_configuration_is_refused_told_and_then_served(pair: SimulatedOverlay) -> None:
    """The request that showed the difference is answered in the end, in less time than a retransmission takes."""
    knows, asks = pair.world.hosts["p0"], pair.world.hosts["p1"]
    document = pair.revise(turn_density=44)
    node = pair.node(knows)
    # As if the new one had come while the other was not linked: nobody passes it on.
    node._config_updates.use(document, ())
    node._use_configuration(document.configuration, pair.world.now)
    tap, target = Tap(pair), [Destination.node(node.node_id)]
    command = ask(pair, asks, OverlayRequest(target, MessageCode.PING_REQ, PingReq()))
    done = pair.wait_done(asks, command, limit_s=2.0)
    assert isinstance(done.result, Answer)
    errors = [seen.body for seen in tap.seen if isinstance(seen.body, ErrorResponse)]
    assert [error.error_code for error in errors] == [ErrorCode.CONFIG_TOO_OLD]
    (update,) = [seen for seen in tap.seen if isinstance(seen.body, ConfigUpdateReq)]
    assert (update.sender, update.receiver) == ("p0", "p1")
    assert update.header.configuration_sequence == CONFIGURATION_SEQUENCE_ANY
    assert pair.node(asks).configuration == document.configuration


@pytest.mark.must("6.3.2.1/4", "6.5.4/1")
def test_who_asks_with_a_newer_configuration_tells_the_other(pair: SimulatedOverlay) -> None:
    behind, asks = pair.world.hosts["p0"], pair.world.hosts["p1"]
    document = pair.revise(turn_density=44)
    node = pair.node(asks)
    node._config_updates.use(document, ())
    node._use_configuration(document.configuration, pair.world.now)
    tap, target = Tap(pair), [Destination.node(pair.node(behind).node_id)]
    command = ask(pair, asks, OverlayRequest(target, MessageCode.PING_REQ, PingReq()))
    assert isinstance(pair.wait_done(asks, command, limit_s=2.0).result, Answer)
    errors = [seen.body.error_code for seen in tap.seen if isinstance(seen.body, ErrorResponse)]
    assert errors == [ErrorCode.CONFIG_TOO_NEW]
    assert pair.node(behind).configuration == document.configuration


def test_a_lower_initial_ttl_locks_nobody_out(pair: SimulatedOverlay) -> None:
    """What comes with the TTL of the old configuration is refused for that; who sent it is told nevertheless."""
    document = pair.revise(initial_ttl=20)
    node = pair.nodes["p0"]
    node._config_updates.use(document, ())
    node._use_configuration(document.configuration, pair.world.now)
    pair.world.run_for(600.0, stop=lambda: sequences(pair) == {2})
    assert sequences(pair) == {2}
    wait_until(pair, 30.0, pair.is_ring)


@pytest.mark.must("6.3.2.1/6")
def test_a_config_update_with_sequence_65535_is_taken_another_request_is_not(pair: SimulatedOverlay) -> None:
    tap = Tap(pair)
    host, other = pair.world.hosts["p0"], pair.world.hosts["p1"]
    exchange = pair.node(host)._exchange

    def send(now: float) -> None:
        asked = OverlayRequest(
            [Destination.node(pair.node(other).node_id)],
            MessageCode.PING_REQ,
            PingReq(),
            configuration_sequence=CONFIGURATION_SEQUENCE_ANY,
            transmissions_max=1,
        )
        exchange.request(asked, pair.node(host)._config_updates, now)
        pair.node(host)._settle(now)

    exchange_finished: list[object] = []
    pair.node(host)._outcomes.handle = lambda finished, now: exchange_finished.append(finished)  # type: ignore[method-assign]
    pair.world.call(host, send)
    pair.world.run_for(1.0)
    errors = [seen.body.error_code for seen in tap.seen if isinstance(seen.body, ErrorResponse)]
    assert errors
    assert errors[0] in (ErrorCode.CONFIG_TOO_OLD, ErrorCode.CONFIG_TOO_NEW)


@pytest.mark.long
@pytest.mark.must("6.3.2.1/5", "6.5.4/1", "6.5.4.2/4", "11.1/27")
def test_a_push_reaches_thirty_peers_in_seconds_and_who_was_away_when_it_comes_back() -> None:
    overlay = grow("push", 30, overlay_reliability_timer_ms=3000)
    away = [overlay.world.hosts[f"p{number}"] for number in (3, 9, 15, 21, 27)]
    for host in away:
        overlay.world.crash(host)
    overlay.world.run_for(10.0)
    document = overlay.revise(max_message_size=50_000, chord_ping_interval_s=77, initial_ttl=40)
    began = overlay.world.now
    give(overlay, overlay.world.hosts["p12"], document)
    wait_until(overlay, 2.0, lambda: sequences(overlay) == {2})
    assert overlay.world.now - began <= 2.0
    for host in overlay.alive():
        node = overlay.node(host)
        assert node.configuration == document.configuration
        assert node._forwarder.ttl_max == 40
        assert chord_of(node)._settings.ping_interval_s == 77
        changes = [event for event in host.events if isinstance(event, ConfigurationChanged)]
        assert [change.document.raw for change in changes] == [document.raw]
    for host in away:
        overlay.add_peer(int(host.name.removeprefix("p")))
        assert overlay.nodes[host.name].configuration.sequence == 1
    wait_until(overlay, 20.0, lambda: sequences(overlay) == {2})
    wait_until(overlay, 60.0, overlay.is_ring)


@pytest.mark.long
def test_everybody_is_told_about_once() -> None:
    """What is passed on is not passed round for ever: a document goes over each link a few times at most."""
    overlay = grow("quiet", 16)
    tap = Tap(overlay)
    give(overlay, overlay.world.hosts["p5"], overlay.revise(turn_density=9))
    overlay.world.run_for(30.0)
    assert sequences(overlay) == {2}
    sent = [seen for seen in tap.seen if isinstance(seen.body, ConfigUpdateReq)]
    links = sum(len(host.links) for host in overlay.alive())
    assert len(sent) <= 2 * links


@pytest.mark.must("6.5.4.2/1", "6.5.4.2/2", "11.1/25", "11.1/26")
def test_what_is_forged_old_or_of_another_overlay_is_refused_with_an_error(pair: SimulatedOverlay) -> None:
    host = pair.world.hosts["p0"]
    old = pair.document
    mallory = SimulatedIdentity("mallory@sim.example", pair.nodes["p1"].node_id)
    forged = signed(pair, mallory, sequence=5)
    own = frozenset({mallory.node_id})
    usurped = signed(pair, mallory, sequence=5, configuration_signers=own, kind_signers=own)
    changed = signed(pair, sequence=5).replace(b"<initial-ttl>100<", b"<initial-ttl>101<")
    for raw in (forged, usurped, changed):
        assert isinstance(refused(pair, host, raw), Forbidden)
        # Once it is known it is not read again.
        assert isinstance(refused(pair, host, raw), Forbidden)
    assert isinstance(refused(pair, host, old.raw), ConfigTooOld)
    assert isinstance(refused(pair, host, signed(pair, sequence=0)), ConfigTooOld)
    other = build(simulated_configuration([], instance_name="other.example", sequence=9), ADMIN)
    assert isinstance(refused(pair, host, other), IncompatibleWithOverlay)
    assert isinstance(refused(pair, host, b"<overlay/>"), InvalidMessage)
    assert isinstance(refused(pair, host, signed(pair, sequence=9, expiration=1.0)), Forbidden)
    assert sequences(pair) == {1}


@pytest.mark.must("11.2/6")
def test_what_a_server_has_and_the_trust_anchor_proves_replaces_what_was_learned(pair: SimulatedOverlay) -> None:
    """11.2: "Otherwise, the new configuration MUST replace any previously learned configuration file for this overlay",
    be it signed by nobody whom the old one names (6.5.4.2: too many changes were missed); but nothing older does.
    """
    host = pair.world.hosts["p0"]
    node, successor = pair.node(host), SimulatedIdentity("successor@sim.example", NodeId(bytes([7]) * 16))
    of_successor = frozenset({successor.node_id})
    newer = parse(signed(pair, successor, sequence=9, initial_ttl=55, configuration_signers=of_successor))
    assert isinstance(refused(pair, host, newer.raw), Forbidden)
    pair.world.call(host, lambda now: node.accept_proven(newer, now))
    assert node.configuration == newer.configuration
    assert node._forwarder.ttl_max == 55
    (changed,) = [event for event in host.events if isinstance(event, ConfigurationChanged)]
    assert changed.document.raw == newer.raw
    older = parse(signed(pair, successor, sequence=8, configuration_signers=of_successor))
    with pytest.raises(ConfigTooOld):
        node.accept_proven(older, pair.world.now)
    assert node.configuration == newer.configuration


@pytest.mark.long
def test_a_forged_document_is_not_passed_on() -> None:
    overlay = grow("forged", 8)
    host = overlay.world.hosts["p2"]
    mallory = SimulatedIdentity("mallory@sim.example", overlay.nodes["p2"].node_id)
    forged = parse(signed(overlay, mallory, sequence=5, configuration_signers=frozenset({mallory.node_id})))
    node = overlay.node(host)
    # The peer itself has gone over to the enemy; its neighbours have not.
    node._config_updates.use(forged, ())
    node._use_configuration(forged.configuration, overlay.world.now)
    tap = Tap(overlay)
    overlay.world.run_for(60.0)
    assert any(isinstance(seen.body, ConfigUpdateReq) and seen.sender == "p2" for seen in tap.seen)
    others = [overlay.node(other) for other in overlay.alive() if other is not host]
    assert {other.configuration.sequence for other in others} == {1}


def test_a_flood_of_documents_is_not_read(pair: SimulatedOverlay) -> None:
    host, other = pair.world.hosts["p0"], pair.world.hosts["p1"]
    tap = Tap(pair)
    node = pair.node(host)

    def flood(now: float) -> None:
        for number in range(40):
            raw = b"<overlay>%d</overlay>" % number
            asked = OverlayRequest(
                [Destination.node(pair.node(other).node_id)],
                MessageCode.CONFIG_UPDATE_REQ,
                ConfigUpdateReq.config(raw),
                configuration_sequence=CONFIGURATION_SEQUENCE_ANY,
                transmissions_max=1,
            )
            node._exchange.request(asked, None, now)
        node._settle(now)

    node._outcomes.handle = lambda finished, now: None  # type: ignore[method-assign]
    pair.world.call(host, flood)
    pair.world.run_for(2.0)
    codes = [seen.body.error_code for seen in tap.seen if isinstance(seen.body, ErrorResponse)]
    assert codes.count(ErrorCode.INVALID_MESSAGE) == 16
    assert codes.count(ErrorCode.REQUEST_TIMEOUT) == 24


@pytest.mark.must("11.1/28", "11.1/12")
def test_who_is_not_capable_of_the_new_requirements_passes_them_on_and_leaves(pair: SimulatedOverlay) -> None:
    host = pair.world.hosts["p0"]
    give(pair, host, pair.revise(mandatory_extensions=("urn:example:unknown",)))
    pair.world.run_for(5.0)
    for each in pair.world.hosts.values():
        changed = next(event for event in each.events if isinstance(event, ConfigurationChanged))
        assert changed.obstacles == ("mandatory extension urn:example:unknown",)
        assert pair.node(each).has_left


@pytest.mark.must("11.1/11")
def test_a_peer_that_is_revoked_is_out_of_the_overlay() -> None:
    overlay = grow("revoked", 4)
    bad = overlay.world.hosts["p2"]
    give(overlay, overlay.world.hosts["p0"], overlay.revise(bad_nodes=frozenset({overlay.nodes["p2"].node_id})))
    overlay.world.run_for(20.0)
    for host in overlay.alive():
        if host is not bad:
            assert not overlay.node(host).is_linked(overlay.nodes["p2"].node_id)


def kind_blocks(overlay: SimulatedOverlay, *kinds: Kind, signer: SimulatedIdentity = ADMIN) -> list[bytes]:
    """Kinds as an administrator hands them out: signed, and apart from any document."""
    document = parse(build(replace(overlay.configuration, required_kinds=kinds), signer))
    return [kind_block(entry) for entry in document.kinds]


def give_kinds(overlay: SimulatedOverlay, host: Host, blocks: list[bytes]) -> None:
    """The operator of a peer gives it kind-blocks."""
    node = overlay.node(host)

    overlay.world.call(host, lambda now: node.accept_kinds(blocks, now))


@pytest.mark.long
@pytest.mark.must("6.5.4.2/3", "6.5.4.2/4", "11.1/21")
def test_a_new_kind_reaches_everybody_without_a_restart() -> None:
    overlay = grow("kind", 12)
    give_kinds(overlay, overlay.world.hosts["p4"], kind_blocks(overlay, NOTES))
    overlay.world.run_for(2.0)
    for host in overlay.alive():
        assert overlay.node(host).configuration.kinds[NOTES.kind_id] == NOTES
        assert overlay.node(host).reader.rules.kinds[NOTES.kind_id] == NOTES
        assert overlay.node(host).configuration.sequence == 1
    # A restart has it still.
    overlay.world.crash(overlay.world.hosts["p7"])
    overlay.add_peer(7)
    assert overlay.nodes["p7"].configuration.kinds[NOTES.kind_id] == NOTES


@pytest.mark.must("6.5.4.2/2", "6.5.4.2/3", "11.1/20", "11.1/21", "11.1/19")
def test_kinds_of_others_and_other_definitions_are_refused(pair: SimulatedOverlay) -> None:
    host = pair.world.hosts["p0"]
    updates, now = pair.node(host)._config_updates, pair.world.now
    mallory = SimulatedIdentity("mallory@sim.example", pair.nodes["p1"].node_id)
    for blocks in (
        kind_blocks(pair, NOTES, signer=mallory),
        [kind_blocks(pair, NOTES)[0].replace(b"<max-size>100<", b"<max-size>999<")],
        [b"<kind-block/>"],
        [kind_blocks(pair, NOTES)[0].partition(b"<kind-signature>")[0] + b"</kind-block>"],
    ):
        with pytest.raises(Forbidden):
            updates.accept_kinds(blocks, now)
    with pytest.raises(InvalidMessage):
        updates.accept_kinds([], now)
    give_kinds(pair, host, kind_blocks(pair, NOTES))
    # "if the Kind update conflicts with an existing known Kind [...] rejected with an Error_Forbidden error."
    with pytest.raises(Forbidden, match="defined otherwise here"):
        updates.accept_kinds(kind_blocks(pair, replace(NOTES, max_size=101)), now)
    many = [replace(NOTES, kind_id=0xF0000100 + number) for number in range(256)]
    with pytest.raises(DataTooLarge):
        updates.accept_kinds(kind_blocks(pair, *many), now)


def store_note(overlay: SimulatedOverlay, host: Host) -> None:
    """The user of a peer stores a value of the new Kind."""
    node = overlay.node(host)
    identity, resource = node.identity, hash_name(node.user.encode())

    def run(context: object, now: float) -> None:
        issued = node.issue_storage_time(identity.node_id, now)
        value = sign_value(
            identity, resource, NOTES.kind_id, DataValue(True, b"x"), issued.storage_time_ms, lifetime_s=600
        )
        request = StoreReq(resource, 0, (StoreKindData(NOTES.kind_id, 0, (value,)),))
        node.store(identity, request, context, now, after=issued.after)

    assert isinstance(overlay.wait_done(host, overlay.command(host, run)).result, Answer)


@pytest.mark.must("11.1/29")
def test_a_kind_whose_signer_may_sign_no_more_is_discarded(pair: SimulatedOverlay) -> None:
    clerk = SimulatedIdentity("clerk@sim.example", pair.nodes["p1"].node_id)
    host = pair.world.hosts["p0"]
    signers = frozenset({ADMIN.node_id, clerk.node_id})
    give(pair, host, pair.revise(kind_signers=signers))
    give_kinds(pair, host, kind_blocks(pair, NOTES, signer=clerk))
    pair.world.run_for(2.0)
    assert all(NOTES.kind_id in pair.node(each).configuration.kinds for each in pair.alive())
    store_note(pair, host)
    pair.world.run_for(1.0)
    assert all(NOTES.kind_id in each.store.stored_kinds() for each in pair.alive())
    give(pair, host, pair.revise(kind_signers=frozenset({ADMIN.node_id})))
    pair.world.run_for(2.0)
    assert not any(NOTES.kind_id in pair.node(each).configuration.kinds for each in pair.alive())
    assert not any(NOTES.kind_id in pair.node(each).reader.rules.kinds for each in pair.alive())
    # "along with any stored information of that Kind."
    pair.world.run_for(1.0)
    assert not any(NOTES.kind_id in each.store.stored_kinds() for each in pair.alive())


@pytest.mark.must("7.4.1.2/6")
def test_who_does_not_know_a_kind_is_told_and_then_serves(pair: SimulatedOverlay) -> None:
    """Error_Unknown_Kind, then a ConfigUpdate with the Kind's definition; the request itself is answered in the end."""
    asks, lacks = pair.world.hosts["p0"], pair.world.hosts["p1"]
    node = pair.node(asks)
    signed = parse_kind_block(kind_blocks(pair, NOTES)[0])
    learned = (LearnedKind(signed, ADMIN.node_id),)
    node._config_updates.use(pair.document, learned)
    node._use_configuration(effective(pair.document, learned), pair.world.now)
    tap = Tap(pair)
    other = pair.node(lacks).node_id
    request = FetchReq(hash_name(b"nobody"), (StoredDataSpecifier(NOTES.kind_id, 0, SingleSpecifier()),))
    command = ask(pair, asks, OverlayRequest([Destination.node(other)], MessageCode.FETCH_REQ, request))
    result = pair.wait_done(asks, command, limit_s=2.0).result
    assert isinstance(result, Answer)
    errors = [seen.body.error_code for seen in tap.seen if isinstance(seen.body, ErrorResponse)]
    assert errors == [ErrorCode.UNKNOWN_KIND]
    (update,) = [seen for seen in tap.seen if isinstance(seen.body, ConfigUpdateReq)]
    assert (update.sender, update.receiver, update.body.kinds) == ("p0", "p1", (kind_block(signed),))
    assert pair.node(lacks).configuration.kinds[NOTES.kind_id] == NOTES

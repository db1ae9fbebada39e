"""RFC 6940 section 8 among simulated peers: everybody's certificate is under its Node-ID and its user name."""

from __future__ import annotations

import pytest

from p2psip.base.ids import ResourceId
from p2psip.reload.config.configuration import CERTIFICATE_KINDS, SIP_REGISTRATION_KIND
from p2psip.reload.node.keeping import certificate_keeper
from p2psip.reload.node.keeping.certificate_keeper import RETRY_FIRST_S
from p2psip.reload.node.node import Node
from p2psip.reload.storage.verified import Value
from p2psip.reload.topology.chord.ring import hash_name
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.usages.certificate_store import LIFETIME_S, REFRESH_S, fetch_request, read_certificates
from p2psip.reload.wire.kinds import CERTIFICATE_BY_NODE, CERTIFICATE_BY_USER
from p2psip.reload.wire.storage_messages import FetchAns
from p2psip.sim.registrations import grow, line
from p2psip.sim.signer import SimulatedIdentity
from p2psip.sim.simulated_overlay import SimulatedOverlay

KINDS = (SIP_REGISTRATION_KIND, *CERTIFICATE_KINDS)


def stored(overlay: SimulatedOverlay, kind: int, resource: ResourceId, by: str = "p1") -> tuple[Value, ...]:
    """The certificates that a peer finds."""
    host = overlay.world.hosts[by]
    node = overlay.node(host)
    done = overlay.wait_done(
        host, overlay.command(host, lambda context, now: node.fetch(fetch_request(kind, resource), context, now))
    )
    assert isinstance(done.result, Answer), done
    assert isinstance(done.result.body, FetchAns)
    found = read_certificates(resource, done.result.body, done.result.certificates, node.reader, overlay.world.now)
    assert found.dropped == ()
    return found.values


def ders(values: tuple[Value, ...]) -> list[bytes | None]:
    return [value.data for value in values]


@pytest.fixture
def overlay() -> SimulatedOverlay:
    grown = grow("certificates", 4, required_kinds=KINDS)
    grown.world.run_for(10.0)
    return grown


@pytest.mark.must("8/1")
def test_8_a_node_stores_its_certificate_under_its_node_id_and_its_user_name(overlay: SimulatedOverlay) -> None:
    """ "A user/node MUST store its certificate at Resource-IDs derived from two Resource Names"."""
    for host in overlay.alive():
        node, der = overlay.node(host), host.certificates[0]
        assert ders(stored(overlay, CERTIFICATE_BY_NODE, hash_name(node.node_id))) == [der]
        assert ders(stored(overlay, CERTIFICATE_BY_USER, hash_name(node.user.encode()))) == [der]


@pytest.mark.must("8/1")
def test_8_so_does_a_user_with_each_of_his_lines(overlay: SimulatedOverlay) -> None:
    lines = [SimulatedIdentity("alice@sim.example", line(number).node_id) for number in range(2)]
    for name, who in zip(("p1", "p2"), lines, strict=True):
        host = overlay.world.hosts[name]
        overlay.world.call(host, lambda now, host=host, who=who: _add(overlay, host.name, who, now))  # type: ignore[misc]
        overlay.world.run_for(5.0)
    assert ders(stored(overlay, CERTIFICATE_BY_USER, hash_name(b"alice@sim.example"))) == [
        who.certificates[0].certificate for who in lines
    ]
    for who in lines:
        assert ders(stored(overlay, CERTIFICATE_BY_NODE, hash_name(who.node_id))) == [who.certificates[0].certificate]


def _add(overlay: SimulatedOverlay, name: str, who: SimulatedIdentity, now: float) -> None:
    node = overlay.nodes[name]
    node.add_client(who, now)


def test_8_it_is_stored_anew_before_its_lifetime_ends_and_the_list_does_not_grow(
    overlay: SimulatedOverlay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At half of its lifetime; that half day is five minutes here from the second time on."""
    assert REFRESH_S <= LIFETIME_S / 2
    node = overlay.nodes["p2"]
    resource = hash_name(node.node_id)
    (before,) = stored(overlay, CERTIFICATE_BY_NODE, resource)
    monkeypatch.setattr(certificate_keeper, "REFRESH_S", 300.0)
    overlay.world.call(overlay.world.hosts["p2"], lambda now: node.use_identity(_identity(node), now))
    overlay.world.run_for(330.0)
    (after,) = stored(overlay, CERTIFICATE_BY_NODE, resource)
    assert (after.key, after.data) == (before.key, before.data)
    assert after.storage_time_ms > before.storage_time_ms + 300_000
    assert after.lifetime_s > LIFETIME_S - 60


def _identity(node: Node) -> SimulatedIdentity:
    return SimulatedIdentity(node.user, node.node_id)


def test_8_a_renewed_certificate_comes_after_the_old_one(overlay: SimulatedOverlay) -> None:
    """ "This structure allows users to store an old and a new certificate that both have the same Node-ID"."""
    node = overlay.nodes["p3"]
    host = overlay.world.hosts["p3"]
    renewed = SimulatedIdentity(node.user + ".", node.node_id)
    overlay.world.call(host, lambda now: node.use_identity(renewed, now))
    overlay.world.run_for(5.0)
    values = stored(overlay, CERTIFICATE_BY_NODE, hash_name(node.node_id))
    assert ders(values) == [host.certificates[0], renewed.certificates[0].certificate]
    assert [value.key for value in values] == [0, 1]


def test_8_what_fails_is_tried_again(overlay: SimulatedOverlay) -> None:
    """The peer that is responsible dies without a word; whoever comes after it gets the certificate."""
    who = line("certified")
    (victim,) = overlay.responsible_for(hash_name(who.node_id))
    host = next(host for host in overlay.alive() if host is not victim)
    overlay.world.crash(victim, is_silent=True)
    overlay.world.call(host, lambda now: _add(overlay, host.name, who, now))
    overlay.world.run_for(120.0 + RETRY_FIRST_S)
    assert ders(stored(overlay, CERTIFICATE_BY_NODE, hash_name(who.node_id), by=host.name)) == [
        who.certificates[0].certificate
    ]


def test_8_an_overlay_without_the_kinds_is_left_alone() -> None:
    """11.1 says which Kinds an overlay has; to store others would be refused."""
    overlay = grow("no certificates", 2)
    overlay.world.run_for(30.0)
    assert all(host.store.stored_kinds() == [] for host in overlay.alive())


def test_8_who_goes_for_good_takes_his_certificates_along(
    overlay: SimulatedOverlay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under both names; those of his other lines stay."""
    monkeypatch.setattr(certificate_keeper, "REFRESH_S", 300.0)
    stays, goes = (SimulatedIdentity("alice@sim.example", line(number).node_id) for number in range(2))
    host = overlay.world.hosts["p1"]
    node = overlay.node(host)
    for who in (stays, goes):
        overlay.world.call(host, lambda now, who=who: _add(overlay, "p1", who, now))  # type: ignore[misc]
        overlay.world.run_for(5.0)
    place = hash_name(b"alice@sim.example")
    assert len(ders(stored(overlay, CERTIFICATE_BY_USER, place))) == 2
    _retire(overlay, goes)
    assert goes.node_id in node.clients
    overlay.world.run_for(5.0)
    assert goes.node_id not in node.clients
    assert ders(stored(overlay, CERTIFICATE_BY_USER, place)) == [stays.certificates[0].certificate]
    assert ders(stored(overlay, CERTIFICATE_BY_NODE, hash_name(goes.node_id))) == []
    assert ders(stored(overlay, CERTIFICATE_BY_NODE, hash_name(stays.node_id))) != []
    # Nothing brings them back, and who comes again after all has his certificate there again.
    overlay.world.run_for(330.0)
    assert len(ders(stored(overlay, CERTIFICATE_BY_USER, place))) == 1
    overlay.world.call(host, lambda now: _add(overlay, "p1", goes, now))
    overlay.world.run_for(5.0)
    assert len(ders(stored(overlay, CERTIFICATE_BY_USER, place))) == 2


def test_8_so_he_does_with_those_that_were_renewed(overlay: SimulatedOverlay) -> None:
    """Both are under his Node-ID. And they stay where he will be there again after a restart."""
    who, host = SimulatedIdentity("alice@sim.example", line(0).node_id), overlay.world.hosts["p1"]
    renewed = SimulatedIdentity(who.user + ".", who.node_id)
    for each in (who, renewed):
        overlay.world.call(host, lambda now, each=each: _add(overlay, "p1", each, now))  # type: ignore[misc]
        overlay.world.run_for(5.0)
    place = hash_name(who.node_id)
    overlay.world.call(host, lambda _: overlay.nodes["p1"].remove_client(who.node_id))
    overlay.world.run_for(5.0)
    assert len(ders(stored(overlay, CERTIFICATE_BY_NODE, place))) == 2
    overlay.world.call(host, lambda now: _add(overlay, "p1", renewed, now))
    _retire(overlay, renewed)
    overlay.world.run_for(5.0)
    assert ders(stored(overlay, CERTIFICATE_BY_NODE, place)) == []


def test_8_who_cannot_take_them_along_goes_all_the_same(
    overlay: SimulatedOverlay, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, host = SimulatedIdentity("alice@sim.example", line(0).node_id), overlay.world.hosts["p1"]
    overlay.world.call(host, lambda now: _add(overlay, "p1", who, now))
    overlay.world.run_for(5.0)
    noted: list[str] = []
    with monkeypatch.context() as nothing_goes:
        exchange = type(overlay.nodes["p1"]._exchange)
        nothing_goes.setattr(exchange, "request", lambda *_, **__: None)
        nothing_goes.setattr(exchange, "note", lambda _, event, **__: noted.append(event))
        _retire(overlay, who)
    assert who.node_id not in overlay.nodes["p1"].clients
    assert noted == ["certificate not removed"] * 2


def test_8_who_comes_again_at_once_stays(overlay: SimulatedOverlay) -> None:
    who, host = SimulatedIdentity("alice@sim.example", line(0).node_id), overlay.world.hosts["p1"]
    overlay.world.call(host, lambda now: _add(overlay, "p1", who, now))
    overlay.world.run_for(5.0)
    _retire(overlay, who)
    overlay.world.call(host, lambda now: _add(overlay, "p1", who, now))
    overlay.world.run_for(30.0)
    assert who.node_id in overlay.nodes["p1"].clients
    assert len(ders(stored(overlay, CERTIFICATE_BY_NODE, hash_name(who.node_id)))) == 1


def _retire(overlay: SimulatedOverlay, who: SimulatedIdentity) -> None:
    node = overlay.nodes["p1"]
    overlay.world.call(overlay.world.hosts["p1"], lambda now: node.retire_client(who.node_id, now))

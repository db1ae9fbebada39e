"""By which ways the overlay is sought, and what is told of each (RFC 6940 section 11.4)."""

from __future__ import annotations

import pytest
from candidates import addresses_of, paths_of
from node_bench import ME, NodeBench, address, nid, offer

from p2psip.base.address import Address
from p2psip.reload.config.configuration import BootstrapNode
from p2psip.reload.node.connecting.bootstrap import DNS_AFTER_S, DNS_PAUSE_S
from p2psip.reload.node.connecting.coming_in.ways_in import BEING_DIALLED, WayIn, WaysTried
from p2psip.reload.node.effects import ContactsChanged
from p2psip.reload.node.limits import CONTACTS_KEPT, WAYS_TRIED_MAX
from p2psip.reload.paths.dialling import DIAL_MAX_S, SLOWER
from p2psip.reload.paths.values import Candidate, FindByName, FoundByName, Opened, Refusal
from p2psip.reload.wire.contents import MessageCode


def start(**settings: object) -> NodeBench:
    """A node that looks for the overlay; the configured bootstrap node is 1."""
    bench = NodeBench(**settings)  # type: ignore[arg-type]
    bench.node.start(0.0)
    bench.settle()
    bench.run_for(0.0)
    return bench


def told(bench: NodeBench) -> dict[Address | None, tuple[WayIn, str, bool]]:
    """What the node says of its ways, by address."""
    return {each.address: (each.way, each.result, each.is_winner) for each in bench.node.ways_in}


def test_the_winner_and_why_not_the_others() -> None:
    """One has refused, one is slower, one is a member: they are dialled together, and each has its word."""
    nodes = (BootstrapNode(*address(1)), BootstrapNode(*address(2)))
    bench = start(contacts=[address(10)], bootstrap_nodes=nodes)
    (dial,) = bench.dials()
    assert told(bench) == {
        address(10): (WayIn.REMEMBERED, BEING_DIALLED, False),
        address(1): (WayIn.CONFIGURED, BEING_DIALLED, False),
        address(2): (WayIn.CONFIGURED, BEING_DIALLED, False),
    }
    bench.run_for(1.0)
    paths = dict(zip(addresses_of(dial), paths_of(bench.node._paths._dialling, dial.link), strict=True))
    bench.node.handle_link_down(paths[address(10)], "connection refused", bench.now)
    bench.link(2, paths[address(2)])
    assert told(bench) == {
        address(10): (WayIn.REMEMBERED, "TLS: connection refused", False),
        address(1): (WayIn.CONFIGURED, SLOWER, False),
        address(2): (WayIn.CONFIGURED, "linked", True),
    }


def test_where_nobody_answers_each_says_so() -> None:
    bench = start(contacts=[address(10)])
    bench.run_for(DIAL_MAX_S)
    silent = f"TLS: no answer in {DIAL_MAX_S:g} s"
    assert told(bench) == {
        address(10): (WayIn.REMEMBERED, silent, False),
        address(1): (WayIn.CONFIGURED, silent, False),
    }


def test_a_stranger_that_answers_first_does_not_keep_us_out() -> None:
    """An address of before may be somebody else's by now, who is nearer than any member: the others have their turn."""
    bench = start(contacts=[address(10)])
    (dial,) = bench.dials()
    bench.run_for(1.0)
    paths = dict(zip(addresses_of(dial), paths_of(bench.node._paths._dialling, dial.link), strict=True))
    bench.node.handle_path(Opened(paths[address(10)], address(ME)), bench.now)
    bench.link(10, paths[address(10)], presents=66)
    assert told(bench)[address(1)] == (WayIn.CONFIGURED, SLOWER, False)
    way, result, is_winner = told(bench)[address(10)]
    assert (way, is_winner) == (WayIn.REMEMBERED, False)
    assert result.startswith("TLS: ")
    bench.run_for(2.0)
    (dial,) = bench.dials()
    assert addresses_of(dial) == (address(1),)
    bench.dial_failed(dial.link)
    bench.run_for(2.0)
    (dial,) = bench.dials()
    assert set(addresses_of(dial)) == {address(10), address(1)}


def test_of_two_winners_the_last_one_counts() -> None:
    """What led into the overlay a month ago says nothing of today."""
    ways = WaysTried()
    for place in (1, 2):
        ways.begun({address(place): WayIn.CONFIGURED}, float(place))
        ways.won(address(place), (), float(place))
    assert {each.address: each.is_winner for each in ways} == {address(1): False, address(2): True}


def test_a_link_local_address_is_known_again_on_whichever_link_it_was_found() -> None:
    ways, plain, zoned = WaysTried(), Address("fe80::1", 6084), Address("fe80::1%eth0", 6084)
    ways.begun({plain: WayIn.CONFIGURED, address(1): WayIn.CONFIGURED}, 0.0)
    ways.won(zoned, [Refusal(Candidate(Address("fe80::1%eth1", 6084)), "no route")], 1.0)
    assert [(each.address, each.result) for each in ways] == [(plain, "linked"), (address(1), SLOWER)]


def test_so_many_are_remembered_and_no_more() -> None:
    ways = WaysTried()
    for number in range(2 * WAYS_TRIED_MAX):
        ways.begun({Address("192.0.2.1", number): WayIn.LOST}, float(number))
    assert [each.address.port for each in ways if each.address] == [*range(WAYS_TRIED_MAX, 2 * WAYS_TRIED_MAX)]


def join(bench: NodeBench, place: int) -> None:
    """Be linked with a peer that says where it can be dialled."""
    bench.send(150, MessageCode.ATTACH_REQ, offer(place), signer=place)
    bench.link(place, bench.dials()[0].link)
    bench.update(place)


@pytest.mark.must("11.4/4")
def test_11_4_ten_peers_that_we_were_linked_with_are_cached_the_longest_gone_make_room() -> None:
    """ "Peers that are not directly connected MUST NOT be cached. The suggested number of peers to cache is 10": who is
    gone stays behind those who are there, as 4.5.2 has "past adjacencies", until there are so many others.
    """
    bench = NodeBench(contacts=[address(place) for place in range(1, 9)])
    bench.become_ring(150, 50)
    join(bench, 120)
    before = [address(place) for place in range(1, 9)]
    assert bench.take(ContactsChanged)[-1] == ContactsChanged((address(120), *before))
    join(bench, 110)
    bench.drop(120)
    bench.run_for(0.1)
    assert bench.take(ContactsChanged)[-1] == ContactsChanged((address(110), address(120), *before))
    join(bench, 115)
    changed = bench.take(ContactsChanged)[-1]
    assert isinstance(changed, ContactsChanged)
    assert changed.addresses[:3] == (address(115), address(110), address(120))
    assert len(changed.addresses) == CONTACTS_KEPT
    assert nid(150) in bench.node.linked, "it has not said where it can be dialled, and is not among them"


def test_where_all_links_have_failed_they_are_dialled_anew_before_they_are_given_up() -> None:
    """Over a link by datagrams that has failed nothing is sent: nobody else would notice that there is a path again."""
    bench = NodeBench(contacts=[address(150)])
    bench.become_ring(150)
    bench.dials()
    bench.acknowledges = False
    seen: list[Address] = []
    for _ in range(25):
        bench.run_for(1.0)
        seen += [each for dial in bench.dials() for each in addresses_of(dial)]
    assert not bench.node.is_linked(nid(150))
    assert bench.node.links(nid(150)), "it is not given up yet"
    assert address(150) in seen


def asked_dns(bench: NodeBench) -> list[FindByName]:
    """The questions since the last look."""
    return [effect for effect in bench.take(FindByName) if isinstance(effect, FindByName)]


def test_dns_is_asked_when_the_overlay_is_not_found_otherwise() -> None:
    """By its name, after two seconds, and not often; what it names is dialled beside what is being dialled."""
    bench = start(asks_dns=True)
    bench.dials()
    bench.run_for(DNS_AFTER_S - 0.1)
    assert asked_dns(bench) == []
    bench.run_for(10.0)
    assert asked_dns(bench) == [FindByName("sim.example")]
    bench.run_for(DNS_PAUSE_S - 15.0)
    assert asked_dns(bench) == []
    bench.dials()
    bench.node.handle_path(FoundByName((address(20), address(21))), bench.now)
    bench.settle()
    dial = bench.dials()[-1]
    assert addresses_of(dial) == (address(20), address(21))
    bench.link(20, dial.link)
    assert told(bench)[address(20)] == (WayIn.DNS, "linked", True)
    assert told(bench)[address(21)] == (WayIn.DNS, SLOWER, False)


def test_what_dns_has_named_is_dialled_again_and_why_it_names_nobody_is_told() -> None:
    bench = start(asks_dns=True)
    bench.node.handle_path(FoundByName((address(20),)), bench.now)
    bench.settle()
    for _ in range(3):
        for dial in bench.dials():
            bench.dial_failed(dial.link)
        bench.run_for(8.0)
    assert address(20) in {each for dial in bench.dials() for each in addresses_of(dial)}
    bench.node.handle_path(FoundByName((), "there is no SRV _reload._tcp.sim.example"), bench.now)
    assert told(bench)[None] == (WayIn.DNS, "there is no SRV _reload._tcp.sim.example", False)


def test_dns_is_asked_by_nobody_who_shall_not_nor_by_a_member() -> None:
    bench = start()
    bench.run_for(60.0)
    assert asked_dns(bench) == []
    bench = NodeBench(asks_dns=True)
    bench.become_ring(150, 50)
    for _ in range(100):
        bench.run_for(10.0)
        bench.settle_updates()
    assert asked_dns(bench) == []

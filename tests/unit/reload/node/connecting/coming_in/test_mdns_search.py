"""What a node wants shown by mDNS, and whom it dials of those that are shown (p2psip...coming_in.mdns_search)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from candidates import addresses_of
from node_bench import ME, NodeBench, address, nid

from p2psip.base.address import Address
from p2psip.reload.node.connecting.coming_in.mdns_search import mark_of
from p2psip.reload.node.connecting.coming_in.ways_in import WayIn
from p2psip.reload.node.limits import HEARD_MAX, WAYS_IN
from p2psip.reload.paths.values import FoundByMdns, MdnsPeer, MdnsWanted

PORT = 6084


def start(**settings: object) -> NodeBench:
    """A node that looks for the overlay; the configured bootstrap node is 1."""
    bench = NodeBench(mdns_port=PORT, **settings)  # type: ignore[arg-type]
    bench.node.start(0.0)
    bench.settle()
    bench.run_for(0.0)
    bench.dials()
    return bench


def hear(bench: NodeBench, *peers: MdnsPeer, problem: str = "") -> list[set[Address]]:
    """These are shown now: what is dialled for that, together."""
    bench.node.handle_path(FoundByMdns(peers, problem), bench.now)
    bench.settle()
    return [set(addresses_of(dial)) for dial in bench.dials()]


def wanted(bench: NodeBench) -> list[MdnsWanted]:
    """What the node has wanted."""
    return [effect for effect in bench.effects if isinstance(effect, MdnsWanted)]


def test_a_node_seeks_from_the_start_and_is_shown_as_long_as_it_is_a_member() -> None:
    bench = start(may_start_alone=True)
    mark = mark_of(bench.configuration)
    outside, inside = (MdnsWanted(mark, nid(ME), PORT, is_member) for is_member in (False, True))
    assert wanted(bench) == [outside]
    bench.run_for(60.0)
    assert bench.node.is_serving
    assert wanted(bench) == [outside, inside]
    bench.node.leave(bench.now)
    bench.settle()
    assert wanted(bench) == [outside, inside, outside]


def test_without_a_port_there_is_nothing_of_it() -> None:
    bench = NodeBench(may_start_alone=True)
    bench.node.start(0.0)
    bench.run_for(60.0)
    assert wanted(bench) == []
    assert WayIn.MDNS not in {each.way for each in bench.node.ways_in}


def test_who_is_shown_is_dialled_once_until_it_has_moved() -> None:
    bench = start()
    own = MdnsPeer(nid(ME), (address(ME),))
    one, moved = MdnsPeer(nid(20), (address(20), address(21))), MdnsPeer(nid(20), (address(22),))
    assert (WayIn.MDNS, "nobody is there") in {(each.way, each.result) for each in bench.node.ways_in}
    assert hear(bench, own, one) == [{address(20), address(21)}]
    assert hear(bench, own, one) == []
    assert hear(bench, own, moved) == [{address(22)}]
    assert hear(bench) == []
    assert hear(bench, one) == [{address(20), address(21)}]
    assert {each.way for each in bench.node.ways_in if each.address == address(20)} == {WayIn.MDNS}


def test_whom_it_is_linked_with_it_does_not_dial() -> None:
    bench = start()
    bench.link(20)
    assert hear(bench, MdnsPeer(nid(20), (address(99),))) == []


def test_of_a_crowd_some_are_dialled_and_no_more_is_kept() -> None:
    bench = start()
    crowd = [MdnsPeer(nid(place), (address(place),)) for place in range(101, 101 + 2 * HEARD_MAX)]
    (dialled,) = hear(bench, *crowd)
    assert len(dialled) == WAYS_IN
    assert len(bench.node._bootstrap._mdns.addresses) == HEARD_MAX


def test_why_there_can_be_none_is_told() -> None:
    bench = start()
    assert hear(bench, problem="mDNS cannot be used: No such device") == []
    assert "mDNS cannot be used: No such device" in {each.result for each in bench.node.ways_in}


@pytest.mark.parametrize("change", [{"instance_name": "other.example"}, {"root_certs": (b"another",)}])
def test_overlays_are_told_apart(change: dict[str, object]) -> None:
    configuration = NodeBench().configuration
    assert mark_of(configuration) == mark_of(replace(configuration, turn_density=7))
    assert mark_of(configuration) != mark_of(replace(configuration, **change))  # type: ignore[arg-type]
    one, other = (replace(configuration, root_certs=roots) for roots in ((b"a", b"b"), (b"b", b"a")))
    assert mark_of(one) == mark_of(other)

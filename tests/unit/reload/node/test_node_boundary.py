"""From outside one speaks to a node by its methods, and nobody reaches through (docs/architecture.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from node_bench import NodeBench

SOURCE = Path(__file__).parents[4] / "src" / "p2psip"
NODE = SOURCE / "reload" / "node"
PUBLIC = {"node_id", "user", "wall", "topology", "spreading"}
"""What is no method: three values; the topology, whose tables the simulator's judges look at; the copy of what every
peer has, which its users read and keep over restarts.
"""


def reaches(source: str, *, may_see_topology: bool) -> Iterator[str]:
    """The places where a part of a node is used by somebody else."""
    for found in ast.walk(ast.parse(source)):
        if not isinstance(found, ast.Attribute):
            continue
        owner = ast.unparse(found.value).partition("(")[0].rpartition(".")[2].lstrip("_")
        is_part = found.attr.startswith("_") or (found.attr == "topology" and not may_see_topology)
        if owner == "node" and is_part:
            yield f"line {found.lineno}: {ast.unparse(found)}"


def test_what_a_reach_is() -> None:
    """The test itself notices one, in each form."""
    for bad in ("node._data.storage", "self._node._links", "peer.node._twins.at(0)", "overlay.node(host)._moving"):
        assert list(reaches(bad, may_see_topology=True)), bad
    assert list(reaches("peer.node.topology.routes", may_see_topology=False))
    for good in ("node.fetch(r, c, now)", "self._node.reader", "table._node", "node.topology_facts()"):
        assert not list(reaches(good, may_see_topology=False)), good


@pytest.mark.long
def test_nobody_reaches_through_a_node() -> None:
    """In all of the program, but in the node's own rooms."""
    found = {
        str(path.relative_to(SOURCE)): reached
        for path in sorted(SOURCE.rglob("*.py"))
        if not path.is_relative_to(NODE)
        and (reached := list(reaches(path.read_text(), may_see_topology=path.is_relative_to(SOURCE / "sim"))))
    }
    assert found == {}


def test_the_parts_of_a_node_are_its_own() -> None:
    """A part that is made public would be used by others the next day."""
    assert {name for name in vars(NodeBench().node) if not name.startswith("_")} == PUBLIC

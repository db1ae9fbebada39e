"""RFC 6940 section 14: what was made available for experiments "MUST NOT be used for operational deployments"."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from node_bench import ME, NodeBench

import p2psip
from p2psip.plugins import obstacles
from p2psip.reload.wire.contents import ErrorCode, MessageCode, UnknownBody
from p2psip.sim.simulated_overlay import simulated_configuration

SOURCE = Path(p2psip.__file__).parent
DECLARED = {"EXP_A", "EXP_B", "EXP_A_REQ", "EXP_A_ANS", "EXP_B_REQ", "EXP_B_ANS"} | {
    "EXP_LINK",
    "EXP_PROBE",
    "EXP_EXT",
    "EXP_FORWARD",
}
NAMED = ("EXP-OVERLAY", "EXP-MATCH", "EXP-DATA", "EXP-PROTOCOL")


@pytest.mark.must("6.3.3.1/5", "6.3.3.1/6", "14.3/1", "14.4/1", "14.7/1", "14.8/1")
@pytest.mark.must("14.9/1", "14.10/1", "14.11/1", "14.12/1", "14.13/1", "14.14/1")
@pytest.mark.long
def test_14_nothing_of_ours_uses_what_is_for_experiments() -> None:
    """They can be decoded and printed, which is why they are declared; no line refers to one."""
    declared, used = set(), []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                declared |= {node.targets[0].id} & DECLARED
            elif isinstance(node, ast.Attribute) and node.attr in DECLARED:
                used.append(f"{path.name}:{node.lineno} {node.attr}")
            elif isinstance(node, ast.Constant) and node.value in NAMED:
                used.append(f"{path.name}:{node.lineno} {node.value}")
    assert declared == DECLARED
    assert used == []


@pytest.mark.parametrize("code", [MessageCode.EXP_A_REQ, MessageCode.EXP_B_REQ])
def test_14_8_an_experimental_request_is_refused(code: MessageCode) -> None:
    bench = NodeBench()
    bench.become_ring(200, 230)
    bench.send(200, code, UnknownBody(b"anything"))
    assert bench.hear_one(200, MessageCode.ERROR).error.error_code is ErrorCode.INVALID_MESSAGE
    assert bench.node.node_id.startswith(bytes([ME]))


def test_14_3_an_experimental_overlay_is_none_that_we_can_be_in() -> None:
    assert obstacles(simulated_configuration([])) == []
    (why_not,) = obstacles(simulated_configuration([], topology_plugin="EXP-OVERLAY"))
    assert why_not.startswith("topology plug-in EXP-OVERLAY")
    assert obstacles(simulated_configuration([], overlay_link_protocols=("EXP-PROTOCOL",))) != []

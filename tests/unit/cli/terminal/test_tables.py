"""Rows of text."""

from __future__ import annotations

from p2psip.cli.terminal.tables import aligned, node_name


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert aligned([("a", "1.0 ms", ""), ("longer", "20.0 ms", "x")]) == ["a       1.0 ms", "longer  20.0 ms  x"]
    assert aligned([]) == []


def test_a_node_has_its_name_if_that_is_known() -> None:
    assert node_name("peer-hill@club.example", "9162d78ffa7aec6a") == "peer-hill (9162d78f)"
    assert node_name("", "9162d78ffa7aec6a") == "9162d78f"

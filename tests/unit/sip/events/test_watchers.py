"""Who may watch whom."""

from __future__ import annotations

import pytest

from p2psip.sip.events.watchers import WatchRules


@pytest.mark.parametrize(
    ("rules", "watcher", "line", "may"),
    [
        (("*",), "alice", "bob", True),
        ((), "alice", "bob", False),
        ((), "bob", "bob", True),
        (("reception",), "reception", "bob", True),
        (("reception",), "alice", "bob", False),
        (("carol>bob",), "carol", "bob", True),
        (("carol>bob",), "carol", "dave", False),
        (("*>info",), "alice", "info", True),
        (("Carol > BOB", "x"), "carol", "bob", True),
    ],
)
def test_rules(rules: tuple[str, ...], watcher: str, line: str, may: bool) -> None:
    assert WatchRules(rules).permit(watcher, line) is may


@pytest.mark.parametrize("rule", ["", ">bob", "carol>", "a>b>c", "carol@club.example"])
def test_what_is_no_rule(rule: str) -> None:
    with pytest.raises(ValueError, match="says not who may watch"):
        WatchRules((rule,))

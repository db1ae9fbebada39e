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
        (("desk-*>door-?",), "desk-1", "door-2", True),
        (("desk-*>door-?",), "desk-1", "door-22", False),
        (("[ab]*",), "bob", "carol", True),
        (("[!ab]*",), "bob", "carol", False),
    ],
)
def test_rules(rules: tuple[str, ...], watcher: str, line: str, may: bool) -> None:
    assert WatchRules(rules).permit(watcher, line) is may


@pytest.mark.parametrize(
    "rule", ["", ">bob", "carol>", "a>b>c", "carol@club.example", "carol->bob", "a,b", "a b", "-a"]
)
def test_what_is_no_rule(rule: str) -> None:
    with pytest.raises(ValueError, match="says not who may watch"):
        WatchRules((rule,))


def test_rules_about_lines_that_are_not_there() -> None:
    rules = WatchRules(("*", "carol>bob", "carol>bbo", "*>door-?"))
    assert rules.unknown(["bob", "door-1"]) == ["carol>bbo"]
    assert rules.unknown([]) == ["carol>bob", "carol>bbo", "*>door-?"]

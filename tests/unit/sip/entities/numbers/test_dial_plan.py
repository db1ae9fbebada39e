"""The operator's dial plan: patterns, rewriting, priorities, permissions."""

from __future__ import annotations

import re

import pytest

from p2psip.sip.entities.numbers.dial_plan import FIRST, LAST, BadRule, DialPlan, Rule, Ruled


def rule(pattern: str, **settings: object) -> Rule:
    return Rule(pattern, f"rule {pattern}", **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("42", ["42"], ["4", "422", "142"]),
        ("XX", ["00", "99"], ["9", "123", "a1"]),
        ("ZX", ["10"], ["01"]),
        ("NX", ["20"], ["19", "09"]),
        ("[3-57]1", ["31", "41", "51", "71"], ["61", "21"]),
        ("00.", ["001", "00123"], ["00"]),
        ("9!", ["9", "912"], ["8"]),
        ("*21*X.", ["*21*42"], ["*21*4", "*21*"]),
        ("+49.", ["+4930"], ["4930"]),
        ("dl1abc", ["dl1abc"], ["dl1abd"]),
    ],
)
def test_patterns(pattern: str, yes: list[str], no: list[str]) -> None:
    one = rule(pattern)
    assert [number for number in (*yes, *no) if one.matches(number)] == yes


@pytest.mark.parametrize(
    ("settings", "made"),
    [
        ({"to": "bob"}, "bob"),
        ({"strip": 1}, "301234"),
        ({"strip": 1, "prepend": "+49"}, "+49301234"),
        ({"prepend": "82"}, "820301234"),
        ({}, "0301234"),
    ],
)
def test_rewriting(settings: dict[str, object], made: str) -> None:
    assert rule("0.", **settings).rewritten("0301234") == made


@pytest.mark.parametrize(
    ("pattern", "settings", "what", "says"),
    [
        ("", {}, "pattern", "empty"),
        ("X-A", {}, "pattern", "'A' is in no pattern"),
        ("X.1", {}, "pattern", "'.1' is in no pattern"),
        ("[3-", {}, "pattern", "'[3-' is in no pattern"),
        ("XX", {"strip": 3}, "strip", "XX matches 2 characters"),
        ("XX", {"strip": 2}, "strip", "leaves nothing"),
        ("XX", {"to": "bob", "prepend": "1"}, "to", "not both"),
        ("XX", {"refuse": "no", "to": "bob"}, "refuse", "rewrites nothing"),
    ],
)
def test_rules_that_cannot_be_meant(pattern: str, settings: dict[str, object], what: str, says: str) -> None:
    with pytest.raises(BadRule, match=re.escape(says)) as caught:
        rule(pattern, **settings)
    assert caught.value.what == what


def test_the_first_that_matches_decides() -> None:
    plan = DialPlan(
        (rule("4X", to="carol"), rule("42", to="bob", priority=FIRST), rule("X.", to="desk", priority=LAST))
    )
    called = {number: plan.ruled(number, "alice") for number in ("42", "43", "55", "bob")}
    assert {number: ruled.number if ruled else None for number, ruled in called.items()} == {
        "42": "bob",
        "43": "carol",
        "55": "desk",
        "bob": None,
    }


def test_who_may_dial() -> None:
    """A rule for some lines leaves others to the next; where there is none, they are refused, and told why."""
    plan = DialPlan((rule("0.", prepend="9", lines=frozenset({"alice"})), rule("00.", refuse="not abroad")))
    assert plan.ruled("0049", "alice") == Ruled("90049", "rule 0. is for 0.: 90049 is called")
    assert plan.ruled("0049", "bob") == Ruled("0049", "rule 00. refuses 00.", "not abroad")
    refused = plan.ruled("030", "bob")
    assert refused is not None
    assert refused.refusal == "bob may not dial 030: rule 0. is for alice"
    nobody = plan.ruled("030", None)
    assert nobody is not None
    assert nobody.refusal


def test_a_rule_that_another_hides_is_a_mistake() -> None:
    with pytest.raises(BadRule, match="rule XX can never be used: rule XX is for XX already"):
        DialPlan((rule("XX", to="bob"), rule("XX", to="carol")))
    DialPlan((rule("XX", to="bob", lines=frozenset({"alice"})), rule("XX", to="carol")))


def test_what_is_too_long_for_a_number_is_none() -> None:
    assert DialPlan((rule("X."),)).ruled("1" * 65, "alice") is None

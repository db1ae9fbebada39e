"""The table of star codes."""

from __future__ import annotations

import pytest

from p2psip.sip.entities.handling.call_handling import CallHandling
from p2psip.sip.entities.handling.star_codes import SERVICES, BadCode, StarCodes, is_number


@pytest.mark.parametrize(
    ("dialled", "read"),
    [
        ("*7242", ("forward", "42")),
        ("*72bob", ("forward", "bob")),
        ("*72", ("forward", "")),
        ("*73", ("forward-off", "")),
        ("*739", None),
        ("*65", ("own-number", "")),
        ("*43", ("echo", "")),
        ("*8", ("pick-up-group", "")),
        ("**bob", ("pick-up", "bob")),
        ("*851", ("park", "1")),
        ("*97", ("mailbox", "")),
        ("*99", None),
        ("72", None),
        ("", None),
    ],
)
def test_what_is_dialled(dialled: str, read: tuple[str, str] | None) -> None:
    assert StarCodes().read(dialled) == read


def test_the_longer_code_is_meant() -> None:
    codes = StarCodes({"forward": "*2", "forward-off": "*2#"})
    assert codes.read("*2#") == ("forward-off", "")
    assert codes.read("*242") == ("forward", "42")


def test_a_service_without_a_code_cannot_be_dialled() -> None:
    assert StarCodes({"forward": ""}).read("*7242") is None


@pytest.mark.parametrize("changed", [{"echo": "43"}, {"echo": "*"}, {"echo": "*x"}, {"echo": "*72"}])
def test_codes_that_cannot_be_meant(changed: dict[str, str]) -> None:
    with pytest.raises(BadCode) as caught:
        StarCodes(changed)
    assert caught.value.service == "echo"


def test_each_service_that_changes_something_has_its_opposite() -> None:
    before = CallHandling(allow=("dora",))
    for name, service in SERVICES.items():
        if service.changes and not name.endswith("-off"):
            changed = service.changed(before, "42")
            assert changed != before
            assert SERVICES[f"{name}-off"].changed(changed, "") == before


@pytest.mark.parametrize(
    ("text", "is_one"), [("42", True), ("bob", True), ("+4930", True), ("", False), ("a b", False)]
)
def test_what_can_be_forwarded_to(text: str, is_one: bool) -> None:
    assert is_number(text) is is_one

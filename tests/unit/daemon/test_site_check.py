"""p2psip.daemon.site_check: each step of a new site, as it should be and as it should not."""

from __future__ import annotations

from typing import Any

import pytest

from p2psip.daemon.site_check import (
    CheckedStep,
    certificate_step,
    clock_step,
    line_steps,
    nat_step,
    network_step,
    overlay_steps,
    relay_step,
)

DAY_S = 86400.0


def status(**changes: object) -> dict[str, Any]:
    """A peer of which all is well."""
    line = {
        "user": "alice@a.b",
        "problem": "",
        "record": {"responsible": "ab"},
        "phones": [{"via": "udp 10.0.0.9:5060"}],
    }
    return {
        "date_trusted": True,
        "user": "peer-hill@a.b",
        "overlay": "a.b",
        "member": True,
        "trouble": "",
        "links": [{"state": "up"}, {"state": "failed"}],
        "lines": [line],
        "relays": {"known": [], "in_use": []},
        **changes,
    }


def nat(**changes: object) -> dict[str, Any]:
    """A home router."""
    return {
        "helpers": 3, "udp_blocked": False, "open": False, "dialable": False, "what": "a router", "change": ["open it"],
        **changes,
    }  # fmt: skip


def told(step: CheckedStep) -> tuple[bool | None, str]:
    """Whether it is good; of one that fails what is to be done is said as well."""
    assert bool(step.todo) or step.is_good is not False, f"{step.name} says nothing of what to do"
    return step.is_good, step.found


def test_the_clock_the_certificate_and_the_network() -> None:
    assert told(clock_step(status()))[0]
    assert told(clock_step(status(date_trusted=False)))[0] is False
    assert told(certificate_step(10 * DAY_S, 0.0)) == (True, "good for 10 days more")
    assert "1.5 days" in told(certificate_step(1.5 * DAY_S, 0.0))[1]
    assert told(certificate_step(5.0, 10.0))[0] is False
    assert told(network_step(["10.0.0.2"])) == (True, "10.0.0.2")
    assert told(network_step([]))[0] is False


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({}, [True, True]),
        ({"links": [], "member": True}, [False, True]),
        ({"links": [], "member": False, "trouble": "no way into the overlay"}, [False, None]),
        ({"member": False, "trouble": "peer ab cannot be reached"}, [True, False]),
    ],
)
def test_a_way_in_and_being_let_in(changes: dict[str, object], good: list[bool | None]) -> None:
    steps = list(overlay_steps(status(**changes)))
    assert [told(step)[0] for step in steps] == good
    if changes.get("trouble"):
        assert changes["trouble"] in [step.found for step in steps]


def test_the_router_and_relays() -> None:
    assert told(nat_step(status(), nat())) == (True, "a router")
    assert told(nat_step(status(), nat(udp_blocked=True)))[0] is False
    has_relay = status(relays={"known": [1], "in_use": ["198.51.100.1:6084"]})
    assert told(nat_step(has_relay, nat(udp_blocked=True))) == (True, "a router; calls go over TLS, by relays")
    assert told(nat_step(status(), nat(helpers=0)))[0] is None
    assert told(relay_step(status(), nat()))[0] is False
    assert told(relay_step(status(), nat(dialable=True)))[0]
    assert told(relay_step(status(), nat(helpers=0)))[0] is None
    assert told(relay_step(status(relays={"known": [1]}), nat())) == (True, "1 known (3 are better)")
    assert told(relay_step(status(relays={"known": [1, 2, 3]}), nat())) == (True, "3 known")


def test_lines_their_records_and_their_phones() -> None:
    assert [told(step)[0] for step in line_steps(status(), {"alice@a.b": True})] == [True, True]
    assert [told(step)[0] for step in line_steps(status(), {})] == [False, True]
    assert [told(step)[0] for step in line_steps(status(lines=[]), {})] == [False]
    (line,) = status()["lines"]
    for changes in ({"record": None}, {"problem": "revoked"}):
        steps = line_steps(status(lines=[line | changes]), {"alice@a.b": True})
        assert [told(step)[0] for step in steps] == [False, True]
    steps = line_steps(status(lines=[line | {"phones": []}]), {"alice@a.b": True})
    assert [told(step)[0] for step in steps] == [True, False]

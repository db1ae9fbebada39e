"""The text of the units: where the program and its directory may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.daemon.joining.service_units import ServiceKind, ServicePlan, program_roots, unit_of

PROGRAM = Path("/opt/p2psip/.venv/bin/p2psip")


def lines(
    directory: str, *, kind: ServiceKind = ServiceKind.UP, roots: tuple[str, ...] = ("/opt/p2psip",)
) -> list[str]:
    """Those of a unit."""
    plan = ServicePlan(kind, Path(directory), "p2psip", PROGRAM, tuple(map(Path, roots)))
    return unit_of(plan).splitlines()


def about(unit: list[str], *names: str) -> list[str]:
    """The lines with these names."""
    return [line for line in unit if line.partition("=")[0] in names]


PLACES = ("StateDirectory", "ReadWritePaths", "BindPaths", "BindReadOnlyPaths")


def test_a_directory_of_the_system_s_own_is_made_by_systemd() -> None:
    unit = lines("/var/lib/p2psip")
    assert about(unit, *PLACES) == ["StateDirectory=p2psip"]
    assert about(unit, "User", "ExecStart") == [
        "User=p2psip",
        "ExecStart=/opt/p2psip/.venv/bin/p2psip up --directory /var/lib/p2psip",
    ]
    assert {"NoNewPrivileges=yes", "CapabilityBoundingSet=", "ProtectSystem=strict"} <= set(unit)


def test_what_is_in_a_home_is_shown_alone() -> None:
    unit = lines(
        "/home/you/.p2psip", roots=("/home/you/p2psip/.venv", "/usr", "/home/you/p2psip", "/home/you/p2psip/src")
    )
    assert about(unit, *PLACES) == ["BindPaths=/home/you/.p2psip", "BindReadOnlyPaths=/home/you/p2psip"]
    assert "ProtectHome=tmpfs" in unit


def test_elsewhere_it_may_write_there_alone() -> None:
    unit = lines("/srv/club", kind=ServiceKind.ENROLLMENT)
    assert about(unit, *PLACES) == ["ReadWritePaths=/srv/club"]
    assert about(unit, "ExecStart") == ["ExecStart=/opt/p2psip/.venv/bin/p2psip enrollment serve /srv/club"]
    assert about(lines("/srv/x", kind=ServiceKind.PEER), "ExecStart")[0].endswith("peer run /srv/x")


def test_names_that_mean_something_to_systemd_are_taken_for_names() -> None:
    unit = lines('/srv/50% of $HOME "x"\\y:z')
    assert about(unit, "ExecStart")[0].endswith('--directory "/srv/50%% of $$HOME \\"x\\"\\\\y\\:z"')
    assert about(unit, *PLACES) == ['ReadWritePaths="/srv/50%% of $HOME \\"x\\"\\\\y\\:z"']


@pytest.mark.parametrize("directory", ["/srv/a\nExecStartPre=+/bin/sh", "relative"])
def test_what_would_be_a_line_of_its_own_is_refused(directory: str) -> None:
    with pytest.raises(LocalMisuse, match="cannot be in a unit"):
        lines(directory)


def test_this_program_is_where_its_parts_are() -> None:
    assert any(Path(__file__).is_relative_to(root.parent) for root in program_roots())

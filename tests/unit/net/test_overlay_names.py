"""Where DNS says that an overlay is: `_reload._tcp.NAME`, from a server on loopback."""

from __future__ import annotations

import asyncio

import pytest
from dns_server import dns_server

from p2psip.base.address import Address
from p2psip.net.dns_records import DnsRecords
from p2psip.net.overlay_names import ADDRESSES_MAX, find_overlay
from p2psip.reload.paths.values import FoundByName

NAME = "_reload._tcp.club.example"


def asked(zone: dict[tuple[str, str], list[str]], *, fails: bool = False) -> FoundByName:
    """What comes of the question, with this zone."""

    async def ask() -> FoundByName:
        async with dns_server(zone) as server:
            if fails:
                server.fails.add((NAME, "SRV"))
            return await find_overlay(DnsRecords(server.address).find, "club.example")

    return asyncio.run(ask())


def test_rfc_2782_the_lowest_priority_comes_first_and_each_address_has_its_port() -> None:
    zone = {
        (NAME, "SRV"): ["20 0 6085 far.club.example.", "10 0 6084 near.club.example."],
        ("near.club.example", "A"): ["192.0.2.1"],
        ("near.club.example", "AAAA"): ["2001:db8::1"],
        ("far.club.example", "A"): ["192.0.2.2"],
    }
    found = asked(zone)
    expected = (Address("192.0.2.1", 6084), Address("2001:db8::1", 6084), Address("192.0.2.2", 6085))
    assert found == FoundByName(expected)


@pytest.mark.parametrize(
    ("zone", "problem"),
    [
        ({}, f"there is no SRV {NAME}"),
        ({(NAME, "SRV"): ["0 0 0 ."]}, f"there is no SRV {NAME}"),
        ({(NAME, "SRV"): ["0 0 6084 gone.club.example."]}, f"SRV {NAME} names no server that has an address"),
        (
            {(NAME, "SRV"): ["0 0 6084 odd.club.example."], ("odd.club.example", "A"): ["224.0.0.1", "0.0.0.0"]},
            f"SRV {NAME} names no server that has an address",
        ),
    ],
)
def test_why_there_is_none(zone: dict[tuple[str, str], list[str]], problem: str) -> None:
    assert asked(zone) == FoundByName((), problem)


def test_a_server_that_fails_is_named() -> None:
    found = asked({}, fails=True)
    assert found.addresses == ()
    assert "SERVFAIL" in found.problem


def test_a_server_that_names_hundreds_is_read_so_far() -> None:
    zone = {
        (NAME, "SRV"): [f"0 0 6084 s{number}.club.example." for number in range(6)],
        **{(f"s{number}.club.example", "A"): [f"192.0.{number}.{n}" for n in range(1, 9)] for number in range(6)},
    }
    assert len(asked(zone).addresses) == ADDRESSES_MAX

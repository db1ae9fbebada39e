"""Which addresses are shown by mDNS, and which of others are of use (p2psip.net.mdns_side)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from p2psip.base.address import Address
from p2psip.base.ids import NodeId
from p2psip.net import mdns_side
from p2psip.net.mdns_side import MdnsSide
from p2psip.net.sockets.interfaces import interface_addresses
from p2psip.reload.paths.values import FoundByMdns, MdnsWanted

NODE = NodeId(bytes(15) + b"\1")
WANTED = MdnsWanted("0" * 20, NODE, 6084, is_member=True)


def test_a_link_local_address_needs_its_link() -> None:
    hosts = ["192.0.2.1", "fe80::1", "fe80::1%2", "FE80::3", "2001:db8::1", "192.0.2.1"]
    assert mdns_side._usable(hosts, 7) == (
        Address("192.0.2.1", 7),
        Address("fe80::1%2", 7),
        Address("2001:db8::1", 7),
    )


def test_shown_is_where_links_are_accepted_and_no_loopback() -> None:
    found = interface_addresses()
    lasting = {each.host.partition("%")[0] for each in found if each.is_lasting and not each.address.is_loopback}
    everywhere = {Address("0.0.0.0", 1), Address("::", 1)}
    assert set(mdns_side._hosts(everywhere)) == lasting
    assert mdns_side._hosts({Address("127.0.0.1", 1)}) == ()


def test_a_machine_that_cannot_do_it_says_so_and_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With other addresses, say."""

    async def run() -> list[FoundByMdns]:
        told: asyncio.Queue[FoundByMdns] = asyncio.Queue()
        side = MdnsSide(told.put_nowait, set())

        async def refuse() -> None:
            raise OSError(19, "No such device")

        monkeypatch.setattr(side, "_follow", refuse)
        side.use(WANTED)
        first = await told.get()
        monkeypatch.setattr(side, "_hosts", ("192.0.2.1",))
        side.refresh()
        second = await told.get()
        side.close()
        return [first, second]

    assert {found.problem for found in asyncio.run(run())} == {"mDNS cannot be used: No such device"}


def test_of_others_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another mark is another overlay; our own name is ourselves; what has no Node-ID in it is nobody."""
    from zeroconf import ServiceStateChange

    async def run() -> list[str]:
        side = MdnsSide(lambda found: None, set())
        asked: asyncio.Queue[str] = asyncio.Queue()

        async def resolve(zeroconf: object, name: str, node: str) -> None:
            asked.put_nowait(node)

        monkeypatch.setattr(side, "_resolve", resolve)
        monkeypatch.setattr(side, "_wanted", WANTED)
        mark, other = WANTED.mark, "1" * 20
        for instance in (f"{other}-{'2' * 32}", f"{mark}-{NODE}", mark, "printer", f"{mark}-{'3' * 32}"):
            name = f"{instance}.{mdns_side.SERVICE}"
            side._service(SimpleNamespace(), mdns_side.SERVICE, name, ServiceStateChange.Added)  # type: ignore[arg-type]
        first = await asked.get()
        assert asked.empty()
        return [first]

    assert asyncio.run(run()) == ["3" * 32]


def test_the_library_is_loaded_when_it_is_wanted_and_not_before() -> None:
    source = Path(mdns_side.__file__).read_text()
    before, _, _ = source.partition("class MdnsSide")
    assert all(line.startswith(" ") for line in before.splitlines() if "from zeroconf" in line)

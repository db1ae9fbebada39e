"""`ldapsearch` (Debian ldap-utils) and the searches that phones make of the directory."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable

import pytest
from free_ports import free_port
from listed_people import OVERLAY, PEOPLE

from p2psip.base.address import Address
from p2psip.net.phone_directory import CONNECTIONS_OF_ADDRESS_MAX, PhoneDirectory

HOST = "127.0.0.1"
BASE = "dc=club,dc=example"

needs_ldapsearch = pytest.mark.skipif(
    shutil.which("ldapsearch") is None, reason="ldapsearch (Debian: ldap-utils) is not installed"
)


def with_server(run: Callable[[int, int], Awaitable[None]], networks: tuple[str, ...] = ("127.0.0.0/8",)) -> None:
    """Run something while the directory is served, by HTTP and by LDAP."""

    async def serve() -> None:
        server = PhoneDirectory(OVERLAY, networks, lambda: PEOPLE, lambda *_: None)
        http, ldap = free_port(), free_port()
        server.listen([Address(HOST, http)], [Address(HOST, ldap)])
        try:
            await run(http, ldap)
        finally:
            server.close()

    asyncio.run(serve())


async def ldapsearch(port: int, *arguments: str) -> tuple[int, str]:
    """Its exit status, and what it prints."""
    process = await asyncio.create_subprocess_exec(
        *("ldapsearch", "-LLL", "-x", "-H", f"ldap://{HOST}:{port}", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60.0)
    assert process.returncode is not None
    return process.returncode, out.decode()


@needs_ldapsearch
def test_ldapsearch_finds_an_entry() -> None:
    async def run(http: int, port: int) -> None:
        status, out = await ldapsearch(port, "-b", BASE, "(|(cn=al*)(sn=al*))", "cn", "sn", "telephoneNumber")
        assert status == 0
        assert f"dn: uid=alice,{BASE}\n" in out
        assert "cn: Alice Hill DL1ABC (alice)\n" in out
        assert "telephoneNumber: 200\n" in out
        assert "uid: " not in out

        status, out = await ldapsearch(port, "-b", BASE, "-z", "2", "(cn=*)", "cn")
        assert status == 4, out
        assert out.count("dn: ") == 2

        status, out = await ldapsearch(port, "-b", BASE, "-D", f"uid=phone,{BASE}", "-w", "secret", "(uid=carol)")
        assert status == 0
        assert "objectClass: inetOrgPerson\n" in out

        status, out = await ldapsearch(port, "-b", "dc=other", "(cn=*)")
        assert status == 32
        assert f"the base here is {BASE}" in out

        status, out = await ldapsearch(port, "-b", "", "-s", "base", "namingContexts")
        assert f"namingContexts: {BASE}\n" in out

    with_server(run)


@needs_ldapsearch
def test_a_start_of_tls_that_must_be_and_a_sort_that_must_be_are_refused() -> None:
    async def run(http: int, port: int) -> None:
        status, out = await ldapsearch(port, "-ZZ", "-b", BASE, "(cn=*)")
        assert status != 0
        status, out = await ldapsearch(port, "-E", "!sss=cn", "-b", BASE, "(cn=*)")
        assert "no controls are known here" in out
        assert status == 12

    with_server(run)


async def ask(port: int, said: bytes) -> bytes:
    """What is answered until the end."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(said)
        await writer.drain()
        return await asyncio.wait_for(reader.read(), 60.0)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def test_a_phone_asks_by_http() -> None:
    async def run(port: int, ldap: int) -> None:
        out = await ask(port, b"GET /yealink.xml HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, _, body = out.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"<Telephone>200</Telephone>" in body
        assert b"HTTP/1.1 400 " in await ask(port, b"\x16\x03\x01\x02\x00\r\n\r\n")
        assert b"1.3.6.1.4.1.1466.20036" in await ask(ldap, b"GET / HTTP/1.1\r\n\r\n")

    with_server(run)


def test_who_is_in_none_of_the_networks_is_told_nothing() -> None:
    async def run(port: int, ldap: int) -> None:
        assert await ask(port, b"GET /yealink.xml HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") == b""

    with_server(run, ("192.168.0.0/16",))


def test_one_address_has_so_many_connections_and_no_more() -> None:
    async def run(port: int, ldap: int) -> None:
        held = [await asyncio.open_connection(HOST, port) for _ in range(CONNECTIONS_OF_ADDRESS_MAX)]
        # They are accepted one by one: the last has an answer when all are.
        held[-1][1].write(b"GET /snom.xml HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" in await asyncio.wait_for(held[-1][0].readline(), 60.0)
        assert await ask(port, b"GET /snom.xml HTTP/1.0\r\n\r\n") == b""
        held[0][1].close()
        await held[0][1].wait_closed()
        for _ in range(100):
            if await ask(port, b"GET /snom.xml HTTP/1.0\r\n\r\n"):
                break
            await asyncio.sleep(0.1)
        else:
            raise AssertionError("the place of a connection that is closed is not given to another")
        for _, writer in held:
            writer.close()

    with_server(run)

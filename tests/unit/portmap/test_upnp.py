"""p2psip.portmap.upnp: what goes to a gateway device and what it says, word by word; and where it must not lead us."""

from __future__ import annotations

import pytest
from gateway_device import ADDED, ADDRESS, FOUND, SERVICE, described, error, response, soap

from p2psip.base.address import Address
from p2psip.portmap.upnp import CONFLICTS_MAX, ELSEWHERE, RENEWED_S, SEARCH_PORT, Upnp
from p2psip.portmap.values import HomeRouter, Outgoing, PortKind, RouterAnswer, WantedPort

ROUTER = HomeRouter("192.168.1.1", "192.168.1.2")
WISH = WantedPort(PortKind.UDP, 6084)
ANYWHERE = Address("", 6084)


def ready() -> Upnp:
    """One that knows where to ask."""
    upnp = Upnp(ROUTER)
    upnp.greet()
    upnp.read(FOUND)
    assert isinstance(upnp.read(described()), Outgoing)
    upnp.read(ADDRESS)
    return upnp


def refusal(said: object) -> str:
    """Why not."""
    assert isinstance(said, RouterAnswer)
    return said.refusal


def test_the_router_alone_is_searched_described_and_asked_for_its_address() -> None:
    upnp = Upnp(ROUTER)
    search = upnp.greet()
    assert (search.port, search.is_stream) == (SEARCH_PORT, False)
    assert search.data.startswith(b"M-SEARCH * HTTP/1.1\r\nHOST: 192.168.1.1:1900\r\n")
    fetch = upnp.read(FOUND)
    assert isinstance(fetch, Outgoing)
    assert (fetch.port, fetch.is_stream) == (5000, True)
    assert fetch.data == b"GET /root.xml HTTP/1.1\r\nHost: 192.168.1.1:5000\r\nConnection: close\r\n\r\n"
    asked = upnp.read(described())
    assert isinstance(asked, Outgoing)
    assert asked.data.startswith(b"POST /ctl HTTP/1.1\r\n")
    assert f'SOAPAction: "{SERVICE}#GetExternalIPAddress"'.encode() in asked.data
    answer = upnp.read(soap("<r><NewExternalIPAddress> 203.0.113.7</NewExternalIPAddress></r>"))
    assert answer == RouterAnswer(None, None, Address("203.0.113.7", 0))
    assert upnp.greet().data == asked.data, "where that is, is known"


def test_a_port_is_mapped_and_given_up() -> None:
    upnp = ready()
    asked = upnp.ask(WISH, 3600, ANYWHERE)
    for named in (
        b"<NewExternalPort>6084<",
        b"<NewProtocol>UDP<",
        b"<NewInternalClient>192.168.1.2<",
        b"<NewLeaseDuration>3600<",
    ):
        assert named in asked.data
    head, _, body = asked.data.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}\r\n".encode() in head + b"\r\n"
    assert upnp.read(ADDED) == RouterAnswer(WISH, None, Address("", 6084), RENEWED_S)
    assert b"DeletePortMapping" in upnp.ask(WISH, 0, ANYWHERE).data


def test_a_port_that_another_has_is_followed_by_the_next_ones() -> None:
    upnp = ready()
    upnp.ask(WISH, 3600, ANYWHERE)
    again = upnp.read(error(718))
    assert isinstance(again, Outgoing)
    assert b"<NewExternalPort>6085<" in again.data
    assert upnp.read(ADDED) == RouterAnswer(WISH, None, Address("", 6085), RENEWED_S)
    assert b"<NewExternalPort>6085<" in upnp.ask(WISH, 0, ANYWHERE).data
    upnp.ask(WISH, 3600, ANYWHERE)
    said = [upnp.read(error(718)) for _ in range(CONFLICTS_MAX + 1)]
    assert all(isinstance(each, Outgoing) for each in said[:-1])
    assert "others have the port" in refusal(said[-1])


def test_a_router_that_knows_no_leases_has_the_port_asked_for_without() -> None:
    upnp = ready()
    upnp.ask(WISH, 3600, ANYWHERE)
    again = upnp.read(error(725))
    assert isinstance(again, Outgoing)
    assert b"<NewLeaseDuration>0<" in again.data
    assert "error 725" in refusal(upnp.read(error(725))), "and not for ever"


@pytest.mark.parametrize("code", [401, 501, 606, 728, 729, 999, "many", "", "9" * 400])
def test_every_failure_has_words(code: object) -> None:
    upnp = ready()
    upnp.ask(WISH, 3600, ANYWHERE)
    assert refusal(upnp.read(error(code)))


@pytest.mark.parametrize(
    "url",
    [
        "http://192.168.1.3:80/x",
        "http://10.0.0.1/x",
        "https://192.168.1.1/x",
        "http://router.example/x",
        "http://192.168.1.1:99999/x",
        "http://192.168.1.1@192.168.1.3/x",
        "http://[::1/x",
        "ftp://192.168.1.1/x",
    ],
)
def test_it_leads_us_nowhere_else(url: str) -> None:
    """Neither its first answer nor its description has us ask another machine, nor in another language than HTTP."""
    upnp = Upnp(ROUTER)
    upnp.greet()
    assert refusal(upnp.read(FOUND.replace(b"http://192.168.1.1:5000/root.xml", url.encode()))) == ELSEWHERE
    upnp.read(FOUND)
    assert refusal(upnp.read(described(control=url))) == ELSEWHERE


def test_a_path_smuggles_no_further_lines() -> None:
    upnp = Upnp(ROUTER)
    upnp.greet()
    upnp.read(FOUND)
    said = upnp.read(described(control="/ctl HTTP/1.1&#13;&#10;X-Evil: yes"))
    assert not isinstance(said, Outgoing) or b"\r\nX-Evil" not in said.data


def test_a_description_without_such_a_service_and_what_is_no_xml_are_refusals() -> None:
    for body in (described(service="urn:x:service:Light:1"), response("<a"), response(""), response("", 404)):
        upnp = Upnp(ROUTER)
        upnp.greet()
        upnp.read(FOUND)
        assert "maps no ports" in refusal(upnp.read(body))


@pytest.mark.parametrize("data", [b"", b"hello", b"HTTP/2 200\r\n\r\n", b"NOTIFY * HTTP/1.1\r\n\r\n"])
def test_what_is_no_answer_of_http(data: bytes) -> None:
    assert ready().read(data) is None
    assert Upnp(ROUTER).read(data) is None


def test_a_body_may_come_in_chunks() -> None:
    body = described().partition(b"\r\n\r\n")[2]
    chunks = b"".join(b"%x;note\r\n%b\r\n" % (len(part), part) for part in (body[:100], body[100:])) + b"0\r\n\r\n"
    upnp = Upnp(ROUTER)
    upnp.greet()
    upnp.read(FOUND)
    assert isinstance(upnp.read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks), Outgoing)


def test_entities_are_not_followed() -> None:
    """Neither to files of ours nor into the billions."""
    bomb = '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/hostname">]><r><NewExternalIPAddress>&x;</NewExternalIPAddress></r>'
    upnp = ready()
    upnp.greet()
    assert upnp.read(response(bomb)) == RouterAnswer(None, None, Address("", 0))

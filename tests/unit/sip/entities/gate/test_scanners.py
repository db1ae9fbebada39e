"""Who tries names learns of a few that they are none, and from then on nothing."""

from __future__ import annotations

import random

import pytest

from p2psip.base.address import Address
from p2psip.base.allowance import Allowance
from p2psip.sip.entities.config import ServerLimits
from p2psip.sip.entities.gate.scanners import Scanners
from p2psip.sip.message import digest
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.uri import SipUri

SCANNER = Address("10.1.0.66", 5060)


@pytest.fixture
def scanner(world, one):
    """Somebody who tries names; alice and bob have lines here."""
    world.passwords["alice"] = world.passwords["bob"] = "x7y8"
    world.homes["alice"], world.homes["bob"] = ["one"], ["one"]
    return _at(world, one, SCANNER)


def _at(world, one, address):
    world.homes["nobody"] = []
    return world.phone("nobody", one, address, password="guess")


def tried(phone, name, *, method="REGISTER", for_s=0.1):
    """What it hears that says it is `name`: status, phrase, and how long that took."""
    phone.auth_user = name
    target = NameAddr(SipUri(phone.server.address.host, name.partition("@")[0]))
    uri = SipUri(phone.server.address.host) if method == "REGISTER" else target.uri
    sent, before = phone.world.now, len(phone.finals)
    phone.send(phone._new(method, uri, target, [("Contact", phone.contact)]))
    while len(phone.finals) == before and phone.world.now < sent + 60.0:
        phone.world.run(for_s)
    return phone.finals[-1].status, phone.finals[-1].phrase, round(phone.world.now - sent, 1)


@pytest.fixture
def known(scanner):
    """A scanner who has used up what he is told."""
    for number in range(5):
        assert tried(scanner, f"x{number}") == (403, f"x{number} has no line on this peer", 0.1)
    return scanner


def test_who_has_mistyped_a_name_is_told(scanner):
    assert tried(scanner, "alicia")[1] == "alicia has no line on this peer"
    assert tried(scanner, "alice")[1] == "Wrong password for alice"


@pytest.mark.parametrize("method", ["REGISTER", "MESSAGE"])
def test_after_five_a_wrong_name_is_a_wrong_password(known, method):
    names = {
        name: tried(known, name, method=method) for name in ("alice", "carol", "Bob", "Dave", "dave@overlay.example")
    }
    assert {name: (status, time_s) for name, (status, _, time_s) in names.items()} == dict.fromkeys(names, (403, 0.1))
    phrases = [phrase for _, phrase, _ in names.values()]
    assert phrases == [f"Wrong password for {name}" for name in ("alice", "carol", "bob", "dave", "dave")]


def test_nor_does_it_show_by_how_long_it_takes_after_many(world):
    """Whoever tries a name so often that its password waits for a turn waits as long where there is none."""
    one = world.server("one", "10.1.0.1", limits=ServerLimits(wrong_names=Allowance(1, 10_000.0)))
    world.passwords["alice"], world.homes["alice"] = "x7y8", ["one"]
    scanner = _at(world, one, SCANNER)
    tried(scanner, "x")

    def heard(name):
        return [tried(scanner, name)[::2] for _ in range(23)]

    there, not_there = heard("alice"), heard("carol")
    assert there == not_there
    assert there[-1][1] > 2.0, "the last ones have waited"


def test_a_minute_later_he_may_hear_of_five_again(known, world):
    assert tried(known, "x5")[1] == "Wrong password for x5"
    world.run(12.0)
    assert tried(known, "x6")[1] == "x6 has no line on this peer"
    assert tried(known, "x7")[1] == "Wrong password for x7"
    world.run(60.0)
    assert [tried(known, f"y{number}")[1] for number in range(5)] == [
        f"y{n} has no line on this peer" for n in range(5)
    ]


def test_somebody_elsewhere_is_told_all_the_same(known, world, one):
    assert tried(_at(world, one, Address("10.1.0.67", 5060)), "alicia")[1] == "alicia has no line on this peer"


def test_behind_the_same_address_the_right_password_gets_in(known, world, one):
    phone = world.phone("alice", one, Address(SCANNER.host, 40_000))
    assert phone.register().status == 200


def test_without_credentials_all_names_are_challenged_alike(scanner, world):
    """svwar asks for many and looks which is answered otherwise."""
    heard = set()
    scanner._authenticate = lambda request, response, call: heard.add(response.status)
    for method, status in (("REGISTER", 401), ("INVITE", 407), ("OPTIONS", 407)):
        heard.clear()
        for name in ("alice", "nobody", "100"):
            to = NameAddr(SipUri("10.1.0.1", name))
            scanner.send(scanner._new(method, SipUri("10.1.0.1") if method == "REGISTER" else to.uri, to, []))
        world.run(1.0)
        assert heard == {status}


def test_made_up_names_take_no_place_of_a_guessed_one(world):
    """Many names, each once, do not wipe out that somebody has guessed at alice's password."""
    limits = ServerLimits(phones=8, wrong_passwords=Allowance(2, 30.0), wrong_names=Allowance(1, 1000.0))
    one = world.server("one", "10.1.0.1", limits=limits)
    world.passwords["alice"], world.homes["alice"] = "x7y8", ["one"]
    phone = _at(world, one, SCANNER)
    assert [tried(phone, "alice")[2] for _ in range(2)] == [0.1, 0.1]
    for number in range(30):
        tried(phone, f"x{number}")
    status, phrase, _ = tried(phone, "alice")
    assert (status, phrase) == (503, "Too many wrong passwords for alice, wait a minute")


def test_no_answer_is_right_for_nobody():
    """Not even that of who knows that a user name, a realm and a password may all be empty."""
    [ha1s] = Scanners(ServerLimits(), random.Random(1)).nobody("Carol@x").ha1s
    assert set(ha1s) == set(digest.ALGORITHMS)
    assert ha1s != digest.ha1_by_algorithm("", "", "")
    assert Scanners(ServerLimits(), random.Random(2)).nobody("Carol@x").ha1s != (ha1s,)
    assert Scanners(ServerLimits(), random.Random(1)).nobody("Carol@x").user == "carol"

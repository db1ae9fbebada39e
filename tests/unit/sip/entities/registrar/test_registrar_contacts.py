"""The Contacts of one REGISTER (RFC 3261 section 10.3 steps 6 to 8, RFC 5626 section 6)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2psip.base.address import Address
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.registrar.bindings import Binding, Bindings
from p2psip.sip.entities.registrar.registrar import Registrar
from p2psip.sip.message.build import make_request, make_response
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import FlowHop, Hop, Source, StreamHop, UdpHop

HERE = Address("10.1.0.1", 5060)
THERE = Address("10.1.0.11", 5060)
SOURCE = Source(UdpHop(THERE, HERE), "UDP", THERE)
ON_TCP = Source(FlowHop(1), "TCP", THERE)
ALICE = NameAddr(SipUri("overlay.example", "alice")).with_tag("1")
INSTANCE = '+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"'


class Table:
    """A registrar, and the bindings of one user."""

    def __init__(self, per_user_max: int = 10) -> None:
        self.bindings = Bindings(per_user_max)
        config = ServerConfig("overlay.example", frozenset({"overlay.example"}), (), SipUri("overlay.example", "me"))
        self._registrar = Registrar(config, self.bindings)

    def register(self, contacts: Sequence[str], cseq: int = 1, now: float = 0.0, call_id: str = "c") -> Response:
        return self.take(self.request(contacts, cseq, call_id), SOURCE, now)

    def take(self, request: Request, source: Source, now: float = 0.0) -> Response:
        try:
            return self._registrar.register(request, source, "alice", "tag", now).response
        except BadMessage as error:
            return make_response(request, error.status, error.what, to_tag="tag")

    def request(self, contacts: Sequence[str], cseq: int, call_id: str) -> Request:
        extra = [("Via", "SIP/2.0/UDP 10.1.0.11;branch=z9hG4bKx;rport"), *(("Contact", text) for text in contacts)]
        return make_request(
            "REGISTER", "sip:overlay.example", from_=ALICE, to=ALICE, call_id=call_id, cseq=cseq, extra=extra
        )

    def all(self, now: float = 0.0) -> tuple[Binding, ...]:
        return self.bindings.of("alice", now)

    def contacts(self, now: float = 0.0) -> list[str]:
        return [str(binding.contact) for binding in self.all(now)]


@pytest.fixture
def table() -> Table:
    return Table()


# What one phone sends in one request


@pytest.mark.parametrize("suffix", ["", f";{INSTANCE}"])
@pytest.mark.parametrize("is_new_first", [True, False])
def test_a_new_contact_and_the_end_of_the_old_one(table: Table, suffix: str, is_new_first: bool) -> None:
    """A phone that has moved says both in one request; it is not left without a binding."""
    table.register([f"<sip:alice@10.1.0.11:5060>{suffix}"])
    both = [f"<sip:alice@10.1.0.11:40000>{suffix};expires=600", f"<sip:alice@10.1.0.11:5060>{suffix};expires=0"]
    response = table.register(both if is_new_first else both[::-1], 2)
    assert table.contacts() == ["sip:alice@10.1.0.11:40000"]
    assert [contact.param("expires") for contact in response.contacts] == ["600"]


def test_two_phones_behind_one_socket(table: Table) -> None:
    table.register(["<sip:desk@10.1.0.11>"], call_id="one")
    table.register(["<sip:hall@10.1.0.11>"], call_id="two")
    assert sorted(table.contacts()) == ["sip:desk@10.1.0.11", "sip:hall@10.1.0.11"]


def test_one_phone_written_otherwise(table: Table) -> None:
    """Step 7 compares as section 19.1.4 does."""
    table.register(["<sip:%61lice@Phone.Example;Transport=TCP>"])
    table.register(["<sip:alice@phone.example;transport=tcp;ob>"], 2)
    assert table.contacts() == ["sip:alice@phone.example;transport=tcp;ob"]


def test_what_is_no_sip_uri_does_not_spoil_the_others(table: Table) -> None:
    others = ["<tel:+1-201-555-0123>", "<mailto:alice@a.example>;expires=1", "<garbage:x>", "<urn:service:sos>"]
    response = table.register([*others[:2], "<sip:alice@10.1.0.11>", *others[2:]])
    assert response.status == 200
    assert table.contacts() == [str(contact.uri) for contact in response.contacts] == ["sip:alice@10.1.0.11"]


@pytest.mark.must("5626 6/8")
def test_the_answer_says_by_what_a_phone_knows_its_own(table: Table) -> None:
    """RFC 5626 section 9.2: instance and reg-id come back."""
    [contact] = table.register([f"<sip:alice@10.1.0.11>;{INSTANCE};reg-id=7"]).contacts
    assert str(contact) == f"<sip:alice@10.1.0.11>;expires=3600;{INSTANCE};reg-id=7"


@pytest.mark.must("5626 6/11")
def test_the_same_flow_again_with_another_contact(table: Table) -> None:
    """RFC 5626 section 6: a flow is its instance and reg-id, whatever the URI; a URN is the same in either case."""
    table.register([f"<sip:alice@10.1.0.11>;{INSTANCE};reg-id=1"])
    table.register([f"<sip:alice@10.1.0.11>;{INSTANCE};reg-id=2"], call_id="d")
    assert len(table.all()) == 2
    table.register([f"<sip:alice@10.1.0.99>;{INSTANCE.replace('AABB', 'aabb')};reg-id=1"], 2)
    assert sorted(table.contacts()) == ["sip:alice@10.1.0.11", "sip:alice@10.1.0.99"]


@pytest.mark.must("5626 10/1")
@pytest.mark.parametrize("reg_id", ["0", "-1", "x", "2147483648", "9" * 400])
def test_a_reg_id_that_is_none(table: Table, reg_id: str) -> None:
    """RFC 5626 section 11.2: 1 to 2**31 - 1."""
    table.register([f"<sip:alice@10.1.0.11>;{INSTANCE};reg-id={reg_id}"])
    assert [binding.reg_id for binding in table.all()] == [0]


def test_a_reg_id_without_an_instance_is_ignored(table: Table) -> None:
    """RFC 5626 section 6: "it simply ignores the reg-id parameter"."""
    table.register(["<sip:alice@10.1.0.11>;reg-id=1"])
    assert [binding.reg_id for binding in table.all()] == [0]


# Where the first proxy of a Path is


@pytest.mark.parametrize(
    ("via", "path", "source", "hops"),
    [
        (";rport", "10.1.0.11:5070", SOURCE, (UdpHop(THERE, HERE),)),
        ("", "10.1.0.11:5070", SOURCE, (UdpHop(Address("10.1.0.11", 5070), HERE),)),
        ("", "10.9.9.9:5070", SOURCE, (UdpHop(THERE, HERE),)),
        ("", "edge.example", SOURCE, (UdpHop(THERE, HERE),)),
        (";rport", "10.1.0.11", ON_TCP, (FlowHop(1), StreamHop("TCP", Address("10.1.0.11", 5060)))),
        (";rport", "10.9.9.9", ON_TCP, (FlowHop(1),)),
    ],
)
def test_the_way_to_an_edge_proxy(table: Table, via: str, path: str, source: Source, hops: tuple[Hop, ...]) -> None:
    """Back where the REGISTER came from; to where it listens, if that is the same host; never to anybody else."""
    request = table.request(["<sip:alice@192.168.1.5>"], 1, "c")
    fields = request.fields.with_only("Via", f"SIP/2.0/UDP 10.1.0.11:5070;branch=z9hG4bKx{via}")
    fields = fields.with_last("Path", f"<sip:{path};lr>").with_last("Supported", "path")
    assert table.take(request.replace(fields=fields), source).status == 200
    assert [binding.hops for binding in table.all()] == [hops]


# Order and duplicates


def out_of_order(table: Table, contacts: Sequence[str], cseq: int) -> None:
    before = table.all()
    assert table.register(contacts, cseq).status == 500
    assert table.all() == before


@pytest.mark.must("3261 10.3/5", "3261 10.3/23", "3261 10.3/24")
def test_one_contact_out_of_order_refuses_all(table: Table) -> None:
    table.register(["<sip:a@h>"], 5)
    for cseq in (4, 5):
        out_of_order(table, ["<sip:b@h>", "<sip:a@h>", "<sip:c@h>"], cseq)
    assert table.register(["<sip:b@h>", "<sip:a@h>", "<sip:c@h>"], 4, call_id="other").status == 200


URIS = [
    "sip:a@10.1.0.11", "sip:A@10.1.0.11", "sip:%61@10.1.0.11", "sip:a@10.1.0.11:5060", "sip:a@10.1.0.11;x=1",
    "sip:a@10.1.0.11;x=2", "sip:a@10.1.0.11;transport=tcp", "sips:a@10.1.0.11", "tel:123", "mailto:a@b", "junk:x",
]  # fmt: skip
one_contact = st.builds(
    "<{}>{}{}{}".format,
    st.sampled_from(URIS),
    st.sampled_from(["", ";expires=0", ";expires=59", ";expires=60", ";expires=600", ";expires=x"]),
    st.sampled_from(["", ";q=0.1", ";q=1"]),
    st.sampled_from(["", f";{INSTANCE}", f";{INSTANCE};reg-id=1", f";{INSTANCE};reg-id=2", ";reg-id=1"]),
)
kept_contacts = st.lists(one_contact.filter(lambda text: "=59" not in text and "=0;" not in text), max_size=6)


@pytest.mark.must("3261 10.3/6")
@given(st.data(), kept_contacts, st.lists(one_contact, min_size=1, max_size=6), st.integers(1, 3))
@example(None, ["<sip:a@10.1.0.11>"], ["<sip:a@10.1.0.11;x=1>;expires=0", "<sip:a@10.1.0.11;x=2>"], 2)
def test_order_and_duplicates_change_nothing(
    data: st.DataObject | None, kept: list[str], contacts: list[str], cseq: int
) -> None:
    """The same Contacts in any order, any of them twice: the same bindings, the same answer."""
    if data is None:
        others = [*contacts[::-1], contacts[0]]
    else:
        again = data.draw(st.lists(st.sampled_from(contacts), max_size=4))
        others = data.draw(st.permutations([*contacts, *again]))
    ends = []
    for asked in (contacts, others):
        table = Table(per_user_max=4)
        if any(text.startswith("<sip") for text in kept):
            table.register(kept, 2, 0.0)
        if not any(text.startswith("<sip") for text in asked):
            return
        ends.append((table.register(asked, cseq, 30.0), table.all(30.0)))
    assert ends[0] == ends[1]


# How long


@given(st.floats(1e5, 1e9), st.sampled_from([59, 60, 61, 3600]))
@example(100_000.1, 60)
@example(1e9 + 1 / 3, 60)
def test_the_minimum_is_accepted_at_any_moment(now: float, expires_s: int) -> None:
    """Step 7 looks at what was asked for, not at what rounding made of it."""
    table = Table()
    response = table.register([f"<sip:alice@10.1.0.11>;expires={expires_s}"], 1, now)
    assert response.status == (423 if expires_s < 60 else 200)
    if expires_s >= 60:
        assert [contact.param("expires") for contact in response.contacts] == [str(expires_s)]
        assert len(table.all(now + expires_s - 0.01)) == 1
        assert table.all(now + expires_s + 0.01) == ()


@pytest.mark.parametrize(("text", "kept_s"), [("0000000000600", 600), ("9" * 300, 3600), ("000", None)])
def test_numbers_however_written(table: Table, text: str, kept_s: int | None) -> None:
    table.register([f"<sip:alice@10.1.0.11>;expires={text}"])
    assert [binding.expires_at for binding in table.all()] == ([] if kept_s is None else [kept_s])

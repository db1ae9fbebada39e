"""Whole peers and phones on an Internet of their own: loss, NATs, sleep, dates, power cuts."""

from __future__ import annotations

import pytest
from effort import times

from p2psip.coupling.enquiries.lookup import LookedUp
from p2psip.reload.wire.link_messages import OverlayLinkType
from p2psip.sim.ip.boxes import FULL_CONE, PORT_RESTRICTED, SYMMETRIC, Nat, NatBehaviour
from p2psip.sim.ip.machine import EPOCH_S, Machine
from p2psip.sim.ip.network import Way
from p2psip.sim.ip.packet import Protocol
from p2psip.sim.sites.internet import InternetSite, InternetSites
from p2psip.sim.sites.machine_phone import MachinePhone
from p2psip.sim.sites.making import OVERLAY
from p2psip.sip.entities.agents.types import CallEstablished

POOR = Way(delay_s=0.02, jitter_s=0.03, loss=0.05, duplication=0.01, reordering=0.02)
"""An Internet that loses one packet in twenty."""

DTLS = (OverlayLinkType.DTLS_UDP_SR_NO_ICE,)
NATS = (PORT_RESTRICTED, FULL_CONE, SYMMETRIC)


def grow(seed: int | str, kinds: str, way: Way = POOR, **options: object) -> InternetSites:
    """One site a letter, p public and n behind a NAT; each has a line `user0`, ..., and they are one overlay."""
    world = InternetSites(seed, **options)  # type: ignore[arg-type]
    world.internet.default_way = way
    for number, kind in enumerate(kinds):
        site = world.add_behind_nat(number, NATS[number // 3 % len(NATS)]) if kind == "n" else world.add_public(number)
        world.line(site, f"user{number}")
        world.run(2.0)
    world.settle()
    return world


def phones_of(world: InternetSites) -> list[MachinePhone]:
    """One at each site, each with a tone of its own."""
    return [world.phone(site, f"user{site.number}", tone_hz=400.0 + 20 * site.number) for site in world.sites]


def talk(world: InternetSites, caller: MachinePhone, callee: MachinePhone, limit_s: float = 16.0) -> float:
    """A call is answered, and each hears the other's tone; how long it took to be answered."""
    began, call = caller.now, caller.dial(callee.user)
    world.run(limit_s, stop=lambda: caller.ended(call) is not None or _answered(caller, call))
    took = caller.established_after(call, began)
    assert took is not None, f"{caller.user} to {callee.user}: {caller.ended(call) or 'no answer'}"
    world.run(2.0)
    caller.hang_up(call)
    world.run(3.0)
    assert _heard(caller) == _pitch(callee)
    assert _heard(callee) == _pitch(caller)
    return took


def _answered(phone: MachinePhone, call: int) -> bool:
    return any(isinstance(event, CallEstablished) and event.call == call for _, event in phone.events)


def _heard(phone: MachinePhone) -> int:
    """What tone, to ten Hz."""
    tone = phone.reports[-1].tone
    assert tone is not None, f"{phone.user} heard nothing"
    return round(tone.frequency_hz / 10)


def _pitch(phone: MachinePhone) -> int:
    return 40 + 2 * int(phone.user.removeprefix("user"))


@pytest.mark.parametrize("link_types", [None, DTLS], ids=["TLS", "DTLS"])
def test_a_dozen_peers_call_over_an_internet_that_loses_one_in_twenty(
    link_types: tuple[OverlayLinkType, ...] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twelve sites (in a soak eighteen), a third behind a NAT; everybody calls somebody, and each hears the other."""
    options = (
        {} if link_types is None else {"link_types": link_types, "overlay_link_protocols": ("DTLS-UDP-SR-NO-ICE",)}
    )
    world = grow("tens", "ppn" * min(6, times(4)), **options)
    phones = phones_of(world)
    for caller, callee in zip(phones, phones[7:] + phones[:7], strict=True):
        talk(world, caller, callee)
    assert world.internet.counts["lost"] > 0.025 * world.internet.counts["sent"]
    with capsys.disabled():
        print(f"\n{world.report()}")


def test_a_site_behind_a_nat_calls_and_is_called() -> None:
    """Its router forwards the two ports of its peer; all of its own connections go out by mappings."""
    world = grow("nat", "pnp")
    here, behind, there = phones_of(world)
    talk(world, here, behind)
    talk(world, behind, there)
    assert any(site.nat is not None and site.nat.mappings for site in world.sites)


def test_a_peer_whose_nat_reboots_is_whole_again() -> None:
    """A minute without the router, and all mappings gone: within two minutes it calls and is called as before."""
    world = grow("reboot", "pnp")
    here, behind, _ = phones_of(world)
    nat = world.sites[1].nat
    assert nat is not None
    nat.reboot(off_s=60.0)
    world.run(60.0)
    assert not nat.mappings
    world.run(120.0)
    talk(world, here, behind)
    talk(world, behind, here)


def test_a_phone_elsewhere_whose_nat_reboots_is_found_at_its_new_address() -> None:
    """A phone behind somebody else's NAT registers with a public peer; it is called where it is after the reboot."""
    world = grow("phone", "pp")
    isp, home = world.internet.network("isp99", "203.0.113.0/24"), world.internet.lan("home", "192.168.1.0/24")
    nat = Nat(world.internet, "home", NatBehaviour(preserves_port=False))
    nat.plug(isp, "203.0.113.1")
    nat.plug(home, "192.168.1.1", is_inside=True)
    machine = Machine(world.internet, "elsewhere")
    machine.plug(home, "192.168.1.50", gateways=("192.168.1.1",))
    away = world.phone(world.sites[0], "user0", machine=machine, tone_hz=400.0)
    caller = world.phone(world.sites[1], "user1", tone_hz=420.0)
    call = caller.dial("user0")
    world.run(10.0, stop=lambda: away.talks)
    assert away.talks
    caller.hang_up(call)
    nat.reboot("203.0.113.77", off_s=20.0)
    # Its registration is refreshed at half of its time; then the peer knows.
    world.run(320.0)
    call = caller.dial("user0")
    world.run(10.0, stop=lambda: away.talks)
    assert away.talks
    assert {outside.host for outside in nat.mappings} == {"203.0.113.77"}


@pytest.mark.parametrize("slept_s", [90.0, 3600.0])
def test_a_peer_that_slept_is_whole_again(slept_s: float) -> None:
    """Everything of the time between is due at once when it wakes; the others have gone on without it."""
    world = grow(f"sleep {slept_s}", "ppnp")
    phones = phones_of(world)
    sleeper = world.sites[2]
    sleeper.machine.sleep()
    world.run(slept_s)
    talk(world, phones[0], phones[1])
    sleeper.machine.wake()
    world.run(60.0)
    world.settle()
    talk(world, phones[0], phones[2])
    talk(world, phones[2], phones[3])


@pytest.mark.parametrize(
    ("error_s", "is_trusted"),
    [(365 * 86400.0, False), (-86400.0, True), (-EPOCH_S, False), (5.0, True)],
    ids=["past the end of its certificate", "a day behind", "1970", "five seconds"],
)
def test_dates_that_jump(error_s: float, is_trusted: bool) -> None:
    """One peer's date jumps away, and back an hour later; calls go on."""
    world = grow(f"dates {error_s}", "ppp")
    phones = phones_of(world)
    world.sites[1].driver.set_date(error_s, is_trusted=is_trusted)
    world.run(3600.0)
    talk(world, phones[0], phones[1])
    talk(world, phones[1], phones[2])
    world.sites[1].driver.set_date(0.0)
    world.run(2400.0)
    talk(world, phones[2], phones[1])


def test_a_date_that_is_believed_and_wrong_is_named_to_the_caller() -> None:
    """A year ahead, and nothing speaks against it: what is stored is too old there, and 480 says by which clock."""
    world = grow("believed", "ppp")
    phones = phones_of(world)
    world.sites[1].driver.set_date(365 * 86400.0)
    call = phones[1].dial("user2")
    assert world.run(16.0, stop=lambda: phones[1].ended(call) is not None)
    assert "the clock here says 2028-01-15" in str(phones[1].ended(call))
    talk(world, phones[0], phones[2])
    world.sites[1].driver.set_date(0.0)
    talk(world, phones[1], phones[2])


def test_clocks_that_are_fast_and_slow() -> None:
    """By one in a thousand, ten times what a cheap crystal does: hours later everybody is as reachable as before."""
    world = InternetSites("drift")
    for number, rate in enumerate((1.0, 1.001, 0.999)):
        world.line(world.add_public(number, clock_rate=rate), f"user{number}")
        world.run(2.0)
    world.settle()
    phones = phones_of(world)
    world.run(3 * 3600.0)
    for caller, callee in zip(phones, phones[1:] + phones[:1], strict=True):
        talk(world, caller, callee)


@pytest.mark.parametrize("lies", [False, True], ids=["honest disks", "disks that lie"])
def test_nothing_acknowledged_is_lost_when_the_power_fails_everywhere(lies: bool) -> None:
    """Lines come at one site; at the moment in which their records are acknowledged everything is dark, and that site
    for good. Whoever comes back finds them all: they had been synced before they were acknowledged. With disks that
    only say so they are not there, which is how this test knows that it would notice.
    """
    world = grow("dark", "pppp")
    *_, origin = world.sites
    for site in world.sites:
        if lies:
            site.disk.state.lies, site.disk.state.sync_s = True, 2.0
    users = [f"guest{number}" for number in range(8)]
    lost, found = [], []
    for user in users:
        world.line(origin, user)
        assert world.run(30.0, stop=lambda user=user: origin.peer.publisher.placed(user))  # type: ignore[misc]
        is_elsewhere = not origin.peer.node.topology.is_responsible(
            origin.peer.node.hash_name(f"{user}@{OVERLAY}".encode())
        )
        _blackout(world, origin)
        entries = _look_up(world, world.sites[0], user)
        (found if entries else lost).append((user, is_elsewhere))
        world.power_up(origin)
        world.run(60.0)
        world.settle()
    assert any(is_elsewhere for _, is_elsewhere in found + lost)
    if lies:
        assert any(is_elsewhere for _, is_elsewhere in lost)
    else:
        assert [user for user, is_elsewhere in lost if is_elsewhere] == []


def _blackout(world: InternetSites, origin: InternetSite) -> None:
    """All machines lose their power at once; all but one have it back after a while, and are an overlay again."""
    for site in world.sites:
        world.cut_power(site)
    world.run(20.0)
    for site in world.sites:
        if site is not origin:
            world.power_up(site)
    world.settle(300.0)
    world.run(30.0)


def _look_up(world: InternetSites, site: InternetSite, user: str) -> bool:
    """True if a peer finds the registration of a user."""
    context = object()
    site.driver.call(lambda now: site.peer.look_up(f"{user}@{OVERLAY}", context, now))

    def answer() -> LookedUp | None:
        ended = (event for _, event in site.driver.events if isinstance(event, LookedUp))
        return next((event for event in ended if event.context is context), None)

    assert world.run(60.0, stop=lambda: answer() is not None)
    found = answer()
    return found is not None and found.registrations is not None and bool(found.registrations.entries)


def test_an_internet_of_ipv6() -> None:
    """Everything as over IPv4: links, phones, voice."""
    world = grow("six", "ppp", ip=6)
    phones = phones_of(world)
    assert phones[0].address.host == "2001:db8::100"
    talk(world, phones[0], phones[1])
    talk(world, phones[1], phones[2])


def test_a_site_whose_router_blocks_udp_has_tls_links_where_others_have_dtls() -> None:
    """As in some offices: the overlay prefers DTLS, and takes what gets through. Its phones call and are called."""
    both = (OverlayLinkType.DTLS_UDP_SR_NO_ICE, OverlayLinkType.TLS_TCP_FH_NO_ICE)
    protocols = ("DTLS-UDP-SR-NO-ICE", "TLS-TCP-FH-NO-ICE")
    world = InternetSites("office", link_types=both, overlay_link_protocols=protocols)
    for number in range(3):
        office = number == 2
        blocks = frozenset({Protocol.UDP})
        world.line(world.add_behind_nat(number, blocks=blocks) if office else world.add_public(number), f"user{number}")
        world.run(3.0)
    world.settle()
    here, _, office_phone = phones_of(world)
    for caller, callee in ((here, office_phone), (office_phone, here)):
        call = caller.dial(callee.user)
        assert world.run(16.0, stop=lambda call=call, caller=caller: _answered(caller, call))  # type: ignore[misc]
        caller.hang_up(call)
        world.run(3.0)


def test_disks_that_fail_everywhere_end_no_call() -> None:
    """Nothing new is stored, and the line says why; calls go on, and what waited is stored when the disks are whole."""
    world = grow("broken", "pppp")
    phones = phones_of(world)
    for site in world.sites:
        site.disk.state.failure = "input/output error"
    world.line(world.sites[1], "late")
    publisher = world.sites[1].peer.publisher
    world.run(60.0)
    assert publisher.placed("late") is None
    assert "its disk failed" in publisher.failure("late")
    talk(world, phones[0], phones[1])
    for site in world.sites:
        site.disk.state.failure = ""
    assert world.run(300.0, stop=lambda: publisher.placed("late") is not None)

"""Sites that find out whether they are peers or clients (role = "auto"), in virtual time: what they find out, and that
a change of it costs nobody a call.
"""

from __future__ import annotations

from ice_internet import ice_internet

from p2psip.daemon.roles.role_choice import STAY_MAX_S, STEADY_S, KeptRole, Role, RoleChoice
from p2psip.reload.node.effects import ReachSurveyed
from p2psip.reload.node.relays.relay_terms import RelayWish
from p2psip.sim.ip.boxes import PORT_RESTRICTED
from p2psip.sim.sites.internet import InternetSite, InternetSites
from p2psip.sim.sites.machine_phone import MachinePhone

OPEN, BEHIND = 3, 4


def grow(seed: str, *, is_client: bool) -> InternetSites:
    """Three public peers, and two sites with a line each, of which one can be reached and one cannot."""
    world = ice_internet(seed)
    for number in range(3):
        world.add_public(number, relay=RelayWish.YES)
        world.run(2.0)
    world.add_public(OPEN, is_client=is_client)
    world.add_behind_nat(BEHIND, PORT_RESTRICTED, forwards=False, is_client=is_client)
    for number in (OPEN, BEHIND):
        world.line(world.sites[number], f"user{number}")
    world.settle()
    return world


def survey(world: InternetSites) -> None:
    """A survey of each that has just begun, and another that counts."""
    world.run(60.0)
    for _ in range(2):
        for number in (OPEN, BEHIND):
            site = world.sites[number]
            site.driver.call(site.peer.node.survey)
        world.run(STEADY_S + 1.0)


def chosen(site: InternetSite, role: Role) -> KeptRole | None:
    """What a site would be, a day on, that is this now, by all the surveys that it has made."""
    choice = RoleChoice(KeptRole(role), 0.0)
    for at, event in site.driver.events:
        if isinstance(event, ReachSurveyed):
            choice.surveyed(event, at)
    return choice.due(2 * STAY_MAX_S, is_busy=False)


def talks(world: InternetSites, caller: MachinePhone, called: MachinePhone) -> bool:
    """Call, speak, hang up."""
    number = caller.dial(called.user)
    done = world.run(10.0, stop=lambda: caller.talks and called.talks)
    caller.hang_up(number)
    world.run(2.0)
    return done


def phones(world: InternetSites) -> tuple[MachinePhone, MachinePhone]:
    found = [world.phone(world.sites[number], f"user{number}") for number in (OPEN, BEHIND)]
    return found[0], found[1]


def change(world: InternetSites, site: InternetSite) -> None:
    site.is_client = not site.is_client
    world.start_anew(site)
    world.settle()


def test_clients_find_out_whether_they_can_be_reached_and_become_peers() -> None:
    world = grow("clients", is_client=True)
    survey(world)
    assert chosen(world.sites[OPEN], "client") is not None
    assert chosen(world.sites[BEHIND], "client") is None
    one, other = phones(world)
    assert talks(world, one, other)
    change(world, world.sites[OPEN])
    assert world.sites[OPEN].peer.node.is_serving
    assert talks(world, one, other), "nobody has registered anew"
    assert talks(world, other, one)


def test_peers_that_nobody_reaches_become_clients() -> None:
    world = grow("peers", is_client=False)
    survey(world)
    assert chosen(world.sites[BEHIND], "peer") is not None
    assert chosen(world.sites[OPEN], "peer") is None
    one, other = phones(world)
    change(world, world.sites[BEHIND])
    assert not world.sites[BEHIND].peer.node.is_serving
    assert talks(world, one, other)
    assert talks(world, other, one)

"""What becomes of a call when something dies: every moment of it, everything that may die, in virtual time.

Run as a program (`make deaths`) it writes docs/when-things-die.md anew, from what the test measures as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from p2psip.base.effects import Effect
from p2psip.coupling.peer_news import Stopped
from p2psip.sim.sites.site import Site, SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.agents.types import CallEnded, CallEstablished, Ringing

PAGE: Final = Path(__file__).parents[2] / "docs/when-things-die.md"
CALLER, CALLEE = 1, 3
"""The numbers of the peers beside the two phones, of six."""

RINGS_S: Final = 6.0
PATIENCE_S: Final = 400.0
GOES_ON_S: Final = 40.0
"""How long a call is looked at that goes on."""

SEED: Final = "deaths 1"
"""With it the record of who is called is at neither of the two peers."""


class Call:
    """Alice, at one peer of six, calls bob, at another."""

    def __init__(self) -> None:
        self.world = SimulatedPeers(SEED, 6)
        self.alice, self.bob = self.world.with_phones((CALLER, "alice"), (CALLEE, "bob"), answer_s=RINGS_S)
        self.number = 0
        self.here, self.there = self.world[CALLER], self.world[CALLEE]
        placed = self.there.peer.publisher.placed("bob")
        assert placed is not None
        self.responsible = next(s for s in self.world.sites.values() if s.peer.node.node_id == placed.responsible)
        assert self.responsible not in (self.here, self.there), "with this seed a third peer has the record"
        others = [s for s in self.world.sites.values() if s not in (self.here, self.there, self.responsible)]
        self.other = others[0]

    def told(self, phone: SitePhone, kind: type[Effect]) -> float | None:
        """When the user of a phone was told this."""
        return next((at for at, event in phone.events if isinstance(event, kind)), None)


class Moment(NamedTuple):
    """A moment of a call: in words, how it is brought about, and by what it is recognised."""

    name: str
    has_come: Callable[[Call], bool]
    then: Callable[[Call], None] | None = None
    """What a phone does at the moment itself, once the call is established."""


def _hold(call: Call) -> None:
    call.alice.run(lambda now: call.alice.agent.hold(call.number, True, now))


def _hang_up(call: Call) -> None:
    call.alice.hang_up(call.number)


def _talks(call: Call) -> bool:
    since = call.told(call.bob, CallEstablished)
    return since is not None and call.world.world.now > since + 5.0


MOMENTS: Final = (
    Moment("the overlay is asked where bob is", lambda call: len(call.here.peer.locator) > 0),
    Moment("AppAttach is under way", lambda call: call.here.peer.flows.waiting > 0),
    Moment("the INVITE has been forwarded", lambda call: len(call.here.peer.flows) > 0),
    Moment("bob's phone rings", lambda call: call.told(call.alice, Ringing) is not None),
    Moment("the 200 is under way", lambda call: bool(call.there.carried())),
    Moment("the ACK is under way", lambda call: call.told(call.alice, CallEstablished) is not None),
    Moment("they talk", _talks),
    Moment("a re-INVITE is under way", _talks, _hold),
    Moment("a BYE is under way", _talks, _hang_up),
)


class Victim(NamedTuple):
    """What dies, and how; `side` is the user whose phone dies, or its peer, "" if neither."""

    name: str
    how: str
    die: Callable[[Call], None]
    side: str = ""
    is_known: bool = False
    """True where whoever dies says so."""

    @property
    def title(self) -> str:
        """Of its table."""
        return f"{self.name[0].upper()}{self.name[1:]} {self.how}"


def _power_cut(which: Callable[[Call], Site]) -> Callable[[Call], None]:
    return lambda call: call.world.world.crash(which(call).host, is_silent=True)


def _stop(which: Callable[[Call], Site]) -> Callable[[Call], None]:
    def stop(call: Call) -> None:
        site = which(call)
        site.call(site.peer.stop)

        def end() -> None:
            if any(isinstance(event, Stopped) for event in site.host.events):
                call.world.world.crash(site.host)
            else:
                call.world.world.clock.at(call.world.world.now + 0.05, end)

        end()

    return stop


def _cut(call: Call) -> None:
    """Nothing passes any more over the connections that there are, and nobody is told; a new one may be made."""
    for end in call.here.host.links.values():
        if end.host is call.there.host:
            end.is_cut = end.host.links[end.number].is_cut = True


PEERS: Final[tuple[tuple[str, Callable[[Call], Site], str], ...]] = (
    ("the caller's peer", lambda call: call.here, "alice"),
    ("the callee's peer", lambda call: call.there, "bob"),
    ("the peer that has bob's record", lambda call: call.responsible, ""),
    ("another peer", lambda call: call.other, ""),
)
VICTIMS: Final = (
    *(Victim(name, "loses its power", _power_cut(which), side) for name, which, side in PEERS),
    *(Victim(name, "is stopped", _stop(which), side, is_known=True) for name, which, side in PEERS),
    Victim("the link between the two peers", "falls silent", _cut),
    Victim("the caller's phone", "loses its power", lambda call: call.alice.unplug(), "alice"),
    Victim("the callee's phone", "loses its power", lambda call: call.bob.unplug(), "bob"),
)


@dataclass(frozen=True)
class Fate:
    """What became of the call at one phone: in words, and how long after the death; None if it goes on."""

    words: str
    after_s: float | None

    @property
    def cell(self) -> str:
        """As in the table."""
        return self.words if self.after_s is None else f"{self.words} | {self.after_s:.1f}"


NOBODY: Final = Fate("-", None)
"""Of who is dead, or has a dead peer, nobody asks."""


@dataclass(frozen=True)
class Outcome:
    """What became of the call at each phone."""

    caller: Fate
    callee: Fate

    def row(self, moment: Moment) -> str:
        """A line of the table."""
        cells = [each.cell if each.after_s is not None else f"{each.words} |" for each in (self.caller, self.callee)]
        return f"| {moment.name} | {' | '.join(cells)} |"


def _fate(call: Call, phone: SitePhone, died_at: float) -> Fate:
    ended = next(((at, event) for at, event in phone.events if isinstance(event, CallEnded)), None)
    if ended is not None:
        at, event = ended
        # What a peer is called chance has made.
        words = re.sub(r"peer [0-9a-f]{8}", "peer", str(event.reason)).replace("Temporarily Unavailable; ", "")
        return Fate(words, max(0.0, at - died_at))
    if call.told(phone, CallEstablished) is not None:
        return Fate("talks", None)
    return Fate("rings" if phone.agent.calls else "hears nothing", None)


def outcome(moment: Moment, victim: Victim) -> Outcome:
    """Have a call come to that moment, and something die."""
    call = Call()
    call.number = call.alice.dial("bob")
    assert call.world.run(30.0, stop=lambda: moment.has_come(call)), "the moment does not come"
    if moment.then is not None:
        moment.then(call)
    died_at = call.world.world.now
    victim.die(call)
    both = (call.alice, call.bob)
    left = [phone for phone in both if phone.user != victim.side]

    def is_over() -> bool:
        return all(map(_has_ended, left))

    if not call.world.run(GOES_ON_S, stop=is_over) and victim.side and left[0].agent.calls:
        call.world.run(PATIENCE_S, stop=is_over)
    # Whoever is stopped may have said so before.
    told = left if not victim.is_known else [phone for phone in both if phone in left or _has_ended(phone)]
    fates = {phone.user: _fate(call, phone, died_at) for phone in told}
    if not victim.side and not any(map(_has_ended, left)):
        call.alice.hang_up(call.number)
        assert call.world.run(10.0, stop=lambda: _has_ended(call.bob)), "bob does not hear that it is over"
    return Outcome(fates.get("alice", NOBODY), fates.get("bob", NOBODY))


def _has_ended(phone: SitePhone) -> bool:
    return bool(phone.of(CallEnded))


HEAD: Final = """\
# When something dies in the middle of a call

Alice, at one peer of six, calls bob, at another. At each moment of the call something dies; below is what either phone
is told, and how many seconds after the death. The peers are whole ones, in [virtual time](simulator.md); a round trip
takes 10 to 100 ms. Bob's phone rings for {rings_s:.0f} s before it is picked up. `make deaths` writes this page anew
from what `tests/net/test_sim_deaths.py` runs.

- **Who calls is told within 8 s**, or the call goes on; within 3 s where whoever dies says so.
- **Calls that are up survive** the death of any peer that is not beside one of the two phones, and of the link between
  the two peers: in those rows alice hangs up at the end, and bob hears it.
- **A phone whose own peer has lost its power** is told by nobody ("-"). It rings as long as it is set to, and talks
  until it is hung up, or, if it knows session timers (RFC 4028), until its refresh is not answered.
- **A phone that talks with somebody whose peer, or phone, is gone** is told so by its own peer:
  [how, and why not sooner](decisions/when-the-other-end-dies.md).
- A phone that has lost its power says nothing to an INVITE; that is known after 32 s (timer B).

"""


def page(rows: dict[tuple[Moment, Victim], str]) -> str:
    """docs/when-things-die.md."""
    parts = [HEAD.format(rings_s=RINGS_S)]
    for victim in VICTIMS:
        parts.append(f"## {victim.title}\n\n| when | alice is told | s | bob is told | s |\n|---|---|---|---|---|\n")
        parts += [rows[moment, victim] + "\n" for moment in MOMENTS]
        parts.append("\n")
    return "".join(parts).rstrip("\n") + "\n"


def _write() -> None:
    cells = [(moment, victim) for victim in VICTIMS for moment in MOMENTS]
    PAGE.write_text(page({(moment, victim): outcome(moment, victim).row(moment) for moment, victim in cells}))


if __name__ == "__main__":
    _write()

"""A site in several overlays: a peer in each, all in one process.

Theory of operation. Each peer has its state directory, its identity, its links and its ports, and knows nothing of the
others but their names: what one SIP server has for another is carried from here (sip/entities/overlays/crossing.py).
The first one has the phones, and is what `p2psip peer run` was told to run: when it ends, all end. Another one that
cannot begin, or cannot go on, ends alone: the others say so to who calls there, and go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from p2psip.base.errors import LocalMisuse, P2psipError
from p2psip.daemon.endpoints import hosted_of, own_names
from p2psip.daemon.log.journal import Journal
from p2psip.daemon.overlays.peers_beside import Beside
from p2psip.daemon.overlays.port_clashes import port_clash
from p2psip.daemon.service import RECORDS_FILE, PeerService, StartAnew
from p2psip.daemon.state.overlays_file import SiteOverlays, load_overlays
from p2psip.daemon.state.settings import SETTINGS_FILE, neighbour_of
from p2psip.daemon.state.state import Expelled, PeerState, load_state
from p2psip.sip.entities.overlays.crossing import Crossed
from p2psip.sip.entities.overlays.other_overlays import OtherOverlays

GOES_ON = "the others go on; who calls there is told"

Ready = Callable[[Mapping[str, object]], None]


async def run_site(first: PeerState, ready: Ready) -> None:
    """Run a peer, and where its site is in further overlays their peers beside it, until SIGTERM or SIGINT.

    `ready` is told when all sockets of the peer are open. Raises LocalMisuse if it cannot begin, RequestFailed if it
    cannot go on, StartAnew.
    """
    found = load_overlays(first.directory, first.configuration.instance_name)
    if found is None:
        await PeerService(first).run(ready)
    else:
        await SeveralOverlays(first, found).run(ready)


class SeveralOverlays:
    """The peers of one site."""

    def __init__(self, first: PeerState, found: SiteOverlays) -> None:
        """Raises LocalMisuse where what the file says does not fit what is there."""
        self._own = first.configuration.instance_name
        self._found = found
        self._journal = Journal()
        self._told_to_stop = asyncio.Event()
        self._ended: dict[str, str] = {}
        self._running: set[str] = set()
        states = {self._own: first}
        for overlay, directory in found.directories.items():
            try:
                states[overlay] = self._state_of(overlay, load_state(directory))
            except Expelled as error:
                self._ended[overlay] = str(error)
        self._check(states)
        self._domains = {overlay: {overlay, *state.configuration.hosted_domains} for overlay, state in states.items()}
        self._domains |= {overlay: {overlay} for overlay in self._ended}
        records = tuple(state.directory / RECORDS_FILE for state in states.values())
        self._services = {
            overlay: PeerService(state, self._beside(overlay, records)) for overlay, state in states.items()
        }

    async def run(self, ready: Ready) -> None:
        """As of `run_site`."""
        tasks = {
            overlay: asyncio.create_task(service.run(partial(self._is_up, overlay)))
            for overlay, service in self._services.items()
            if overlay != self._own
        }
        first = asyncio.create_task(self._services[self._own].run(lambda facts: self._first_is_up(facts, ready)))
        waiting = {first, *tasks.values()}
        try:
            while not first.done():
                over, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for overlay, task in tasks.items():
                    if task in over and not self._told_to_stop.is_set():
                        self._is_over(overlay, task)
        finally:
            self._told_to_stop.set()
            await asyncio.gather(first, *tasks.values(), return_exceptions=True)
        first.result()

    def _state_of(self, overlay: str, state: PeerState) -> PeerState:
        if (found := state.configuration.instance_name) != overlay:
            where = f"{self._found.path}: {state.directory}"
            raise LocalMisuse(f"{where} is the directory of a peer of {found}: write that, not {overlay}")
        return state

    def _check(self, states: Mapping[str, PeerState]) -> None:
        """Nothing may stand for two things."""
        seen: list[PeerState] = []
        for state in states.values():
            if clash := next((said for each in seen if (said := port_clash(each, state))), ""):
                raise LocalMisuse(clash)
            seen.append(state)
        for name, state in states.items():
            overlay, settings = state.configuration.instance_name, state.settings
            meant = own_names(settings, overlay) | hosted_of(settings, state.configuration)
            meant |= {neighbour_of(each)[0] for each in settings.neighbours}
            for other in states:
                if other != name and other in meant:
                    what = f"{other} is an overlay of this site, and a name or domain of the peer as well"
                    raise LocalMisuse(f"{state.directory / SETTINGS_FILE}: {what}: take it out there")

    def _beside(self, overlay: str, records: tuple[Path, ...]) -> Beside:
        others = {domain: name for name in self._domains if name != overlay for domain in self._domains[name]}
        is_first = overlay == self._own
        terms = OtherOverlays(
            overlay,
            others,
            self._found.rules if is_first else (),
            self._found.order if is_first else (overlay,),
            "" if is_first else self._own,
        )
        return Beside(records, overlay, terms, self._told_to_stop, self._cross, partial(self._report, overlay))

    def _cross(self, crossed: Crossed) -> None:
        # Later: the peer that says it has not said all yet.
        asyncio.get_running_loop().call_soon(self._deliver, crossed)

    def _deliver(self, crossed: Crossed) -> None:
        if crossed.overlay in self._running:
            self._services[crossed.overlay].take(crossed)

    def _is_up(self, overlay: str, facts: Mapping[str, object]) -> None:
        self._running.add(overlay)
        self._tell_of_ended(overlay)

    def _first_is_up(self, facts: Mapping[str, object], ready: Ready) -> None:
        self._is_up(self._own, facts)
        ready(facts)

    def _is_over(self, overlay: str, task: asyncio.Task[None]) -> None:
        """The peer of a further overlay has ended by itself."""
        error = task.exception()
        if isinstance(error, StartAnew) or not isinstance(error, P2psipError):
            # All start anew: or it is a bug, which ends the process.
            task.result()
        self._running.discard(overlay)
        self._ended[overlay] = str(error)
        self._journal.warning("the peer of an overlay has ended", overlay=overlay, reason=str(error), means=GOES_ON)
        for other in self._running:
            self._services[other].overlay_ended(overlay, str(error))

    def _tell_of_ended(self, to: str) -> None:
        for overlay, why in self._ended.items():
            self._services[to].overlay_ended(overlay, why)

    def _report(self, overlay: str) -> list[dict[str, object]]:
        """Of all but this one."""
        return [self._facts(each) for each in self._domains if each != overlay]

    def _facts(self, overlay: str) -> dict[str, object]:
        directory = str(self._found.directories.get(overlay, self._found.path.parent))
        facts = self._services[overlay].facts() if overlay in self._running else {}
        return {"overlay": overlay, "directory": directory, "ended": self._ended.get(overlay), **facts}

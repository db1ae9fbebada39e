"""The virtual network (p2psip.sim.world)."""

from __future__ import annotations

from dataclasses import dataclass, field

from candidates import tls
from dialler import Dialler

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect
from p2psip.base.timers import Deadline, earliest
from p2psip.reload.node.effects import LinkUp, Write
from p2psip.reload.paths.dialling import DIAL_MAX_S
from p2psip.reload.paths.values import Candidate, HangUp, PathEvent, Returned
from p2psip.reload.storage.store.memory import MemoryStore
from p2psip.reload.storage.store.records import Commit, Committed, Moment
from p2psip.sim.world import Host, World


@dataclass
class Recorder(Dialler):
    """A core that writes down what happens to it, and wants what it is told to want."""

    world: World
    wanted: list[Effect] = field(default_factory=list)
    seen: list[tuple[float, object]] = field(default_factory=list)
    deadline: Deadline | None = None
    links: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def connect(self, host: Host, number: int, candidates: tuple[Candidate, ...]) -> None:
        """It dials."""
        self.world.call(host, lambda now: self.dial(number, candidates, now))

    def handle_path(self, event: PathEvent, now: float) -> None:
        if isinstance(event, Returned):
            self.seen.append((now, ("returned", event.path, event.message)))
        else:
            super().handle_path(event, now)

    def handle_link_up(self, link: LinkUp, now: float) -> None:
        number = self.up(link.number)
        self.links.add(link.number)
        self.seen.append((now, ("up", number, link.certificates[0], link.remote.host)))

    def handle_link_data(self, number: int, data: bytes, now: float) -> None:
        self.seen.append((now, ("data", number, data)))

    def handle_link_down(self, number: int, reason: str, now: float) -> None:
        self.down(number, reason, now)
        if number in self.links:
            self.seen.append((now, ("down", number, reason)))

    def ended(self, number: int, reason: str) -> None:
        self.seen.append((self.world.now, ("down", number, reason)))

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        self.seen.append((now, ("answer", token, answer)))

    def handle_timeout(self, now: float) -> None:
        super().handle_timeout(now)
        if self.deadline is not None and self.deadline.at <= now:
            self.seen.append((now, "timeout"))
            self.deadline = None

    def drain(self) -> list[Effect]:
        wanted, self.wanted = self.wanted, []
        return [*wanted, *super().drain()]

    def next_deadline(self) -> Deadline | None:
        return earliest((self.deadline, super().next_deadline()))

    def what(self) -> list[object]:
        """What happened, without the times."""
        return [what for _, what in self.seen]


def pair(latency_s: float = 0.01, *, is_direct: bool = False) -> tuple[World, Host, Host, Recorder, Recorder]:
    """Two hosts."""
    world = World(1, lambda rng: latency_s, is_direct=is_direct)
    cores = [Recorder(world), Recorder(world)]
    hosts = [
        world.add(name, Address(f"10.0.0.{number}", 1), (name.encode(),), core, MemoryStore())
        for number, (name, core) in enumerate(zip("ab", cores, strict=True))
    ]
    return world, *hosts, *cores


def want(world: World, host: Host, core: Recorder, *effects: Effect) -> None:
    """The core on a host wants something."""
    core.wanted += effects
    world.call(host, lambda now: None)


def connected(*, is_direct: bool = False) -> tuple[World, Host, Host, Recorder, Recorder]:
    """Two hosts with a link: number 2 at a, 1 at b."""
    world, a, b, core_a, core_b = pair(is_direct=is_direct)
    core_a.connect(a, 2, tls(b.address))
    world.run_for(0.1)
    assert core_a.seen == [(0.03, ("up", 2, b"b", "10.0.0.1"))]
    assert core_b.seen == [(0.03, ("up", 1, b"a", "10.0.0.0"))]
    core_a.seen.clear()
    core_b.seen.clear()
    return world, a, b, core_a, core_b


def test_a_link_takes_a_round_trip_and_a_half_and_shows_certificates() -> None:
    """As TLS over TCP, roughly."""
    connected()


def test_bytes_arrive_in_order_after_the_latency() -> None:
    """Whatever chance says of the later ones."""
    world, a, _, core_a, core_b = connected()
    delays = iter([0.05, 0.01])
    world._latency_s = lambda rng: next(delays)
    want(world, a, core_a, Write(2, b"first"), Write(2, b"second"))
    world.run_for(1.0)
    assert core_b.seen == [(0.1 + 0.05, ("data", 1, b"first")), (0.1 + 0.05, ("data", 1, b"second"))]


def test_hanging_up_is_seen_at_the_other_end() -> None:
    """And nothing is written any more."""
    world, a, _, core_a, core_b = connected()
    want(world, a, core_a, HangUp(2, "done"), Write(2, b"too late"))
    world.run_for(1.0)
    assert core_b.what() == [("down", 1, "closed by the other end")]
    assert core_a.what() == []


def test_a_killed_process_resets_its_links_and_refuses_new_ones() -> None:
    """The machine lives on."""
    world, a, b, core_a, _ = connected()
    world.crash(b)
    world.run_for(1.0)
    assert core_a.what() == [("down", 2, "connection reset")]
    core_a.connect(a, 4, tls(b.address))
    world.run_for(1.0)
    assert core_a.what()[-1] == ("down", 4, "10.0.0.1:1 (TLS): connection refused")


def test_a_power_cut_says_nothing() -> None:
    """Neither on links nor to who dials; only time tells."""
    world, a, b, core_a, _ = connected()
    world.crash(b, is_silent=True)
    want(world, a, core_a, Write(2, b"hello?"))
    core_a.connect(a, 4, tls(b.address))
    world.run_for(DIAL_MAX_S - 0.1)
    assert core_a.what() == []
    world.run_for(0.2)
    assert core_a.what() == [("down", 4, "no answer in 8 s from 10.0.0.1:1 (TLS)")]


def test_the_first_candidate_that_answers_is_taken() -> None:
    """Dead ones are skipped."""
    world, a, b, core_a, _ = pair()
    core_a.connect(a, 2, tls(Address("10.9.9.9", 1), b.address))
    world.run_for(1.0)
    assert core_a.what() == [("up", 2, b"b", "10.0.0.1")]


def test_islands_do_not_reach_each_other_and_cut_streams_stay_cut() -> None:
    """What was lost in a stream is not made up for when the sea falls dry."""
    world, a, b, core_a, core_b = connected()
    b.island = 1
    want(world, a, core_a, Write(2, b"lost"))
    core_a.connect(a, 4, tls(b.address))
    world.run_for(DIAL_MAX_S + 1.0)
    b.island = 0
    want(world, a, core_a, Write(2, b"behind it"))
    world.run_for(1.0)
    assert core_b.what() == []
    assert core_a.what() == [("down", 4, "no answer in 8 s from 10.0.0.1:1 (TLS)")]


def test_over_a_direct_link_comes_back_what_is_not_taken() -> None:
    """From an island, from a machine without power, and, before the reset is heard, from a process that was killed."""
    for end in ("island", "power", "killed"):
        world, a, b, core_a, core_b = connected(is_direct=True)
        want(world, a, core_a, Write(2, b"taken"), Write(2, b"on its way"))
        world.run_for(0.005 if end == "killed" else 0.02)
        if end == "island":
            b.island = 1
        else:
            world.crash(b, is_silent=end == "power")
        want(world, a, core_a, Write(2, b"late"))
        world.run_for(1.0)
        if end == "killed":
            back: list[object] = [("returned", 2, message) for message in (b"taken", b"on its way", b"late")]
            assert core_a.what() == [*back, ("down", 2, "connection reset")]
            assert core_b.what() == []
        else:
            assert core_a.what() == [("returned", 2, b"late")]
            assert core_b.what() == [("data", 1, b"taken"), ("data", 1, b"on its way")]


def test_time_outs_come_at_the_deadline_and_once() -> None:
    """An earlier deadline replaces a later one."""
    world, a, _, core_a, _ = pair()
    core_a.deadline = Deadline(5.0, "late")
    world.call(a, lambda now: None)
    core_a.deadline = Deadline(2.0, "soon")
    world.call(a, lambda now: None)
    world.run_for(10.0)
    assert core_a.seen == [(2.0, "timeout")]


def test_commits_take_a_moment_and_are_answered() -> None:
    """Not those of a host that died meanwhile: nobody knows whether they were made."""
    world, a, b, core_a, core_b = pair()
    commit = Commit((), Moment(0.0, None))
    want(world, a, core_a, Ask(1, commit, 60.0))
    want(world, b, core_b, Ask(1, commit, 60.0))
    world.crash(b)
    world.run_for(1.0)
    assert core_a.what() == [("answer", 1, Committed())]
    assert core_b.what() == []


def test_what_is_none_of_the_world_s_business_is_kept_for_the_test() -> None:
    """Effects of the layer above."""
    world, a, _, core_a, _ = pair()
    effect = Effect()
    want(world, a, core_a, effect)
    assert a.events == [effect]

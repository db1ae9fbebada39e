"""What a node makes of what its router gives: only where it may ask, told to others, and given up in the end."""

from __future__ import annotations

from node_bench import ME, NodeBench, address

from p2psip.base.address import Address
from p2psip.base.effects import Note
from p2psip.portmap.values import ROUTER_PORT, HomeRouter
from p2psip.reload.paths.values import ROUTER_SPARE, CloseSpare, Open, RouterFound, SendSpare, SpareArrived
from p2psip.sim.ip.port_server import PortServer

HERE = address(ME)
ROUTER = HomeRouter("192.0.2.1", HERE.host)


class Bench(NodeBench):
    """One whose router answers at once, while `server` is there."""

    def __init__(self, secret: bytes = b"secret", *, may_start_alone: bool = True) -> None:
        super().__init__(may_start_alone=may_start_alone, port_mapping_secret=secret)
        self.server: PortServer | None = PortServer("203.0.113.7", taken={HERE.port})

    def tell(self, router: HomeRouter | None) -> list[object]:
        """That is the router; what is done about it."""
        self.node.handle_path(RouterFound(router), self.now)
        return self.answer_all()

    def go_on(self, seconds: float) -> list[object]:
        """Let time go on; what is done meanwhile."""
        end, done = self.now + seconds, self.answer_all()
        while (deadline := self.node.next_deadline()) is not None and deadline.at <= end:
            self.now = max(self.now, deadline.at)
            self.node.handle_timeout(self.now)
            done += self.answer_all()
        self.now = end
        return done

    def answer_all(self) -> list[object]:
        """Let the router answer until nothing more is asked."""
        done: list[object] = []
        while effects := self.node.drain():
            done += effects
            for effect in effects:
                if isinstance(effect, SendSpare) and effect.remote.port == ROUTER_PORT and self.server is not None:
                    assert (effect.spare, effect.remote.host) == (ROUTER_SPARE, ROUTER.host)
                    answer = self.server.answer(Address(ROUTER.local, 4000), effect.data, self.now)
                    assert answer is not None
                    self.node.handle_path(SpareArrived(ROUTER_SPARE, effect.remote, answer), self.now)
        return done


def test_without_its_operators_word_no_router_is_asked() -> None:
    """Nothing goes to a host that is no member unless the operator has said so."""
    bench = Bench(b"")
    assert not any(isinstance(effect, SendSpare) for effect in bench.tell(ROUTER))
    assert not bench.node.port_mapping.is_allowed
    assert bench.node.port_mapping.router == ROUTER.host


def test_what_is_given_is_told_and_said() -> None:
    bench = Bench()
    done = bench.tell(ROUTER)
    facts = bench.node.port_mapping
    assert dict(facts.given) == {"TCP 6084": Address("203.0.113.7", 6085), "TCP 6085": Address("203.0.113.7", 6086)}
    assert (facts.language, facts.inner_address) == ("PCP", "")
    notes = [
        note.facts["ports"] for note in done if isinstance(note, Note) and note.event == "the router has mapped ports"
    ]
    assert notes[-1] == ["TCP 6084 as 203.0.113.7:6085", "TCP 6085 as 203.0.113.7:6086"]


def test_a_refusal_is_said_once() -> None:
    bench = Bench()
    assert bench.server is not None
    bench.server.result = 2
    done = [*bench.tell(ROUTER), *bench.go_on(10.0)]
    warned = [note for note in done if isinstance(note, Note) and note.event == "the router maps no ports"]
    assert len(warned) == 1
    assert "switched off" in str(warned[0].facts["reason"])
    done = bench.go_on(700.0)
    assert any(isinstance(effect, SendSpare) for effect in done)
    assert not any(isinstance(note, Note) and note.event == "the router maps no ports" for note in done)


def test_a_router_that_is_gone_has_given_nothing() -> None:
    bench = Bench()
    bench.tell(ROUTER)
    assert CloseSpare(ROUTER_SPARE) in bench.tell(None)
    assert bench.node.port_mapping.given == ()


def test_a_router_that_sees_us_where_nobody_listens_is_not_asked() -> None:
    assert not any(isinstance(effect, SendSpare) for effect in Bench().tell(ROUTER._replace(local="192.0.2.222")))


def test_the_router_is_told_before_the_node_has_left() -> None:
    bench = Bench()
    bench.tell(ROUTER)
    server, bench.server = bench.server, None
    bench.node.leave(bench.now)
    asked = [effect for effect in bench.node.drain() if isinstance(effect, SendSpare)]
    assert asked
    assert not bench.node.has_left, "it may have been lost"
    bench.server = server
    bench.now += 0.6
    bench.node.handle_timeout(bench.now)
    bench.answer_all()
    assert server is not None
    assert server.living(bench.now) == {}
    assert bench.node.has_left


def test_an_address_inside_of_one_more_nat_is_recognized() -> None:
    for host in ("192.168.0.5", "10.0.0.9", "100.64.7.7"):
        bench = Bench()
        bench.server = PortServer(host)
        bench.tell(ROUTER)
        assert bench.node.port_mapping.inner_address == host


def test_who_is_told_to_be_at_a_bootstrap_address_may_begin_the_overlay_and_does_not_dial_itself() -> None:
    """The first peer of an overlay may be behind a router."""
    bootstrap = address(1)
    bench = Bench(may_start_alone=False)
    bench.server = PortServer(bootstrap.host)
    bench.tell(ROUTER)
    assert bootstrap in dict(bench.node.port_mapping.given).values()
    bench.node.start(bench.now)
    done = bench.go_on(60.0)
    assert bench.node.is_serving
    dialled = [effect.candidate.address for effect in done if isinstance(effect, Open)]
    assert bootstrap not in dialled

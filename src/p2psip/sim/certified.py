"""Simulated overlays whose peers have X.509 certificates and keys, of whatever kind; time is virtual all the same."""

from __future__ import annotations

import random
from collections.abc import Callable

from p2psip.base.ids import NodeId
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.verifier import CertificateVerifier
from p2psip.reload.wire.common import SignatureAlgorithm
from p2psip.sim.membership import Club, key
from p2psip.sim.registrations import wait_until
from p2psip.sim.simulated_overlay import SimulatedOverlay


def ring_id(number: int, place: int = 0) -> NodeId:
    """Somewhere on the ring; a peer of several Node-IDs has several places."""
    return NodeId(random.Random(f"{number}/{place}").randbytes(16))


class CertifiedOverlay(SimulatedOverlay):
    """Peers whose certificates an overlay's trust anchor made."""

    def __init__(
        self,
        club: Club,
        seed: int | str = 1,
        *,
        algorithm_of: Callable[[int], SignatureAlgorithm] | None = None,
        identity_of: Callable[[int], CertifiedIdentity] | None = None,
        **settings: object,
    ) -> None:
        trust = {
            name: getattr(club.configuration, name)
            for name in ("instance_name", "root_certs", "signature_algorithms", "self_signed_digest", "bad_nodes")
        }
        super().__init__(seed, **(trust | settings))
        self.club = club
        self._algorithm_of = algorithm_of or (lambda number: club.algorithm)
        self._identity_of = identity_of

    def identity(self, number: int) -> CertifiedIdentity:
        """With a key and a certificate of its own."""
        if self._identity_of is not None:
            return self._identity_of(number)
        return enrolled(self.club, number, self._algorithm_of(number))

    def verifier(self) -> CertificateVerifier:
        """By the overlay's configuration."""
        return CertificateVerifier(self.configuration)

    def grow(self, peers: int) -> None:
        """So many peers join."""
        for number in range(peers):
            self.add_peer(number)
            self.world.run_for(1.0)
        wait_until(self, 60.0, self.is_ring)


def enrolled(club: Club, number: int, algorithm: SignatureAlgorithm, **validity: float) -> CertifiedIdentity:
    """Peer `number` with a certificate of the trust anchor; `begins` and `ends` as in `Club.certificate`."""
    user = f"peer-p{number}@{club.configuration.instance_name}"
    owner = Club(club.anchor, club.configuration, algorithm)
    certificate = owner.certificate(user, [ring_id(number)], number=number, **validity)
    return CertifiedIdentity(key(algorithm, number), [certificate])

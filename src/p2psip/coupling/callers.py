"""Who calls: the keys of our lines sign, the certificates of others' are found in the overlay (RFC 8224 section 7).

Theory of operation. The URI in an Identity leads to where the Certificate Store usage keeps a line's certificate (RFC
6940 sections 8 and 14.15). It is fetched when a line of which nothing is known calls for the first time, by one Fetch
for all who wait for it, and remembered; what is remembered and does not fit is fetched once more, as a line may have
been given a new one. Whether a certificate still counts, its dates and whether it is revoked, is looked at every time.

A Fetch takes a round trip, while a caller waits. So the first time that a line calls by another peer its certificate
goes along: it proves itself, as the overlay's authority has signed it, and the place that the URI names is one of its.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace

from p2psip.base.allowance import Allowance, Attempts
from p2psip.base.effects import AskAnswered
from p2psip.base.errors import RequestFailed
from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.user_keys import key_of
from p2psip.coupling.lines import Publisher
from p2psip.reload.node.node import Node
from p2psip.reload.security.errors import UntrustedCertificate
from p2psip.reload.security.reload_uri import data_uri, parse_data_uri
from p2psip.reload.security.roles import Identity, Member
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.usages.certificate_store import KINDS, fetch_request, read_certificates, resource_id
from p2psip.reload.usages.sip_registration import fetch_request as registration_request
from p2psip.reload.wire.kinds import CERTIFICATE_BY_NODE, SIP_REGISTRATION
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.storage_messages import FetchAns, FetchReq, StoredDataSpecifier
from p2psip.sip.entities.callers import passport
from p2psip.sip.entities.questions import Authentic, NotAuthentic, SignClaims, Signed, VerifySignature

KNOWN_MAX = 1024
"""Lines elsewhere whose certificates are remembered."""

KNOWN_S = 3600.0
_LEADING = (*KINDS, SIP_REGISTRATION)
"""Kinds whose values lead to the certificate of a line: each value is signed with it."""

REFETCH_S = 10.0
"""What is remembered for longer than this and does not fit is fetched once more."""

TOLD_S = KNOWN_S / 2
TOLD_MAX = 4096
"""To whom the certificates of our lines have gone, and for how long that is taken for known there."""

FETCHES_MAX = 256
FETCHES_OF_A_PEER = Allowance(burst=100, refill_s=0.5)
"""How many certificates one peer can make us fetch."""


@dataclass(frozen=True, slots=True)
class _Known:
    """Those whose certificates are at one place, and when that was read; `dropped` says why others do not count."""

    members: tuple[Member, ...]
    at: float
    dropped: tuple[str, ...] = ()
    is_all: bool = True
    """False where it has not been looked there: a certificate has come along."""


@dataclass(slots=True)
class _Fetching:
    resource: ResourceId
    waiting: dict[int, VerifySignature] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CallerContext:
    """A Fetch of certificates."""

    fetching: _Fetching


class Callers:
    """Answers SignClaims and VerifySignature."""

    def __init__(self, node: Node, publisher: Publisher, overlay: str) -> None:
        self._node = node
        self._publisher = publisher
        self._overlay = overlay
        self._known: OrderedDict[ResourceId, _Known] = OrderedDict()
        self._told: OrderedDict[tuple[NodeId, str], float] = OrderedDict()
        self._fetching: dict[ResourceId, _Fetching] = {}
        self._fetches: Attempts[str] = Attempts(FETCHES_OF_A_PEER)
        self._answers: list[AskAnswered] = []

    def sign(self, asked: SignClaims, now: float) -> Signed | None:
        """The signatures of our lines; None if none of them is ours, or may sign now."""
        each = [signed for one in (asked, *asked.forwards) if (signed := self._sign(one, now)) is not None]
        return replace(each[0], forwards=tuple(each[1:])) if each else None

    def introduced(self, signed: Signed | None, now: float) -> Signed | None:
        """The same with the lines' certificates, where the peer that it goes to may not know them yet."""
        if signed is None:
            return None
        forwards = tuple(self._introduced(one, now) for one in signed.forwards)
        return replace(self._introduced(signed, now), forwards=forwards)

    def _introduced(self, signed: Signed, now: float) -> Signed:
        line = self._publisher.meant(signed.asked.user)
        if line is None or self._has_told(line.identity.node_id, signed.asked.peer, now):
            return signed
        return replace(signed, certificate=line.identity.certificates[0].certificate)

    def _sign(self, asked: SignClaims, now: float) -> Signed | None:
        line = self._publisher.meant(asked.user)
        # 6.1 step 3: "the authentication service MUST verify that both the Date header field and the current time fall
        # within the validity period of its credential": the two are one here.
        if line is None or not self._is_valid(line.identity, now):
            return None
        identity = line.identity
        info = self._info(identity)
        head = passport.header(identity.jws_algorithm, info, asked.ppt)
        data = passport.signing_input(head, asked.claims.encode())
        return Signed(asked, identity.jws_algorithm, info, data, identity.sign_jws(data))

    def _is_valid(self, identity: Identity, now: float) -> bool:
        """True if others would take the certificate of this line now."""
        chain = [one.certificate for one in identity.certificates]
        wall = self._node.wall
        try:
            self._node.reader.rules.verifier.check(chain, wall.date(now), wall.is_trusted)
        except UntrustedCertificate:
            return False
        return True

    def _has_told(self, line: NodeId, peer: str, now: float) -> bool:
        """True if this line's certificate has gone to that peer before; from now on it has."""
        if now < self._told.get((line, peer), -TOLD_S) + TOLD_S:
            return True
        self._told[line, peer] = now
        self._told.move_to_end((line, peer))
        if len(self._told) > TOLD_MAX:
            self._told.popitem(last=False)
        return False

    def verify(self, token: int, asked: VerifySignature, now: float) -> None:
        """Whose signature it is; `AskAnswered` follows, unless it is cancelled."""
        try:
            resource, specifier, overlay = parse_data_uri(asked.info)
        except DecodeError as error:
            self._answer(token, NotAuthentic(436, error.what))
            return
        if overlay.lower() != self._overlay.lower() or specifier.kind not in _LEADING:
            self._answer(token, NotAuthentic(436, f"{asked.info[:200]} leads to no certificate of {self._overlay}"))
            return
        known = self._known.get(resource)
        if known is not None and now < known.at + KNOWN_S:
            verdict = self._judge(asked, known, now)
            if isinstance(verdict, Authentic):
                self._answer(token, verdict)
                return
            if known.is_all and now < known.at + REFETCH_S:
                self._answer(token, verdict)
                return
        if asked.certificate and (shown := self._shown(asked, resource, now)) is not None:
            self._answer(token, shown)
            return
        self._fetch(token, asked, resource, specifier, now)

    def cancel(self, token: int) -> None:
        """Nobody waits for this answer any more."""
        for fetching in self._fetching.values():
            fetching.waiting.pop(token, None)

    def handle_done(self, fetching: _Fetching, result: Answer | RequestFailed, now: float) -> None:
        """The end of a Fetch."""
        del self._fetching[fetching.resource]
        if isinstance(result, RequestFailed):
            for token in fetching.waiting:
                self._answer(token, NotAuthentic(436, f"its certificate could not be fetched: {result}"))
            return
        assert isinstance(result.body, FetchAns), "the transport lets no other answer to a Fetch pass"
        found = read_certificates(fetching.resource, result.body, result.certificates, self._node.reader, now)
        members = tuple({value.signer.member.certificate: value.signer.member for value in found.values}.values())
        known = _Known(members, now, found.dropped)
        if members:
            self._remember(fetching.resource, known)
        for token, asked in fetching.waiting.items():
            self._answer(token, self._judge(asked, known, now))

    def drain(self) -> list[AskAnswered]:
        """The answers since the last call."""
        answers, self._answers = self._answers, []
        return answers

    def _info(self, identity: Identity) -> str:
        """The URI by which a line's certificate is found: its own; in an overlay without the Certificate Store usage
        that of the line's registration, which is signed with it and comes with it (RFC 6940 section 6.3.4).
        """
        hash_name = self._node.hash_name
        if CERTIFICATE_BY_NODE in self._node.reader.rules.kinds:
            resource = resource_id(CERTIFICATE_BY_NODE, identity.user, identity.node_id, hash_name)
            request = fetch_request(CERTIFICATE_BY_NODE, resource)
        else:
            request = registration_request(identity.user, hash_name)
        return data_uri(request.resource, request.specifiers[0], self._overlay)

    def _remember(self, resource: ResourceId, known: _Known) -> None:
        self._known[resource] = known
        self._known.move_to_end(resource)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    def _shown(self, asked: VerifySignature, resource: ResourceId, now: float) -> Authentic | None:
        """Whose signature it is by the certificate that came along; None if that proves nothing."""
        wall, hash_name = self._node.wall, self._node.hash_name
        try:
            member = self._node.reader.rules.verifier.check((asked.certificate,), wall.date(now), wall.is_trusted)
        except UntrustedCertificate:
            return None
        places = {resource_id(CERTIFICATE_BY_NODE, member.user, node, hash_name) for node in member.node_ids}
        if resource not in places | {registration_request(member.user, hash_name).resource}:
            return None
        known = _Known((member,), now, is_all=False)
        verdict = self._judge(asked, known, now)
        if not isinstance(verdict, Authentic):
            return None
        self._remember(resource, known)
        return verdict

    def _fetch(
        self, token: int, asked: VerifySignature, resource: ResourceId, specifier: StoredDataSpecifier, now: float
    ) -> None:
        fetching = self._fetching.get(resource)
        if fetching is not None:
            fetching.waiting[token] = asked
            return
        if len(self._fetching) >= FETCHES_MAX or self._fetches.wait_s(asked.asked_by, now):
            self._answer(token, NotAuthentic(436, "too many certificates are being fetched"))
            return
        self._fetches.charge(asked.asked_by, now)
        fetching = self._fetching[resource] = _Fetching(resource, {token: asked})
        self._node.fetch(FetchReq(resource, (specifier,)), CallerContext(fetching), now)

    def _judge(self, asked: VerifySignature, known: _Known, now: float) -> Authentic | NotAuthentic:
        """Whose of these the signature is."""
        wall, verifier = self._node.wall, self._node.reader.rules.verifier
        refusals, forged = list(known.dropped), ""
        for member in known.members:
            domain = member.user.rpartition("@")[2].lower()
            try:
                verifier.check((member.certificate, *member.issuers), wall.date(now), wall.is_trusted)
            except UntrustedCertificate as error:
                refusals.append(str(error))
                continue
            if domain != self._overlay.lower() and domain not in self._node.configuration.hosted_domains:
                refusals.append(f"{member.user} is nobody of {self._overlay}")
            elif verifier.is_jws(member, asked.alg, asked.signing_input, asked.signature):
                return Authentic(key_of(member.user, self._overlay))
            else:
                forged = f"its Identity is not signed by {member.user}, whose certificate it names"
        if forged:
            return NotAuthentic(438, forged)
        if refusals:
            return NotAuthentic(437, refusals[0])
        return NotAuthentic(436, f"there is no certificate at {asked.info}")

    def _answer(self, token: int, answer: Authentic | NotAuthentic) -> None:
        self._answers.append(AskAnswered(token, answer))

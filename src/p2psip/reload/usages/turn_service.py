"""The TURN Server usage (RFC 6940 section 9): where peers say that they relay, and how others come by that.

"for each value, called d, between 1 and turn-density, the peer forms a Resource Name by concatenating its Node-ID and
the value d." Who looks for one asks at a place of chance: "The Find request gets routed to a random peer based on the
Resource-ID. If that peer knows of any servers, they will be returned."
"""

from __future__ import annotations

from p2psip.base.address import Address
from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.security.roles import Identity
from p2psip.reload.storage.access import Hash
from p2psip.reload.storage.stored_values import sign_value
from p2psip.reload.storage.verified import Verified
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.kinds import TURN_SERVICE
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.storage_messages import (
    DataValue,
    FetchReq,
    FindReq,
    SingleSpecifier,
    StoredDataSpecifier,
    StoreKindData,
    StoreReq,
)
from p2psip.reload.wire.usages.turn_server import TurnServer

LIFETIME_S = 1800
REFRESH_S = LIFETIME_S // 2
ITERATIONS_MAX = 20
""" "NODE-MULTIPLE, with a maximum iteration of counter 20." """


def resource_of(node: NodeId, iteration: int, hash_name: Hash) -> ResourceId:
    """Where a relay is recorded for the `iteration`th time, counted from 1."""
    return hash_name(node + bytes((iteration,)))


def store_request(
    identity: Identity, iteration: int, address: Address, storage_time_ms: int, hash_name: Hash
) -> StoreReq:
    """The Store of one record of ours."""
    server = TurnServer(iteration, IpAddressPort.of(address.host, address.port))
    return _store(identity, iteration, DataValue(exists=True, value=server.encode()), storage_time_ms, hash_name)


def remove_request(identity: Identity, iteration: int, storage_time_ms: int, hash_name: Hash) -> StoreReq:
    """The Store that takes one back."""
    return _store(identity, iteration, DataValue.nonexistent(), storage_time_ms, hash_name)


def _store(identity: Identity, iteration: int, value: DataValue, storage_time_ms: int, hash_name: Hash) -> StoreReq:
    resource = resource_of(identity.node_id, iteration, hash_name)
    stored = sign_value(identity, resource, TURN_SERVICE, value, storage_time_ms, LIFETIME_S)
    return StoreReq(resource, 0, (StoreKindData(TURN_SERVICE, 0, (stored,)),))


def find_request(resource: ResourceId) -> FindReq:
    """Which relay is recorded next to this place?"""
    return FindReq(resource, (TURN_SERVICE,))


def fetch_request(resource: ResourceId) -> FetchReq:
    """The Fetch of the record there."""
    return FetchReq(resource, (StoredDataSpecifier(TURN_SERVICE, 0, SingleSpecifier()),))


def relays_in(verified: Verified) -> list[NodeId]:
    """The nodes that say that they relay, in an answer of which this can be believed."""
    found: list[NodeId] = []
    for value in verified.of(TURN_SERVICE):
        try:
            server = TurnServer.decode(value.data or b"")
        except DecodeError:
            continue
        if server.server_address.host_port is not None:
            found.append(value.signer.node_id)
    return found

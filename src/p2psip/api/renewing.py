"""The certificate of an application that runs for long: renewed as a peer's is, with no connection lost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from p2psip.api.client_session import ClientSession
from p2psip.daemon.renewing.renewal import date_of_renewals
from p2psip.daemon.state.client_state import load_client, renew_client
from p2psip.net.node_host import boot_time
from p2psip.reload.security.identity import CertifiedIdentity


class OwnCertificate:
    """renewal.Certificates of one client, whose state directory keeps them."""

    def __init__(self, session: ClientSession, directory: Path) -> None:
        self._session = session
        self._directory = directory

    def certificates(self) -> Mapping[str, CertifiedIdentity]:
        """renewal.Certificates: there is one."""
        return {self._session.identity.user: self._session.identity}

    async def renew(self, user: str) -> None:
        """renewal.Certificates: get a new one, and use it. Raises LocalMisuse or RequestFailed."""
        state = await renew_client(load_client(self._directory))
        self._session.use_identity(state.identity)

    def date(self) -> float | None:
        """renewal.Certificates: what the date is."""
        return date_of_renewals(self._session.node.wall, self._session.identity.not_after, boot_time())

"""By what rules an overlay accepts values, as its configuration says (RFC 6940 section 11.1)."""

from __future__ import annotations

from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.security.roles import Verifier
from p2psip.reload.storage.access import Hash, UsageRule
from p2psip.reload.storage.storing import Rules
from p2psip.reload.usages.directory_usage import LIFETIMES_S, SpreadRule
from p2psip.reload.usages.mailbox_usage import MAILBOX_LIFETIMES_S, MailRule
from p2psip.reload.usages.redir import Permissions
from p2psip.reload.usages.sip_registration import Namespaces
from p2psip.reload.wire.kinds import REDIR, SIP_REGISTRATION


def rules_of(configuration: OverlayConfiguration, verifier: Verifier, hash_name: Hash) -> Rules:
    """The Kinds of the overlay, its members, the hash of its topology, and what its usages demand."""
    namespaces = Namespaces(configuration.instance_name, configuration.domain_restriction)
    usage_rules: dict[int, UsageRule] = {SIP_REGISTRATION: namespaces, REDIR: Permissions(configuration)}
    usage_rules |= {kind: SpreadRule(kind) for kind in LIFETIMES_S}
    usage_rules |= {kind: MailRule(kind) for kind in MAILBOX_LIFETIMES_S}
    return Rules(configuration.kinds, verifier, hash_name, usage_rules)

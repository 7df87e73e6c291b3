"""From rows to a connection: the login with its pinned keys, and a look at whether a cluster takes it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from hub.core.errors import Conflict, HubError, Unavailable
from hub.core.house import House
from hub.jobs.backends.slurm import Site, SlurmBackend
from hub.jobs.clusters import keys
from hub.jobs.clusters.rules import Certificate, Jump, moment
from hub.jobs.shell import SshError
from hub.jobs.ssh import CertificateEnded, Certified, Connection, HostKeyChanged, KeyRefused, Login, host_key_of

if TYPE_CHECKING:
    import asyncssh


def login_of(cluster: Any, account: Any) -> Login:
    """Where and as whom, from the rows."""
    jump = None
    if cluster.jump:
        hop = msgspec.convert(cluster.jump, Jump)
        jump = Login(hop.host, hop.user or account.login, hop.host_keys, hop.port)
    return Login(cluster.host, account.login, tuple(cluster.host_keys), cluster.port, jump)


def connection_of(house: House, cluster: Any, account: Any) -> Connection:
    """Raises TamperDetected when the sealed key is not the one that was sealed."""
    shells = house.settings.cluster_shells
    return Connection(login_of(cluster, account), _key_of(house, cluster, account), path=cluster.path, shells=shells)


def _key_of(house: House, cluster: Any, account: Any) -> asyncssh.SSHKey | Certified:
    import asyncssh

    private = keys.private_half(house, account)
    if account.kind != "certificate":
        return asyncssh.import_private_key(private)
    from hub.jobs.clusters import certificates

    given = msgspec.convert(account.certificate, Certificate)

    def ended() -> str:
        over = house.clock.now() >= given.ends
        return f"the certificate for {account.login} on {cluster.name} ended at {moment(given.ends)}" if over else ""

    return Certified(*certificates.certified(private, given.line), ended)


def backend_of(house: House, cluster: Any, account: Any) -> SlurmBackend:
    """Its runs are known on the cluster by the account's id, which no other hub has."""
    return SlurmBackend(connection_of(house, cluster, account), account.id, root=cluster.root)


def try_out(house: House, cluster: Any, account: Any) -> Site:
    """Sign in and look around. Raises HubError in words for the person whose account it is."""

    async def look() -> Site:
        backend = backend_of(house, cluster, account)
        try:
            site = await backend.site()
            if not site.missing:
                await backend.queue()
            return site
        finally:
            await backend.connection.close()

    try:
        site = asyncio.run(look())
    except (SshError, OSError) as error:
        raise _told(error, cluster, account) from None
    if site.missing:
        raise Unavailable(
            f"{cluster.name} lets you in, but has no {', '.join(site.missing)} on your path there",
            code="cluster_lacks",
            errors=list(site.missing),
            hint="the operator can name the folder of the scheduler's commands with `path`",
        )
    return site


def _told(error: Exception, cluster: Any, account: Any) -> HubError:
    if isinstance(error, CertificateEnded):
        return Conflict(str(error), code="certificate_ended", hint="have a new one signed, and give it")
    if isinstance(error, KeyRefused) and account.kind == "certificate":
        given = msgspec.convert(account.certificate, Certificate)
        only = f", and may be used from {', '.join(given.addresses)} only" if given.addresses else ""
        return Conflict(
            f"{cluster.name} does not let {account.login} in with the certificate {given.shown}{only}",
            code="certificate_refused",
            path="$.params.certificate",
            hint=f"either it does not trust who signed it ({given.signer}), or it has revoked it: ask who runs that",
        )
    if isinstance(error, KeyRefused):
        return Conflict(
            str(error),
            code="key_refused",
            hint="add the line to ~/.ssh/authorized_keys on the cluster first, in one piece",
        )
    if isinstance(error, HostKeyChanged):
        return Conflict(
            str(error), code="host_key_changed", hint="ask the operator, who has to compare the new fingerprint"
        )
    return Unavailable(f"{cluster.name}: {error}", code="cluster_unreachable")


def shown_key(host: str, port: int) -> str:
    """The host key a server answers with. Raises Unavailable."""
    try:
        return asyncio.run(host_key_of(host, port))
    except SshError as error:
        raise Unavailable(str(error), code="cluster_unreachable", path="$.params.host") from None

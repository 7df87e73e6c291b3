"""What the hub says of clusters and of one's accounts on them, as the shell and the chats read it."""

from datetime import datetime

import msgspec

from bot.hub_views import Person, View


class ClusterStanding(View, frozen=True, kw_only=True):
    """How an account's agent stands with its cluster."""

    reached: bool = True
    said: str = ""
    version: str = ""
    per_minute: dict[str, int] = msgspec.field(default_factory=dict)


class Cleared(View, frozen=True, kw_only=True):
    """What was cleared away of an account that is left; `line` is to be deleted on the cluster."""

    line: str
    folders: int = 0
    size_bytes: int = 0
    kept: int = 0
    left: int = 0
    root: str = ""
    said: str = ""
    certificate: str = ""


class Certificate(View, frozen=True, kw_only=True):
    """What lets the hub in for a while; `state` is good, ending or ended."""

    key_id: str
    serial: str
    signer: str
    ends: datetime
    state: str = "good"
    principals: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


class ClusterAccount(View, frozen=True, kw_only=True):
    """One's own account on a cluster; `line` belongs into `~/.ssh/authorized_keys` there.

    Of the kind agent it has no line: an agent of one's own signs in, whose token (`secret`) is shown once. Of the kind
    certificate it has none either: `public_key` is what is to be signed.
    """

    account: str
    cluster: str
    login: str
    line: str
    tested: datetime | None = None
    standing: ClusterStanding | None = None
    cleared: Cleared | None = None
    kind: str = "key"
    connected: bool | None = None
    secret: str | None = None
    public_key: str = ""
    certificate: Certificate | None = None


class RatePeriod(View, frozen=True, kw_only=True, rename={"begin": "from", "end": "to"}):
    """From one time of day to another results come at most so fast."""

    begin: str
    end: str
    mbit: float


class ClusterService(View, frozen=True, kw_only=True):
    """The hub's own account in a namespace of a Kubernetes cluster."""

    server: str
    login: str
    namespace: str
    claim: str
    image: str = ""
    every_session: bool = False
    sessions: tuple[str, ...] = ()
    token_until: datetime | None = None
    tested: datetime | None = None
    standing: ClusterStanding | None = None


class Cluster(View, frozen=True, kw_only=True):
    """A cluster of the hub."""

    name: str
    host: str
    kind: str = "slurm"
    port: int = 22
    fingerprints: tuple[str, ...] = ()
    through: str = ""
    root: str = ""
    defaults: dict[str, str] = msgspec.field(default_factory=dict)
    price_per_core_hour: float | None = None
    price_per_gpu_hour: float | None = None
    purge_days: int | None = None
    rate: tuple[RatePeriod, ...] = ()
    rate_clock: str = ""
    portal_url: str = ""
    account: ClusterAccount | None = None
    service: ClusterService | None = None
    left: tuple[str, ...] = ()
    cleared: tuple[Cleared, ...] = ()


class Connection(View, frozen=True, kw_only=True):
    """The line with which a port of one's own running job is reached, and where it is then."""

    node: str
    port: int
    command: str
    by_login_node: str = ""
    url: str = ""
    portal_url: str = ""


class Clusters(View, frozen=True, kw_only=True):
    """All clusters of the hub."""

    clusters: tuple[Cluster, ...] = ()


class Candidate(View, frozen=True, kw_only=True):
    """A place a job could go to; times are seconds from now."""

    backend: str
    starts_in: float | None = None
    ends_in: float | None = None
    cost: float | None = None
    most: float | None = None
    possible: bool = True
    in_time: bool | None = None
    chosen: bool = False
    why: str = ""


class JobPlan(View, frozen=True, kw_only=True):
    """Where a job would go; `asking` are places whose schedulers have not answered yet."""

    chosen: str | None = None
    candidates: tuple[Candidate, ...] = ()
    cores: int = 1
    gpus: int = 0
    wall_seconds: float = 0
    wall_assumed: bool = False
    currency: str = ""
    asking: tuple[str, ...] = ()
    over: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class QuotaAmount(View, frozen=True, kw_only=True):
    """One bound of a quota."""

    what: str
    most: float
    used: float = 0.0
    left: float = 0.0


class Quota(View, frozen=True, kw_only=True):
    """What may be used in thirty days, whose it is, and who can raise it."""

    kind: str = ""
    of: str = ""
    who: str = ""
    hard: bool = True
    amounts: tuple[QuotaAmount, ...] = ()


class PersonQuota(View, frozen=True, kw_only=True):
    """What one person used of a bound that each of a session has."""

    person: Person
    kind: str = ""
    amounts: tuple[QuotaAmount, ...] = ()


class Quotas(View, frozen=True, kw_only=True):
    """Several of them."""

    quotas: tuple[Quota, ...] = ()
    currency: str = ""
    people: tuple[PersonQuota, ...] = ()


class Finding(View, frozen=True, kw_only=True):
    """One thing that was looked at; `holds` is None where there is nothing to hold yet."""

    name: str
    holds: bool | None = None
    words: str
    hint: str = ""


class Looked(View, frozen=True, kw_only=True):
    """One thing that was looked at on a cluster: `ok`, `warning` or `failed`, and what to do."""

    name: str
    level: str
    words: str
    hint: str = ""


class Examination(View, frozen=True, kw_only=True):
    """What was found of a cluster when it was looked at, and the worst of it."""

    cluster: str
    worst: str = "ok"
    lines: tuple[Looked, ...] = ()


class ClusterReport(View, frozen=True, kw_only=True):
    """A cluster, and what holds between it and one's own account."""

    cluster: Cluster
    findings: tuple[Finding, ...] = ()

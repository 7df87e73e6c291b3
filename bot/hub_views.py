"""What the hub's views hold, as far as a door needs them.

Fields a door does not know are ignored, and most have a default, so that hub and door may differ in age.
"""

from datetime import datetime
from typing import Any

import msgspec

ENDED = ("SUCCEEDED", "FAILED", "TIMED_OUT", "OUT_OF_MEMORY", "CANCELLED", "NODE_FAILED", "UNKNOWN_OUTCOME")


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an answer."""


class Me(View, frozen=True, kw_only=True):
    """Who the token speaks for; `session` is their personal one."""

    id: str
    kind: str = "person"
    name: str = ""
    handle: str = ""
    hub_role: str = ""
    session: str = ""


class Person(View, frozen=True, kw_only=True):
    id: str = ""
    name: str = ""
    handle: str = ""


class Session(View, frozen=True, kw_only=True):
    """A session as one who takes part sees it; `name` is `owner/name`."""

    id: str
    name: str
    title: str = ""
    owner: Person = Person()
    role: str | None = None
    personal: bool = False
    visibility: str = "session"
    chat_detail: str = "full"
    url: str = ""


class Way(View, frozen=True, kw_only=True):
    """One way somebody came into a session."""

    via: str
    role: str = ""
    expires: datetime | None = None
    by: Person | None = None
    label: str = ""


class Participant(View, frozen=True, kw_only=True):
    """Somebody with a role in a session."""

    person: Person
    role: str
    via: str = ""
    expires: datetime | None = None
    ways: tuple[Way, ...] = ()


class Invitation(View, frozen=True, kw_only=True):
    """Somebody invited who has not come yet. Only the answer to the invitation holds the secret."""

    id: str = ""
    invitation: str = ""
    email: str
    role: str
    url: str = ""
    secret: str | None = None
    expires: datetime | None = None
    mailed: bool = False  # the hub wrote to them; where it sends no mail, the link is passed on by hand
    mail: str = ""  # in a list: what became of that mail


class Participants(View, frozen=True, kw_only=True):
    participants: tuple[Participant, ...] = ()
    invitations: tuple[Invitation, ...] = ()


class Shared(View, frozen=True, kw_only=True):
    """What sharing a session did."""

    session: str
    name: str
    made: bool = False
    url: str = ""
    granted: tuple[str, ...] = ()
    invitations: tuple[Invitation, ...] = ()
    features: dict[str, bool] = {}
    not_served_yet: tuple[str, ...] = ()
    expires: datetime | None = None


class MadeSession(View, frozen=True, kw_only=True):
    session: str
    name: str
    url: str = ""


class MadeLink(View, frozen=True, kw_only=True):
    """A fresh link, with the secret its address ends in."""

    link: str
    role: str
    url: str
    secret: str
    expires: datetime
    uses_left: int | None = None


class Link(View, frozen=True, kw_only=True):
    """An expiring link, without its secret."""

    id: str
    label: str = ""
    role: str
    target: str = ""
    expires: datetime
    uses: int = 0
    uses_left: int | None = None
    has_passphrase: bool = False
    state: str = "open"


class OpenLink(Link, frozen=True, kw_only=True):
    """A link among those who can see something, with who made it."""

    by: Person = Person()


class Service(View, frozen=True, kw_only=True):
    """A service account of the hub."""

    id: str
    name: str


class Who(View, frozen=True, kw_only=True):
    """Everybody who can see something."""

    kind: str
    object: str
    session_name: str
    visibility: str
    people: tuple[Participant, ...] = ()
    links: tuple[OpenLink, ...] | None = None
    links_open: int = 0
    members: int = 0
    services: tuple[Service, ...] = ()
    services_say: str = ""
    operators: tuple[Person, ...] = ()
    operators_say: str = ""


class Decision(View, frozen=True, kw_only=True):
    """The decision about one permission."""

    permission: str
    answer: str
    reason: str
    would_change: tuple[str, ...] = ()


class Explanation(View, frozen=True, kw_only=True):
    """Why somebody may do something, or may not."""

    allowed: bool
    sentence: str
    decisions: tuple[Decision, ...] = ()
    ways: tuple[Way, ...] = ()
    frozen: str | None = None


class ChangedSession(View, frozen=True, kw_only=True):
    session: str
    name: str
    title: str = ""
    visibility: str = ""
    chat_detail: str = ""
    url: str = ""
    features: dict[str, bool] = {}


class HandedOver(View, frozen=True, kw_only=True):
    session: str
    name: str
    url: str = ""


class Left(View, frozen=True, kw_only=True):
    session: str
    name: str
    links_ended: tuple[str, ...] = ()


class Granted(View, frozen=True, kw_only=True):
    """Who has which role now, and what ended with it or did not."""

    session: str
    person: str
    role: str | None = None
    links_ended: tuple[str, ...] = ()
    still_open: tuple[str, ...] = ()


class SignInLink(View, frozen=True, kw_only=True):
    url: str
    secret: str
    expires: datetime


class Progress(View, frozen=True, kw_only=True):
    """How far a job is; `said` is that in words, with the time left."""

    fraction: float
    said: str = ""


class Output(View, frozen=True, kw_only=True):
    path: str
    kind: str = "stored"
    digest: str | None = None
    size_bytes: int = 0


class Usage(View, frozen=True, kw_only=True):
    """Amounts asked for, or used; None where nothing is known."""

    cpus: float | None = None
    memory_bytes: int | None = None
    wall_seconds: float | None = None


class Hint(View, frozen=True, kw_only=True):
    """What an ended job shows for the next one like it; `option` is how to ask for it."""

    sentence: str = ""
    option: str = ""


class Efficiency(View, frozen=True, kw_only=True):
    """Shares, from 0 to 1, that an ended job used of its cores and of the memory it asked for."""

    cpu: float | None = None
    memory: float | None = None
    hints: tuple[Hint, ...] = ()


class Cost(View, frozen=True, kw_only=True):
    """What a job has cost so far, and at most while it is alive; None where no price is known."""

    amount: float | None = None
    most: float | None = None
    currency: str = ""


class Placed(View, frozen=True, kw_only=True):
    """How a job came to its place, and when it was promised to end."""

    why: str = ""
    deadline: datetime | None = None
    ends_at: datetime | None = None
    slipped_to: datetime | None = None
    moves: int = 0
    said: str = ""
    moving_to: str | None = None


class Job(View, frozen=True, kw_only=True):
    """A job, alone or in a list. `ref` is how people say which one, `reason` its state in words."""

    id: str
    number: int
    ref: str
    session_name: str = ""
    name: str = ""
    state: str
    reason: str = ""
    backend: str = ""
    submitted_by: Person = Person()
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    progress: Progress | None = None
    workflow: str | None = None
    step: str | None = None
    session: str = ""
    outputs: tuple[Output, ...] = ()
    asked: Usage = Usage()
    used: Usage = Usage()
    efficiency: Efficiency | None = None
    cost: Cost | None = None
    notes: tuple[str, ...] = ()
    log_done: bool = False
    placed: Placed | None = None
    held: bool = False
    url: str = ""

    @property
    def is_over(self) -> bool:
        return self.state in ENDED

    @property
    def is_success(self) -> bool:
        return self.state == "SUCCEEDED"


class Jobs(View, frozen=True, kw_only=True):
    jobs: tuple[Job, ...] = ()
    cursor: str | None = None


class WorkflowStep(View, frozen=True, kw_only=True):
    """A step of a workflow: a job, by the name the workflow gives it."""

    step: str
    job: str
    number: int
    state: str
    reason: str = ""
    after: tuple[str, ...] = ()
    url: str = ""

    @property
    def is_over(self) -> bool:
        return self.state in ENDED


class Workflow(View, frozen=True, kw_only=True):
    """A workflow and its steps, in the order they were given."""

    workflow: str
    name: str = ""
    session_name: str = ""
    steps: tuple[WorkflowStep, ...] = ()
    deadline: datetime | None = None
    budget: float | None = None
    comes_to: float | None = None


class Event(View, frozen=True, kw_only=True):
    """One line of the ledger, in its place in the order."""

    sequence: int
    at: datetime
    actor: str = ""
    action: str
    object_kind: str | None = None
    object: str | None = None
    session: str | None = None
    facts: dict[str, Any] = {}
    came_by: str | None = None


class Events(View, frozen=True, kw_only=True):
    events: tuple[Event, ...] = ()
    next: int


class Check(View, frozen=True, kw_only=True):
    """One thing that was checked, whether it holds, and that in words."""

    name: str
    holds: bool
    words: str = ""


class Signature(View, frozen=True, kw_only=True):
    """Who signed a version, as what, and whether it holds now."""

    signer: Person = Person()
    meaning: str = ""
    custody: str = ""
    custody_words: str = ""
    key_name: str = ""
    at: datetime | None = None
    valid: bool = False
    words: str = ""
    checks: tuple[Check, ...] = ()


class Attachment(View, frozen=True, kw_only=True):
    name: str
    digest: str | None = None
    words: str = ""


class WrittenEntry(View, frozen=True, kw_only=True):
    """What writing or signing answers."""

    entry: str
    name: str
    number: int
    version: int
    title: str = ""
    digest: str = ""
    url: str = ""
    signature: Signature | None = None


class Entry(View, frozen=True, kw_only=True):
    """A notebook entry at one version; `name` is `owner/name#n3`."""

    id: str
    name: str
    number: int
    version: int = 1
    newest: int = 1
    title: str = ""
    content: str = ""
    tools_used: tuple[str, ...] = ()
    conclusions: str = ""
    author: Person = Person()
    at: datetime | None = None
    digest: str = ""
    attachments: tuple[Attachment, ...] = ()
    signatures: tuple[Signature, ...] = ()
    url: str = ""


class EntryRow(View, frozen=True, kw_only=True):
    """An entry in a list; `signatures` is how many there are, not whether they hold."""

    id: str
    name: str
    number: int
    version: int = 1
    title: str = ""
    author: Person = Person()
    at: datetime | None = None
    signatures: int = 0
    attachments: int = 0
    url: str = ""


class Entries(View, frozen=True, kw_only=True):
    entries: tuple[EntryRow, ...] = ()
    cursor: str | None = None


class SignedBytes(View, frozen=True, kw_only=True):
    signature: Signature


class EntryVerification(View, frozen=True, kw_only=True):
    """Whether a version is what was saved and what was signed."""

    entry: str
    name: str = ""
    version: int = 1
    valid: bool
    signed: bool = False
    words: str = ""
    digest: str = ""
    checks: tuple[Check, ...] = ()
    signatures: tuple[SignedBytes, ...] = ()


class LedgerVerification(View, frozen=True, kw_only=True):
    """Whether the whole ledger is what was recorded; `fault` is the first thing that is not."""

    holds: bool
    lines: int = 0
    erased: int = 0
    checkpoints: int = 0
    root: str = ""
    verifier_key: str = ""
    fault: str = ""


class MadeArtifact(View, frozen=True, kw_only=True):
    """The version that was recorded."""

    artifact: str
    path: str
    number: int
    digest: str = ""
    size: int = 0
    media_type: str = ""
    url: str = ""


class AltSet(View, frozen=True, kw_only=True):
    """The words an artifact is described by now."""

    artifact: str
    alt: str


class Key(View, frozen=True, kw_only=True):
    """A signing key, without what signs."""

    key: str
    name: str
    custody: str = ""
    fingerprint: str = ""
    created: datetime | None = None
    revoked: datetime | None = None


class Window(View, frozen=True, kw_only=True):
    """An open signing window."""

    name: str = ""
    expires: datetime


class Account(View, frozen=True, kw_only=True):
    """Somebody's account, after an operator changed it."""

    person: str
    handle: str
    hub_role: str = "member"
    disabled: bool = False


class Ended(View, frozen=True, kw_only=True):
    """Something that is no more; which of these is there depends on what it was."""

    ended: str = ""
    link: str = ""
    person: str = ""
    closed: int = 0


class Artifact(View, frozen=True, kw_only=True):
    """A file at one version; `name` is `owner/name:path@3` where one version is shown, and absent in lists."""

    id: str
    name: str = ""
    path: str
    number: int = 1
    newest: int = 0
    kind: str = "stored"
    digest: str | None = None
    size: int = 0
    media_type: str = ""
    author: Person = Person()
    at: datetime | None = None
    alt: str | None = None
    job: str | None = None
    metadata: dict[str, Any] = {}
    words: str = ""
    url: str = ""


class Node(View, frozen=True, kw_only=True):
    id: str
    kind: str = "version"
    label: str = ""
    detail: str = ""


class Edge(View, frozen=True, kw_only=True):
    source: str
    target: str


class Lineage(View, frozen=True, kw_only=True):
    """What a version was made from and what became of it."""

    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    truncated: bool = False


class Artifacts(View, frozen=True, kw_only=True):
    artifacts: tuple[Artifact, ...] = ()
    cursor: str | None = None


class DeviceCode(View, frozen=True, kw_only=True):
    """A login that waits to be confirmed in a browser."""

    device_code: str
    user_code: str
    url: str
    expires: str = ""
    interval: int = 3


class DeviceToken(View, frozen=True, kw_only=True):
    """The token of a confirmed login; nothing yet while it waits."""

    state: str = "waiting"
    interval: int = 3
    token: str | None = None
    secret: str | None = None
    expires: datetime | None = None

"""THE door: envelope -> action -> permission -> transaction -> ledger -> result.

`perform` carries out what a person asked for; `record` what the hub itself observed (a poll, a collection), one line
per object it names. Both run in one unit of work whose last statements are the ledger lines.
"""

from __future__ import annotations

import concurrent.futures
import datetime as dt
import hashlib
import hmac
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import msgspec
import sqlalchemy as sa

from hub.core import actions, limits
from hub.core.clock import iso
from hub.core.context import SYSTEM, Actor, Context, Refusal
from hub.core.database import Instant, Tx, metadata
from hub.core.errors import Conflict, HubError, InvalidInput
from hub.core.house import House
from hub.core.ids import derived_secret
from hub.ledger import lines

T = TypeVar("T")
# For what an action does before its unit of work: few, since it is slow on purpose and others need the processor, too.
_BEFOREHAND = concurrent.futures.ThreadPoolExecutor(4, "beforehand")

# Answers kept for retries under the same Idempotency-Key; the scope of a key is its actor.
idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("actor", sa.String(64), primary_key=True),
    sa.Column("key", sa.String(limits.IDEMPOTENCY_KEY_CHARACTERS), primary_key=True),
    sa.Column("request", sa.LargeBinary(32), nullable=False),
    sa.Column("answer", sa.LargeBinary),
    sa.Column("at", Instant, nullable=False),
    sa.Index("ix_idempotency_at", "at"),
)


_KEEP_ANSWER = (
    sa.update(idempotency)
    .where(idempotency.c.actor == sa.bindparam("by"), idempotency.c.key == sa.bindparam("under"))
    .values(answer=sa.bindparam("stored"))
)


class Answer(msgspec.Struct, frozen=True):
    """What an action answers: its ledger line and the view its handler returned."""

    line: int
    result: Any


class Beside(Protocol):
    """What a door does in the unit of work of an action that came through it."""

    def before(self, tx: Tx) -> None:
        """Bookkeeping that stays when the action is refused; when it refuses itself, nothing happens."""

    def after(self, ctx: Context) -> None:
        """A look at what was done, before it is committed."""


class _Stored(msgspec.Struct, frozen=True):
    line: int
    result: Any
    revealed: dict[str, tuple[str, str, str]]


def perform(
    house: House, envelope: bytes | dict[str, Any] | actions.Action, actor: Actor, idempotency_key: str | None = None
) -> Answer:
    """Carry out one action and wait until it is committed. Raises HubError, and then nothing has happened."""
    return submit(house, envelope, actor, idempotency_key).result()


def submit(
    house: House,
    envelope: bytes | dict[str, Any] | actions.Action,
    actor: Actor,
    idempotency_key: str | None = None,
    beside: Beside | None = None,
) -> concurrent.futures.Future[Answer]:
    """As `perform`, without waiting; what can be refused without the database is refused at once.

    `beside` is what its door writes and reads in the same transaction.
    """
    if isinstance(envelope, bytes):
        action = actions.decode(envelope)
    elif isinstance(envelope, dict):
        action = actions.from_object(envelope, "$")
    else:
        action = envelope
    if idempotency_key is not None and not 0 < len(idempotency_key) <= limits.IDEMPOTENCY_KEY_CHARACTERS:
        raise InvalidInput(
            f"an Idempotency-Key has 1 to {limits.IDEMPOTENCY_KEY_CHARACTERS} characters", path="Idempotency-Key"
        )
    request = _digest(house, action)
    if (before := actions.registered(action).before) is not None:
        return _BEFOREHAND.submit(_in_two_parts, house, before, action, actor, request, idempotency_key, beside)
    if not action.counts_refusals and beside is None:
        return house.db.submit(lambda tx: _carry_out(house, tx, action, actor, request, idempotency_key))
    outcome = house.db.submit(lambda tx: _carry_out_or_tell(house, tx, action, actor, request, idempotency_key, beside))
    return _told(outcome)


def _in_two_parts(
    house: House,
    before: actions.Before,
    action: actions.Action,
    actor: Actor,
    request: bytes,
    key: str | None,
    beside: Beside | None,
) -> Answer:
    if beside is not None:
        house.db.write(beside.before)
    prepared = before(action, house, actor)
    return house.db.write(lambda tx: _carry_out(house, tx, action, actor, request, key, beside, prepared))


def _digest(house: House, action: actions.Action) -> bytes:
    """What the ledger and a retry know a request by.

    Under the hub's key where the request holds a secret: a plain digest of a short passphrase could be guessed at.
    """
    encoded = msgspec.json.encode(action)
    if action.secret_fields:
        return hmac.digest(house.secret, b"request\x00" + encoded, "sha256")
    return hashlib.sha256(encoded).digest()


def record(house: House, action: str, work: Callable[[Context], T], actor: Actor = SYSTEM) -> T:
    """Write what the hub observed: every object that `work` names by `ctx.about` gets a line of this action."""

    def unit(tx: Tx) -> T:
        ctx = Context(house, tx, actor)
        result = work(ctx)
        _write_lines(ctx, action, None)
        return result

    return house.db.write(unit)


def within(house: House, tx: Tx, action: str, actor: Actor = SYSTEM) -> Recording:
    """A context that writes its lines when left, for a unit of work that is already running."""
    return Recording(Context(house, tx, actor), action)


class Recording:
    """`with within(...) as ctx:` for observed transitions inside somebody else's unit of work."""

    def __init__(self, ctx: Context, action: str) -> None:
        self._ctx, self._action = ctx, action

    def __enter__(self) -> Context:
        return self._ctx

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            _write_lines(self._ctx, self._action, None)


def _carry_out(
    house: House,
    tx: Tx,
    action: actions.Action,
    actor: Actor,
    request: bytes,
    key: str | None,
    beside: Beside | None = None,
    prepared: Any = None,
) -> Answer:
    ctx = Context(house, tx, actor)
    ctx.prepared = prepared
    if key is not None and (earlier := _earlier_answer(ctx, key, request)) is not None:
        return earlier
    registration = actions.registered(action)
    result = registration.handler(action, ctx)
    if registration.needs not in ctx.access.checked:
        raise AssertionError(f"{registration.handler.__name__} did not check {registration.needs}")
    if not ctx.lines:
        raise AssertionError(f"{registration.handler.__name__} named no object for the ledger")
    line = _write_lines(ctx, registration.tag, request)
    answer = Answer(line, msgspec.to_builtins(result))
    if beside is not None:
        beside.after(ctx)
    if key is not None:
        bare = msgspec.to_builtins(result)
        for place in ctx.revealed:
            _put(bare, place, None)
        stored = msgspec.json.encode(_Stored(line, bare, ctx.revealed))
        tx.execute(_KEEP_ANSWER, {"by": actor.id, "under": key, "stored": stored})
    return answer


def _carry_out_or_tell(
    house: House,
    tx: Tx,
    action: actions.Action,
    actor: Actor,
    request: bytes,
    key: str | None,
    beside: Beside | None,
) -> Answer | HubError:
    """As `_carry_out`, but a refusal is an outcome that commits: with what its door and `Refusal.also` write, no more.

    What counts its refusals is done one after another, since a lock that the handler takes would be let go before the
    count is written.
    """
    if beside is not None:
        beside.before(tx)
    if action.counts_refusals:
        tx.alone(f"{action.__struct_config__.tag}\x00{getattr(action, action.counts_refusals)}")
    try:
        with tx.conn.begin_nested():
            return _carry_out(house, tx, action, actor, request, key, beside)
    except Refusal as refusal:
        tx.after.clear()
        refusal.also(tx)
        return refusal.error
    except HubError as error:
        if beside is None:
            raise
        tx.after.clear()
        return error


def _told(outcome: concurrent.futures.Future[Answer | HubError]) -> concurrent.futures.Future[Answer]:
    """The same outcome, with a refusal raised to whoever asked."""
    told: concurrent.futures.Future[Answer] = concurrent.futures.Future()

    def tell(done: concurrent.futures.Future[Answer | HubError]) -> None:
        if not told.set_running_or_notify_cancel():
            return
        error = done.exception()
        if error is None:
            result = done.result()
            error = result if isinstance(result, HubError) else None
        if error is not None:
            told.set_exception(error)
        else:
            told.set_result(done.result())  # type: ignore[arg-type]

    outcome.add_done_callback(tell)
    return told


def _earlier_answer(ctx: Context, key: str, request: bytes) -> Answer | None:
    """The answer first given under this key, or None after reserving the key for this action."""
    if ctx.tx.insert_new(idempotency, actor=ctx.actor.id, key=key, request=request, at=ctx.now):
        return None
    row = ctx.execute(sa.select(idempotency).where(idempotency.c.actor == ctx.actor.id, idempotency.c.key == key)).one()
    if row.request != request:
        raise Conflict(
            "this Idempotency-Key was used for another request",
            code="idempotency_key_reused",
            hint="use a fresh key for a new request, and the same key only to repeat the same one",
        )
    stored = msgspec.json.decode(row.answer, type=_Stored)
    result = stored.result
    for field, (prefix, purpose, object_id) in stored.revealed.items():
        _put(result, field, derived_secret(ctx.house.secret, prefix, purpose, object_id))
    return Answer(stored.line, result)


def _put(value: Any, place: str, secret: str | None) -> None:
    """Set the secret at a dotted place such as `invitations.0.secret` of an answer."""
    *path, last = place.split(".")
    for step in path:
        value = value[int(step)] if isinstance(value, list) else value[step]
    value[last] = secret


def _write_lines(ctx: Context, action: str, request: bytes | None) -> int:
    line = -1
    for named in ctx.lines:
        line = lines.append(
            ctx.tx,
            lines.Body(
                at=iso(ctx.now),
                actor=ctx.actor.id,
                action=named.action or action,
                object_kind=named.kind,
                object=named.id,
                session=named.session_id,
                by_service=ctx.actor.by_service,
                link=ctx.actor.link_id,
                came_by=ctx.actor.came_by,
                request=None if request is None else request.hex(),
                facts=named.facts,
            ),
            ctx.now,
        )
        if named.written is not None:
            named.written(line)
        ctx.publish(
            f"session:{named.session_id}" if named.session_id else "hub",
            {"kind": "changed", "action": named.action or action, "object_kind": named.kind, "object": named.id},
        )
    if ctx.lines:
        ctx.publish("pending", {})
    return line


def forget_old_answers(tx: Tx, now: dt.datetime) -> None:
    """Drop answers older than they are promised to be kept."""
    tx.execute(
        sa.delete(idempotency).where(idempotency.c.at < now - dt.timedelta(seconds=limits.IDEMPOTENCY_KEPT_SECONDS))
    )

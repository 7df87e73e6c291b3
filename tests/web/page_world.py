"""A small world to look at: a session of two, jobs in every kind of state, files of every kind, entries signed and not.

Nothing runs here: each job was brought to its state by the moves the table allows, so that a page looks the same every
time it is drawn.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.artifacts import leases, previews, versions
from hub.core.clock import FrozenClock
from hub.core.context import Actor, Context
from hub.core.house import House
from hub.core.ids import new_secret
from hub.jobs import logs, transitions
from hub.jobs.clusters.tables import cluster_accounts, clusters
from hub.jobs.rules import Event
from hub.jobs.tables import jobs
from hub.people import accounts, once
from hub.perform import perform as perform_action
from hub.perform import record
from hub.work.dispatcher import number_all
from tests.actions.notebook_fixtures import grant, signed_in

Perform = Callable[..., Any]

SCRIPT = "#!/bin/sh\nset -eu\npython3 fit_band.py data/hcl_lines.csv\n"
CSV = "band,branch,J,wavenumber\n1-0,P,2,2843.866\n1-0,P,1,2865.364\n1-0,R,0,2906.513\n1-0,R,1,2926.134\n"
LEVELS = b"v,G,dG\n0,0,\n1,2885.98,2885.98\n2,5667.98,2782.00\n"
HEIGHTS = (2, 4, 7, 9, 10, 8, 5, 0, 6, 9, 11, 10, 8, 5, 3)
CONSTANTS = {"omega_e": 2989.88, "omega_e_x_e": 51.84, "B_0": 10.4396, "rms": 0.015}
TEXT = """The infrared band of hydrogen chloride near 2886 cm$^{-1}$ shows two combs of lines and a hole between them.

## The fundamental band

With $m = -J$ in the P branch and $m = J + 1$ in the R branch, one polynomial holds every line:

$$\\tilde\\nu(m) = \\tilde\\nu_0 + (B' + B'')\\,m + (B' - B'')\\,m^2 - 4 D m^3$$

| Constant | Fitted | Accepted |
|---|---:|---:|
| $\\nu_0$ | 2886.207 | 2885.977 |
| $B_0$ | 10.4396 | 10.4402 |

![The band](figures/band.svg)

## What it means

- The scale of the instrument is off by 0.23 cm$^{-1}$.
- The rotational constants do not mind, since they are *differences*.
"""
BOT = Actor(id="tok_bot", name="bot", kind="service", hub_role="service")
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGh5cG90aGV0aWNhbGhvc3RrZXlvZmFjbHVzdGVy"
HOSTILE = '<img src=x onerror="alert(1)">'


class World(msgspec.Struct):
    """What is in it, by id."""

    house: House
    ana: Actor
    ben: Actor
    olga: Actor  # who operates the hub
    session: str
    name: str
    running: str
    failed: str
    succeeded: str
    queued: str
    signed: str
    unsigned: str
    figure: str
    photo: str
    table: str
    text: str
    blob: str
    link: str
    guarded: str  # the secret of a link that asks for a passphrase
    invitation: str  # the secrets of links that ask somebody: Ben into Ana's session, Ana whether she is who they mean
    chat_link: str
    address_link: str
    thread: str  # the first message of one


def make(house: House, clock: FrozenClock, perform: Perform, ana: Actor, ben: Actor) -> World:
    """Fill a fresh hub."""
    now = house.clock.now()
    clock.set(now - dt.timedelta(days=2))
    session = perform(ana, "session_create", name="hcl-band", title="The HCl band")["session"]
    grant(house, session, ben, "read_write")
    perform(ana, "session_share", session_id=session, participants=[{"email": "lee@university.edu", "role": "read"}])
    lines = _file(house, ana, session, "data/hcl_lines.csv", CSV.encode())
    script = _file(house, ana, session, "fit_band.py", b"import numpy as np\n\n# Fits the band.\nprint('ok')\n")
    clock.set(now - dt.timedelta(hours=5))
    succeeded = _job(house, perform, ana, session, "fit hcl band")
    _move(house, succeeded, "placed", placed_at=house.clock.now())
    clock.advance(3)
    _move(house, succeeded, "started", started_at=house.clock.now())
    _log(house, succeeded, "read  data/hcl_lines.csv  36 lines\nwarning: R1 lies 1.9 sigma off; kept\nwrote figures\n")
    clock.advance(581)
    _move(house, succeeded, "ended", outcome="succeeded", exit=_exit(0, 581))
    made = {"job": succeeded, "lineage": [lines, script], "author": ana.id}
    figure = _file(house, ana, session, "figures/band.svg", svg(), alt="Two combs of lines with a gap between", **made)
    photo = _file(house, ana, session, "figures/levels.png", png(), **made)
    table = _file(house, ana, session, "tables/levels.csv", LEVELS, **made)
    text = _file(house, ana, session, "results/constants.json", json.dumps(CONSTANTS, indent=2).encode(), **made)
    blob = _file(house, ana, session, "results/state.bin", bytes(range(256)) * 8, **made)
    _move(house, succeeded, "succeeded", ended_at=house.clock.now(), log_size=90)
    clock.set(now - dt.timedelta(hours=3))
    signed = _entry(perform, ana, session, "Anharmonicity of HCl from two bands", TEXT)
    _sign(house, ana, signed, house.clock.now())
    clock.set(now - dt.timedelta(hours=2))
    unsigned = _entry(perform, ana, session, f"Cell and pressure {HOSTILE}", f"Pressure **30 mbar**. {HOSTILE}")
    failed = _job(house, perform, ana, session, f"bootstrap {HOSTILE}")
    _move(house, failed, "placed", placed_at=house.clock.now())
    _move(house, failed, "started", started_at=house.clock.now())
    _log(house, failed, f"resample 1\n{HOSTILE}\nMemoryError: no more\n")
    clock.advance(190)
    _move(house, failed, "ended", outcome="ran_out_of_memory", exit=_exit(137, 190))
    reason = "Ended by the hub, because it used 2.1 GiB of memory and had asked for 2 GiB."
    _move(house, failed, "ran_out_of_memory", reason, ended_at=house.clock.now())
    clock.set(now - dt.timedelta(seconds=372))
    running = _job(house, perform, ana, session, "isotope shift")
    _move(house, running, "placed", placed_at=house.clock.now())
    _move(house, running, "started", started_at=house.clock.now())
    climb = {"fraction": 0.64, "at": now.timestamp(), "first_fraction": 0.0, "first_at": now.timestamp() - 372}
    steps = "".join(f"bootstrap {each}/2000  rms 0.0252\n" for each in range(1084, 1285, 20))
    _log(house, running, f"read  data/hcl_lines.csv  36 lines\n{steps}")
    _set(house, running, progress={**climb, "done": 1284, "total": 2000})
    clock.set(now - dt.timedelta(seconds=60))
    queued = _job(house, perform, ben, session, "second molecule")
    for who, said in ((ana, "Please open the figure and find the gap first."), (ben, f"R0 − P1 is 41.15 {HOSTILE}")):
        said_last = perform(who, "room_message", session_id=session, text=said)["id"]
    _talk(perform, ana, ben, session, said_last, figure)
    shared = perform(ana, "link_create", session_id=session, role="read", uses=5, label="For the seminar")
    link = shared["link"]
    perform(ben, "link_open", secret=shared["secret"])  # Ben belongs here by two grants, and is one person.
    # In Ben's own session, so that this one's pages count one link.
    guarded = perform(ben, "link_create", session_id="personal", passphrase="blue kettle")["secret"]
    invitation = perform(ben, "session_share", session_id="personal", participants=[{"email": "kim@university.edu"}])
    chat = {"platform": "slack", "workspace": "T0CHEM", "user": "U0ANA", "name": f"ana {HOSTILE}"}
    perform(ana, "chat_link", secret=perform(BOT, "chat_link_begin", **chat)["secret"])
    other = {**chat, "user": "U1ANA", "workspace_name": "Chemistry"}
    clock.set(now)
    chat_link = perform(BOT, "chat_link_begin", **other)["secret"]
    address_link = new_secret("clge")
    ends, link_id = now + dt.timedelta(hours=1), {"link": "eml_x", "email": "ana@chemistry.edu"}
    house.db.write(lambda tx: once.issue(tx, address_link, "email", person=ana.id, expires_at=ends, **link_id))
    for version in (photo, table, text, lines, script):
        previews.make(house, version)
    _cluster(house, ana)
    number_all(house, "test")
    return World(
        house, ana, ben, _operator(house), session, "ana/hcl-band", running, failed, succeeded, queued, signed,
        unsigned, figure, photo,
        table, text, blob, link, guarded,
        invitation["invitations"][0]["secret"], chat_link, address_link, said_last,
    )  # fmt: skip


def _talk(perform: Perform, ana: Actor, ben: Actor, session: str, first: str, figure: str) -> None:
    """A thread with an answer, signs and an edit; something private, something removed, something reported."""

    def say(who: Actor, text: str, **where: str) -> str:
        said: str = perform(who, "room_message", session_id=session, text=text, **where)["id"]
        return said

    answer = say(ana, f"41.17 now {HOSTILE}", thread=first)
    perform(ana, "message_edit", message=answer, text=f"41.17, after the second fit {HOSTILE}")
    perform(ana, "message_react", message=first, emoji="👍")
    perform(ben, "message_react", message=first, emoji="👍")
    perform(ben, "message_remove", message=say(ben, "never mind", thread=first))
    say(ben, "Is this line real?", about=f"artifact:{figure}")
    say(ana, f"Between us: yes {HOSTILE}", to="ben")
    perform(ben, "message_report", message=answer, reason=f"not kind {HOSTILE}")
    rude = say(ben, f"Whoever drew this {HOSTILE}")
    perform(ana, "message_report", message=rude, reason="rude")


def _cluster(house: House, ana: Actor) -> None:
    """A cluster that Ana has an account on, and one that she has not; rows alone, since nobody is asked here."""
    now = house.clock.now()
    about = {"kind": "slurm", "port": 22, "host_keys": [HOST_KEY], "made_by": "per_x", "made_at": now, "path": []}
    standing = {"reached": True, "version": "22.05.8", "per_minute": {"squeue": 2, "sacct": 1, "sbatch": 1}}
    account = {"person": ana.id, "login": "anan", "public_key": f"{HOST_KEY} collegium:ana@raven", "made_at": now}
    account |= {"tested_at": now - dt.timedelta(hours=4), "standing": standing}

    def work(tx: Any) -> None:
        for name, price, defaults in (("raven", 0.02, {"partition": "short"}), ("crow", None, {})):
            row = {"id": f"cl_{name}", "name": name, "host": f"login.{name}.example.org", "defaults": defaults}
            tx.execute(sa.insert(clusters).values(**about, **row, price_per_core_hour=price))
        tx.execute(sa.insert(cluster_accounts).values(id="acc_x", cluster="cl_raven", **account))

    house.db.write(work)


def _operator(house: House) -> Actor:
    def work(tx: Any) -> str:
        return accounts.make(tx, handle="olga", name="Olga", hub_role="operator", now=house.clock.now())

    person = house.db.write(work)
    with house.db.read() as conn:
        actor = accounts.actor_of(conn, person)
    assert actor is not None
    return actor


def sign_in(house: House, person: Actor) -> str:
    """A browser's cookie for a person."""
    secret = new_secret("clgc")
    house.db.write(lambda tx: accounts.sign_in(tx, secret, house.clock.now(), person=person.id))
    return secret


def svg() -> bytes:
    """A spectrum with its middle line missing."""
    lines = "".join(f'<path d="M{40 + 24 * m} 200v-{15 * height}"/>' for m, height in enumerate(HEIGHTS))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="440" height="220" viewBox="0 0 440 220">'
        f'<g fill="none" stroke="#00616f" stroke-width="2">{lines}<path d="M20 200h400"/></g></svg>'
    ).encode()


def png(width: int = 64, height: int = 40) -> bytes:
    """A picture of plain stripes, made by hand."""
    rows = b"".join(
        b"\x00" + b"".join(b"\x00\x61\x6f" if (x + y) % 8 < 2 else b"\xff\xff\xff" for x in range(width))
        for y in range(height)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _file(house: House, who: Actor, session: str, path: str, content: bytes, **about: Any) -> str:
    blob = leases.keep(house, session, io.BytesIO(content), owner=who.id, filename=path)
    return record(
        house, "artifact_versioning", lambda ctx: versions.add(ctx, session, path, blob.digest, **about), who
    ).version


def _entry(perform: Perform, who: Actor, session: str, title: str, content: str) -> str:
    entry = {
        "title": title,
        "content": content,
        "tools_used": ["python 3.11", "numpy 2.1"],
        "artifacts": ["figures/band.svg", "tables/levels.csv"] if "band" in content else [],
        "conclusions": "Energy levels follow $G(v) = \\omega_e (v + \\tfrac12) - \\omega_e x_e (v + \\tfrac12)^2$.",
    }
    made: str = perform(who, "lab_notebook", session_id=session, entry=entry)["entry"]
    return made


def _sign(house: House, who: Actor, entry: str, at: dt.datetime) -> None:
    browser = signed_in(who, at)
    for params in (
        {"action": "key_create", "name": "ana_key"},
        {"action": "signing_window", "key": "ana_key"},
        {"action": "note_sign", "entry": entry, "key": "ana_key", "meaning": "author"},
    ):
        perform_action(house, {"tool": "distributed_collaboration", "params": params}, browser)


def _job(house: House, perform: Perform, who: Actor, session: str, name: str) -> str:
    asked = {"memory": "2GB", "time": "30", "cpus_per_node": 2}
    made: str = perform(
        who, "job_submit", session_id=session, job_type="local", name=name, script=SCRIPT, resources=asked,
        artifacts=["data/hcl_lines.csv", "fit_band.py"],
    )["id"]  # fmt: skip
    return made


def _move(house: House, job: str, event: Event, reason: str = "", **values: Any) -> None:
    def work(ctx: Context) -> None:
        row = transitions.lock(ctx, job)
        assert row is not None
        transitions.happen(ctx, row, event, reason, **values)

    record(house, transitions.OBSERVED, work)


def _set(house: House, job: str, **values: Any) -> None:
    house.db.write(lambda tx: tx.execute(sa.update(jobs).where(jobs.c.id == job).values(**values)) and None)


def _log(house: House, job: str, text: str) -> None:
    logs.store(house.settings.data).append(job, 0, text.encode())


def _exit(code: int, seconds: float) -> dict[str, Any]:
    return {
        "reason": "exited",
        "code": code,
        "seconds": seconds,
        "cpu_seconds": seconds * 1.8,
        "peak_memory_bytes": 1_900_000_000,
        "sandboxed": True,
    }


def start(world: World, name: str) -> str:
    """One more job of Ana's that runs and has written nothing yet."""
    house = world.house

    def perform(actor: Actor, action: str, **params: Any) -> Any:
        envelope = {"tool": "distributed_collaboration", "params": {"action": action, **params}}
        return perform_action(house, envelope, actor).result

    job = _job(house, perform, world.ana, world.session, name)
    _move(house, job, "placed", placed_at=house.clock.now())
    _move(house, job, "started", started_at=house.clock.now())
    return job


def finish(world: World, job: str) -> None:
    """Let a job that runs end well."""
    _move(world.house, job, "ended", outcome="succeeded", exit=_exit(0, 12))
    _move(world.house, job, "succeeded", ended_at=world.house.clock.now())

"""`job`: see where work would go, submit it, see how it stands, read its log, stop it."""

import re
from collections.abc import Callable
from typing import Any

import click

from bot.cards import JobLive, LogLive, Next, Reply, Table
from bot.cluster_views import JobPlan
from bot.door import Door
from bot.faces.job import job_card, job_row
from bot.faces.plan import choice_card, plan_card
from bot.faces.workflow import workflow_face
from bot.grammar import KeyValue, Noun, session_option
from bot.hub_views import Job, Workflow
from bot.problems import INVALID, Problem, usage
from bot.verbs.submitting import Bringing, confirm_option, confirmed, dry_run, whole_terms
from bot.words import counted

# A scheduler that was never asked before is signed in to first; who sits at a terminal waits no longer than this.
_LOOKS, _LOOK_SECONDS = 12, 0.5
# What Slurm calls a job, on a cluster that the hub knows by this name.
_OUTSIDE = re.compile(r"([a-z][a-z0-9-]*):([1-9]\d{0,11}(?:_\d{1,9})?)", re.ASCII)


@click.group("job", cls=Noun)
def job() -> None:
    """Jobs: submit work, watch it, read its log, stop it."""


FIELDS = {
    "script": "SCRIPT",
    "args": "ARGS",
    "artifacts": "--in",
    "outputs": "--out",
    "fetch": "--fetch",
    "name": "--name",
    "job_type": "--type",
    "cluster": "--cluster",
    "env": "--env",
    "within": "--within",
    "budget": "--budget",
    "agreed": "--agreed",
    "resources.time": "--time",
    "resources.memory": "--memory",
    "resources.cpus_per_node": "--cpus",
    "resources.gpus": "--gpus",
    "resources.nodes": "--nodes",
    "confirm": "--confirm",
}
# What a job needs and where it may go: the same for whoever submits and for whoever only asks.
_NEEDS = (
    click.option("-t", "--time", metavar="TIME", help="At most this long, as Slurm writes it: 30, 2:00:00, 1-12."),
    click.option("-m", "--memory", metavar="SIZE", help="Memory a node: 500M, 32GB."),
    click.option("-c", "--cpus", type=click.IntRange(1), help="Processors a node."),
    click.option("-g", "--gpus", type=click.IntRange(1), help="Graphics processors."),
    click.option("--nodes", type=click.IntRange(1), help="Nodes."),
    click.option(
        "--type",
        "job_type",
        type=click.Choice(["auto", "local", "slurm", "kubernetes"]),
        default="auto",
        show_default=True,
        help="Where it runs.",
    ),
    click.option("--cluster", metavar="NAME", help="Which cluster, if you have an account on several."),
    click.option("--within", metavar="TIME", help="It is to have ended by then, written like --time."),
    click.option("--budget", type=click.FloatRange(0), metavar="AMOUNT", help="What it may cost at most."),
)


def _needs(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_NEEDS):
        command = option(command)
    return command


def _asked(given: dict[str, Any]) -> dict[str, Any]:
    """The parameters of `job_submit` for the options of `_NEEDS`."""
    cpus = given.pop("cpus")
    wanted = {"cpus_per_node": cpus, **{name: given.pop(name) for name in ("time", "memory", "gpus", "nodes")}}
    return {**given, "resources": {key: value for key, value in wanted.items() if value is not None} or None}


@job.command("submit", fields=FIELDS)
@click.argument("script")
@click.argument("arguments", metavar="[ARGS]...", nargs=-1)
@click.option(
    "-i",
    "--in",
    "inputs",
    metavar="FILE",
    multiple=True,
    help="A file it reads: sent if it is here, else a path in the session.",
)
@click.option(
    "-o",
    "--out",
    "outputs",
    metavar="NAME",
    multiple=True,
    help="A file to keep; without any, every new or changed file is kept.",
)
@click.option(
    "--fetch",
    metavar="NAME",
    multiple=True,
    help="A file, folder/ or pattern to bring home however large it is; others are fetched up to a limit.",
)
@click.option("-n", "--name", help="What to call it.")
@_needs
@click.option("-e", "--env", "environment", type=KeyValue(), multiple=True, help="A variable it sees.")
@session_option
@click.option("--dry-run", "is_dry", is_flag=True, help="Show what would run; record nothing, send nothing.")
@confirm_option
@click.option("-w", "--wait", is_flag=True, help="Watch it until it ends; the exit code says how.")
@click.option("-f", "--follow", is_flag=True, help="Like --wait, with its log.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask where it should go.")
@click.option("--agreed", metavar="PLACE", help="The place that was shown: should it go elsewhere by now, ask again.")
@click.pass_obj
def submit_job(
    door: Door,
    /,
    script: str,
    arguments: tuple[str, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    fetch: tuple[str, ...],
    name: str | None,
    environment: tuple[tuple[str, str], ...],
    session: str | None,
    is_dry: bool,
    confirm: tuple[str, ...],
    wait: bool,
    follow: bool,
    yes: bool,
    agreed: str | None,
    **needs: Any,
) -> Reply:
    """Submit SCRIPT with its ARGS: a file here, a path in the session, `-` for standard input, or the text itself.

    Options for the script itself go behind `--`:  job submit fit.py -i lines.csv -- --bootstrap 2000
    """
    place = door.session(session)
    bringing = Bringing(door, place, is_dry=is_dry)
    paths = [bringing.path(one) for one in inputs]
    text, in_hand = _script(door, script, bringing)
    what: dict[str, Any] = {"session_id": place, "script": text, **_asked(needs)}
    wish: dict[str, Any] = {
        **what,
        "args": arguments or None,
        "name": name,
        "artifacts": paths or None,
        "outputs": outputs or None,
        "fetch": fetch or None,
        "env": dict(environment) or None,
    }
    if is_dry:
        if wait or follow:
            raise usage("--dry-run goes with neither --wait nor --follow.")
        return dry_run(door, "job_submit", bringing.assumed, wish)
    if not yes and agreed is None:
        asked = _agreed(door, what, session)
        if isinstance(asked, Reply):
            return asked
        agreed = asked
    made = confirmed(
        door,
        session,
        (*confirm, *in_hand),
        lambda digests: door.hub.act(
            "job_submit", Job, idempotency_key=door.key(), **wish, agreed=agreed, confirm=digests
        ),
    )
    if isinstance(made, Reply):
        return made
    live = JobLive(made.id, log=follow) if wait or follow else None
    return job_card(made, door, live=live)


@job.command("plan", fields=FIELDS)
@click.argument("script")
@_needs
@session_option
@click.pass_obj
def plan_job(door: Door, /, script: str, session: str | None, **needs: Any) -> Reply:
    """Show where SCRIPT would run, when and for how much; nothing is submitted."""
    place = door.session(session)
    text, _ = _script(door, script, Bringing(door, place, is_dry=False))
    return plan_card(_planned(door, {"session_id": place, "script": text, **_asked(needs)}))


def _planned(door: Door, what: dict[str, Any]) -> JobPlan:
    """The plan, with what schedulers answer within a few seconds where somebody can wait for it."""
    found = door.hub.plan(**what)
    for _ in range(_LOOKS if door.shell is not None else 0):
        if not found.asking:
            break
        door.the_shell.pause(_LOOK_SECONDS)
        found = door.hub.plan(**what)
    return found


def _agreed(door: Door, what: dict[str, Any], session: str | None) -> str | Reply | None:
    """The place that somebody agreed to, where the hub chooses between several; in a chat, the question first."""
    ask = None if door.shell is None else door.shell.ask
    if (ask is None and not door.asks_by_button) or what["job_type"] != "auto" or what["cluster"] is not None:
        return None
    plan = _planned(door, what)
    if len(plan.candidates) < 2 or plan.chosen is None:
        return None  # there is nothing to choose, or the refusal of the submission tells it
    if ask is None:
        several = sum(one.possible for one in plan.candidates) > 1
        return choice_card(plan, plan.chosen, door.said, door.named_session(session)) if several else None
    if not ask(plan_card(plan), f"Submit it to {plan.chosen}?", True):
        raise Problem(
            "not_agreed", "Nothing was submitted.", hint="--type local or --cluster NAME says where", exit_code=INVALID
        )
    return plan.chosen


def _script(door: Door, script: str, bringing: Bringing) -> tuple[str, list[str]]:
    """The script as the hub takes it, its text or its path in the session; and its digest when it came along."""
    if script == "-":
        script = door.standard_input()
        if not script.strip():
            raise usage("Standard input held no script.")
        return (script if "\n" in script else script + "\n"), []
    if script.startswith("#!") or "\n" in script:
        return script, []
    return bringing.path(script, is_script=True), bringing.in_hand(script)


@job.command("status")
@click.argument("which", metavar="JOB", required=False)
@session_option
@click.pass_obj
def job_status(door: Door, which: str | None, session: str | None) -> Reply:
    """Show how JOB stands (`12`, `ana/hcl#12`); without one, the newest."""
    return job_card(newest_or(door, which, session), door)


@job.command("watch")
@click.argument("which", metavar="JOB", required=False)
@session_option
@click.option("-f", "--follow", is_flag=True, help="With its log.")
@click.pass_obj
def watch_job(door: Door, which: str | None, session: str | None, follow: bool) -> Reply:
    """Watch JOB until it ends; the exit code says how it ended.

    CLUSTER:ID is a job of your own account there that was submitted by other means: the hub looks on from now on.
    """
    if which is not None and (outside := _OUTSIDE.fullmatch(which)) is not None:
        params: dict[str, Any] = {"cluster": outside[1], "native": outside[2], "session_id": door.session(session)}
        one = door.hub.act("job_watch", Job, idempotency_key=door.key(), **params)
    else:
        one = newest_or(door, which, session)
    return job_card(one, door, live=JobLive(one.id, log=follow))


@job.command("unwatch")
@click.argument("which", metavar="JOB")
@session_option
@click.pass_obj
def unwatch_job(door: Door, which: str, session: str | None) -> Reply:
    """Stop watching JOB of yours that was submitted outside the hub; it goes on where it is."""
    return _steered(door, "job_unwatch", which, session)


@job.command("logs")
@click.argument("which", metavar="JOB", required=False)
@session_option
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends.")
@click.option("--offset", type=click.IntRange(0), default=0, help="Begin at this byte.")
@click.option("--tail", type=click.IntRange(1), metavar="LINES", help="The last lines only.")
@click.pass_obj
def job_logs(door: Door, which: str | None, session: str | None, follow: bool, offset: int, tail: int | None) -> Reply:
    """Write the log of JOB to standard output, byte for byte into a pipe."""
    if tail is not None and (follow or offset):
        raise usage("--tail goes with neither --follow nor --offset.")
    one = newest_or(door, which, session)
    return job_card(one, door, live=LogLive(one.id, offset=offset, follow=follow, tail_lines=tail))


@job.command("cancel")
@click.argument("which", metavar="JOB")
@click.option("--downstream", is_flag=True, help="Also the steps of its workflow that wait for it.")
@session_option
@click.pass_obj
def cancel_job(door: Door, which: str, downstream: bool, session: str | None) -> Reply:
    """Stop JOB, or take it out of the queue; of one that has ended on a cluster, do not wait for its outputs."""
    job_id = door.ref(which, session)
    key = door.key()
    stopped = door.hub.act("job_cancel", Job, idempotency_key=key, job=job_id, downstream=downstream or None)
    return job_card(stopped, door)


@job.command("hold")
@click.argument("which", metavar="JOB")
@session_option
@click.pass_obj
def hold_job(door: Door, which: str, session: str | None) -> Reply:
    """Hold JOB back, which has not started, until it is released."""
    return _steered(door, "job_hold", which, session)


@job.command("release")
@click.argument("which", metavar="JOB")
@session_option
@click.pass_obj
def release_job(door: Door, which: str, session: str | None) -> Reply:
    """Release JOB, which is held back."""
    return _steered(door, "job_release", which, session)


@job.command("requeue")
@click.argument("which", metavar="JOB")
@session_option
@click.pass_obj
def requeue_job(door: Door, which: str, session: str | None) -> Reply:
    """Take JOB, which runs, back into its cluster's queue: it starts again from its beginning."""
    return _steered(door, "job_requeue", which, session)


def _steered(door: Door, action: str, which: str, session: str | None) -> Reply:
    steered = door.hub.act(action, Job, idempotency_key=door.key(), job=door.ref(which, session))
    return job_card(steered, door)


@job.command("connect", in_shell_only=True)
@click.argument("which", metavar="JOB")
@click.option(
    "-p", "--port", type=click.IntRange(1, 65535), default=8888, show_default=True, help="The port it listens on."
)
@session_option
@click.pass_obj
def connect_job(door: Door, which: str, port: int, session: str | None) -> Reply:
    """Print the ssh line that leads to a port of your JOB while it runs on a cluster; nothing is opened."""
    one = door.hub.connection(door.ref(which, session), port)
    said = f"Run this on your own machine. While it is open, {one.url} is port {one.port} of {one.node}."
    portal = (Next("open the cluster's portal", url=one.portal_url),) if one.portal_url else ()
    or_else = f"If the cluster lets nobody sign in to its nodes:\n  {one.by_login_node}"
    return Reply(sentence=said, body=f"  {one.command}\n{or_else}", next=portal, data=one)


@job.command("resume", fields={"workflow": "WHICH", "confirm": "--confirm", "within": "--within", "budget": "--budget"})
@click.argument("which", metavar="WHICH", required=False)
@whole_terms
@session_option
@confirm_option
@click.pass_obj
def resume_workflow(
    door: Door, /, which: str | None, session: str | None, confirm: tuple[str, ...], **terms: Any
) -> Reply:
    """Run the workflow of job WHICH again from the steps that failed or changed; without one, of the newest job.

    Scripts and files are taken as their paths hold them now. WHICH may also be the id of a workflow, `wf_...`.
    """
    workflow = which if which is not None and which.startswith("wf_") else newest_or(door, which, session).workflow
    if workflow is None:
        raise usage(
            f"Job {which or 'that is the newest'} is no step of a workflow.",
            hint="A job of its own is submitted again: job submit SCRIPT",
        )
    made = confirmed(
        door,
        session,
        confirm,
        lambda digests: door.hub.act(
            "workflow_resume", Workflow, idempotency_key=door.key(), workflow=workflow, confirm=digests, **terms
        ),
    )
    return made if isinstance(made, Reply) else workflow_face(made)


@job.command("list")
@session_option
@click.option("--cursor", help="Where the page before ended.")
@click.pass_obj
def list_jobs(door: Door, session: str | None, cursor: str | None) -> Reply:
    """List the session's jobs, newest first."""
    place = door.named_session(session)
    page = door.hub.jobs(place, cursor=cursor)
    running = sum(not one.is_over for one in page.jobs)
    counts = f"{counted(len(page.jobs), 'job')}{' and more' if page.cursor else ''}, {running} not over."
    more = f"More: {door.written('job', 'list', '--session', place, '--cursor', page.cursor)}" if page.cursor else ""
    first = page.jobs[0] if page.jobs else None
    return Reply(
        sentence=f"{place}: {counts}",
        named=f"{place}: {counts}",
        ident=counts,
        session=place,
        table=Table(("job", "name", "state", "when", "took"), tuple(job_row(one, door) for one in page.jobs), more),
        next=(Next("see one", ("job", "status", str(first.number))),)
        if first
        else (Next("submit one", ("job", "submit", "SCRIPT")),),
        data=page,
    )


def newest_or(door: Door, which: str | None, session: str | None) -> Job:
    """The job that is meant; the session's newest where none is named."""
    if which is not None:
        return door.hub.job(door.ref(which, session))
    place = door.named_session(session)
    page = door.hub.jobs(place)
    if not page.jobs:
        raise usage(f"{place} has no job yet.", fix="job submit SCRIPT")
    return door.hub.job(page.jobs[0].id)

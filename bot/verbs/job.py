"""`job`: submit work, see how it stands, read its log, stop it."""

import click

from bot.cards import JobLive, LogLive, Next, Reply, Table
from bot.door import Door
from bot.faces.job import job_card, job_row
from bot.grammar import KeyValue, Noun, session_option
from bot.hub_views import Job
from bot.problems import usage
from bot.verbs.files import in_session
from bot.words import counted


@click.group("job", cls=Noun)
def job() -> None:
    """Jobs: submit work, watch it, read its log, stop it."""


@job.command(
    "submit",
    fields={
        "script": "SCRIPT",
        "args": "ARGS",
        "artifacts": "--in",
        "outputs": "--out",
        "name": "--name",
        "job_type": "--type",
        "env": "--env",
        "resources.time": "--time",
        "resources.memory": "--memory",
        "resources.cpus_per_node": "--cpus",
        "resources.gpus": "--gpus",
        "resources.nodes": "--nodes",
    },
)
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
@click.option("-n", "--name", help="What to call it.")
@click.option("-t", "--time", metavar="TIME", help="At most this long, as Slurm writes it: 30, 2:00:00, 1-12.")
@click.option("-m", "--memory", metavar="SIZE", help="Memory a node: 500M, 32GB.")
@click.option("-c", "--cpus", type=click.IntRange(1), help="Processors a node.")
@click.option("-g", "--gpus", type=click.IntRange(1), help="Graphics processors.")
@click.option("--nodes", type=click.IntRange(1), help="Nodes.")
@click.option(
    "--type",
    "job_type",
    type=click.Choice(["auto", "local", "slurm", "kubernetes"]),
    default="auto",
    show_default=True,
    help="Where it runs.",
)
@click.option("-e", "--env", "environment", type=KeyValue(), multiple=True, help="A variable it sees.")
@session_option
@click.option("-w", "--wait", is_flag=True, help="Watch it until it ends; the exit code says how.")
@click.option("-f", "--follow", is_flag=True, help="Like --wait, with its log.")
@click.pass_obj
def submit_job(
    door: Door,
    script: str,
    arguments: tuple[str, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    name: str | None,
    time: str | None,
    memory: str | None,
    cpus: int | None,
    gpus: int | None,
    nodes: int | None,
    job_type: str,
    environment: tuple[tuple[str, str], ...],
    session: str | None,
    wait: bool,
    follow: bool,
) -> Reply:
    """Submit SCRIPT with its ARGS: a file here, a path in the session, `-` for standard input, or the text itself.

    Options for the script itself go behind `--`:  job submit fit.py -i lines.csv -- --bootstrap 2000
    """
    place = door.session(session)
    resources = {"time": time, "memory": memory, "cpus_per_node": cpus, "gpus": gpus, "nodes": nodes}
    paths = [in_session(door, one, place) for one in inputs]
    made = door.hub.act(
        "job_submit",
        Job,
        idempotency_key=door.key(),
        session_id=place,
        script=_script(door, script, place),
        args=arguments or None,
        name=name,
        job_type=job_type,
        resources={key: value for key, value in resources.items() if value is not None} or None,
        artifacts=paths or None,
        outputs=outputs or None,
        env=dict(environment) or None,
    )
    live = JobLive(made.id, log=follow) if wait or follow else None
    return job_card(made, door, live=live)


def _script(door: Door, script: str, session: str | None) -> str:
    """The script as the hub takes it: its text, or its path in the session."""
    if script == "-":
        script = door.standard_input()
        if not script.strip():
            raise usage("Standard input held no script.")
        return script if "\n" in script else script + "\n"
    if script.startswith("#!") or "\n" in script:
        return script
    return in_session(door, script, session)


@job.command("status")
@click.argument("which", metavar="JOB", required=False)
@session_option
@click.pass_obj
def job_status(door: Door, which: str | None, session: str | None) -> Reply:
    """Show how JOB stands (`12`, `ana/hcl#12`); without one, the newest."""
    return job_card(_job(door, which, session), door)


@job.command("watch")
@click.argument("which", metavar="JOB", required=False)
@session_option
@click.option("-f", "--follow", is_flag=True, help="With its log.")
@click.pass_obj
def watch_job(door: Door, which: str | None, session: str | None, follow: bool) -> Reply:
    """Watch JOB until it ends; the exit code says how it ended."""
    one = _job(door, which, session)
    return job_card(one, door, live=JobLive(one.id, log=follow))


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
    one = _job(door, which, session)
    return job_card(one, door, live=LogLive(one.id, offset=offset, follow=follow, tail_lines=tail))


@job.command("cancel")
@click.argument("which", metavar="JOB")
@session_option
@click.pass_obj
def cancel_job(door: Door, which: str, session: str | None) -> Reply:
    """Stop JOB, or take it out of the queue."""
    stopped = door.hub.act("job_cancel", Job, idempotency_key=door.key(), job=door.ref(which, session))
    return job_card(stopped, door)


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


def _job(door: Door, which: str | None, session: str | None) -> Job:
    if which is not None:
        return door.hub.job(door.ref(which, session))
    place = door.named_session(session)
    page = door.hub.jobs(place)
    if not page.jobs:
        raise usage(f"{place} has no job yet.", fix="job submit SCRIPT")
    return door.hub.job(page.jobs[0].id)

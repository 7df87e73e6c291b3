"""`workflow`: steps that depend on each other, each a job; written down in a file and submitted as a whole."""

from typing import Any

import click

from bot.cards import Reply
from bot.door import Door
from bot.faces.workflow import workflow_face
from bot.grammar import Noun, session_option
from bot.hub_views import Workflow
from bot.problems import INVALID, Problem, usage
from bot.verbs.job import newest_or, resume_workflow
from bot.verbs.structured import named, structured
from bot.verbs.submitting import Bringing, confirm_option, confirmed, dry_run, whole_terms


@click.group("workflow", cls=Noun)
def workflow() -> None:
    """Workflows: steps that wait for each other, submitted as a whole."""


@workflow.command(
    "submit",
    fields={
        "name": "--name", "job_type": "--type", "cluster": "--cluster", "resume": "--resume",
        "confirm": "--confirm", "within": "--within", "budget": "--budget",
    },
)  # fmt: skip
@click.argument("file")
@click.option("-n", "--name", help="What to call it.")
@click.option("--type", "job_type", type=click.Choice(["auto", "local", "slurm", "kubernetes"]), help="Where it runs.")
@click.option("--cluster", metavar="NAME", help="Which cluster, if you have an account on several.")
@click.option("--resume", metavar="WORKFLOW", help="Keep the steps that stand as they ran in this earlier one.")
@whole_terms
@session_option
@click.option("--dry-run", "is_dry", is_flag=True, help="Show its steps and what each would run; record nothing.")
@confirm_option
@click.pass_obj
def submit_workflow(
    door: Door,
    /,
    file: str,
    name: str | None,
    job_type: str | None,
    cluster: str | None,
    resume: str | None,
    session: str | None,
    is_dry: bool,
    confirm: tuple[str, ...],
    **terms: Any,
) -> Reply:
    """Submit the workflow written in FILE, as JSON or YAML; `-` is standard input.

    FILE holds a list of steps, or an object with the list in `workflow` and what `job_submit` takes beside it. Scripts
    and files that are here are sent first. All steps are checked before any is recorded.
    """
    wish = _wish(door, file)
    given = {"name": name, "job_type": job_type, "cluster": cluster, "resume": resume, **terms}
    wish |= {key: value for key, value in given.items() if value is not None}
    wish["session_id"] = place = door.session(session or wish.get("session_id"))
    digests = [*confirm, *(wish.pop("confirm", None) or ())]
    bringing = Bringing(door, place, is_dry=is_dry)
    in_hand = _bring(bringing, wish)
    if is_dry:
        return dry_run(door, "job_submit", bringing.assumed, wish)
    made = confirmed(
        door,
        session,
        (*digests, *in_hand),
        lambda known: door.hub.act("job_submit", Workflow, idempotency_key=door.key(), **wish, confirm=known),
    )
    return made if isinstance(made, Reply) else workflow_face(made)


@workflow.command("show")
@click.argument("which", metavar="WHICH", required=False)
@session_option
@click.pass_obj
def show_workflow(door: Door, which: str | None, session: str | None) -> Reply:
    """Show how the workflow of job WHICH stands, step by step; without one, of the newest job.

    WHICH may also be the id of a workflow, `wf_...`.
    """
    ref = which if which is not None and which.startswith("wf_") else newest_or(door, which, session).workflow
    if ref is None:
        raise usage(f"Job {which or 'that is the newest'} is no step of a workflow.")
    return workflow_face(door.hub.workflow(ref))


workflow.add_command(resume_workflow)


def _wish(door: Door, file: str) -> dict[str, Any]:
    said = structured(door, file, "workflow submit")
    wish = {"workflow": said} if isinstance(said, list) else said
    if not isinstance(wish, dict) or not isinstance(wish.get("workflow"), list) or not all(map(_is_named, wish)):
        raise Problem(
            "no_workflow",
            f"{named(file)} holds no list of steps.",
            hint='Write a list, or {"workflow": [...]}: each step names itself (`step`) and its `script`.',
            exit_code=INVALID,
        )
    return {key: value for key, value in wish.items() if key not in ("action", "tool")}


def _is_named(key: object) -> bool:
    return isinstance(key, str) and key.isidentifier()


def _bring(bringing: Bringing, wish: dict[str, Any]) -> list[str]:
    """Send what is here of the files that are named; the digests of scripts among them. What is odd the hub refuses."""
    digests: list[str] = []
    steps = [step for step in wish["workflow"] if isinstance(step, dict)]
    own = {name for step in steps for name in [*_names([step.get("step")]), *_names(step.get("outputs"))]}
    for step in steps:
        script = step.get("script")
        if isinstance(script, str) and script not in own and "\n" not in script and not script.startswith("#!"):
            digests += bringing.in_hand(script)
            step["script"] = bringing.path(script, is_script=True)
        for path in _names(step.get("dependencies")):
            if path not in own:
                bringing.path(path)
    for path in _names(wish.get("artifacts")):
        bringing.path(path)
    return digests


def _names(said: object) -> list[str]:
    return [each for each in said if isinstance(each, str)] if isinstance(said, list) else []

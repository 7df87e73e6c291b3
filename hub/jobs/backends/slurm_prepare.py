"""From an order to what is brought to a cluster: the run's folder as an archive, and the options for sbatch.

Nothing is set up that was not asked for: a job that asks for nothing is its interpreter and its script.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from hub.jobs.backends import far_side
from hub.jobs.backends.far_side import Program
from hub.jobs.backends.slurm_wish import Choice, directives, wish
from hub.jobs.backends.staging import Content, Laid, lay, text
from hub.jobs.port import Order
from hub.jobs.requests import Environment
from hub.jobs.ssh import command

Fetch = Callable[[str], Iterator[bytes]]


class Prepared(msgspec.Struct, frozen=True):
    """What `sbatch` is called with, what the submitter is told of how that came about, and the run's folder."""

    options: list[str]
    notes: tuple[str, ...]
    choices: tuple[Choice, ...]
    laid: Laid


def prepare(order: Order, root: str, target: Path, fetch: Fetch) -> Prepared:
    """Write the archive of the run's folder. Raises ValueError for what cannot be asked of Slurm."""
    prepared = planned(order, root, fetch)
    lay(target, prepared.laid, order.at)
    return prepared


def planned(order: Order, root: str, fetch: Fetch) -> Prepared:
    """The same without writing anything: what a dry run shows. Raises ValueError."""
    asked = wish(order.resources, directives(order.says), order.defaults)
    folder = far_side.folder_of(root, order.job, order.run)
    script = f"{folder}/given/script" if order.script is not None else f"{folder}/work/{order.script_path}"
    plain = [*order.interpreter, script, *order.args]
    setup = setup_lines(order.environment, folder, plain)
    program = Program(
        command=["bash", "-l", f"{folder}/given/start.sh"] if setup else plain,
        variables={
            **order.variables,
            "PYTHONUNBUFFERED": "1",  # so that a log is live
            "COLLEGIUM_JOB": order.job,
            "COLLEGIUM_INPUTS": f"{folder}/given/inputs.json",
        },
        workdir=order.workdir,
    )
    manifest = [{**each, "digest": f"sha256:{each['digest']}"} for each in order.inputs]
    contents = [
        text("run.sh", far_side.run_script(root, order.job, order.run, program), executable=True),
        text("given/inputs.json", msgspec.json.encode(manifest)),
        *([text("given/script", order.script)] if order.script is not None else []),
        *([text("given/start.sh", setup)] if setup else []),
        *(Content(f"work/{each['path']}", each["size"], fetch(each["digest"])) for each in order.inputs),
    ]
    folders = ["given", "work", *([f"work/{order.workdir}"] if order.workdir else [])]
    options = asked.argv
    if asked.value("array") is not None:
        # Every task has a log of its own, which comes home among the outputs.
        folders.append("work/logs")
        options.append(f"--output={folder.replace('%', '%%')}/work/logs/%a.log")
    return Prepared(options, asked.notes, asked.choices, Laid(contents, folders))


def setup_lines(around: Environment, folder: str, plain: list[str]) -> str:
    """A script that sets up what was asked for and then becomes the job's program; empty when nothing was."""
    lines: list[str] = []
    for module in around.modules:
        lines.append(command(["module", "load", module]))
    if around.conda:
        lines.append('eval "$(conda shell.bash hook)"')
        lines.append(command(["conda", "activate", around.conda]))
    if around.venv:
        lines.append(". " + command([f"{around.venv}/bin/activate"]))
    lines += around.setup
    if not lines and not around.container:
        return ""
    if around.modules:
        # Recorded, because a module's name says nothing a year later.
        lines.append(f"module -t list > {shlex.quote(f'{folder}/modules')} 2>&1 || :")
    run = command(plain)
    if around.container:
        inside = ["apptainer", "exec", "--bind", folder, "--pwd"]
        run = f'{command(inside)} "$PWD" {command([around.container])} {run}'
    return "\n".join(["set -e", *lines, f"exec {run}"]) + "\n"

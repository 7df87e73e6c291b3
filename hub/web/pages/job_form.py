"""The form that submits a job: what most jobs need, the rest of what `job_submit` takes behind one fold.

It stands on a session's page of jobs, and by itself when it was refused or is to be changed: nothing typed is lost.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hub.core.context import Scope
from hub.core.errors import HubError
from hub.jobs.clusters import choosing, kubernetes_choosing
from hub.jobs.clusters.views import kind_of
from hub.sessions import views as sessions
from hub.web.pages import forms, frames, render
from hub.web.pages.forms import Asked

BEGUN = "#!/bin/sh\n"
FIRST = ("script", "cluster", "artifacts[,]", "resources.time")
LABELS = {
    "script": "Script",
    "cluster": "Where",
    "artifacts[,]": "Inputs",
    "resources.time": "At most this long",
    "name": "Name",
    "args[lines]": "Arguments",
    "env[pairs]": "Variables",
    "outputs[,]": "Outputs",
    "fetch[,]": "However large",
    "workdir": "Folder it starts in",
    "resources.cpus_per_node": "CPUs",
    "resources.memory": "Memory",
    "resources.gpus": "GPUs",
    "resources.gpu_type": "Kind of GPU",
    "resources.nodes": "Nodes",
    "resources.tasks_per_node": "Tasks on each node",
    "resources.array": "Array",
    "environment.container": "Image",
    "environment.modules[,]": "Modules",
    "environment.conda": "Conda environment",
    "environment.venv": "Virtual environment",
    "environment.setup[lines]": "Lines before the script",
    "environment.network": "Network",
    "resources.partition": "Partition",
    "resources.account": "Account",
    "resources.qos": "QOS",
    "resources.constraint": "Constraint",
    "resources.licenses": "Licences",
    "within": "Ended within",
    "budget": "Budget",
}
# What the form shows under one heading when it is unfolded.
MORE = [name for name in LABELS if name not in FIRST]
# Paths of errors that another field stands for.
_OTHERS = {"job_type": "cluster"}
NOTHING = "Nothing was submitted. What is wrong stands beside its field."


class Form(msgspec.Struct, frozen=True):
    """Where the form to submit a job sends it, and the clusters its reader can choose from.

    On those in `own` it runs under the reader's own account, on those in `shared` under the hub's.
    """

    session: str
    own: list[str]
    shared: list[str]
    watched: list[str]  # those on which a job submitted by other means can be watched
    currency: str
    asked: Asked = Asked()

    @property
    def wrong(self) -> list[tuple[str, str, str]]:
        """(id of the field, its label, what is wrong with it), in the order of the form.

        The label is empty where the words begin with it.
        """
        return [
            (forms.base(name).replace(".", "-"), "" if said.startswith(label) else label, said)
            for name, label in LABELS.items()
            if (said := self.asked.wrong.get(name))
        ]

    @property
    def unfolded(self) -> bool:
        return self.asked.has(MORE)


def in_words(text: str) -> str:
    """A message with the labels of this form in the place of paths of fields."""
    return forms.named(text, {forms.base(name): label for name, label in LABELS.items()})


def of(scope: Scope, session: str, asked: Asked | None = None) -> Form:
    """The form as it begins, or as it was sent."""
    usable = choosing.usable(scope, scope.actor.id)
    own = sorted(each.cluster for each in usable)
    watched = sorted(each.cluster for each in usable if kind_of(scope, each.id) == "slurm")
    shared = kubernetes_choosing.names(scope, session)
    return Form(session, own, shared, watched, scope.settings.currency, asked or Asked())


def again(scope: Scope, session_id: str | None, pairs: Sequence[tuple[str, str]], error: HubError | None = None) -> str:
    """POST /jobs/form, and what a form that was refused comes back as."""
    session = sessions.session(scope, scope.access.session(session_id, "job:submit"))
    sent = dict(pairs)
    fields = {name: sent.get(name, "") for name in LABELS}
    asked = Asked(fields=fields) if error is None else forms.asked(fields, error, NOTHING, LABELS, _OTHERS)
    title = "Submit a job" if error is None else "Not submitted yet"
    return render.html(
        "job_form.html",
        frames.within(scope, session, title, "Jobs"),
        now=scope.now,
        title=title,
        form=of(scope, session.id, asked),
        labels=LABELS,
        begun=BEGUN,
        back=f"{frames.home_of(session)}/jobs",
    )

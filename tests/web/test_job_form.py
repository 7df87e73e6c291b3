"""The form that submits a job: everything the action takes, what was wrong beside its field, nothing typed lost."""

from __future__ import annotations

import html
import re

import pytest
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.testclient import TestClient

from hub.core.errors import Conflict, InvalidInput
from hub.core.house import House
from hub.jobs import views
from hub.jobs.actions import SubmitJob
from hub.jobs.clusters.tables import clusters
from hub.jobs.requests import Environment, Resources
from hub.web.pages import forms, job_form
from tests.actions.test_script_changed import digest
from tests.conftest import Perform
from tests.web.conftest import ORIGIN
from tests.web.page_world import World
from tests.web.test_pages import browser, words_of, world

__all__ = ["world"]  # a fixture
IMAGE = "docker://debian@sha256:" + "a" * 64
# One value for every field, as somebody types it.
TYPED = {
    "script": "#!/bin/sh\necho 'a \"b\" <i>'\n",
    "cluster": "raven",
    "artifacts[,]": "data/hcl_lines.csv, fit_band.py",
    "resources.time": "2:00:00",
    "name": "all <of> it",
    "args[lines]": "--steps 5\n  two words \n",
    "env[pairs]": "OMP_NUM_THREADS=8\nNOTE=a=b",
    "outputs[,]": "figures/, out.csv",
    "fetch[,]": "out.csv",
    "workdir": "sub",
    "resources.cpus_per_node": "4",
    "resources.memory": "16GB",
    "resources.gpus": "1",
    "resources.gpu_type": "a100",
    "resources.nodes": "2",
    "resources.tasks_per_node": "4",
    "resources.array": "0-9%5",
    "environment.container": IMAGE,
    "environment.modules[,]": "gcc/12, openmpi",
    "environment.conda": "/opt/conda",
    "environment.venv": "/opt/venv",
    "environment.setup[lines]": "set -x\numask 077",
    "environment.network": "true",
    "resources.partition": "long",
    "resources.account": "chem",
    "resources.qos": "low",
    "resources.constraint": "avx512",
    "resources.licenses": "matlab:1",
    "within": "1-0",
    "budget": "1000",
}


@pytest.fixture(autouse=True)
def _priced(world: World) -> None:
    """Without a price of its GPUs no budget can be kept on the cluster."""
    world.house.db.write(lambda tx: tx.execute(sa.update(clusters).values(price_per_gpu_hour=0.5)) and None)


def sent(anas: TestClient, world: World, to: str = "/jobs/submit", **fields: str) -> tuple[int, str]:
    hidden = {"action": "job_submit", "session_id": world.session, "job_type": "auto"}
    headers = {"origin": ORIGIN, "referer": f"{ORIGIN}/s/{world.name}/jobs"}
    answer = anas.post(to, data={**hidden, **fields}, headers=headers, follow_redirects=False)
    return answer.status_code, answer.headers.get("location", "") or answer.text


def kept(page: str) -> dict[str, str]:
    """What stands in the fields of the form."""
    form = page[page.index('action="/jobs/submit"') :]
    found = {}
    for name in TYPED:
        tag = re.search(rf'<(input|textarea|select)[^>]* name="{re.escape(name)}"[^>]*>', form)
        assert tag is not None, name
        if tag[1] == "textarea":
            found[name] = html.unescape(form[tag.end() : form.index("</textarea>", tag.end())]).removeprefix("\n")
        elif tag[1] == "select":
            chosen = re.search(
                r'<option value="([^"]*)" selected', form[tag.end() : form.index("</select>", tag.end())]
            )
            found[name] = chosen[1] if chosen else ""
        elif 'type="checkbox"' in tag[0]:
            found[name] = "true" if " checked" in tag[0] else ""
        else:
            value = re.search(r' value="([^"]*)"', tag[0])
            found[name] = html.unescape(value[1]) if value else ""
    return found


def beside(page: str, field: str) -> str:
    found = re.search(rf'<small class="wrong" id="w-{field}">(.*?)</small>', page)
    return html.unescape(found[1]) if found else ""


def test_the_form_has_a_field_for_everything_a_submission_takes() -> None:
    taken = {each for each in SubmitJob.__struct_fields__ if each not in ("resources", "environment")}
    taken |= {f"resources.{each}" for each in Resources.__struct_fields__}
    taken |= {f"environment.{each}" for each in Environment.__struct_fields__}
    # `session_id` is the page's own, `cluster` says `job_type` as well, the others come of what was shown before.
    assert {forms.base(name) for name in job_form.LABELS} == taken - {"session_id", "job_type", "agreed", "confirm"}
    assert set(TYPED) == set(job_form.LABELS)


def test_everything_that_was_typed_reaches_the_job(application: Starlette, world: World, house: House) -> None:
    anas = browser(application, world, world.ana)
    status, location = sent(anas, world, **TYPED)
    assert status == 303, words_of(location)
    with house.scope(world.ana) as scope:
        job = views.job(scope, location.removeprefix("/jobs/"))
    assert job.script.text == TYPED["script"]
    assert (job.name, job.backend, job.args) == ("all <of> it", "raven", ("--steps 5", "  two words "))
    assert job.env == {"OMP_NUM_THREADS": "8", "NOTE": "a=b"}
    assert [each.path for each in job.inputs] == ["data/hcl_lines.csv", "fit_band.py"]
    assert job.declared_outputs == ("figures/", "out.csv")
    assert job.resources == Resources(
        nodes=2, tasks_per_node=4, cpus_per_node=4, memory="16GB", time="2:00:00", gpus=1, gpu_type="a100",
        partition="long", account="chem", qos="low", constraint="avx512", array="0-9%5", licenses="matlab:1",
    )  # fmt: skip
    assert job.environment == Environment(
        modules=("gcc/12", "openmpi"), conda="/opt/conda", venv="/opt/venv", container=IMAGE,
        setup=("set -x", "umask 077"), network=True,
    )  # fmt: skip
    assert job.placed is not None and job.placed.budget == 1000


@pytest.mark.parametrize("to", ["/jobs/submit", "/jobs/plan", "/jobs/preview"])
def test_nothing_typed_is_lost_when_the_form_is_refused(application: Starlette, world: World, to: str) -> None:
    anas = browser(application, world, world.ana)
    typed = {**TYPED, "resources.memory": "much"}
    status, page = sent(anas, world, to, **typed)
    assert status == 400 and kept(page) == typed
    assert "memory" in beside(page, "resources-memory")
    assert page.count('aria-invalid="true"') == 1
    assert 'aria-describedby="w-resources-memory h-resources-memory"' in page
    assert '<a href="#f-resources-memory">Memory</a>' in page and 'role="alert"' in page
    assert "<details open>" in page, "what is wrong is not folded away"


def test_what_was_shown_before_it_is_submitted_leads_back_to_the_form_as_it_was_typed(
    application: Starlette, world: World
) -> None:
    anas = browser(application, world, world.ana)
    typed = {**TYPED, "environment.network": ""}
    for to in ("/jobs/plan", "/jobs/preview"):
        status, page = sent(anas, world, to, **typed)
        assert status == 200 and 'formaction="/jobs/form"' in page
        form = page[page.rindex('<form class="form"') :]
        hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form)
        fields = {html.unescape(name): html.unescape(value) for name, value in hidden}
        fields.pop("agreed", None)
        status, again = sent(anas, world, "/jobs/form", **fields)
        assert status == 200 and kept(again) == typed
        assert "aria-invalid" not in again


@pytest.mark.parametrize(
    ("name", "value", "field", "said"),
    [
        ("resources.cpus_per_node", "0", "resources-cpus_per_node", "A whole number is wanted here, at least 1."),
        ("resources.nodes", "two", "resources-nodes", "A whole number is wanted here."),
        ("budget", "much", "budget", "A number is wanted here."),
        ("resources.time", "soon", "resources-time", "soon"),
        ("within", "soon", "within", "soon"),
        ("artifacts[,]", "nope.csv", "artifacts", "nope.csv"),
        ("script", "nope.py", "script", "nope.py"),
        ("script", "", "script", "This is needed."),
        ("env[pairs]", "NOTHING", "env", "'NOTHING' is not written as NAME=VALUE."),
        ("env[pairs]", "1A=2", "env", ""),
        ("outputs[,]", "../up", "outputs", ""),
        ("environment.container", "debian:12", "environment-container", "digest"),
        ("resources.partition", "p" * 201, "resources-partition", "This is too long: at most 200 characters."),
        ("cluster", "nowhere", "cluster", "nowhere"),
    ],
)
def test_what_is_wrong_with_a_field_stands_beside_it(
    application: Starlette, world: World, house: House, name: str, value: str, field: str, said: str
) -> None:
    anas = browser(application, world, world.ana)
    status, page = sent(anas, world, **{**TYPED, "cluster": "raven", name: value})
    assert status in (400, 503)
    assert beside(page, field) and said in beside(page, field)
    with house.scope(world.ana) as scope:
        assert all(each.name != TYPED["name"] for each in views.job_list(scope, world.session).jobs)


def test_what_is_about_no_field_stands_above_the_form(application: Starlette, world: World, perform: Perform) -> None:
    perform(world.ana, "quota_set", session_id=world.session, core_hours=0.1)
    status, page = sent(browser(application, world, world.ana), world, script="#!/bin/sh\ntrue\n")
    assert status == 409 and "can raise it" in words_of(page)
    assert "aria-invalid" not in page and kept(page)["script"] == "#!/bin/sh\ntrue\n"


def test_a_script_that_somebody_else_changed_is_asked_about_and_leads_back_to_the_form(
    application: Starlette, world: World, house: House, perform: Perform
) -> None:
    from tests.web.page_world import _file

    anas = browser(application, world, world.ana)
    assert sent(anas, world, script="fit_band.py", cluster="local")[0] == 303
    _file(house, world.ben, world.session, "fit_band.py", b"print(2)\n")
    status, page = sent(anas, world, script="fit_band.py", cluster="local", name="again")
    assert status == 409 and "The script has changed" in page
    assert 'action="/jobs/submit"' in page and 'formaction="/jobs/form"' in page
    fields = {"script": "fit_band.py", "cluster": "local", "confirm[]": digest(b"print(2)\n")}
    assert sent(anas, world, **fields)[0] == 303


def test_a_workflow_or_another_action_is_nothing_for_this_form(application: Starlette, world: World) -> None:
    anas = browser(application, world, world.ana)
    for to in ("/jobs/submit", "/jobs/form", "/jobs/plan", "/jobs/preview"):
        said = anas.post(to, data={"action": "job_cancel", "job": world.running}, headers={"origin": ORIGIN})
        assert said.status_code == 400
    status, page = sent(anas, world, **{"workflow.0.step": "a", "workflow.0.script": "#!/bin/sh\n"})
    assert status == 400 and "not a workflow" in words_of(page)


def test_who_may_not_submit_is_shown_no_form_and_a_program_is_answered_as_everywhere(
    application: Starlette, world: World
) -> None:
    status, page = sent(browser(application, world, world.olga), world, "/jobs/form", script="#!/bin/sh\n")
    assert status == 404 and 'name="script"' not in page
    anas = browser(application, world, world.ana)
    anas.headers["accept"] = "application/json"
    status, told = sent(anas, world, script="nope.py")
    assert status == 400 and '"unknown_artifacts"' in told


def test_several_fields_of_one_error_each_have_their_words_and_others_stay_above() -> None:
    fields = {"a[,]": "", "b.c": ""}
    both = InvalidInput(
        "no", path="$.params.a", errors=["$.params.a[0] is odd", "$.params.b.c: bad it is"], hint="mend"
    )
    assert forms.asked(fields, both, labels={"a[,]": "Aims"}).wrong == {
        "a[,]": "Aims is odd.",
        "b.c": "Bad it is. Mend.",
    }
    other = Conflict("there is no place: it", path="$.params.x", errors=["local: b.c is too much"])
    asked = forms.asked(fields, other, labels={"b.c": "Cores"})
    assert (asked.wrong, asked.said, asked.lines) == ({}, "There is no place: it.", ["local: Cores is too much"])

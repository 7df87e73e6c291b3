"""The client on a bad line: an action once, or honestly unknown; a log to its last byte, or said where it broke."""

from __future__ import annotations

import httpx
import msgspec
import pytest

from bot.hub_client import HubClient, Unanswered, Unreachable
from bot.hub_views import MadeSession, Session
from bot.problems import CONFLICT, INVALID, NOT_ALLOWED, NOT_FOUND, NOT_SIGNED_IN, OTHER, UNAVAILABLE, Problem
from tests.bot.fake_hub import FakeHub, breaks, lost_answer, problem, refuses, session

MADE = {"session": "ses_1", "name": "ana/hcl", "url": "http://hub.test/s/ana/hcl"}


@pytest.fixture
def hub() -> FakeHub:
    fake = FakeHub()
    fake.results["session_create"] = MADE
    return fake


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def client(hub: FakeHub, pauses: list[float]) -> HubClient:
    return HubClient("http://hub.test/", "clg_x", transport=hub, pause=pauses.append)


def make(client: HubClient, **more: str) -> MadeSession:
    return client.act("session_create", MadeSession, name="hcl", title=None, **more)


def test_an_action_leaves_out_what_was_not_given(client: HubClient, hub: FakeHub) -> None:
    assert make(client).name == "ana/hcl"
    assert hub.acted == [("session_create", {"name": "hcl"})]


def test_an_answer_that_was_lost_is_asked_for_again_under_the_same_key(client: HubClient, hub: FakeHub) -> None:
    hub.faults = [lost_answer(hub), breaks]
    assert make(client).name == "ana/hcl"
    keys = [request.headers["Idempotency-Key"] for request in hub.requests]
    assert len(keys) == 3 and len(set(keys)) == 1
    assert len(hub.acted) == 1


def test_two_actions_have_two_keys_and_a_platforms_event_gives_its_own(client: HubClient, hub: FakeHub) -> None:
    make(client)
    make(client, idempotency_key="Ev123:1")
    first, second = (request.headers["Idempotency-Key"] for request in hub.requests)
    assert first != second == "Ev123:1"


def test_where_nothing_listens_nothing_is_repeated(client: HubClient, hub: FakeHub, pauses: list[float]) -> None:
    hub.faults = [refuses]
    with pytest.raises(Unreachable, match=r"No hub answers at http://hub\.test") as told:
        make(client)
    assert told.value.exit_code == UNAVAILABLE and len(hub.requests) == 1 and pauses == []


def test_a_hub_that_went_away_in_the_middle_leaves_the_outcome_unknown(client: HubClient, hub: FakeHub) -> None:
    hub.faults = [lost_answer(hub), refuses, refuses, refuses]
    with pytest.raises(Unanswered, match="not known"):
        make(client)


def test_a_busy_hub_is_asked_again_later(client: HubClient, hub: FakeHub, pauses: list[float]) -> None:
    hub.faults = [lambda request: problem(429, "too_many", "later")] * 2
    assert make(client).name == "ana/hcl"
    assert len(pauses) == 2


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, INVALID), (401, NOT_SIGNED_IN), (403, NOT_ALLOWED), (404, NOT_FOUND), (409, CONFLICT), (413, INVALID),
        (422, INVALID), (500, OTHER), (502, UNAVAILABLE), (503, UNAVAILABLE),
    ],
)  # fmt: skip
def test_each_status_has_one_exit_code(client: HubClient, hub: FakeHub, status: int, code: int) -> None:
    hub.faults = [lambda request: problem(status, "why", "because", hint="do this", path="$.params.name")]
    with pytest.raises(Problem, match="because") as told:
        make(client)
    found = told.value
    assert (found.exit_code, found.code, found.hint, found.path) == (code, "why", "do this", "$.params.name")
    assert len(hub.requests) == 1


def test_every_form_of_errors_becomes_lines(client: HubClient, hub: FakeHub) -> None:
    errors = ["a.csv", {"path": "$.b", "detail": "wrong"}, {"x": 1}, 7]
    hub.faults = [lambda request: problem(400, "why", "because", errors=errors)]
    with pytest.raises(Problem) as told:
        make(client)
    assert told.value.errors == ("a.csv", "$.b: wrong", '{"x":1}', "7")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(502, html="<h1>Bad gateway</h1>"),
        httpx.Response(404, content=b"{", headers={"Content-Type": "application/json"}),
        httpx.Response(302, headers={"Location": "http://elsewhere.test/"}),
    ],
)
def test_what_is_not_a_hub_is_said_to_be_none(client: HubClient, hub: FakeHub, answer: httpx.Response) -> None:
    hub.faults = [lambda request: answer]
    with pytest.raises(Problem, match="not a hub"):
        client.me()
    assert [request.url.host for request in hub.requests] == ["hub.test"]


@pytest.mark.parametrize("body", [b"", b"\xff", b"[1]", b'{"id": 3}'])
def test_an_answer_of_another_shape_is_told_not_guessed(client: HubClient, hub: FakeHub, body: bytes) -> None:
    hub.faults = [lambda request: httpx.Response(200, content=body)]
    with pytest.raises(Problem, match="not what this version"):
        client.me()


def test_fields_of_a_newer_hub_do_no_harm(client: HubClient, hub: FakeHub) -> None:
    hub.views["/api/sessions/ana/hcl"] = session("ana/hcl", quota={"bytes": 1})
    assert client.session("ana/hcl") == msgspec.convert(hub.views["/api/sessions/ana/hcl"], Session)


def test_a_reference_stays_one_part_of_the_path(client: HubClient, hub: FakeHub) -> None:
    hub.views["/api/jobs/ana/hcl%2312"] = {"id": "job_1", "number": 12, "ref": "ana/hcl#12", "state": "RUNNING"}
    assert client.job("ana/hcl#12").number == 12
    with pytest.raises(Problem, match="there is no"):
        client.job("a b?c%")
    assert hub.requests[-1].url.raw_path == b"/api/jobs/a%20b%3Fc%25"


@pytest.mark.parametrize("ref", ["..", "a/../b", "", "a//b", "."])
def test_dots_cannot_name_another_page(client: HubClient, hub: FakeHub, ref: str) -> None:
    with pytest.raises(Problem, match="names nothing"):
        client.job(ref)
    assert hub.requests == []


def test_a_log_that_breaks_goes_on_at_the_next_byte(client: HubClient, hub: FakeHub, pauses: list[float]) -> None:
    hub.log = bytes(range(256)) * 4
    hub.log_cut_after = [100, 0, 700]
    pieces = list(client.log("12", follow=True))
    assert b"".join(piece.content for piece in pieces) == hub.log
    assert pieces[-1].next_offset == 1024
    offsets = [request.url.params["offset"] for request in hub.requests]
    assert offsets == ["0", "100", "100", "800"]


def test_a_log_is_followed_until_the_job_is_over_and_read_once_otherwise(client: HubClient, hub: FakeHub) -> None:
    hub.log, hub.log_is_done = b"line\n", False
    assert len(list(client.log("12", follow=False))) == 1 and len(hub.requests) == 1
    hub.log_is_done = False
    assert b"".join(piece.content for piece in client.log("12", follow=True, offset=2)) == b"ne\n"
    assert [request.url.params["offset"] for request in hub.requests] == ["0", "2", "5"]


def test_a_log_gives_up_when_nobody_answers_for_two_minutes(
    client: HubClient, hub: FakeHub, pauses: list[float]
) -> None:
    hub.faults = [breaks] * 100
    with pytest.raises(Unanswered):
        list(client.log("12", follow=True))
    assert 120 <= sum(pauses) < 140


def test_a_log_that_may_not_be_read_is_not_asked_for_again(client: HubClient, hub: FakeHub) -> None:
    hub.faults = [lambda request: problem(403, "not_allowed", "not yours")]
    with pytest.raises(Problem, match="not yours"):
        list(client.log("12", follow=True))
    assert len(hub.requests) == 1


def test_the_rest_of_a_file_is_only_taken_when_it_is_the_rest(client: HubClient, hub: FakeHub) -> None:
    hub.faults = [lambda request: httpx.Response(200, content=b"from the start")]
    with pytest.raises(Problem, match="whole file again"):
        list(client.content("art_1", offset=5))
    assert hub.requests[0].headers["Range"] == "bytes=5-"


def test_a_service_names_the_person_it_acts_for(hub: FakeHub) -> None:
    HubClient("http://hub.test", "clg_x", act_as="per_7", transport=hub).me()
    assert hub.requests[0].headers["Collegium-Act-As"] == "per_7"

"""Envelopes -> actions: every seed payload as it is, and each kind of wrong input with its JSON path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import openapi_spec_validator
import pytest

from hub import app
from hub.core.actions import decode
from hub.core.errors import InvalidInput
from hub.web import openapi, routes

SEED: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "seed_payloads.json").read_text())
app.register_features()


@pytest.mark.parametrize("name", SEED)
def test_each_seed_payload_is_decoded_as_it_is_and_flat(name: str) -> None:
    envelope = SEED[name]
    action = decode(json.dumps(envelope).encode())
    assert decode(json.dumps({"tool": envelope["tool"], **envelope["params"]}).encode()) == action


def test_the_generated_openapi_is_valid_and_accepts_every_seed_payload_in_both_forms() -> None:
    document = openapi.document(routes.listed())
    openapi_spec_validator.validate(document)
    schema = document["paths"]["/api/actions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    validator = jsonschema.Draft202012Validator({**schema, "components": document["components"]})
    for envelope in SEED.values():
        validator.validate(envelope)
        validator.validate({"tool": envelope["tool"], **envelope["params"]})
    assert not validator.is_valid({"tool": "distributed_collaboration", "params": {"action": "nothing"}})


def test_the_generated_openapi_tells_of_a_plan_what_it_takes() -> None:
    document = openapi.document(routes.listed())
    schema = document["paths"]["/api/jobs/plan"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    validator = jsonschema.Draft202012Validator({**schema, "components": document["components"]})
    validator.validate({"script": "#!/bin/sh\n", "job_type": "auto", "resources": {"time": "10"}})
    assert not validator.is_valid({"job_type": "auto"}) and not validator.is_valid({"script": "x", "nmae": "y"})


TOOL = '{"tool":"distributed_collaboration","params":'
# body -> the path that must be named
WRONG: dict[str, tuple[bytes, str]] = {
    "not-json": (b"{", "$"),
    "empty": (b"", "$"),
    "an-array": (b"[]", "$"),
    "a-number": (b"3", "$"),
    "bad-utf-8": (b'{"tool":"\xff"}', "$"),
    "nested-without-end": (b"[" * 100_000, "$"),
    "nested-deeply-but-valid": (b'{"a":' * 200 + b"1" + b"}" * 200, "$"),
    "tool-of-a-wrong-type": (b'{"tool":1}', "$.tool"),
    "no-tool": (b'{"x":1}', "$"),
    "unknown-tool": (b'{"tool":"nope","action":"x"}', "$.tool"),
    "no-action": (b'{"tool":"distributed_collaboration"}', "$"),
    "unknown-action": (f'{TOOL}{{"action":"job_submitt"}}}}'.encode(), "$.params.action"),
    "action-of-a-wrong-type": (f'{TOOL}{{"action":[]}}}}'.encode(), "$.params"),
    "params-of-a-wrong-type": (f"{TOOL}[]}}".encode(), "$.params"),
    "fields-beside-params": (b'{"tool":"distributed_collaboration","params":{"action":"job_submit"},"x":1}', "$"),
    "wrong-type-within": (
        f'{TOOL}{{"action":"job_submit","script":"x","resources":{{"nodes":"two"}}}}}}'.encode(),
        "$.params.resources.nodes",
    ),
    "below-a-bound": (
        f'{TOOL}{{"action":"job_submit","script":"x","resources":{{"nodes":0}}}}}}'.encode(),
        "$.params.resources.nodes",
    ),
    "unknown-field": (f'{TOOL}{{"action":"job_submit","scirpt":"x"}}}}'.encode(), "$.params"),
    "unknown-field-within": (
        f'{TOOL}{{"action":"job_submit","script":"x","resources":{{"cores":1}}}}}}'.encode(),
        "$.params.resources",
    ),
    "two-shapes-at-once": (f'{TOOL}{{"action":"job_submit","script":"x","workflow":[]}}}}'.encode(), "$.params"),
    "empty-workflow": (f'{TOOL}{{"action":"job_submit","workflow":[]}}}}'.encode(), "$.params.workflow"),
    "wrong-type-in-a-list": (
        f'{TOOL}{{"action":"job_submit","workflow":[{{"step":"a","script":"b","dependencies":[1]}}]}}}}'.encode(),
        "$.params.workflow[0].dependencies[0]",
    ),
    "no-shape-fits": (f'{TOOL}{{"action":"artifact_versioning"}}}}'.encode(), "$.params"),
    "a-moment-without-zone": (
        f'{TOOL}{{"action":"session_share","expires":"2024-12-31T23:59:59"}}}}'.encode(),
        "$.params.expires",
    ),
    "a-role-nobody-has": (
        f'{TOOL}{{"action":"session_share","participants":[{{"email":"a@b","role":"root"}}]}}}}'.encode(),
        "$.params.participants[0].role",
    ),
    "a-lone-surrogate": (
        f'{TOOL}{{"action":"lab_notebook","entry":{{"title":"\\ud800","content":""}}}}}}'.encode(),
        "$",
    ),
    "a-nul": (
        f'{TOOL}{{"action":"artifact_versioning","artifact_path":"a\\u0000b"}}}}'.encode(),
        "$.params.artifact_path",
    ),
    "a-number-out-of-range": (
        f'{TOOL}{{"action":"artifact_versioning","artifact_path":"x","metadata":{{"n":1e999}}}}}}'.encode(),
        "$",
    ),
    "an-over-long-name": (
        f'{TOOL}{{"action":"session_create","name":"{"n" * 100_000}"}}}}'.encode(),
        "$.params.name",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_refused_with_its_path(name: str) -> None:
    body, path = WRONG[name]
    with pytest.raises(InvalidInput) as caught:
        decode(body)
    assert caught.value.path == path
    assert 0 < len(caught.value.message) < 500

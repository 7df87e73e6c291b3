"""OpenAPI 3.1, generated from the registered actions and the table of views."""

from __future__ import annotations

import copy
import json
from typing import Any

import msgspec

from hub.core.actions import ONLY_ACTION, SHAPES, Registered

REF = "#/components/schemas/{name}"
PROBLEM = {
    "type": "object",
    "description": "RFC 9457 problem details: what was wrong, where, what to do",
    "required": ["type", "title", "status", "code", "detail", "hint", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "stable; programs may rely on it"},
        "detail": {"type": "string"},
        "hint": {"type": "string"},
        "path": {"type": "string", "description": "JSON path, header or parameter at fault"},
        "errors": {"type": "array", "items": {"type": "string"}},
        "facts": {"type": "object"},
        "request_id": {"type": "string"},
    },
}


def document(views: list[tuple[str, str, str]]) -> dict[str, Any]:
    """The whole API; `views` are (method, path, summary)."""
    every = [registered for shapes in SHAPES.values() for registered in shapes]
    _, components = msgspec.json.schema_components([r.shape for r in every], ref_template=REF)
    schemas: dict[str, Any] = json.loads(msgspec.json.encode(components))
    envelopes = _envelopes(every, schemas)
    schemas["Problem"] = PROBLEM
    schemas["Answer"] = {
        "type": "object",
        "required": ["line", "result"],
        "properties": {
            "line": {"type": "integer", "description": "the ledger line of this action"},
            "result": {},
        },
    }
    failure = {
        "description": "refused; nothing has happened",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    paths: dict[str, Any] = {
        "/api/actions": {
            "post": {
                "summary": "Carry out one action",
                "description": "The same Idempotency-Key makes a retry return the first answer.",
                "parameters": [
                    {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 200}}
                ],
                "requestBody": {"required": True, "content": {"application/json": {"schema": envelopes}}},
                "responses": {
                    "200": {
                        "description": "committed",
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}},
                    },
                    "default": failure,
                },
            }
        }
    }
    tried = {"200": {"description": "what would run; nothing was recorded"}, "default": failure}
    body = paths["/api/actions"]["post"]["requestBody"]
    dry = {"summary": "Try a job_submit dry", "requestBody": body, "responses": tried}
    paths["/api/jobs/preview"] = {"post": dry}
    # The parameters of the one action it is about, which need not be named.
    asked = copy.deepcopy(schemas["SubmitJob"])
    asked["required"] = [field for field in asked.get("required", []) if field != "action"]
    wanted = {"required": True, "content": {"application/json": {"schema": asked}}}
    planned = {"200": {"description": "where it would go, when and for how much"}, "default": failure}
    plan = {"summary": "Plan a job_submit without submitting it", "requestBody": wanted, "responses": planned}
    paths["/api/jobs/plan"] = {"post": plan}
    for method, path, summary in views:
        plain = path.replace(":path}", "}")
        names = [part[1:-1] for part in plain.split("/") if part.startswith("{")]
        paths.setdefault(plain, {})[method.lower()] = {
            "summary": summary,
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
            ],
            "responses": {"200": {"description": "found"}, "default": failure},
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Collegium", "version": "1", "description": "Everything people do is a typed action."},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _envelopes(every: list[Registered], schemas: dict[str, Any]) -> dict[str, Any]:
    """Both forms of an envelope: fields under `params`, or at the top level beside `tool`."""
    by_tool: dict[str, list[str]] = {}
    flat: list[dict[str, str]] = []
    for registered in every:
        name = registered.shape.__name__
        by_tool.setdefault(registered.tool, []).append(name)
        twin = copy.deepcopy(schemas[name])
        twin.pop("title", None)
        twin["properties"] = {"tool": {"const": registered.tool}, **twin["properties"]}
        if registered.tool in ONLY_ACTION:
            for schema in (twin, schemas[name]):
                schema["required"] = [field for field in schema.get("required", []) if field != "action"]
        twin["required"] = ["tool", *twin.get("required", [])]
        schemas[name + "Flat"] = twin
        flat.append({"$ref": REF.format(name=name + "Flat")})
    nested = [
        {
            "type": "object",
            "title": tool,
            "additionalProperties": False,
            "required": ["tool", "params"],
            "properties": {
                "tool": {"const": tool},
                "params": {"anyOf": [{"$ref": REF.format(name=name)} for name in names]},
            },
        }
        for tool, names in by_tool.items()
    ]
    return {"anyOf": nested + flat}

"""One run: lock in, read a file from standard input, answer on standard output, end.

The order on the command line is JSON; the answer is one line of JSON (layers, parts or the reason of a refusal) and
then the parts' bytes. Whoever started us trusts none of it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from hub.artifacts.render import confine, excerpts, pictures

NOT_LOCKED = 77  # exit code: the layers that were asked for cannot be had on this machine


def main(order_text: str) -> int:
    """Carries out one order; returns the exit code."""
    order = json.loads(order_text)
    confine.limit(order["memory_bytes"], order["cpu_seconds"])
    # The codecs of both directions are loaded now: once locked in, nothing more can be imported.
    json.dumps({"é": b"\xff\xfe".decode("utf-16")})
    layers = confine.lock() if order["lock"] else []
    if any(layer not in layers for layer in order["needs"]):
        return NOT_LOCKED
    content = sys.stdin.buffer.read()
    try:
        parts, answer = _made(order, content)
    except pictures.Refused as refusal:
        parts, answer = [], {"refused": str(refusal)}
    except MemoryError:
        parts, answer = [], {"refused": "the file needs too much memory to be shown"}
    head = {"layers": layers, **answer}
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + b"".join(parts))
    sys.stdout.buffer.flush()
    return 0


def _made(order: dict[str, Any], content: bytes) -> tuple[list[bytes], dict[str, Any]]:
    kind, truncated = order["kind"], order["truncated"]
    if kind == "image":
        made = pictures.thumbnails(content, tuple(order["formats"]), order["pixels"])
        described = [{"variant": v, "width": w, "height": h, "bytes": len(data)} for v, w, h, data in made]
        return [data for *_, data in made], {"parts": described}
    if kind == "table":
        data = json.dumps(excerpts.table(content, truncated)).encode()
        return [data], {"parts": [{"variant": "table", "bytes": len(data)}]}
    data = excerpts.text(content, truncated).encode("utf-8", "replace")
    return [data], {"parts": [{"variant": "text", "bytes": len(data)}]}

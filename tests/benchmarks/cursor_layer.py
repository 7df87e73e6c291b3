"""What three hundred cursors cost the page that shows them: the canvas beside one element a cursor.

    python -m tests.benchmarks.cursor_layer [--json] [--cursors 300] [--frames 300]

Both are given the same 30 places a second for every cursor and drive the same frames of a real Chromium; what counts is
the time a frame spends in script, as its median. The peer is what is written first: an absolutely placed element per
person, moved by a transform. What Chromium's compositor then does with 300 layers is not in its figure.
"""

import argparse
import functools
import http.server
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

STATIC = Path(__file__).parents[2] / "static"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PAGE = """<!doctype html><html lang="en"><link rel="stylesheet" href="/style.css">
<link rel="stylesheet" href="/pages.css">
<div class="board" style="width:1200px;height:700px"><div class="canvas">
<div data-point="artifact:x" style="width:1200px;height:700px"></div><div class="cursors"></div></div></div></html>"""
RUN = """async ([cursors, frames, canvas]) => {
    const { Cursors } = await import("/js/room-cursors.js");
    const { anchorOf, FULL } = await import("/js/room-anchors.js");
    const { tone } = await import("/js/words.js");
    const layer = document.querySelector(".cursors"), thing = document.querySelector("[data-point]");
    const member = (n) => ({ person: `person-${n}`, name: `Person ${n}` });
    const ours = canvas ? new Cursors({ layer, anchor: anchorOf(thing) }) : null;
    const marks = [];
    for (let n = 0; !canvas && n < cursors; n++) {
        const mark = document.createElement("div");
        mark.className = `cursor ${tone(member(n).person)}`;
        mark.style.position = "absolute";
        mark.append(Object.assign(document.createElement("span"), { textContent: member(n).name }));
        layer.append(mark);
        marks.push(mark);
    }
    const place = (n, step) => [0.5 + 0.45 * Math.cos(step / 9 + n), 0.5 + 0.45 * Math.sin(step / 7 + 2 * n)];
    const spent = [];
    let due = 0, step = 0;
    if (ours) { cancelAnimationFrame(ours.wanted); ours.wanted = -1; }  // this loop calls the frames, to time them
    for (let at = 0; at < frames; at++) {
        const now = await new Promise(requestAnimationFrame);
        const began = performance.now();
        if (now >= due) {
            due = now + 33;
            step += 1;
            if (ours) for (let n = 0; n < cursors; n++) {
                const [x, y] = place(n, step);
                ours.place(n, member(n), { x: Math.round(x * FULL), y: Math.round(y * FULL), flags: 0 });
            } else {
                const box = thing.getBoundingClientRect(), above = layer.getBoundingClientRect();
                marks.forEach((mark, n) => {
                    const [x, y] = place(n, step);
                    const [left, top] = [box.left - above.left + x * box.width, box.top - above.top + y * box.height];
                    mark.style.transform = `translate(${left.toFixed(1)}px, ${top.toFixed(1)}px)`;
                });
            }
        }
        if (ours) ours.frame(now);
        else layer.getBoundingClientRect();
        spent.push(performance.now() - began);
    }
    spent.sort((a, b) => a - b);
    const shown = ours ? ours.shown.size : marks.length;
    ours?.stop();
    return { median: spent[spent.length >> 1], p95: spent[Math.floor(spent.length * 0.95)], shown };
}"""


class Files(http.server.SimpleHTTPRequestHandler):
    """The static files, and the page."""

    def do_GET(self) -> None:
        if self.path != "/":
            return super().do_GET()
        body = PAGE.encode()
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(body)
        return None

    def log_message(self, *_: Any) -> None:
        pass


def measure(cursors: int, frames: int) -> dict[str, float]:
    """Milliseconds of script in a frame, for the canvas and for elements."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=str(STATIC)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found = next(path for name in CHROMIUM if (path := shutil.which(name)))
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    told: dict[str, float] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=flags)
        for name, canvas in (("canvas", True), ("elements", False)):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            one = page.evaluate(RUN, [cursors, frames, canvas])
            assert one["shown"] == cursors
            told |= {f"{name}_frame_ms": round(one["median"], 2), f"{name}_frame_p95_ms": round(one["p95"], 2)}
            page.close()
        browser.close()
    server.shutdown()
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one line of JSON last, and no table")
    parser.add_argument("--cursors", type=int, default=300)
    parser.add_argument("--frames", type=int, default=300)
    options = parser.parse_args()
    told = measure(options.cursors, options.frames)
    if not options.json:
        for name, value in told.items():
            print(f"{name:>24}  {value}")
    print(json.dumps({"ratios": told}))


if __name__ == "__main__":
    main()

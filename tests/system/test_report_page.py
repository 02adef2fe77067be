"""The page of `systolith report` in a browser: every chart is drawn, nothing complains, the array can be stepped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver import ActionChains, Chrome

from systolith.host.html_report import theme
from systolith.models import zoo
from tests.browser import open_browser, picture, pixels, require_programs, wait_for
from tests.command_line import status
from tests.small_zoo import SMALL

CHARTS = ("stalls", "roofline", "timeline", "array", "components", "energy")
TEXT = """
const text = (node) => node.nodeType === 3 ? node.data : [...node.childNodes, ...(node.shadowRoot?.childNodes ?? [])]
  .filter((each) => each.nodeName !== "STYLE" && each.nodeName !== "SCRIPT").map(text).join(" ");
return text(document.body);
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a small MobileNetV2, in which one layer has a name that looks like markup."""
    require_programs()
    folder = tmp_path_factory.mktemp("report")
    (folder / "m.tflite").write_bytes(zoo.build("mobilenet_v2", **SMALL["mobilenet_v2"]))
    path = folder / "r.json"
    assert status("run", folder / "m.tflite", "--perf", "--preset", "ulx3s", "--set", "dram_bandwidth=2", "--energy",
                  "45nm", "--report", path) == 0
    values = json.loads(path.read_text())
    values["layers"][0]["name"] = "</script><b>first</b>"
    path.write_text(json.dumps(values))
    return path


@pytest.fixture(scope="module")
def browser(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    page = report.with_suffix(".html")
    assert status("report", report, "-o", page) == 0
    with open_browser(tmp_path_factory.mktemp("profile"), height=7000) as driver:
        driver.get(page.as_uri())
        wait_for(lambda: driver.execute_script("return document.body.dataset.ready"), "drawn page")
        yield driver


def step(browser: Chrome, value: int) -> None:
    browser.execute_script("const s = document.getElementById('step'); s.value = arguments[0];"
                           "s.dispatchEvent(new Event('input'));", value)


def test_nothing_complains_and_nothing_is_fetched(browser: Chrome) -> None:
    assert [each for each in browser.get_log("browser") if each["level"] != "INFO"] == []
    assert browser.execute_script("return performance.getEntriesByType('resource').map((each) => each.name)") == []


@pytest.mark.parametrize("chart", CHARTS)
def test_every_chart_has_marks_in_its_colours(browser: Chrome, report: Path, chart: str) -> None:
    values = json.loads(report.read_text())
    causes = [theme.CAUSES[name] for name, n in values["stalls"].items() if n > 0.02 * values["cycles"]]
    components = [theme.COMPONENTS[name] for name, joules in values["energy"]["components"].items()
                  if joules > 0.02 * values["energy"]["joules"]]
    colours = {"stalls": causes, "timeline": [*causes, *theme.LAYERS],
               "roofline": [theme.INK, theme.OPERATORS["FULLY_CONNECTED"]], "array": [theme.CAUSES["busy"]],
               "components": components, "energy": components}[chart]

    image = picture(browser, f"#{chart}")

    assert image.width > 400 and image.height > 250 and len(colours) > (chart == "stalls")
    for colour in colours:
        assert pixels(image, colour) > 25, colour
    assert np.asarray(image).reshape(-1, 3).std() > 5, "the picture is not blank"


def test_the_slider_steps_through_the_tiles_of_a_layer(browser: Chrome, report: Path) -> None:
    layers = json.loads(report.read_text())["views"]["occupancy"]
    chosen = max(range(len(layers)), key=lambda index: layers[index]["tiles"])
    browser.execute_script("const l = document.getElementById('layer'); l.value = arguments[0];"
                           "l.dispatchEvent(new Event('change'));", chosen)
    total = int(browser.find_element("id", "step").get_attribute("max") or 0)
    found = []
    for value in (0, 1, total):
        step(browser, value)
        filled = pixels(picture(browser, "#array"), theme.CAUSES["busy"])
        found.append((browser.find_element("id", "facts").text, filled))

    assert total == len(layers[chosen]["tile"]) and len({text for text, _ in found}) == 3
    assert f"all {layers[chosen]['tiles']:,} tiles" in found[0][0] and "tile 1 of" in found[1][0]
    # The last tile is of the channels that are left over, which do not fill the array.
    assert found[2][1] < found[1][1]


def test_the_play_button_steps_by_itself(browser: Chrome) -> None:
    step(browser, 0)
    button, slider = (browser.find_element("id", name) for name in ("play", "step"))

    button.click()
    wait_for(lambda: slider.get_attribute("value") == "1", "step")
    button.click()
    stopped = slider.get_attribute("value")

    assert button.text == "\u25b6" and stopped == slider.get_attribute("value")


def test_the_pointer_shows_the_layer(browser: Chrome) -> None:
    chart = browser.find_element("css selector", "#stalls")
    # The first bar of the shares, which is as high as their frame.
    x, y = theme.MARGIN + 12 - chart.size["width"] // 2, 310 - chart.size["height"] // 2
    ActionChains(browser).move_to_element_with_offset(chart, x, y).perform()

    assert "0 </script><b>first</b>" in wait_for(
        lambda: (text := browser.execute_script(TEXT)) and "total cycles" in text and text, "text at the pointer")


def test_dragging_zooms_all_charts_over_time(browser: Chrome) -> None:
    chart = browser.find_element("css selector", "#timeline")
    before = [np.asarray(picture(browser, "#timeline"))[at:at + 100] for at in (60, 640)]
    # Along the chart of the causes, which is the first but for the strip of layers.
    ActionChains(browser).move_to_element_with_offset(chart, -100, 120 - chart.size["height"] // 2).click_and_hold(
        ).move_by_offset(200, 0).release().perform()

    def changed() -> bool:
        after = [np.asarray(picture(browser, "#timeline"))[at:at + 100] for at in (60, 640)]
        return all((a != b).mean() > 0.02 for a, b in zip(after, before, strict=True))

    assert wait_for(changed, "zoomed charts")


def test_the_table_is_sorted_by_a_click(browser: Chrome, report: Path) -> None:
    values = json.loads(report.read_text())
    head = browser.find_element("css selector", "#layers th:nth-child(6)")
    head.click()
    head.click()
    first = browser.find_element("css selector", "#layers tbody tr td:nth-child(6)").text

    assert first == f"{max(layer['cycles'] for layer in values['layers']):,}"

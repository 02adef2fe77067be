"""A headless Chromium for tests and pictures: Debian's packages `chromium` and `chromium-driver`.

Tests skip when it is absent, and fail instead where `SYSTOLITH_REQUIRE_BROWSER=1`.
"""

from __future__ import annotations

import io
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver

WAIT = 60.0
"""Seconds until a page must have done what is waited for."""

_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
          "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
          "--disable-dev-shm-usage", "--force-color-profile=srgb")


def programs() -> tuple[str, str] | None:
    """Return the paths of the browser and of its driver, or None where one of them is absent."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def require_programs() -> None:
    """Skip the calling test, or fail it where it may not be skipped, unless there is a browser."""
    if programs() is None:
        reason = "no chromium and chromedriver on PATH; apt-get install chromium chromium-driver"
        if os.environ.get("SYSTOLITH_REQUIRE_BROWSER") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


@contextmanager
def open_browser(profile: Path, width: int = 1366, height: int = 900,
                 scale: float = 1) -> Iterator[webdriver.Chrome]:
    """Yield a browser with a fresh profile in the folder `profile`; the programs must be there.

    The window is `width` x `height` CSS pixels, of `scale` pixels of a picture each way.
    """
    found = programs()
    assert found is not None, "a browser must be installed"
    options = webdriver.ChromeOptions()
    options.binary_location = found[0]
    for flag in (*_FLAGS, f"--window-size={width},{height}", f"--force-device-scale-factor={scale:g}",
                 f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(found[1]))
    try:
        yield driver
    finally:
        driver.quit()


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Return the first true value of `condition`. Raises `TimeoutError` that says `what` did not come."""
    end = time.monotonic() + WAIT
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"no {what} within {WAIT:g} s")
        time.sleep(0.05)
    return found


def picture(driver: webdriver.Chrome, selector: str) -> Image.Image:
    """Return a picture of the first element that a CSS selector finds; the window must hold it."""
    return Image.open(io.BytesIO(driver.find_element("css selector", selector).screenshot_as_png)).convert("RGB")


def pixels(image: Image.Image, colour: str) -> int:
    """Return how many pixels have a colour, #rrggbb, or nearly so."""
    wanted = np.array([int(colour[at:at + 2], 16) for at in (1, 3, 5)])
    return int((np.abs(np.asarray(image, np.int64) - wanted) <= 3).all(axis=-1).sum())

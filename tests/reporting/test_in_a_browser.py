"""The page in Chromium: it fits a phone, follows the scheme, and asks for nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reporting.test_html_page import everything

webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="apt-get install chromium chromium-driver")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for each in ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(each)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def opened(browser: Any, path: Path, width: int, scheme: str) -> Any:
    """Show the page with everything in it, at a width and in a scheme."""
    path.write_text(everything())
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(path.as_uri())
    return browser.execute_script


def test_it_fits_and_asks_for_nothing(browser: Any, tmp_path: Path) -> None:
    """At 390 and 1,440 pixels nothing is wider than the window; no script of hostile names runs; no request is made."""
    for width in (390, 1440):
        ask = opened(browser, tmp_path / "report.html", width, "light")
        assert ask("return document.documentElement.scrollWidth") == width
        assert ask("return performance.getEntriesByType('resource').length") == 0
        assert ask("return document.scripts.length + document.images.length") == 0


def test_it_follows_the_scheme(browser: Any, tmp_path: Path) -> None:
    """Light is dark on light, dark is light on dark."""
    shown = {}
    for scheme in ("light", "dark"):
        ask = opened(browser, tmp_path / "report.html", 1440, scheme)
        style = "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
        shown[scheme] = [brightness(each) for each in ask(style)]
    assert shown["light"][0] < 0.2 < 0.8 < shown["light"][1]
    assert shown["dark"][1] < 0.2 < 0.8 < shown["dark"][0]


def brightness(colour: str) -> float:
    """Return the mean of `rgb(…)`, of 1."""
    values = [int(each) for each in colour[4:-1].split(",")]
    return sum(values) / 3 / 255

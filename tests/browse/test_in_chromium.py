"""The pages in a real browser, by keyboard and click."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from browse.conftest import Small
from recvault.browse.serving import Served

pytest.importorskip("selenium")

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium and its driver are not installed")
SECONDS = 60


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One headless browser for all of these tests: it takes seconds to start."""
    options = Options()
    options.binary_location = CHROMIUM or ""
    for each in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--mute-audio", "--no-proxy-server"):
        options.add_argument(each)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


class Screen:
    """What a person sees and does."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def __call__(self, selector: str) -> Any:
        """Return the element, once it is there."""
        return self.until(lambda: next(iter(self.driver.find_elements(By.CSS_SELECTOR, selector)), None))

    def until(self, seen: Callable[[], Any]) -> Any:
        """Wait for what is promised."""
        ignored = (webdriver.remote.errorhandler.StaleElementReferenceException,)
        return WebDriverWait(self.driver, SECONDS, 0.05, ignored).until(lambda _: seen())

    def press(self, keys: str) -> None:
        """Press keys, wherever the focus is."""
        webdriver.ActionChains(self.driver).send_keys(keys).perform()

    def js(self, script: str) -> Any:
        return self.driver.execute_script(f"return {script}")

    def size(self, width: int, height: int) -> None:
        told = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 800}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", told)

    @property
    def name(self) -> str | None:
        """The recording whose card is open."""
        found = self.js("document.querySelector('article')?.dataset.name")
        return None if found is None else str(found)


@pytest.fixture
def screen(chromium: Any, pages: Served) -> Iterator[Screen]:
    """A screen on which the link was opened. No script may fail, and the policy may refuse nothing of ours."""
    screen = Screen(chromium)
    screen.size(1440, 900)
    chromium.get_log("browser")
    chromium.get(pages.link)
    screen(".rows a")
    yield screen
    assert [each["message"] for each in chromium.get_log("browser") if each["level"] == "SEVERE"] == []
    chromium.get("about:blank")


def test_by_keyboard_from_search_to_play(screen: Screen, events: list[dict[str, Any]], small: Small) -> None:
    """/ searches, j and k step through cards, space plays; the listen is logged on play, not before."""
    screen.press("/")
    screen.until(lambda: screen.js("document.activeElement.id") == "q")
    screen.press("555" + Keys.ENTER)
    screen.until(lambda: len(screen.driver.find_elements(By.CSS_SELECTOR, ".rows a")) == 8)
    screen.press("j")
    screen.until(lambda: screen.name == f"RE{7:032x}")
    screen.press("jjj")
    screen.until(lambda: screen.name is not None and screen.name != f"RE{7:032x}")
    screen.driver.get(screen.driver.current_url)  # a permalink: the same card by itself
    shown = screen.name
    screen(".player[data-drawn='2']") if shown != f"RE{6:032x}" else None
    assert events == []
    screen.press("k")
    screen.until(lambda: screen.name != shown)
    screen.driver.get(screen.js(f"location.origin + '/r/RE{3:032x}'"))
    screen(".player[data-drawn='2']")
    assert events == []
    screen.press(" ")
    screen(".player.playing")
    screen.until(lambda: screen("article .now").text != "0:00")
    assert [(each["event"], each["recording_id"]) for each in events] == [("browse.listened", f"RE{3:032x}")]
    screen.press(" ")
    screen.until(lambda: "playing" not in screen(".player").get_attribute("class"))


def test_by_click_from_day_to_play(screen: Screen, events: list[dict[str, Any]]) -> None:
    """A bar leads to its day, a row to its card, the button plays, and again pauses."""
    screen('.days a[href$="2026-10-01"]').click()
    screen(".lanes")
    screen(".rows a").click()
    screen.until(lambda: screen.name == f"RE{4:032x}")
    assert screen.js("location.pathname") == f"/r/RE{4:032x}"
    assert screen('.rows a[aria-current="true"]').text.startswith("12:12:04")
    play = screen(".play")
    assert play.get_attribute("aria-label") == "Play"
    play.click()
    screen(".player.playing")
    screen.until(lambda: [each["event"] for each in events] == ["browse.listened"])
    screen.until(lambda: screen(".play").get_attribute("aria-label") == "Pause")


def test_the_position_is_a_slider(screen: Screen) -> None:
    """The waveform is a slider for the keyboard and for screen readers."""
    screen.driver.get(screen.js(f"location.origin + '/r/RE{5:032x}'"))
    screen(".player[data-drawn='2']")
    screen(".play").click()
    screen(".player.playing")
    screen(".wave").send_keys(Keys.END)
    screen.until(lambda: screen(".wave").get_attribute("aria-valuenow") == "7")
    screen(".wave").send_keys(Keys.HOME)
    screen.until(lambda: screen(".wave").get_attribute("aria-valuetext") < "0:05")


def test_hostile_text_runs_nothing(screen: Screen) -> None:
    """A provider's text with a script in it is shown as it is; its script does not run."""
    screen.press("j")
    screen.until(lambda: screen.name == f"RE{7:032x}")
    assert "<script>document.title" in screen("article h2").text
    assert screen.js("document.title") == f"RE{7:032x} · recvault"
    assert screen.js("document.querySelectorAll('article script, article img').length") == 0


def test_on_a_phone_the_card_replaces_the_list(screen: Screen) -> None:
    """At 390 pixels nothing is cut off at the side; a card covers the list and leads back to it."""
    screen.size(390, 844)
    assert screen.js("document.documentElement.scrollWidth") == 390
    row = screen('.rows a[href^="/r/RE00000000000000000000000000000005"]')
    row.click()
    screen.until(lambda: screen("article h2").is_displayed())
    assert not screen("#list").is_displayed()
    screen(".player[data-drawn='2']")
    assert screen.js("document.documentElement.scrollWidth") == 390
    screen(".back a").click()
    screen.until(lambda: screen("#list").is_displayed())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_both_schemes(screen: Screen, scheme: str) -> None:
    """Soft text on the page has a contrast of 4.5 at least, light and dark."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    screen.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    pairs = [("--ink", "--paper"), ("--soft", "--paper"), ("--soft", "--raised"), ("--warn", "--warn-wash")]
    pairs += [("--accent-ink", "--accent"), ("--bad", "--paper"), ("--soft", "--wash")]
    named = "getComputedStyle(document.documentElement).getPropertyValue('{}').trim()"
    assert dict.fromkeys(pairs, True) == {
        pair: _contrast(*(screen.js(named.format(each)) for each in pair)) >= 4.5 for pair in pairs
    }


def _contrast(one: str, other: str) -> float:
    lights = sorted((_light(each) for each in (one, other)), reverse=True)
    return (lights[0] + 0.05) / (lights[1] + 0.05)


def _light(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(each * 2 for each in digits) if len(digits) == 3 else digits
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue

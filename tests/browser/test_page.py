"""The inspection page as a reader meets it."""

import json
import re

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from tapo.inspection.options import InspectOptions
from tapo.inspection.page import write_page
from tests.browser.chromium import chromium

pytestmark = pytest.mark.browser

HOSTILE = "Wait <script>alert(1)</script>, </script> & <img src=x onerror=alert(2)> {{ 7 * 7 }}.\n"
PREFIX = "∈ 😀 "
STEPS, OF_STEP = 6, 11
LEAKED = {2, 4}
"""Steps whose first construction was rejected for a leak."""


def construction(step, j):
    record = {
        "step": step,
        "uid": f"u{step}-{j}",
        "key": f"u{step}-{j}_ref_8_0",
        "query": f"query {step}-{j} {HOSTILE}",
        "wrong_session": 0,
        "wrong": f"{PREFIX}dropped {HOSTILE}",
        "wrong_reward": 0.0,
        "correct_session": 1,
        "correct": f"sibling {step}-{j}",
        "answer": f"<analysis>{HOSTILE}</analysis><reconstruction>x</reconstruction>",
        "prefix": PREFIX,
        "reflection": HOSTILE,
        "correction": "so it is 4",
        "prefix_length": 4,
        "reward": float(j % 2),
        "outcome": "trained",
        "token_lengths": [1, 1, 0, 2, len(HOSTILE) + 2, 8, 0],
    }
    if step in LEAKED and j == 0:
        absent = dict.fromkeys(("prefix", "reflection", "correction", "prefix_length", "reward", "token_lengths"))
        record |= absent | {"outcome": "leak", "answer": HOSTILE}
    return record


def trained_row(record):
    weights = [1.0, 0.01, 0.1, 0.1, 10.0, 0.5, 0.25]
    return {"step": record["step"], "key": record["key"], "constructed": True, "advantage": 0.5, "weights": weights}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dump")
    records = [construction(step, j) for step in range(1, STEPS + 1) for j in range(OF_STEP)]
    rows = [trained_row(record) for record in records if record["outcome"] == "trained"]
    for kind, lines in (("constructions", records), ("trained", rows)):
        (folder / f"{kind}-host-1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_page(InspectOptions(dump=folder, outcome="all", title=f"A run {HOSTILE}"), folder / "page.html")
    return folder / "page.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def opened(browser, page):
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(page.as_uri())
    wait_idle(browser)
    yield browser
    assert browser.get_log("browser") == []


def wait_idle(browser):
    idle = "return document.getElementById('list').getAttribute('aria-busy') === 'false'"
    WebDriverWait(browser, 20).until(lambda driver: driver.execute_script(idle))


def count(browser):
    wait_idle(browser)
    return browser.find_element(By.ID, "count").text


def open_first(browser):
    item = browser.find_element(By.CSS_SELECTOR, ".item")
    item.find_element(By.CSS_SELECTOR, "summary").send_keys(Keys.ENTER)
    WebDriverWait(browser, 20).until(lambda driver: item.find_elements(By.CSS_SELECTOR, ".body pre"))
    return item


def content(parent, selector):
    return parent.find_element(By.CSS_SELECTOR, selector).get_property("textContent")


def test_it_shows_all_trajectories_by_pages_and_asks_for_nothing(opened, page):
    assert count(opened) == f"{STEPS * OF_STEP} of {STEPS * OF_STEP} trajectories"
    assert len(opened.find_elements(By.CSS_SELECTOR, ".item")) == 50
    opened.find_element(By.ID, "next").click()
    assert len(opened.find_elements(By.CSS_SELECTOR, ".item")) == STEPS * OF_STEP - 50
    events = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    requests = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    urls = {request["request"]["url"] for request in requests if request["documentURL"] == page.as_uri()}
    assert urls - {"data:,"} == {page.as_uri()}


def test_search_narrows_to_the_trajectories_that_hold_the_text(opened):
    box = opened.find_element(By.ID, "query")
    box.send_keys("SIBLING 3-7")
    WebDriverWait(opened, 20).until(lambda driver: count(driver).startswith("1 of"))
    assert "query 3-7" in content(opened, ".item .excerpt")
    box.send_keys("nowhere")
    WebDriverWait(opened, 20).until(lambda driver: count(driver).startswith("0 of"))


def test_filters_by_step_outcome_and_answer_combine(opened):
    opened.find_element(By.ID, "from").clear()
    opened.find_element(By.ID, "from").send_keys("2")
    opened.find_element(By.ID, "to").clear()
    opened.find_element(By.ID, "to").send_keys("3")
    WebDriverWait(opened, 20).until(lambda driver: count(driver).startswith(f"{2 * OF_STEP} of"))
    Select(opened.find_element(By.ID, "reward")).select_by_value("correct")
    WebDriverWait(opened, 20).until(lambda driver: count(driver).startswith(f"{2 * (OF_STEP // 2)} of"))
    Select(opened.find_element(By.ID, "reward")).select_by_value("")
    opened.find_element(By.CSS_SELECTOR, "button[data-outcome=leak]").click()
    WebDriverWait(opened, 20).until(lambda driver: count(driver).startswith("1 of"))
    assert content(open_first(opened), "pre.answer") == HOSTILE
    opened.find_element(By.CSS_SELECTOR, "button[type=reset]").click()
    WebDriverWait(opened, 20).until(lambda driver: count(driver).startswith(f"{STEPS * OF_STEP} of"))


def test_hostile_texts_are_shown_as_text(opened):
    item = open_first(opened)
    assert opened.title == f"A run {HOSTILE}".strip()
    assert content(opened, "h1") == f"A run {HOSTILE}"
    assert content(item, ".body pre") == f"query 1-0 {HOSTILE}"
    assert [content(item, f".{name}") for name in ("prefix", "reflection", "correction", "dropped")] == [
        PREFIX,
        HOSTILE,
        "so it is 4",
        f"dropped {HOSTILE}",
    ]
    assert opened.find_elements(By.TAG_NAME, "img") == []
    assert len(opened.find_elements(By.CSS_SELECTOR, "script:not([type])")) == 1


def test_shading_puts_each_tokens_weight_on_its_own_characters(opened):
    item = open_first(opened)
    opened.find_element(By.ID, "shade").click()
    WebDriverWait(opened, 20).until(lambda driver: item.find_elements(By.CSS_SELECTOR, ".token"))
    tokens = [
        (token.get_property("textContent"), token.get_attribute("title"), token.get_attribute("class").split()[-1])
        for token in item.find_elements(By.CSS_SELECTOR, ".token")
    ]
    # The token over the seam of reflection and correction is drawn in both; the emoji is made of two tokens.
    assert tokens == [
        ("∈", "weight 1", "token"),
        (" ", "weight 0.01", "low"),
        ("😀 ", "weight 0.1, 0.1", "low"),
        (HOSTILE, "weight 10", "high"),
        ("so", "weight 10", "high"),
        (" it is 4", "weight 0.5", "low"),
        ("end", "weight 0.25", "low"),
    ]


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_window(opened, width):
    opened.set_window_size(width, 800)
    open_first(opened)
    widest = opened.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert widest == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("shaded", [False, True])
def test_all_text_has_enough_contrast_in_light_and_dark(opened, scheme, shaded):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    item = open_first(opened)
    selectors = (".prefix", ".reflection", ".correction", ".dropped")
    if shaded:
        opened.find_element(By.ID, "shade").click()
        WebDriverWait(opened, 20).until(lambda driver: item.find_elements(By.CSS_SELECTOR, ".token"))
        selectors = (".token", ".token.low", ".token.high", ".dropped")
    contrasts = {selector: contrast(opened, item.find_element(By.CSS_SELECTOR, selector)) for selector in selectors}
    assert min(contrasts.values()) >= 4.5, contrasts


def contrast(browser, element):
    """The WCAG contrast ratio of an element's text on its own background over that of the panel."""
    script = """const [own, panel] = [getComputedStyle(arguments[0]), getComputedStyle(arguments[0].closest("pre"))];
        return [own.color, own.backgroundColor, panel.backgroundColor];"""
    text, own, panel = map(channels, browser.execute_script(script, element))
    ground = [own[3] * over + (1 - own[3]) * under for over, under in zip(own[:3], panel[:3], strict=True)]
    light, dark = sorted((luminance(text[:3]), luminance(ground)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def channels(colour):
    """[red, green, blue, alpha] of a computed colour."""
    values = [float(value) for value in re.findall(r"[\d.]+", colour)]
    return [value / 255 for value in values[:3]] + (values[3:] or [1.0])


def luminance(colour):
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in colour]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

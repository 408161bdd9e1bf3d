"""The page: complete without a network, true to the rows, usable in a browser and on a phone."""

import re
from html.parser import HTMLParser

import pytest
from stored_searches import searched

from reports.page.charts import pareto
from reports.page.html import page
from reports.run.points import AXES, SIZE, decode_axis

TRAP = "<img src=x onerror=\"document.title='trapped'\">"
FACTS = {
    "model": "toy" + TRAP,
    "tasks": [{"name": "piqa", "metric": "acc"}],
    "limit": 40,
    "environment": {"cpu": "one </script><script>document.title='trapped'</script>"},
    "command": "harness run && echo $HOME",
    "loss_curves": {"nas@0.5": [[0, 512, 3.0, "full"], [1, 1024, 2.0, "sub"]]},
    "searches": [searched(TRAP, seed) for seed in range(3)],
}


def variant(name, method, size, speed, average, **more):
    scores = {"average": average, "average_low": average - 0.02, "average_high": average + 0.03, "piqa.acc": average}
    ratios = {"decode_ratio": speed, "decode_ratio_low": speed - 0.1, "decode_ratio_high": speed + 0.1}
    sizes = {"bytes_on_disk": size, "parameters": size, "peak_memory_bytes": size, "seconds": 5.0}
    return {"variant": name, "method": method, "quantizer": "none", "status": "ok"} | scores | ratios | sizes | more


def fabricated():
    return [
        variant("dense", "dense", 1_000_000_000, 1.0, 0.60),
        variant("nas@0.9", "nas", 900_000_000, 1.1, 0.58, budget=0.9),
        variant("nas@0.5+int8", "nas", 90_000_000, 2.0, 0.50, budget=0.5, quantizer="int8"),
        variant("width@0.5", "width", 500_000_000, 1.9, 0.45, budget=0.5),
        variant("wanda@0.5", "wanda", 80_000_000, 1.0, 0.59, budget=0.5, simulated=True),
        {"variant": "broken" + TRAP, "method": "broken", "status": "failed", "reason": "no memory " + TRAP},
    ]


MEASURED, STARS = 5, {"dense", "nas@0.9", "nas@0.5+int8"}


class Requests(HTMLParser):
    """Collects every address an element would load."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for key, value in attrs if key in ("src", "href", "srcset", "data")]


def test_the_page_loads_nothing_from_elsewhere():
    parser = Requests()
    parser.feed(page(fabricated(), FACTS))
    assert parser.found == []
    assert "default-src 'none'" in page(fabricated(), FACTS)


def test_the_same_rows_give_the_same_page():
    assert page(fabricated(), FACTS) == page(fabricated(), FACTS)


def test_foreign_text_is_escaped_everywhere():
    text = page(fabricated(), FACTS)
    assert "<img" not in re.sub(r"<script>/\*\*.*?</script>", "", text, flags=re.DOTALL)  # plotly's own source aside
    assert "&lt;img" in text
    assert "</script><script>document.title" not in text


def test_no_text_in_the_figures_can_end_their_script():
    inside = re.search(r'id="figures">(.*?)</script>', page(fabricated(), FACTS), re.DOTALL)
    assert inside is not None
    assert "<" not in inside.group(1)


def test_legends_name_the_quantizers_that_rows_went_through():
    rows = [variant("dense", "dense", 9e8, 1.0, 0.6), variant("dense+q4", "dense", 3e8, 2.0, 0.5, quantizer="q4<b>")]
    made = page(rows, FACTS)
    assert "■ q4&lt;b&gt;, hollow" in made
    assert "<em>+q4&lt;b&gt;</em> means quantized on top" in made
    assert "int8" not in page(rows[:1], FACTS).partition('<script type="application/json"')[0]


def test_front_and_hollow_points_of_the_figure_follow_the_rows():
    figure = pareto(fabricated(), FACTS, SIZE)
    line = figure["data"][0]
    assert (line["x"], line["line"]["shape"]) == ([90.0, 900.0, 1000.0], "hv")
    assert pareto(fabricated(), FACTS, decode_axis(fabricated()))["data"][0]["line"]["shape"] == "vh"
    symbols = {trace["name"]: trace["marker"]["symbol"] for trace in figure["data"][1:]}
    assert symbols == {"dense": ["circle"], "nas": ["circle", "square"], "width": ["circle"], "wanda": ["circle-open"]}
    assert figure["data"][1]["error_y"]["array"] == [pytest.approx(3.0)]


def test_every_axis_makes_a_valid_plotly_figure():
    from plotly.graph_objects import Figure

    for axis in AXES:
        Figure(pareto(fabricated(), FACTS, axis))  # raises on a property plotly does not know


def test_a_page_without_any_result_is_still_a_page():
    assert "not recorded" in page([], {})


@pytest.fixture
def opened(browser, tmp_path):
    """A function that opens the fabricated page at a width and waits until its charts are drawn."""
    from selenium.webdriver.support.ui import WebDriverWait

    path = tmp_path / "report.html"
    path.write_text(page(fabricated(), FACTS), encoding="utf-8")

    def open_at(width, scheme="light"):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get(path.as_uri())
        drawn = "return [...document.querySelectorAll('.chart')].every(c => c.querySelector('.main-svg'))"
        WebDriverWait(browser, 20).until(lambda driver: driver.execute_script(drawn))
        return browser

    return open_at


def count(driver, selector):
    return driver.execute_script("return document.querySelectorAll(arguments[0]).length", selector)


def names(driver):
    script = "return [...document.querySelectorAll('#summary tbody th span:first-child')].map(s => s.textContent)"
    return driver.execute_script(script)


def click(driver, selector):
    driver.execute_script("document.querySelector(arguments[0]).click()", selector)


@pytest.mark.browser
def test_the_page_opens_without_errors_and_foreign_text_stays_text(opened):
    driver = opened(1280)
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert driver.title.startswith("toy<img")
    assert count(driver, "img") == 0


@pytest.mark.browser
def test_both_charts_draw_every_measured_variant_and_a_front(opened):
    driver = opened(1280)
    for chart in ("#chart-size", "#chart-choice"):
        assert count(driver, f"{chart} .scatterlayer .point") == MEASURED
        assert count(driver, f"{chart} .scatterlayer .js-line") == 1
        assert count(driver, f"{chart} .errorbar") == MEASURED
    assert count(driver, ".chart") == 10  # two fronts, losses, seven of the search


@pytest.mark.browser
def test_the_x_axis_of_the_second_chart_can_be_chosen(opened):
    driver = opened(1280)
    click(driver, ".choices input[value=peak_memory_bytes]")
    title = "return document.querySelector('#chart-choice .xtitle').textContent"
    assert "peak memory" in driver.execute_script(title)
    assert count(driver, "#chart-choice .scatterlayer .point") == MEASURED
    assert driver.execute_script("return document.querySelector('.choices input[value=prefill_ratio]').disabled")


@pytest.mark.browser
def test_stars_badges_and_reasons_stand_in_their_rows(opened):
    driver = opened(1280)
    marked = "return [...document.querySelectorAll('#summary tr:has(%s) th span:first-child')].map(s => s.textContent)"
    assert set(driver.execute_script(marked % "th .star")) == STARS
    assert driver.execute_script(marked % ".badge") == ["wanda@0.5"]
    assert driver.execute_script(marked % ".failure") == ["broken" + TRAP]


@pytest.mark.browser
def test_a_click_sorts_by_number_and_leaves_the_unmeasured_below(opened):
    driver = opened(1280)
    heads = "[...document.querySelectorAll('#summary thead th')]"
    place = f"return {heads}.findIndex(head => head.textContent.startsWith('disk'))"
    button = f"#summary thead th:nth-child({driver.execute_script(place) + 1}) button"
    rising = ["wanda@0.5", "nas@0.5+int8", "width@0.5", "nas@0.9", "dense"]  # 80 MB before 500 MB: not as text
    click(driver, button)
    assert names(driver) == [*rising, "broken" + TRAP]
    click(driver, button)
    assert names(driver) == [*reversed(rising), "broken" + TRAP]


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out_of_the_page(opened, width):
    driver = opened(width)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    right = "return Math.max(...[...document.querySelectorAll('.main-svg')].map(s => s.getBoundingClientRect().right))"
    assert driver.execute_script(right) <= width


@pytest.mark.browser
def test_dark_mode_turns_page_and_charts_dark(opened):
    ink = "return getComputedStyle(document.querySelector('#chart-size .xtitle')).fill"
    page_colour = "return getComputedStyle(document.body).backgroundColor"
    light = [opened(1280).execute_script(script) for script in (ink, page_colour)]
    dark = [opened(1280, "dark").execute_script(script) for script in (ink, page_colour)]
    assert light == ["rgb(27, 31, 36)", "rgb(247, 248, 250)"]
    assert dark == ["rgb(230, 232, 235)", "rgb(18, 21, 25)"]


def test_the_second_chart_begins_with_something_measured():
    untimed = [{key: value for key, value in row.items() if "ratio" not in key} for row in fabricated()]
    assert 'id="chart-choice" data-figure="decode_ratio"' in page(fabricated(), FACTS)
    text = page(untimed, FACTS)
    assert 'id="chart-choice" data-figure="parameters"' in text
    assert 'value="parameters" checked' in text

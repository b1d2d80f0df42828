"""The report is one page that needs nothing else, and works in a browser."""

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from eocodec.bench import run
from eocodec.bench.demo_scene import demo_scene
from eocodec.bench.mosaic import write_scene
from eocodec.bench.pictures import make_pictures
from eocodec.bench.report.page import build_page, fill
from eocodec.bench.tiles import Cut, find_sources
from eocodec.cli.report import report
from eocodec.errors import InputError

SIDE = 64
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
MOVED = "document.getElementById('handle').getAttribute('aria-valuenow')"
LEFT_PIXELS = "document.getElementById('left-canvas').toDataURL()"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    pytest.importorskip("imagecodecs")
    pytest.importorskip("av")
    data, out = tmp_path_factory.mktemp("tiles"), tmp_path_factory.mktemp("results")
    write_scene(data / "a<b.tif", demo_scene(SIDE, SIDE, 1, nodata=0))
    options = run.RunOptions(data, out, ("j2k", "klt+j2k", "jpegls"), Cut(SIDE), runs=1, workers=1)
    rows = run.run_bench(options)
    make_pictures(rows, find_sources(data), options.cut, out)
    return out


@pytest.fixture(scope="module")
def page_file(results, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    done = CliRunner().invoke(report, [str(results), "--out", str(path)])
    assert done.exit_code == 0, done.output
    return path


def test_the_page_asks_for_nothing(page_file):
    page = page_file.read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert "default-src 'none'" in page
    assert "{{" not in page


def test_the_page_holds_the_results(page_file, results):
    page = page_file.read_text(encoding="utf-8")
    stored = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    data = json.loads(stored[1])
    measured = [row for row in run.read_rows(results) if row["codec"] == "j2k"]
    shown = [row for row in data["rows"] if row["codec"] == "j2k"]
    assert [row["psnr"] for row in shown] == [row["psnr"] for row in measured]
    assert "<" not in stored[1]
    assert len(data["pictures"]["tiles"][0]["budgets"]) == 2


def test_a_folder_without_results_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no results"):
        build_page(tmp_path)


def test_a_template_without_its_places_is_an_error():
    assert fill("a {{x}} b", {"x": "{{y}}"}) == "a {{y}} b"
    with pytest.raises(InputError, match="no single place for x"):
        fill("a", {"x": "1"})


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    with playwright.sync_playwright() as driver:
        if program is None and not Path(driver.chromium.executable_path).exists():
            pytest.skip("no Chromium: apt-get install chromium, or playwright install chromium")
        launched = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desktop", "phone"])
def opened(browser, page_file, request):
    width, height = request.param
    page = browser.new_page(viewport={"width": width, "height": height})
    page.problems = []
    page.on("console", lambda message: page.problems.append(message.text))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("request", lambda r: r.url.startswith(("data:", "file:")) or page.problems.append(r.url))
    page.goto(page_file.as_uri())
    page.wait_for_selector("#stage[data-drawn]")
    yield page
    problems = list(page.problems)
    page.close()
    assert not problems


def test_the_lead_is_of_the_best_model(browser, results, tmp_path):
    rows = [row for row in run.read_rows(results) if row["kind"] == "lossy"]
    shares = {"tec-fp": 0.8, "tec-elic": 0.5}
    rows += [
        {**row, "codec": name, "bits": int(share * row["bits"]), "free_bits": int(share * row["free_bits"])}
        for name, share in shares.items()
        for row in rows
        if row["codec"] == "j2k"
    ]
    (tmp_path / run.RESULTS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    shutil.copy(results / run.META, tmp_path)
    path = tmp_path / "report.html"
    path.write_text(build_page(tmp_path), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    assert page.locator("#lead > div").count() == 1  # the only opponent is j2k
    assert "bits of tec-elic against JPEG 2000" in page.inner_text("#lead")
    assert page.inner_text("#lead strong") == "\N{MINUS SIGN}50.0 %"
    page.close()


def wait_for_drawing(page, action):
    before = page.get_attribute("#stage", "data-drawn")
    from playwright.sync_api import expect

    action()
    # The page forbids evaluating text as script, which `wait_for_function` does while it waits.
    expect(page.locator("#stage")).not_to_have_attribute("data-drawn", before)


def test_nothing_is_wider_than_the_window(opened):
    assert opened.evaluate("document.documentElement.scrollWidth") <= opened.viewport_size["width"]
    assert opened.locator("#rate-table tbody tr").count() == 4  # two codecs, with and without headers
    assert opened.locator("#curve-chart polyline").count() == 2


def test_the_divider_follows_pointer_and_keys(opened):
    handle = opened.locator("#handle")
    handle.scroll_into_view_if_needed()
    frame, grip = opened.locator("#frame").bounding_box(), handle.bounding_box()
    opened.mouse.move(grip["x"] + 22, grip["y"] + 40)
    opened.mouse.down()
    opened.mouse.move(frame["x"] + 0.25 * frame["width"], grip["y"] + 40, steps=4)
    opened.mouse.up()
    assert opened.evaluate(MOVED) == "25"
    handle.focus()
    opened.keyboard.press("ArrowRight")
    assert opened.evaluate(MOVED) == "27"
    opened.keyboard.press("End")
    assert opened.evaluate(MOVED) == "100"
    assert "inset(0px 0%" in opened.evaluate("document.getElementById('left-canvas').style.clipPath")


def test_pickers_change_the_picture(opened):
    seen = {opened.evaluate(LEFT_PIXELS)}
    for name, value in (("bands", "swir"), ("bands", "false"), ("left", "original"), ("left", "klt+j2k")):
        wait_for_drawing(
            opened, lambda n=name, v=value: opened.select_option(f"#viewer-controls [name={n}]", v)
        )
        seen.add(opened.evaluate(LEFT_PIXELS))
    wait_for_drawing(opened, lambda: opened.select_option("#viewer-controls [name=show]", "error"))
    seen.add(opened.evaluate(LEFT_PIXELS))
    assert len(seen) == 6
    assert opened.is_visible("#error-legend")
    assert "kB" in opened.inner_text("#left-caption")


def test_zoom_makes_the_picture_larger(opened):
    before = opened.locator("#frame").bounding_box()["width"]
    wait_for_drawing(opened, lambda: opened.select_option("#viewer-controls [name=zoom]", "4"))
    assert opened.locator("#frame").bounding_box()["width"] == pytest.approx(4 * before, rel=0.05)


def test_dark_and_light_and_codecs_can_be_switched(opened):
    colour = "getComputedStyle(document.body).backgroundColor"
    before = opened.evaluate(colour)
    opened.click("#theme")
    assert opened.evaluate(colour) != before
    opened.locator("#curve-legend button").first.click()
    assert opened.locator("#curve-chart polyline").count() == 1

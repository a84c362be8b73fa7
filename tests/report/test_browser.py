"""The page in a real browser."""

import shutil

import pytest

from report.builders import HOSTILE, TASKS, save_study
from vptft.report.pages import page as page_module
from vptft.report.pages.page import build_page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    results = save_study(folder / "results", tasks=HOSTILE, classes=HOSTILE * 2, scores=True, seeds=range(3))
    return build_page(results, folder / "page.html", title=HOSTILE[0])


@pytest.fixture
def opened(browser, page_path, request):
    """A page at the asked width, with what it said, raised and requested."""
    width, scheme = getattr(request, "param", (1200, "light"))
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    heard = {"console": [], "errors": [], "dialogs": [], "requests": []}
    page.on("console", lambda message: heard["console"].append(message.text))
    page.on("pageerror", lambda error: heard["errors"].append(str(error)))
    page.on("dialog", lambda dialog: (heard["dialogs"].append(dialog.message), dialog.dismiss()))
    page.on("request", lambda sent: heard["requests"].append(sent.url))
    page.goto(page_path.as_uri(), wait_until="load")
    yield page, heard
    page.close()


def test_it_opens_from_disk_silently_and_asks_for_nothing_else(opened, page_path):
    page, heard = opened
    assert heard["console"] == heard["errors"] == heard["dialogs"] == []
    assert [url for url in heard["requests"] if not url.startswith("data:")] == [page_path.as_uri()]
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


def test_hostile_names_are_shown_as_text(opened):
    page, _ = opened
    assert page.locator("h1").inner_text() == HOSTILE[0]
    assert page.locator("script:not([type])").count() == 1
    assert page.locator(".look bdi").first.inner_text() == HOSTILE[0]
    shown = page.evaluate("document.body.textContent")
    assert all(name.replace("\N{RIGHT-TO-LEFT OVERRIDE}", "") in shown for name in HOSTILE)


@pytest.mark.parametrize("opened", [(1200, "light"), (1200, "dark"), (390, "light"), (320, "dark")], indirect=True)
def test_nothing_overflows_sideways(opened):
    page, _ = opened
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("opened", [(1200, "light"), (1200, "dark")], indirect=True)
def test_text_stands_out_and_figures_keep_a_white_card(opened):
    page, _ = opened
    contrast = page.evaluate(
        """() => {
            const channels = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(c => c / 255)
                .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
            const weights = [0.2126, 0.7152, 0.0722];
            const luminance = colour => channels(colour).reduce((sum, c, i) => sum + c * weights[i], 0);
            const paper = luminance(getComputedStyle(document.documentElement).backgroundColor);
            return [...document.querySelectorAll('p, td, a, figcaption, .verdict')].map(element => {
                const ink = luminance(getComputedStyle(element).color);
                return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
            });
        }"""
    )
    assert min(contrast) > 4.5
    assert page.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor") == "rgb(255, 255, 255)"


def test_print_holds_the_folded_parts(opened):
    page, _ = opened
    page.emulate_media(media="print")
    height = page.evaluate("document.querySelector('#settings details dl').getBoundingClientRect().height")
    assert height > 50


@pytest.fixture(scope="module")
def plain_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    results = save_study(folder / "results", scores=True, seeds=range(3))
    return build_page(results, folder / "page.html", title="Plain")


@pytest.fixture
def page(browser, plain_path):
    """A page with plain names; the test fails where it complains."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    heard = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.goto(plain_path.as_uri(), wait_until="load")
    yield page
    page.close()
    assert heard == []


def test_a_small_figure_opens_its_whole_file(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "MOST_BYTES", 1000)
    results = save_study(tmp_path / "results", scores=True)
    path = build_page(results, tmp_path / "index.html", title="Large", figures=tmp_path / "figures")
    heard = []
    page = browser.new_page()
    page.on("console", lambda message: heard.append(message.text))
    page.goto(path.as_uri(), wait_until="load")
    page.locator("figure a").first.click()
    page.wait_for_url("**/figures/*")
    assert page.evaluate("document.querySelector('svg, img') !== null")
    assert heard == []
    page.close()


def picture_of(page, selector):
    return page.evaluate("selector => document.querySelector(selector).toDataURL()", selector)


def test_the_viewer_filters_by_task_outcome_quadrant_and_method(page):
    viewer = page.locator("#attention-scores .widget")
    looks = viewer.locator(".look")
    assert looks.count() == 8
    viewer.get_by_label("Who is right").select_option("only VPT right")
    assert looks.count() == 2
    assert all("only VPT right" in text for text in looks.locator("figcaption").all_inner_texts())
    viewer.get_by_label("Task").select_option("all")
    assert looks.count() == 8
    viewer.get_by_label("Quadrant").select_option("far objective, near data")
    assert {text.split(",")[0] for text in looks.locator("figcaption").all_inner_texts()} == {TASKS[1]}
    assert looks.first.locator("canvas").count() == 2
    viewer.get_by_label("Method").select_option("FT")
    assert looks.first.locator("canvas").count() == 1
    viewer.get_by_label("Who is right").select_option("all")
    viewer.get_by_label("Quadrant").select_option("all")
    assert looks.count() == 12
    viewer.get_by_role("button", name="Show more").click()
    assert looks.count() == 24


def test_the_viewer_shows_each_kind_layer_and_head_as_it_is(page):
    viewer = page.locator("#attention-scores .widget")
    drawn = "#attention-scores .look canvas"
    rollout = picture_of(page, drawn)
    assert "fails its sanity check (weights, class)" in viewer.inner_text()
    assert "prompts 0.25" in viewer.locator(".mass").first.inner_text()
    assert viewer.get_by_role("slider", name="Layer").is_disabled()
    viewer.get_by_label("Map").select_option("gradcam")
    assert picture_of(page, drawn) != rollout
    assert "fails its sanity check" not in viewer.inner_text()
    viewer.get_by_label("Map").select_option("one layer's attention")
    mean = picture_of(page, drawn)
    head = viewer.get_by_role("slider", name="Head")
    head.focus()
    page.keyboard.press("ArrowRight")
    assert picture_of(page, drawn) != mean
    third = viewer.locator(".mass").first.inner_text()
    viewer.get_by_role("slider", name="Layer").focus()
    page.keyboard.press("ArrowLeft")
    assert viewer.locator(".mass").first.inner_text() != third  # a layer's own share of prompts
    shown = picture_of(page, drawn)
    viewer.get_by_role("slider", name="Opacity").fill("0")
    assert picture_of(page, drawn) != shown


def test_the_strongest_patch_of_a_map_is_the_results(page, plain_path):
    from vptft.why.attention.scores import AttentionScores

    result = AttentionScores.load(plain_path.parent / "results" / "attention-scores" / "photo-category")
    labels = page.locator("#attention-scores .look canvas").evaluate_all(
        "canvases => canvases.map(canvas => canvas.getAttribute('aria-label'))"
    )
    expected = [
        f"{name}, strongest in row {at // 4 + 1}, column {at % 4 + 1}"
        for image in result.drawn
        for side, name in enumerate(("VPT", "FT"))
        for at in [int(result.maps[image, side, 0].argmax())]
    ]
    assert labels == expected


def test_surfaces_turn_by_key_drag_and_slider(page):
    place = page.locator("#landscape .widget")
    canvas = place.locator("canvas").first
    views = [picture_of(page, "#landscape canvas")]
    canvas.focus()
    page.keyboard.press("ArrowRight")
    views.append(picture_of(page, "#landscape canvas"))
    assert place.get_by_role("slider", name="Turn").input_value() == "40"
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 70)
    page.mouse.up()
    views.append(picture_of(page, "#landscape canvas"))
    assert [place.get_by_role("slider", name=name).input_value() for name in ("Turn", "Tilt")] == ["60", "40"]
    place.get_by_role("slider", name="Tilt").fill("90")
    views.append(picture_of(page, "#landscape canvas"))
    place.get_by_role("checkbox", name="logarithmic").check()
    views.append(picture_of(page, "#landscape canvas"))
    assert len(set(views)) == len(views)
    place.get_by_label("Task").select_option(TASKS[3])
    assert TASKS[3] in place.locator("figcaption").first.inner_text()


def test_curves_hide_lines_and_change_their_scale(page):
    place = page.locator("#overfitting .widget")
    lines = place.locator(".chart path[fill=none]")
    assert lines.count() == 4
    place.get_by_role("checkbox", name="VPT").uncheck()
    assert lines.count() == 2
    place.get_by_role("checkbox", name="train").uncheck()
    assert lines.count() == 1
    place.get_by_role("checkbox", name="each seed").check()
    assert lines.count() == 3
    scale = place.locator(".chart text").all_inner_texts()
    place.get_by_role("checkbox", name="logarithmic").uncheck()
    assert place.locator(".chart text").all_inner_texts() != scale
    place.locator(".chart svg").hover()
    assert "Epoch" in place.locator(".readout").inner_text()
    place.get_by_role("checkbox", name="FT").uncheck()
    assert "Nothing is chosen" in place.inner_text()
    place.get_by_label("Quantity").select_option("accuracy")
    assert place.get_by_role("checkbox", name="logarithmic").is_disabled()


def test_a_table_sorts_by_a_column_and_back(page):
    table = page.locator("#quadrants table").first
    column = table.locator("tbody tr td:nth-child(6)")
    before = column.all_inner_texts()
    gap = table.get_by_role("button", name="gap")
    numbers = [float(text.split(" ")[0].replace("−", "-")) for text in before]
    for wanted in (sorted(numbers), sorted(numbers, reverse=True)):
        gap.click()
        assert [float(text.split(" ")[0].replace("−", "-")) for text in column.all_inner_texts()] == wanted
    assert table.locator("th[aria-sort=descending]").count() == 1
    gap.click()
    assert column.all_inner_texts() == before


def test_a_link_opens_the_fold_it_leads_to(page):
    page.evaluate("location.hash = 'task-photo-count'")
    page.wait_for_function("document.getElementById('task-photo-count').open")


def test_without_scripts_everything_else_is_there(browser, plain_path):
    page = browser.new_page(java_script_enabled=False)
    page.goto(plain_path.as_uri())
    assert page.locator(".widget:visible").count() == 0
    before = page.locator("figure:visible").count()
    page.locator("summary", has_text="All 12 figures").click()
    assert page.locator("figure:visible").count() == before + 12
    assert page.locator("figure:visible").count() == page.locator("figure").count()
    page.close()

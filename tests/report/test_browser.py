"""The page in a real browser."""

import shutil

import pytest

from report.builders import HOSTILE, save_study
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
    results = save_study(folder / "results", tasks=HOSTILE, classes=HOSTILE * 2)
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
    assert page.locator("script").count() == 0
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

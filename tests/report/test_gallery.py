"""The page that links every report: what it finds, what it escapes, and that it repeats."""

import json
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from report.builders import HOSTILE
from vptft.errors import StorageError
from vptft.report.pages.gallery import build_gallery, find_entries

NAMES = ("<script>alert(1)<", "quotes \" and ' & #1 100%", "שלום \N{RIGHT-TO-LEFT OVERRIDE}עולם", "n" * 200)


class Links(HTMLParser):
    """Tags, links, pictures and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.pictures, self.words = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for key, value in attrs if key == "href"]
        self.pictures += [value for key, value in attrs if key == "src"]
        assert not any(key.startswith("on") for key, _ in attrs)

    def handle_data(self, data):
        self.words.append(data)


def report(folder, name, *, page="index.html", about="", picture="", provenance=None):
    made = folder / name
    made.mkdir(parents=True)
    (made / page).write_text("x")
    if about:
        (made / "about.toml").write_text(about, encoding="utf-8")
    if picture:
        (made / picture).parent.mkdir(parents=True, exist_ok=True)
        (made / picture).write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    if provenance:
        (made / "provenance.json").write_text(json.dumps(provenance))
    return made


def test_reports_are_found_by_their_pages_in_their_places(tmp_path):
    report(tmp_path, "last")
    report(tmp_path, "b", page="README.md", about="place = 2", picture="figures/z.png")
    report(
        tmp_path, "a", about='place = 1\ntitle = "A"\nshows = "what"\ncommand = "do a"\npicture = "own.svg"',
        picture="own.svg", provenance={"command": "other", "versions": {"vptft-analyze": "0.1"}, "commit": "abc"},
    )  # fmt: skip
    report(tmp_path, ".hidden")
    (tmp_path / "no page").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "last", target_is_directory=True)
    (tmp_path / "a" / "README.md").write_text("not what is read")
    first, second, third = find_entries(tmp_path)
    assert (first.title, first.shows, first.command, first.page) == ("A", "what", "do a", "a/index.html")
    assert (first.picture, first.made) == ("a/own.svg", "vptft-analyze 0.1, commit abc")
    assert (second.title, second.page, second.picture, second.made) == ("b", "b/README.md", "b/figures/z.png", "")
    assert (third.name, third.command, third.picture) == ("last", "", "")


@pytest.mark.parametrize("place", ["provenance.json", "results/provenance.json", "results/study.json"])
def test_provenance_is_read_where_reports_write_it(tmp_path, place):
    came = {"command": "vptft-analyze why x", "versions": {"vptft-analyze": "0.2"}, "commit": None}
    made = report(tmp_path, "a")
    (made / "results").mkdir()
    (made / place).write_text(json.dumps({"provenance": came} if "study" in place else came))
    (entry,) = find_entries(tmp_path)
    assert (entry.command, entry.made) == ("vptft-analyze why x", "vptft-analyze 0.2")


def test_the_page_links_what_is_there_and_has_no_script_and_no_network(tmp_path):
    for name in NAMES:
        report(tmp_path, name, picture="figures/a b#?.svg")
    page, entries = build_gallery(tmp_path)
    text = page.read_text(encoding="utf-8")
    found = Links(text)
    assert len(entries) == len(NAMES)
    for link in [*found.links, *found.pictures]:
        assert (tmp_path / unquote(link)).is_file(), link
        assert not link.startswith(("http", "//", "/", "data", "javascript"))
    assert set(found.links) == {entry.page for entry in entries}
    assert len(found.pictures) == len(NAMES)
    assert "script" not in found.tags
    assert "default-src 'none'" in text


def test_texts_are_shown_as_they_are_and_obeyed_by_nothing(tmp_path):
    for i, text in enumerate(HOSTILE):
        fields = "\n".join(f"{key} = {json.dumps(text)}" for key in ("title", "shows", "command"))
        report(tmp_path, f"r{i}", about=fields)
    text = build_gallery(tmp_path)[0].read_text(encoding="utf-8")
    found = Links(text)
    assert {"script", "img"}.isdisjoint(found.tags)
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in text
    words = "".join(found.words)
    assert HOSTILE[0] in words
    assert HOSTILE[1] in words


def test_made_again_it_has_the_same_bytes(tmp_path):
    for name in NAMES:
        report(tmp_path, name)
    first = build_gallery(tmp_path)[0].read_bytes()
    assert build_gallery(tmp_path)[0].read_bytes() == first, "and it does not list itself"


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ("title =", r"about\.toml could not be read as TOML"),
        ("titel = 'x'", r"about\.toml has no 'titel'; it takes title, shows, command, picture, place\."),
        ("title = 3", r"title must be a str, got 3"),
        ("picture = 'figures/none.svg'", r"'figures/none\.svg' is no SVG or PNG in that folder"),
        ("picture = '../other.svg'", r"is no SVG or PNG in that folder"),
        ("picture = 'index.html'", r"is no SVG or PNG in that folder"),
    ],
)
def test_what_an_about_says_wrongly_is_refused_by_its_name(tmp_path, about, said):
    (tmp_path / "other.svg").write_text("x")
    report(tmp_path, "a", about=about)
    with pytest.raises(StorageError, match=said):
        find_entries(tmp_path)


def test_a_folder_without_reports_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(StorageError, match="No report in"):
            build_gallery(folder)
    assert not list(tmp_path.iterdir())

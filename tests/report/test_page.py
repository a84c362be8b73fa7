import base64
import hashlib
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from typing import get_args
from urllib.parse import unquote

import pandas as pd
import pytest

from report.builders import (
    DISTANCES,
    GAPS,
    HOSTILE,
    TASKS,
    UNKNOWN,
    facts,
    make_attention,
    make_distance,
    make_quadrants,
    save_study,
)
from vptft.errors import StorageError
from vptft.evidence.findings import Finding
from vptft.evidence.hypotheses import HYPOTHESES
from vptft.report.pages import page as page_module
from vptft.report.pages import words
from vptft.report.pages.page import build_page, pictures, script, whole_page
from vptft.report.pages.study import Study, load_study
from vptft.report.sections.table import BUILT_IN
from vptft.storage import slug, write_json
from vptft.when.distribution.distance import Debias


class Parsed(HTMLParser):
    """Tags with their attributes, and the text outside style."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.style, self.open, self.programs, self.data = [], "", "", [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            continue

    def handle_data(self, data):
        if "style" in self.open[-1:]:
            self.style += data
        elif "script" in self.open[-1:]:
            is_data = dict(next(attributes for tag, attributes in reversed(self.tags) if tag == "script")).get("type")
            (self.data if is_data else self.programs).append(data)
        else:
            self.text += data


def built(results, out, title="A study"):
    return build_page(results, out, title=title).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The page of four tasks, and its results; drawn once."""
    folder = tmp_path_factory.mktemp("whole")
    results = save_study(folder / "results")
    return Parsed(built(results, folder / "page.html")), load_study(results), (folder / "page.html").stat().st_size


def test_the_page_answers_judges_and_shows_every_analysis(whole):
    page, _, size = whole
    assert size < 4_000_000
    assert "One seed: no verdict. Near objective, near data (photo/category): neither was clearly ahead" in page.text
    assert "FT was ahead by 12.0 points" in page.text
    assert "hold the test images only" in page.text
    for hypothesis in HYPOTHESES.values():
        assert hypothesis.statement in page.text
    assert page.text.count("not measured here") == 4  # W3, W4, Y2, Y3
    assert "needs the escape test of FT runs with their weights" in page.text
    assert "weight decay differ" in page.text
    assert page.text.count("How this can mislead.") == 5
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 5 + 2 * len(TASKS)
    assert all(len(image["alt"]) > 20 for image in images)
    assert "12 test images without replacement, seed 0" in page.text
    assert "fewer images than the 384 dimensions" in page.text
    assert "weight_decay: 0.0 vs 0.01" in page.text
    assert "vptft-analyze quickstart" in page.text
    assert [tag for tag, _ in page.tags if tag == "h1"] == ["h1"]


def test_nothing_is_fetched_and_only_the_pages_own_script_runs(small_study, tmp_path):
    page = Parsed(built(small_study, tmp_path / "page.html"))
    targets = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert all(re.match(r"data:image/(svg\+xml|webp);base64,|#", target) for target in targets)
    assert "url(" not in page.style
    assert "@import" not in page.style
    assert not {tag for tag, _ in page.tags} & {"link", "iframe", "object", "embed", "svg", "form"}
    policy = next(attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes)
    digest = base64.b64encode(hashlib.sha256(page.programs[0].encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-")
    assert f"script-src 'sha256-{digest}';" in policy
    assert len(page.programs) == 1
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|fetch\(|import\(", page.programs[0]
    )
    identifiers = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {target[1:] for target in targets if target.startswith("#")} <= identifiers


def test_a_page_holds_the_scripts_of_its_own_controls_alone():
    names = ("attention", "surfaces", "curves")
    assert [name for name in names if f"function {name}(" in script(["curves"])] == ["curves"]
    assert "function sortable(" in script()


def test_the_same_study_gives_the_same_bytes_wherever_it_lies(small_study, tmp_path):
    first = build_page(small_study, tmp_path / "a.html", title="t").read_bytes()
    assert build_page(small_study, tmp_path / "a.html", title="t").read_bytes() == first
    moved = shutil.copytree(small_study, tmp_path / "else" / "where")
    shutil.rmtree(small_study / "attention")
    shutil.rmtree(moved / "attention")
    one, other = (build_page(results, tmp_path / "b.html", title="t").read_bytes() for results in (small_study, moved))
    assert one == other
    assert str(tmp_path).encode() not in one


def test_a_large_page_shows_figures_small_and_another_holds_them_whole(small_study, tmp_path, monkeypatch):
    out, figures = tmp_path / "report" / "page.html", tmp_path / "report" / "some figures"
    whole = build_page(small_study, out, title="t", figures=figures).read_text(encoding="utf-8")
    assert not whole_page(out).exists()
    monkeypatch.setattr(page_module, "MOST_BYTES", 1000)
    small = Parsed(build_page(small_study, out, title="t", figures=figures).read_text(encoding="utf-8"))
    assert whole_page(out).read_text(encoding="utf-8") == whole
    links = [attributes["href"] for tag, attributes in small.tags if tag == "a" and "href" in attributes]
    files = {unquote(link) for link in links if not link.startswith("#")}
    images = [attributes for tag, attributes in small.tags if tag == "img"]
    assert len(files) == len(images)
    assert all((out.parent / file).is_file() and file.startswith("some figures/") for file in files)
    assert all(int(image["width"]) <= 640 and image["src"].startswith("data:image/webp") for image in images)
    build_page(small_study, out, title="t")  # a page without files for its figures has to hold them
    assert out.read_text(encoding="utf-8") == whole
    assert not whole_page(out).exists()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    results = save_study(folder / "results", tasks=HOSTILE, classes=HOSTILE * 2, scores=True)
    return Parsed(built(results, folder / "page.html", title=HOSTILE[0]))


def test_hostile_names_are_text(hostile):
    assert "svg" not in {tag for tag, _ in hostile.tags}
    assert len(hostile.programs) == 1
    assert not [name for _, attributes in hostile.tags for name in attributes if name.startswith("on")]
    assert all(attributes["src"].startswith("data:") for tag, attributes in hostile.tags if tag == "img")
    for name in HOSTILE:
        assert name.replace("\N{RIGHT-TO-LEFT OVERRIDE}", "") in hostile.text
    assert "\N{FIRST STRONG ISOLATE}שלום עולם\N{POP DIRECTIONAL ISOLATE}" in hostile.text


def test_a_name_cannot_turn_the_text_after_it(hostile):
    values = [value for _, attributes in hostile.tags for value in attributes.values() if value]
    assert not any("\N{RIGHT-TO-LEFT OVERRIDE}" in text for text in (hostile.text, *values, *hostile.data))


def test_a_hostile_name_stays_text_inside_an_embedded_figure(hostile):
    sources = [attributes["src"] for tag, attributes in hostile.tags if tag == "img"]
    figures = [base64.b64decode(source.partition(",")[2]).decode() for source in sources if "svg" in source[:20]]
    assert figures
    assert not any(re.search(r"<script|<img|onerror=", re.sub(r"<!--.*?-->", "", figure)) for figure in figures)


@pytest.mark.parametrize("analysis", ["quadrants", "distance", "overfitting", "landscape", "attention"])
def test_a_missing_analysis_is_left_out_with_the_reason(small_study, tmp_path, analysis):
    shutil.rmtree(small_study / analysis)
    page = Parsed(built(small_study, tmp_path / "page.html"))
    (row,) = (each for each in BUILT_IN if each.key == analysis)
    assert f"{row.heading}: vptft-analyze {row.command}" in page.text
    assert row.caution not in page.text
    if analysis == "quadrants":
        assert "No answer: results/quadrants is missing." in page.text


def test_an_interrupted_result_is_told_and_the_others_are_shown(tmp_path):
    study = save_study(tmp_path / "results", tasks=TASKS[:2], gaps=GAPS[:2], distances=DISTANCES[:2])
    (study / "attention" / slug(TASKS[1]) / "result.json").unlink()
    page = Parsed(built(study, tmp_path / "page.html"))
    assert f"results/attention/{slug(TASKS[1])} has no result.json: interrupted, or not measured" in page.text
    assert len([1 for tag, _ in page.tags if tag == "img"]) == 5 + 2


def test_a_study_without_facts_or_results_is_refused_and_damage_is_named(small_study, tmp_path):
    with pytest.raises(StorageError, match=r"study\.json could not be read"):
        build_page(tmp_path / "nowhere", tmp_path / "page.html", title="t")
    write_json(tmp_path / "empty" / "study.json", {})
    with pytest.raises(StorageError, match="holds no result"):
        build_page(tmp_path / "empty", tmp_path / "page.html", title="t")
    write_json(tmp_path / "listed" / "study.json", [])
    with pytest.raises(StorageError, match="must hold an object; it holds a list"):
        build_page(tmp_path / "listed", tmp_path / "page.html", title="t")
    (small_study / "quadrants" / "table.csv").unlink()
    with pytest.raises(StorageError, match="table"):
        build_page(small_study, tmp_path / "page.html", title="t")
    assert not (tmp_path / "page.html").exists()


def test_a_page_needs_no_more_of_the_facts_than_there_is(small_study, tmp_path):
    write_json(small_study / "study.json", {"new_fact": {"a": None, "b": [1.23456789, True]}})
    page = Parsed(built(small_study, tmp_path / "page.html"))
    assert "new fact" in page.text
    assert "a: none; b: 1.235, yes" in page.text


def test_measures_that_share_no_axis_get_a_figure_each(small_study, tmp_path):
    make_distance("dtd", 12.0, measure_name="FID").save(small_study / "distance" / "dtd")
    build_page(small_study, tmp_path / "page.html", title="t", figures=tmp_path / "figures")
    paths = list((tmp_path / "figures").iterdir())
    names = {path.name for path in paths}
    assert {"distances-FID.pdf", "distances-FD-dinov2-s-56-0d5ee1c3.svg"} <= {
        re.sub(r"56-[0-9a-f]{8}", "56-0d5ee1c3", name) for name in names
    }
    assert {"gaps.png", "quadrants.svg", "overfitting.pdf", "landscape.png"} <= names
    assert {f"attention-{slug(task)}.pdf" for task in TASKS[:1]} <= names
    assert all(path.stat().st_size > 1000 for path in paths)


def test_two_spaces_add_their_agreement_and_all_pairs_make_a_matrix(tmp_path):
    results = save_study(tmp_path / "results", tasks=TASKS[:3], gaps=GAPS[:3], distances=DISTANCES[:3])
    shutil.rmtree(results / "attention")
    for task, value in zip(TASKS[:3], (9.0, 8.0, 30.0), strict=True):
        make_distance(task, value, measure_name="FID").save(results / "distance" / f"fid {slug(task)}")
    page = Parsed(built(results, tmp_path / "page.html"))
    alts = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert any("FID and FD (dinov2-s:56) ρ = 0.50, n = 3" in alt for alt in alts)
    assert "Ranks of the sets by debiased distance to photos in each feature space" in page.text
    assert "between every two sets" not in page.text
    for first, second in ((TASKS[0], TASKS[1]), (TASKS[0], TASKS[2]), (TASKS[1], TASKS[2])):
        make_distance(second, 5.0, reference=first, measure_name="FID").save(
            results / "distance" / slug(f"{first} {second}")
        )
    page = Parsed(built(results, tmp_path / "page.html"))
    assert "FID between every two sets, debiased by a grouped jackknife. A marked corner" in page.text
    assert "FD (dinov2-s:56): bars are debiased by a grouped jackknife" in page.text


def test_a_set_measured_twice_in_a_space_leaves_the_page_without_ranks(tmp_path):
    distances = [make_distance(task, 5.0, measure_name=name) for name in ("FID", "FD") for task in TASKS]
    again = replace(make_distance(TASKS[0], 6.0, measure_name="FD"), settings={"debias": "delta"})
    names = [picture.name.partition("-")[0] for picture in pictures(study_of(distances))["distance"]]
    assert names == ["distances", "distances", "agreement"]
    names = [picture.name.partition("-")[0] for picture in pictures(study_of([*distances, again]))["distance"]]
    assert names == ["distances", "distances"]


def study_of(distances):
    return Study(facts={}, found={"distance": tuple(distances)})


def test_each_distance_stands_in_the_table_with_all_that_it_takes_to_read_it(small_study, tmp_path):
    unknown = make_distance("moments", 12345.678, **UNKNOWN)
    unknown.save(small_study / "distance" / "moments")
    make_distance("near", -1.5, kid=-0.000123, kid_se=0.00071, skipped=["a.png: broken"], n_first=None).save(
        small_study / "distance" / "near"
    )
    text = built(small_study, tmp_path / "page.html").partition('<section id="tasks">')[0]
    rows = [re.findall(r"<bdi>(.*?)</bdi>", row) for row in re.findall(r"<tr>(?:<td.*?)</tr>", text)]
    found = {row[1]: row[3:] for row in rows if row[:1] == ["photos"]}
    assert found["photo/category"] == [
        "310.0 [275.0, 341.0]", "347.2", "90.00 (N = 150)", "0.310 ± 0.031", "300, 300", "",
    ]  # fmt: skip
    assert found["moments"] == ["12346", "13827", "no halves", "", "unknown, unknown", "no interval"]
    assert found["near"] == [
        "−1.500 [−5.650, −1.350]", "−1.680", "90.00 (N = 150)", "−0.00012 ± 0.00071", "unknown, 300",
        "at the noise floor; 1 unreadable",
    ]  # fmt: skip
    page = Parsed(text)
    for told in (words.INTERVAL, words.FLOOR):
        assert page.text.count(told) == 2, "in the table's caption and in the figure's"
    assert "Colour tells who was ahead on the task" in page.text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"low": -0.5, "high": 9.0}, "interval includes 0"),
        ({"low": 0.5, "high": 9.0}, ""),
        ({"low": -9.0, "high": -0.5}, ""),
        ({"distance": 90.0, "low": -1.0, "high": 0.0}, "at the noise floor; interval includes 0"),
    ],
)
def test_remarks(changes, text):
    assert words.remark(replace(make_distance("a", 100.0), **changes)) == text


def test_captions_say_how_the_bias_was_taken_off():
    assert words.debiased_by(["jackknife", "delta", "delta"]) == "by a grouped jackknife or by the delta method"
    assert words.debiased_by([]) == "in a way not recorded"
    assert "by extrapolation to infinitely many images" in words.caption_distances("FD", ["infinity"], coloured=False)
    assert "Colour" not in words.caption_distances("FD", ["infinity"], coloured=False)
    assert words.with_error(1.5, None) == "1.50"


def test_an_inconclusive_verdict_says_what_it_could_have_seen():
    found = Finding(
        hypothesis="W2",
        statement="s",
        verdict="inconclusive",
        reason="r",
        effect=1.0,
        low=-6.0,
        high=8.0,
        unit="points",
    )
    assert words.could_see(found) == "four of five such studies see an effect of 10 points"
    for silent in ({"verdict": "supported"}, {"low": None}, {"reason": "2 seeds: no verdict"}, {"low": 0.5, "p": 0.1}):
        assert words.could_see(replace(found, **silent)) == ""
    least = replace(found, low=0.5, p=0.125, n=4)  # the least that four sign flips can give
    assert words.could_see(least) == "4 differences give no p below 0.12, however large"


def test_results_of_runs_that_a_study_has_no_longer_are_named_and_not_shown(small_study):
    slices = sorted((small_study / "landscape").glob("*"))
    for i, folder in enumerate(slices):
        made = json.loads((folder / "result.json").read_text())
        made["settings"]["run"] = "kept" if i else "gone"
        (folder / "result.json").write_text(json.dumps(made))
    told = json.loads((small_study / "study.json").read_text())
    (small_study / "study.json").write_text(json.dumps(told | {"identities": ["kept"]}))
    study = load_study(small_study)
    assert len(study.of("landscape")) == len(slices) - 1
    assert study.missing["landscape"].startswith("of other runs than this study's, and not shown: ")
    (small_study / "study.json").write_text(json.dumps(told))  # of an older version, which did not say whose it was
    assert len(load_study(small_study).of("landscape")) == len(slices)


def test_a_study_of_several_sizes_names_them_all():
    assert "100, 300 training images · 6 epochs" in words.subtitle({**facts(), "n_train": [100, 300]})


def test_every_way_to_debias_has_words():
    assert set(words.DEBIASED) == set(get_args(Debias))


def test_saved_figures_repeat(small_study, tmp_path):
    shutil.rmtree(small_study / "attention")
    for place in "ab":
        build_page(small_study, tmp_path / place / "page.html", title="t", figures=tmp_path / place)
    first, second = (sorted((tmp_path / place).iterdir()) for place in "ab")
    assert [path.name for path in first] == [path.name for path in second]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_long_tables_are_folded(tmp_path):
    results = save_study(tmp_path / "results", tasks=TASKS[:1], gaps=GAPS[:1], distances=DISTANCES[:1], seeds=range(13))
    page = Parsed(built(results, tmp_path / "page.html"))
    folded = [
        tag for tag, attributes in page.tags if tag == "details" and not attributes.get("id", "").startswith("task")
    ]
    assert len(folded) == 5 + len(load_study(results).findings())
    assert "no verdict." not in page.text.partition("Verdicts")[0]
    assert "hold test images and 13 training seeds" in page.text


def test_findings_come_from_every_result(study):
    found = load_study(study).findings()
    assert [finding.hypothesis for finding in found] == ["C0", "W0", "W1", "W2", "W5", "Y1", *["Y4"] * len(TASKS)]


def test_the_answer_counts_where_a_quadrant_holds_several_tasks_and_never_pools_pretraining():
    frame = make_quadrants().frame()
    more = frame.assign(task=frame["task"] + "2")
    said = words.answer(pd.concat([frame, more], ignore_index=True))
    assert said[0] == "One seed: no verdict."
    assert "ahead were VPT on 0, FT on 2, neither on 0; mean gap −12.0 points, from −12.0 to −12.0." in said[2]
    apart = words.answer(pd.concat([frame, more.assign(pretraining="supervised")], ignore_index=True))
    assert len(apart) == 1 + 2 * 4 + 1
    assert apart[1].startswith("Self-distilled pretraining, near objective, near data (photo/category)")


def test_two_seeds_give_no_verdict_and_three_give_none_of_that():
    assert words.answer(make_quadrants(seeds=2).frame())[0] == "2 seeds: no verdict."
    assert not words.answer(make_quadrants(seeds=3).frame())[0].endswith("no verdict.")


def test_vpt_ahead_is_said_with_its_interval():
    frame = make_quadrants().frame()
    row = frame[frame["winner"] == "vpt"].iloc[0]
    expected = f"VPT was ahead by 11.0 points [{row['low_points']:.1f}, {row['high_points']:.1f}]."
    assert any(expected in sentence for sentence in words.answer(frame))


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        ({}, ""),
        ({"effect": -3.25, "low": -5.0, "high": -1.0, "unit": "points", "n": 4}, "−3.2 [−5.0, −1.0] points"),
        ({"effect": 0.00123, "unit": "nats", "p": 0.0312}, "+0.00123 nats, p = 0.031"),
    ],
)
def test_effects(finding, text):
    whole = Finding(hypothesis="W1", statement="s", verdict="inconclusive", reason="r", **finding)
    assert words.effect(whole) == text


def test_fairness_says_what_was_recorded_only():
    assert words.fairness({}) == ""
    assert words.fairness({"searched": True, "confounds": []}).endswith("no setting differs.")
    assert "not searched" in words.fairness(facts())


def test_the_draw_rule_and_the_number_shown_stand_under_the_maps(small_study, tmp_path):
    few = make_attention("photo/count", n=3)
    replace(few, settings=json.loads("{}")).save(small_study / "attention" / slug("photo/count"))
    text = Parsed(built(small_study, tmp_path / "page.html")).text
    assert "Shown are the first 8 of 12." in text
    assert "Shown are the first 3 of 3." in text


def test_what_runs_say_of_themselves_stands_beside_the_fairness():
    notes = [f"ft on t, seed {seed}: still improving by {seed}.0 points" for seed in range(6)]
    said = words.fairness({"searched": True, "confounds": [], "notes": notes})
    assert "To be known of the runs: " in said
    assert said.count("still improving") == 1
    assert said.endswith("ft on t, seed 0: still improving by 0.0 points (so, with numbers of their own, 5 more runs).")
    other = [f"ft on t, seed 0: note {letter}" for letter in "abcdef"]
    assert words.noted({"notes": other}).endswith("; and 2 kinds more, in study.json.")
    assert "To be known" not in words.fairness({"searched": True, "confounds": [], "notes": []})
    assert words.fairness({"notes": notes[:1]}).count("still improving") == 1


def test_data_of_controls_are_the_results_and_cannot_end_their_element(hostile):
    viewers = [json.loads(data) for data in hostile.data]
    assert not any(character in data for data in hostile.data for character in "<>&")
    (attention,) = (each for each in viewers if "sets" in each)
    assert {each["task"].replace("\N{RIGHT-TO-LEFT OVERRIDE}", "") for each in attention["sets"]} == {
        name.replace("\N{RIGHT-TO-LEFT OVERRIDE}", "") for name in HOSTILE
    }
    assert {len(each["tasks"]) for each in viewers if "tasks" in each} == {len(HOSTILE)}


def test_a_verdict_opens_on_what_it_rests_on(whole):
    page, study, _ = whole
    links = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert {"#figure-quadrants", "#figure-gaps", f"#figure-attention-{slug(TASKS[0])}"} <= links
    assert page.text.count("Figures, settings, caveats") == len(study.findings())


def test_every_task_has_its_part_below_its_quadrant(whole):
    page = whole[0]
    places = [attributes.get("id", "") for _, attributes in page.tags]
    assert [place for place in places if place.startswith("task-")] == [f"task-{slug(task)}" for task in TASKS]
    assert "Far objective, near data" in page.text
    assert f"{TASKS[2]}: FT is ahead, gap VPT − FT −12.0" in page.text

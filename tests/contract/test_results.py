"""What holds for every result of every analysis: its file form, its table and its findings."""

import importlib
import pkgutil
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
import torch

import vptft
from advise.evidence import block, made, new
from report.test_curvature_figure import RESULTS as CURVATURES
from vptft.advise import measure as advising
from vptft.advise import record
from vptft.checkpoints import fairness
from vptft.checkpoints.recipe import Fact, Recipe
from vptft.data.images import Skipped
from vptft.errors import StorageError
from vptft.evidence.findings import Finding
from vptft.evidence.hypotheses import HYPOTHESES
from vptft.evidence.results import Result
from vptft.evidence.statistics.resampling import PairedDraw
from vptft.features.extraction import Features
from vptft.features.spaces import FeatureSpace
from vptft.features.statistics import Statistics
from vptft.published import audit, claims, reproduction
from vptft.published.tables import load
from vptft.tuning import profile
from vptft.tuning.subjects import Subject
from vptft.when.datasize.measure import DataSize
from vptft.when.datasize.measure import measure as measure_sizes
from vptft.when.distribution import distance
from vptft.when.objective import comparison, disparity
from vptft.when.objective.task import TaskFeatures
from vptft.when.quadrants import outcomes
from vptft.when.quadrants import plane as quadrant_plane
from vptft.when.quadrants.pairs import TaskPair
from vptft.when.sensitivity.measure import Sensitivity
from vptft.when.sensitivity.measure import measure as measure_choices
from vptft.why import overfitting
from vptft.why.attention import comparison as attention_compared
from vptft.why.attention import maps, scores
from vptft.why.attention.score_settings import ScoreSettings, SeenImages
from vptft.why.features import explanation as preservation
from vptft.why.features.preservation import FeaturePreservation
from vptft.why.landscape import lines, slices, surfaces
from vptft.why.landscape.curvature.measure import Curvature
from vptft.why.landscape.directions import random_plane, weights_of
from vptft.why.landscape.escape.budget import Budget
from vptft.why.landscape.escape.measure import EscapeTest
from vptft.why.landscape.escape.measure import measure as measure_escape
from vptft.why.landscape.evaluation import Sample
from vptft.why.overfitting import calibration, explanation, regularisation
from when.datasize.studies import published, study
from when.sensitivity.studies import factorial
from why.features.studies import ladder, preserved
from why.landscape.escape.planted import point
from why.overfitting.histories import arms, compared

SETTINGS = {"key": "k", "images": ["a", "b"], "extent": 0.1, "none": None}


SPACE = FeatureSpace(extractor="e", weights="ab" * 32, resize="8 px", dtype="float32")
CLASSES = ("a", "b, c", "NA")


def feature_set(name, n, seed, **other):
    """Statistics of ``n`` images, two a group; nine have three of each class."""
    values = np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32)
    return Statistics.of(
        Features(
            name=name, distance_name="FD (e)", space=SPACE, values=values, ids=tuple(f"{i:03}" for i in range(n)),
            groups=tuple(f"{i // 2:03}" for i in range(n)), labels=np.arange(n, dtype=np.int64) % 3, classes=CLASSES,
            predicted=np.arange(n, dtype=np.int64) % (2 + seed), skipped=(Skipped(path="NA", reason="no, really"),),
            **other,
        )
    )  # fmt: skip


def between(n, *, moments=False, **options):
    first, second = feature_set("NA", n, 0), feature_set("set, with comma", n, 1)
    if moments:
        first, second = (
            replace(each, features=None, scatter=each.second_moment(), space=None, n=None) for each in (first, second)
        )
    return distance.measure(first, second, options=distance.DistanceSettings(**options), settings=SETTINGS)


def pair(task, *, is_far, data_is_far, n_seeds=3, few_groups=False):
    rng = np.random.default_rng(len(task))
    draws = tuple(
        PairedDraw(differences=rng.integers(-1, 2, 20).astype(float), groups=np.arange(20)) for _ in range(n_seeds)
    )
    return TaskPair(
        task=task, objective="counting", objective_is_far=is_far, pretraining="random", data_is_far=data_is_far,
        distance=float("nan") if few_groups else 1 / 3, measure_name="FD (e)", draws=draws, accuracy_vpt=0.5,
        accuracy_ft=0.4, few_groups=few_groups,
    )  # fmt: skip


def plane():
    return quadrant_plane.measure(
        [pair("null", is_far=True, data_is_far=True), pair("001", is_far=False, data_is_far=False)],
        settings=SETTINGS,
    )  # fmt: skip


def networks():
    """One pair with groups enough for an interval, and one without."""
    signs = np.tile([1.0, -1.0, 0.0, 0.0, 1.0], 12)
    alone, few = np.arange(60), np.arange(60) % 4
    pairs = [
        outcomes.TestedPair(task=task, draw=PairedDraw(differences=signs, groups=groups), both=10, seed=seed)
        for task, groups, seed in (("NA", alone, 0), ("a, b", few, None))
    ]
    return outcomes.measure(pairs, settings=SETTINGS)


def plane_without_contrasts():
    return quadrant_plane.measure([pair("one", is_far=True, data_is_far=True, few_groups=True)])


def curves():
    rows = [(epoch, split, 1 / epoch, 0.5) for epoch in (1, 2) for split in ("train", "val", "test")]
    history = pd.DataFrame(rows, columns=["epoch", "split", "loss", "accuracy"])
    return overfitting.measure(
        [history.assign(task="photo/count", method=method, seed=0) for method in ("ft", "vpt_deep")], settings=SETTINGS
    )


def calibrations():
    rng = np.random.default_rng(0)
    run = calibration.Predicted(
        task="NA", method="ft, keep best_val", seed=0, logits=rng.normal(size=(40, 3)),
        labels=rng.integers(0, 3, 40), groups=np.arange(40) // 2,
    )  # fmt: skip
    return calibration.measure([run], settings=SETTINGS)


def explained(tasks):
    rng = np.random.default_rng(0)
    return explanation.measure(compared(rng, np.linspace(0, 1, tasks)), settings=SETTINGS)


def regularised(tasks, **options):
    return regularisation.measure(arms(np.random.default_rng(0), tasks=tasks, **options), settings=SETTINGS)


def sizes():
    rng = np.random.default_rng(0)
    cells = [cell for task in ("null", "001") for cell in study(rng, task=task, images=20)]
    return measure_sizes(cells, curves=True, settings=SETTINGS)


def published_sizes():
    """Sizes without draws; of two sizes nothing is known but the means."""
    rng = np.random.default_rng(0)
    many, two = (
        published(rng, sizes=np.array([1, 2, 4, 8])[:n], crossing=3, slope=-2, sd=0.1, task=str(n)) for n in (4, 2)
    )
    return measure_sizes([*many, *two], settings=SETTINGS)


def choices(gaps, draws):
    runs = factorial(gaps, draws=draws, noise=1, task="NA", trials=(0.5, 0.25))
    return measure_choices(runs, settings=SETTINGS)


def loss_slice(finished):
    run = finished["linear"]
    return slices.measure(
        run.model(), images=torch.zeros(2, 3, 32, 32), labels=torch.tensor([0, 1]), label=run.label, task="t",
        method="linear", points=3, settings=SETTINGS,
    )  # fmt: skip


def loss_surfaces(finished):
    run = finished["linear"]
    model, axis = run.model(), np.linspace(-1, 1, 3)
    plane = random_plane(dict(model.named_parameters()), seed=0)
    sample = Sample(split="test", images=torch.zeros(3, 3, 32, 32), labels=torch.tensor([0, 1, 2]))
    return surfaces.measure(
        model, space_name="all", grids=[surfaces.Grid(plane=plane, a=axis, b=axis)], samples=[sample], label=run.label,
        task="NA", method="linear", settings=SETTINGS,
    )  # fmt: skip


def loss_lines(finished):
    model = finished["linear"].model()
    sample = Sample(split="test", images=torch.zeros(2, 3, 32, 32), labels=torch.tensor([0, 1]))
    end = weights_of(dict(model.named_parameters()))
    ends = lines.Ends(model=model, first=end, second=end, samples=[sample])
    line = lines.Line(task="NA", kind="seeds", first="a, b", second="001", seeds=(0, 1), load=lambda: ends)
    return lines.measure([line], points=3, settings=SETTINGS)


def attention(finished, masks):
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return maps.measure(
        finished["vpt_deep"].model(), finished["ft"].model(), images=images, pixels=(images * 9).to(torch.uint8),
        labels=np.array([0, 1, 2]), ids=("0", "01", "NA"), task="t", masks=masks, settings=SETTINGS,
    )  # fmt: skip


def attention_scores(finished, masks, **options):
    pixels = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    seen = SeenImages(
        images=pixels / 128 - 1, pixels=pixels, labels=np.arange(6) % 3, ids=("0", "01", "NA", "a, b", "4", "5"),
        groups=("0", "0", "NA", "NA", "4", "4"), masks=masks,
    )  # fmt: skip
    return scores.measure(
        finished["vpt_deep"].model(), finished["ft"].model(), seen, task="NA", pretraining="random", draw=0,
        options=ScoreSettings(kinds=("rollout", "gradcam"), steps=2, **options), settings=SETTINGS,
    )  # fmt: skip


def attention_comparison(finished):
    whole = attention_scores(finished, np.ones((6, 32, 32), dtype=bool), sample=4, checked=2)
    few = attention_scores(finished, None, ways=(), checked=0)
    return attention_compared.measure([whole, few], settings=SETTINGS)


def costs(finished):
    """A run, and a method that has no answer."""
    subjects = [Subject.of_run(finished["linear"]), Subject(method="NA", backbone="a, b", n_classes=2, refused="no, 1")]
    return profile.measure(subjects, batch_sizes=(2,), repeats=1)


def fair(vpt, ft):
    pair = [
        Recipe(name=f"{method}, 001", producer="NA", method=method, facts=facts, cautions=(Fact("NA", "a:1"),))
        for method, facts in (("vpt_deep", vpt), ("ft", ft))
    ]
    return fairness.measure([tuple(pair)], settings=SETTINGS)


def objectives(draws=1):
    """Three tasks, one of two classes, which has no label order; values that are NaN, and notes with commas."""
    rng = np.random.default_rng(0)
    tasks = [
        TaskFeatures(
            task=task, objective=objective, backbone="NA", pretraining="random", values=rng.normal(size=(40, 3)),
            labels=np.arange(40) % classes, groups=np.arange(40), draw=draw, skipped=classes - 2,
        )
        for task, objective, classes in (("a, b", "classification", 2), ("001", "counting", 4), ("c", "counting", 3))
        for draw in range(draws)
    ]  # fmt: skip
    return disparity.measure(tasks, settings=SETTINGS)


def objective_measures():
    near = {"classification"}.__contains__
    return comparison.compare(objectives(2).frame(), near=near, chosen_from=["a, b", "001"], settings=SETTINGS)


def laid_over(finished):
    """Runs that have no printed counterpart, and numbers that have one."""
    own = reproduction.own_accuracies([finished["ft"]])
    cells = [("dtd", "vpt", seed, "1000", "a, b", "imagenet21k_supervised", 68.0 + seed, "") for seed in range(3)]
    own = pd.concat([own, pd.DataFrame(cells, columns=list(own))], ignore_index=True)
    return reproduction.measure(own, load(), settings=SETTINGS)


def advice(tasks):
    return advising.measure(new(task="NA"), [block(made(np.random.default_rng(0), tasks=tasks))], settings=SETTINGS)


def track_record():
    return record.measure([block(made(np.random.default_rng(0)), name="a, b")], settings=SETTINGS)


def escapes():
    budget = Budget(steps=1, batch_size=8, rates=(1e-3,), network_rates=(1e-3,))
    return measure_escape(point("none", task="NA"), variants=("joint",), prompts=2, budget=budget, settings=SETTINGS)


MADE = {
    "escape": lambda finished: escapes(),
    "advice": lambda finished: advice(8),
    "advice without a record": lambda finished: advice(4),
    "advice, record": lambda finished: track_record(),
    "recipes": lambda finished: fair({"epochs": Fact(1, "a, b.txt:1")}, {"epochs": Fact("NA", "c")}),
    "distance": lambda finished: between(12),
    "distance by class, extrapolated": lambda finished: between(40, per_class=True, debias="infinity"),
    "distance of two images": lambda finished: between(2, per_class=True),
    "distance of moments": lambda finished: between(12, moments=True, debias="delta"),
    "quadrants": lambda finished: plane(),
    "quadrants, no contrast": lambda finished: plane_without_contrasts(),
    "outcomes": lambda finished: networks(),
    "curves": lambda finished: curves(),
    "calibration": lambda finished: calibrations(),
    "overfitting and gap": lambda finished: explained(6),
    "overfitting and gap, few tasks": lambda finished: explained(2),
    "regularisation": lambda finished: regularised(3),
    "regularisation, one task, no VPT": lambda finished: regularised(1, vpt=False, seeds=1),
    "data size": lambda finished: sizes(),
    "data size, published": lambda finished: published_sizes(),
    "sensitivity": lambda finished: choices({1: {"NA": 5, "a, b": 1}, 10: {"NA": 3, "a, b": 2}}, 3),
    "sensitivity, one draw": lambda finished: choices({1: {"NA": 5}, 10: {"NA": 3}}, 1),
    "sensitivity, nothing varies": lambda finished: choices({1: {"NA": 5}}, 2),
    "slice": loss_slice,
    "slices": loss_surfaces,
    "lines": loss_lines,
    "attention": lambda finished: attention(finished, np.ones((3, 32, 32), dtype=bool)),
    "profile": costs,
    "published": lambda finished: claims.measure(load(), settings=SETTINGS),
    "published audit": lambda finished: audit.measure(load(), settings=SETTINGS),
    "reproduction": laid_over,
    "objective": lambda finished: objectives(),
    "objective measures": lambda finished: objective_measures(),
    "attention scores": lambda finished: attention_scores(finished, None, sample=4, checked=2),
    "attention scores, nothing checked": lambda finished: attention_scores(finished, None, ways=(), checked=0, shown=0),
    "attention comparison": attention_comparison,
    "curvature": lambda finished: replace(CURVATURES[0], settings=SETTINGS),
    "features": lambda finished: replace(preserved("ft", 0.3, 40), settings=SETTINGS, notes=["NA", "a, b"]),
    "features of prompts": lambda finished: replace(preserved("vpt_deep", 0.7, 40, prompts=True), settings=SETTINGS),
    "feature preservation": lambda finished: preservation.measure(
        ladder(lambda cka: 10 * cka, tasks=4), settings=SETTINGS
    ),
    "attention without masks": lambda finished: attention(finished, None),
}
KINDS = (
    advising.Advice, record.Record,
    fairness.Fairness, distance.SetDistance, quadrant_plane.Quadrants, outcomes.Outcomes,
    overfitting.OverfittingCurves,
    calibration.Calibration, explanation.Explanation, regularisation.Regularisation,
    slices.LossSlice,
    surfaces.Surfaces, lines.Lines,
    maps.AttentionMaps, scores.AttentionScores, attention_compared.AttentionComparison,
    profile.Profile, disparity.Disparity, comparison.Comparison, DataSize, Sensitivity,
    EscapeTest, Curvature, FeaturePreservation, preservation.PreservationEffect,
    claims.Published, audit.Audit, reproduction.Reproduction,
)  # fmt: skip


@pytest.fixture(params=MADE.values(), ids=MADE)
def result(request, finished):
    return request.param(finished)


def same(first, second):
    if isinstance(first, pd.DataFrame):
        pd.testing.assert_frame_equal(first, second, check_exact=True)
    elif isinstance(first, np.ndarray):
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second)
    else:
        assert first == second


def test_every_result_of_the_package_is_held_to_this_contract():
    for module in pkgutil.walk_packages(vptft.__path__, "vptft."):
        if module.name.startswith(("vptft.when.", "vptft.why.", "vptft.advise.")):
            importlib.import_module(module.name)
    found = {kind for kind in Result.__subclasses__() if kind.__module__.startswith("vptft.")}
    assert found == set(KINDS)
    assert len({kind.analysis for kind in KINDS}) == len(KINDS)


def test_a_result_comes_back_as_it_was(result, tmp_path):
    result.save(tmp_path)
    loaded = type(result).load(tmp_path)
    for field in fields(result):
        same(getattr(result, field.name), getattr(loaded, field.name))
    same(result.frame(), loaded.frame())
    assert result.findings() == loaded.findings()


def test_a_loaded_result_saves_the_same_bytes(result, tmp_path):
    result.save(tmp_path / "first")
    type(result).load(tmp_path / "first").save(tmp_path / "second")
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name


def test_the_distances_differ_in_what_there_is_of_them():
    """The contract is about tables that are full, empty and without columns, and about numbers that are missing."""
    full, two, moments = between(40, per_class=True, debias="infinity"), between(2), between(12, moments=True)
    assert len(full.curve) > 2
    assert set(full.classes["class"]) == set(CLASSES)
    assert full.conditional_kid is not None
    assert full.class_shift is not None
    assert len(full.skipped) == 2
    assert two.curve.empty
    assert two.noise_floor is None
    assert (moments.se, moments.low, moments.kid, moments.n_first) == (None, None, None, None)
    assert moments.drivers.empty


def test_a_result_carries_its_settings(result):
    assert "seed" in result.settings or set(SETTINGS) <= set(result.settings)


def test_no_other_analysis_reads_it(result, tmp_path):
    result.save(tmp_path)
    for kind in KINDS:
        if kind is not type(result):
            with pytest.raises(StorageError, match=f"holds the analysis {result.analysis!r}, not {kind.analysis!r}"):
                kind.load(tmp_path)


def test_each_of_its_files_is_needed(result, tmp_path):
    result.save(tmp_path / "whole")
    for path in sorted((tmp_path / "whole").iterdir()):
        folder = tmp_path / path.stem
        result.save(folder)
        (folder / path.name).unlink()
        with pytest.raises(StorageError, match=r"could not be read|missing"):
            type(result).load(folder)


def test_its_table_is_long_and_its_columns_are_named_once(result):
    frame = result.frame()
    assert len(frame)
    assert all(isinstance(column, str) for column in frame.columns)
    assert frame.columns.is_unique
    assert frame.index.equals(pd.RangeIndex(len(frame)))


def test_its_findings_are_about_known_hypotheses_and_say_why(result):
    for finding in result.findings():
        assert isinstance(finding, Finding)
        assert finding.hypothesis in HYPOTHESES
        assert finding.statement
        assert finding.reason
        if finding.low is not None:
            assert finding.low <= finding.effect <= finding.high
            assert finding.unit

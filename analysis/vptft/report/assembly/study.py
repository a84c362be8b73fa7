"""A study: everything that is measured of a set of runs for one page, as steps each of which resumes.

What cannot be measured of these runs is kept with its reason in ``results/left_out.json``, and the page tells it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from vptft.checkpoints.native import Run
from vptft.checkpoints.pairs import RunPair, pair_runs, require_one_setting
from vptft.data.tasks import PERMUTED
from vptft.errors import NotApplicable, VptftError, WeightsError
from vptft.features.extractors import Extractor, load_extractor
from vptft.provenance import provenance
from vptft.report.assembly import studies
from vptft.report.assembly.attention import (
    apart,
    attention_comparison,
    attention_maps,
    attention_scores,
    control_of,
)
from vptft.report.assembly.curvature import curvature
from vptft.report.assembly.distances import distance, statistics
from vptft.report.assembly.escape import EscapeOptions, escape
from vptft.report.assembly.features import OTHER_TASKS, FeatureSettings, features_of, preservation_effect
from vptft.report.assembly.landscape import loss_slice
from vptft.report.assembly.lines import lines_of
from vptft.report.assembly.objective import objective_disparity, task_features
from vptft.report.assembly.outcomes import outcomes_of
from vptft.report.assembly.overfitting import calibrations, curves, explained
from vptft.report.assembly.pieces import Arrays, in_processes
from vptft.report.assembly.quadrants import quadrant_plane
from vptft.report.assembly.recipes import fairness_of
from vptft.report.assembly.reproduction import reproduction_of
from vptft.report.assembly.samples import images_up_to
from vptft.report.assembly.saved import identity
from vptft.report.pages.study import LEFT_OUT
from vptft.storage import read_json, slug, write_json
from vptft.when.distribution.distance import DistanceSettings, SetDistance
from vptft.when.objective import calibration
from vptft.why.attention.methods import METHODS
from vptft.why.attention.score_settings import KINDS, ScoreSettings
from vptft.why.attention.scores import AttentionScores
from vptft.why.features.preservation import FeaturePreservation

SHOWN = 4
"""Images of each outcome that a page can show of a pair."""


REASONS = 3
"""Reasons that are told of an analysis that could not be made; one run too few often means all of its kind."""


@dataclass(frozen=True)
class Step:
    """A part of a study.

    Attributes
    ----------
    label, weight
        What it is called, and its share of the time.
    go
        What it does.
    apart
        What a process beside may do first, so that ``go`` finds it done: a part that needs no other and takes long.
    """

    label: str
    weight: float
    go: Callable[[], object]
    apart: Callable[[], object] | None = None


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is looked at.

    Attributes
    ----------
    distance, objective, maps, features, scores
        Images of distances, of disparities, of rollout maps, of features and of scored maps; 0 leaves the latter two
        out.
    scored_curves, checked
        Images, among those scored, of deletion and insertion and of the sanity checks.
    slice_images, slice_points, slice_extent
        Of the loss slices.
    """

    distance: int = 300
    objective: int = calibration.IMAGES
    slice_images: int = 16
    slice_points: int = 7
    slice_extent: float = 0.5
    maps: int = 24
    features: int = 0
    scores: int = 0
    scored_curves: int = 30
    checked: int = 24


@dataclass(kw_only=True)
class RunStudy:
    """Runs, and where what is measured of them goes.

    Attributes
    ----------
    runs
        All of them; pairs of VPT and FT are found among them.
    out
        Folder of the study; results go to ``out/results``.
    reference
        Set of images that stands for pretraining's.
    sizes
        How much is looked at.
    disparity
        Measure the objective's disparity too, for the vertical axis of the quadrants.
    thorough
        Measure what takes hours too: lines between solutions, curvature of the first seed's pairs, the escape test.
    compared_with_paper
        Lay the accuracies over those that the paper prints.
    """

    runs: Sequence[Run]
    out: Path
    reference: str
    device: str = "cpu"
    seed: int = 0
    sizes: Sizes = field(default_factory=Sizes)
    disparity: bool = False
    thorough: bool = False
    compared_with_paper: bool = False

    def __post_init__(self) -> None:
        self.pairs, self.permuted = apart(pair_runs(self.runs))
        # Of labels in random order nothing is told but whether maps follow what was learned.
        self.runs = [run for run in self.runs if not run.info.task.endswith(PERMUTED)]
        first: dict[str, RunPair] = {}
        for pair in sorted(self.pairs, key=lambda each: (each.vpt.info.seed is None, each.vpt.info.seed)):
            first.setdefault(pair.vpt.info.task, pair)
        self.first = [first[task] for task in dict.fromkeys(pair.vpt.info.task for pair in self.pairs)]
        self.tasks = list(dict.fromkeys(pair.vpt.info.task for pair in self.pairs))
        self._reasons: dict[str, list[str]] = {}

    @property
    def results(self) -> Path:
        """Where results are saved."""
        return self.out / "results"

    def steps(self) -> Iterator[Step]:
        """Give what is measured, in order; an analysis that does not apply gives its reason and stops nothing."""
        yield Step("recipes", 1, lambda: fairness_of(self.pairs, folder=self.results / "fairness"))
        yield Step("distances", 20, self.tried("distance", self.distances))
        yield Step("quadrants", 2, self.tried("quadrants", self.quadrants))
        yield Step("image by image", 1, self.tried("outcomes", self.outcomes))
        yield Step("data size", 1, self.tried("datasize", self.data_size))
        yield Step("sensitivity", 1, self.tried("sensitivity", self.sensitivity))
        if self.compared_with_paper:
            yield Step("published numbers", 1, self.tried("reproduction", self.reproduction))
        yield Step("curves", 2, self.tried("overfitting", self.overfitting))
        for pair in self.first:
            for run in (pair.vpt, pair.ft):
                yield self._alone(f"loss slice: {run.label}", 7, "landscape", partial(self.slice_of, run))
        if self.sizes.features:
            for run in self.runs:
                yield self._alone(f"features: {run.label}", 3, "features", partial(self.features, run))
            yield Step("preservation", 1, self.tried("feature-preservation", self.preservation))
        for pair in self.first:
            yield self._alone(f"attention: {pair.vpt.info.task}", 3, "attention", partial(self.maps_of, pair))
        if self.sizes.scores:
            for pair in self.pairs:
                label = f"attention scores: {pair.vpt.label}"
                yield self._alone(label, 10, "attention-scores", partial(self.scores_of, pair))
            yield Step("attention in numbers", 1, self.tried("attention-comparison", self.compared))
        if self.thorough:
            yield Step("lines", 60, self.tried("landscape-lines", self.lines))
            for pair in self.first:
                for run in (pair.vpt, pair.ft):
                    yield self._alone(f"curvature: {run.label}", 100, "curvature", partial(self.curvature_of, run))
            yield Step("escape test", 300, self.tried("escape", self.escape))

    def _alone(self, label: str, weight: float, key: str, measure: Callable[[], object]) -> Step:
        """A step that needs no other."""
        return Step(label, weight, self.tried(key, measure), apart=measure)

    @property
    def left_out(self) -> dict[str, str]:
        """Why what could not be measured was not, by analysis; of many reasons the first ones."""
        told = {key: list(dict.fromkeys(reasons)) for key, reasons in self._reasons.items() if reasons}
        return {
            key: "; ".join([*each[:REASONS], *([f"and {len(each) - REASONS} more"] if len(each) > REASONS else [])])
            for key, each in told.items()
        }

    def tried(self, key: str, measure: Callable[[], object]) -> Callable[[], None]:
        """Measure, and keep the reason where it cannot be."""

        def go() -> None:
            reasons = self._reasons.setdefault(key, [])
            try:
                measure()
            except VptftError as error:
                reasons.append(f"{error.problem} {error.hint}".strip().rstrip("."))
            self._keep_reasons()

        return go

    def _keep_reasons(self) -> None:
        """Write why what was tried could not be made, with what an earlier study said of what was not tried yet."""
        path = self.results / LEFT_OUT
        before = read_json(path) if path.is_file() else {}
        earlier = {key: why for key, why in before.items() if key not in self._reasons}
        told = earlier | self.left_out
        if told:
            write_json(path, told)
        else:
            path.unlink(missing_ok=True)

    def network(self, least: int = 0) -> Extractor:
        """The analysed backbone itself: the distance is as the model sees it.

        At the size of the runs, or at ``least`` pixels where those are smaller and the backbone can take that.
        """
        info = self.runs[0].info
        try:
            return load_extractor(f"{info.backbone}:{max(info.image_size, least)}", device=self.device)
        except WeightsError:
            if info.image_size >= least:
                raise
        return load_extractor(f"{info.backbone}:{info.image_size}", device=self.device)

    def distances(self) -> dict[str, SetDistance]:
        """Distance of each task's training images to the reference."""
        network, n = self.network(), self.sizes.distance
        origin = statistics(images_up_to(self.reference, n), network)
        return {
            task: distance(
                origin,
                statistics(images_up_to(f"{task}:train", n), network),
                options=DistanceSettings(),
                folder=self.results / "distance" / slug(task),
            )
            for task in self.tasks
        }

    def quadrants(self) -> object:
        """Plane of data distance and objective."""
        measured = self.distances()
        known: dict[str, float] | None = None
        if self.disparity:
            network = self.network(calibration.IMAGE_SIZE)
            labelled = [task_features(task, network, n=self.sizes.objective, draw=self.seed) for task in self.tasks]
            scores = objective_disparity(
                labelled, slow=False, seed=self.seed, folder=self.results / "objective"
            ).scores()
            known = {str(row["task"]): float(row["disparity"]) for row in scores.to_dict("records")}
        return quadrant_plane(
            self.pairs, measured, seed=self.seed, disparities=known, folder=self.results / "quadrants"
        )

    def outcomes(self) -> object:
        """Images that only one of both networks is right on."""
        return outcomes_of(self.pairs, seed=self.seed, folder=self.results / "outcomes")

    def data_size(self) -> object:
        """Gap against training images."""
        return studies.data_size(
            self.pairs, least_sizes=3, region=1.0, curves=False, seed=self.seed, folder=self.results / "datasize"
        )

    def sensitivity(self) -> object:
        """Gap over design choices."""
        return studies.sensitivity(
            list(self.runs), conclusions=None, seed=self.seed, folder=self.results / "sensitivity"
        )

    def reproduction(self) -> object:
        """Accuracies beside the printed ones."""
        return reproduction_of(self.runs, folder=self.results / "reproduction")

    def overfitting(self) -> None:
        """Curves, calibration, and whether overfitting explains the gap."""
        shown = curves(self.runs, folder=self.results / "overfitting")
        calibrations(self.runs, shown, seed=self.seed, folder=self.results / "calibration")
        explained(self.runs, shown, folder=self.results / "overfitting-gap")

    def slice_of(self, run: Run) -> object:
        """Loss slice around one run."""
        sizes, name = self.sizes, f"{slug(run.info.task)}-{run.info.method}"
        return loss_slice(
            run, n_images=sizes.slice_images, points=sizes.slice_points, extent=sizes.slice_extent, seed=self.seed,
            folder=self.results / "landscape" / name,
        )  # fmt: skip

    def features(self, run: Run) -> FeaturePreservation:
        """What tuning left of the features of one run."""
        settings = FeatureSettings(
            n_images=self.sizes.features, reference=self.reference, others=OTHER_TASKS, seed=self.seed
        )
        return features_of(run, settings, folder=self.results / "features" / slug(str(run.folder)))

    def preservation(self) -> object:
        """Whether preservation predicts accuracy, over the runs whose features could be measured."""
        place = self.results / "features"
        kept = [run for run in self.runs if (place / slug(str(run.folder)) / "result.json").is_file()]
        return preservation_effect([self.features(run) for run in kept], folder=self.results / "feature-preservation")

    def maps_of(self, pair: RunPair) -> object:
        """Where both models of a pair look."""
        return attention_maps(
            pair, n_images=self.sizes.maps, seed=self.seed,
            folder=self.results / "attention" / slug(pair.vpt.info.task),
        )  # fmt: skip

    def _scores_place(self, pair: RunPair) -> Path:
        return self.results / "attention-scores" / slug(f"{pair.vpt.info.task} seed{pair.vpt.info.seed}")

    def scores_of(self, pair: RunPair) -> AttentionScores:
        """Maps of a pair with their scores; enough images are kept to be looked at."""
        require_one_setting(self.pairs)
        sizes = self.sizes
        # What is slow is made for the images that a page shows, those of each task's first pair.
        kinds = tuple(METHODS) if pair in self.first else KINDS
        options = ScoreSettings(
            kinds=kinds, sample=sizes.scored_curves, score_slow=False, checked=sizes.checked, shown=SHOWN,
            seed=self.seed,
        )  # fmt: skip
        return attention_scores(
            pair, options=options, n_images=sizes.scores, permuted=control_of(pair, self.permuted),
            folder=self._scores_place(pair),
        )  # fmt: skip

    def compared(self) -> object:
        """VPT's maps against FT's over the pairs that could be scored."""
        kept = [pair for pair in self.pairs if (self._scores_place(pair) / "result.json").is_file()]
        if not kept:
            raise NotApplicable("No pair's attention maps could be scored.")
        return attention_comparison(
            [self.scores_of(pair) for pair in kept], folder=self.results / "attention-comparison"
        )

    def lines(self) -> object:
        """Loss between solutions, and from the pretrained network."""
        return lines_of(self.runs, seed=self.seed, folder=self.results / "landscape-lines")

    def curvature_of(self, run: Run) -> object:
        """Curvature of one run's training loss."""
        return curvature(run, seed=self.seed, folder=self.results / "curvature" / slug(f"{run.folder} train"))

    def escape(self) -> object:
        """What prompts and other extensions of equal size let a finetuned network improve."""
        return escape(self.runs, options=EscapeOptions(seed=self.seed), folder=self.results / "escape")


def measure_apart(study: RunStudy, workers: int, on_step: Callable[[int, int], None]) -> None:
    """Measure what needs no other step in processes beside this one; the study's own steps find it done.

    What cannot be measured is left to them: they meet it again and keep the reason.

    Parameters
    ----------
    study, workers
        What is measured, by how many processes.
    on_step
        Called with the number of steps done and of all that are made so.
    """
    wanted = [number for number, step in enumerate(study.steps()) if step.apart is not None]
    on_step(0, len(wanted))
    for done, _ in enumerate(in_processes(workers, _measuring, study, wanted), start=1):
        on_step(done, len(wanted))


def _measuring(study: RunStudy) -> Callable[[int], Arrays]:
    steps = list(study.steps())

    def measure(number: int) -> Arrays:
        alone = steps[number].apart
        assert alone is not None
        with suppress(VptftError):
            alone()
        return {}

    return measure


def facts_of(study: RunStudy, folder: Path, **told: Any) -> dict[str, Any]:
    """What a page says about a study besides its results: settings, runs, confounds, provenance."""
    runs = [run.info for run in study.runs]
    sizes = len({info.n_train for info in runs}) > 1
    shown = ("task", "method", "seed", "test_accuracy", "parameters_tuned", "parameters_total")
    first = study.first[0].vpt.info.seed
    return {
        **told,
        **{
            name: _every(getattr(info, name) for info in runs)
            for name in ("backbone", "backbone_sha256", "pretraining")
        },
        "reference": study.reference,
        "n_train": _every(info.n_train for info in runs),
        **{
            name: _every(info.settings.get(name) for info in runs)
            for name in ("n_test", "epochs", "image_size", "batch_size")
        },
        "prompt_length": _every(pair.vpt.info.options.get("prompt_length") for pair in study.pairs),
        "seeds": sorted({run.info.seed for run in study.runs if run.info.seed is not None}),
        "searched": all(run.info.search for pair in study.pairs for run in (pair.vpt, pair.ft)),
        "learning_rates": {
            f"{info.method} on {info.task}" + (f", {info.n_train} images" if sizes else ""): info.settings.get("lr")
            for info in runs
            if info.seed == first
        },
        "identities": sorted({identity(run) for run in study.runs}),
        "notes": [f"{info.method} on {info.task}, seed {info.seed}: {note}" for info in runs for note in info.notes],
        "confounds": fairness_of(study.pairs).differences(),
        "runs": [
            {**{name: getattr(run.info, name) for name in shown}, "folder": _place(run.folder, folder)}
            for run in study.runs
        ],
        "provenance": provenance(),
    }


def _every(values: Iterable[Any]) -> Any:
    """What all runs have in common; the list of what they have where that differs."""
    found = list(dict.fromkeys(values))
    return found[0] if len(found) == 1 else found


def _place(run: Path, folder: Path) -> str:
    return str(run.relative_to(folder)) if run.is_relative_to(folder) else run.name

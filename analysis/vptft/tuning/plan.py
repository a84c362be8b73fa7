"""A plan: which tasks, methods, sizes and seeds; expanded into cells, each a training with a folder of its own.

A cell's folder holds a hash of everything that was asked of it, so two plans share what they have in common, a changed
plan never takes up another's run, and a second start finds what is there.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from vptft.errors import SettingsError
from vptft.storage import SEARCH_FOLDER, key_of, slug
from vptft.tuning.methods import Method, find_method
from vptft.tuning.recipes import default_rate, method_recipe, with_recipe
from vptft.tuning.search import Search
from vptft.tuning.settings import TrainSettings

Kind = Literal["trial", "base", "final"]
"""A trial of a search; a run that only serves a search of a method that starts from it; a run of the plan."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A method with its options, as one line of a comparison."""

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        strange = sorted(self.options.keys() - find_method(self.method).options)
        if strange:
            own = ", ".join(sorted(find_method(self.method).options)) or "none"
            raise SettingsError(f"{self.method} has no option {', '.join(strange)}.", f"Its options: {own}.")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Trainings to be made.

    Attributes
    ----------
    name
        What it is called.
    backbone
        By name, as :func:`vptft.models.backbones.load_backbone` takes it.
    tasks
        Names of tasks.
    arms
        What is compared.
    sizes
        Training images; None for each task's own number.
    seeds
        Of the final runs; each has a training draw of its own.
    settings
        Of every run; seed, size, learning rate and options come from elsewhere.
    search
        How the learning rate is chosen; None takes each method's default.
    recipe
        As in :mod:`vptft.tuning.recipes`; what ``given`` names stays as in ``settings``.
    given
        Settings that a user set, so that no recipe changes them.
    val_share
        Validation images for each training image; None takes ``settings.n_val``.
    refit
        Train the final runs on as many images as both splits were asked for, drawn from both together, as VTAB-1k
        does. These are not the trials' own images; and where the validation split is a fixed set, as the suite's, all
        draws share it (a quarter of each at 4:1), so that the spread over draws is somewhat too small.
    """

    name: str
    backbone: str
    tasks: tuple[str, ...]
    arms: tuple[Arm, ...]
    sizes: tuple[int | None, ...] = (None,)
    seeds: tuple[int, ...] = (0,)
    settings: TrainSettings = field(default_factory=TrainSettings)
    search: Search | None = None
    recipe: str = "even"
    given: frozenset[str] = frozenset()
    val_share: float | None = None
    refit: bool = False

    def __post_init__(self) -> None:
        for name in ("tasks", "arms", "sizes", "seeds"):
            if not getattr(self, name):
                raise SettingsError(f"The plan {self.name} has no {name}.")
        if self.search is not None and self.settings.lr is not None:
            raise SettingsError(
                f"The plan {self.name} both gives a learning rate, {self.settings.lr:g}, and searches for one.",
                "Leave out lr, or search.",
            )
        if self.search is not None and self.search.seed in self.seeds:
            raise SettingsError(f"Seed {self.search.seed} is the search's: no final run may use its training images.")

    def budgets(self) -> dict[str, int]:
        """Trials on validation that each method gets; 0 without a search."""
        return {
            arm.method: 0 if self.search is None else len(self._grid(find_method(arm.method))) + self.search.extra
            for arm in self.arms
        }

    def cells(self) -> dict[str, "Cell"]:
        """Return every cell by its folder, what others need first."""
        made: dict[str, Cell] = {}
        for task, size, arm in itertools.product(self.tasks, self.sizes, self.arms):
            group = self._group(task, size, arm)
            for seed in self.seeds:
                group.run("final", seed, made)
        return made

    def _group(self, task: str, size: int | None, arm: Arm) -> "_Group":
        method = find_method(arm.method)
        settings = with_recipe(self.settings, self.recipe, method, given=self.given)
        n_val = settings.n_val
        if self.val_share is not None and size is not None:
            n_val = max(2, round(size * self.val_share))
        settings = replace(settings, n_train=size, n_val=n_val, **arm.options)
        # A method that starts from another gets that one with the same options.
        before = None
        if method.after is not None:
            earlier = find_method(method.after)
            shared = {name: value for name, value in arm.options.items() if name in earlier.options}
            before = self._group(task, size, Arm(method=method.after, options=shared))
        grid = () if self.search is None else self._grid(method)
        return _Group(plan=self, task=task, method=method, settings=settings.restricted(method.options), grid=grid,
                      before=before)  # fmt: skip

    def _grid(self, method: Method) -> tuple[tuple[float, float], ...]:
        assert self.search is not None
        recipe = method_recipe(self.recipe, method)
        batch = with_recipe(self.settings, self.recipe, method, given=self.given).batch_size
        rates = self.search.rates or recipe.rates(method, batch)
        decays = self.search.decays or (() if "weight_decay" in self.given else recipe.decays)
        if not decays:
            decays = (with_recipe(self.settings, self.recipe, method, given=self.given).weight_decay,)
        return tuple(itertools.product(rates, decays))


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One training of a plan.

    Attributes
    ----------
    folder
        Where it lies below the sweep's folder, and its name: no two cells share one.
    kind
        Why it is trained.
    task, method, backbone
        By name.
    settings
        As asked; ``lr`` is None where the search decides.
    search
        Folder of the trials that decide; empty where none do.
    tried
        How many trials must be done before.
    base
        Folder of the run it starts from; empty for the pretrained backbone.
    """

    folder: str
    kind: Kind
    task: str
    method: str
    backbone: str
    settings: TrainSettings
    search: str = ""
    tried: int = 0
    base: str = ""

    @property
    def trials(self) -> list[str]:
        """Folders of the trials it waits for."""
        return [trial_folder(self.search, i) for i in range(self.tried)]

    @property
    def needs(self) -> list[str]:
        """Folders of every cell it waits for."""
        return [*self.trials, self.base] if self.base else self.trials


def trial_folder(search: str, number: int) -> str:
    """Return the folder of a trial below that of its search."""
    return f"{search}/trial{number:02d}"


@dataclass(frozen=True, kw_only=True)
class _Group:
    """The trials and runs of one arm on one task at one size."""

    plan: Plan
    task: str
    method: Method
    settings: TrainSettings
    grid: tuple[tuple[float, float], ...]
    before: "_Group | None"
    found: list[tuple[str, int]] = field(default_factory=list)
    """The search's folder and number of trials, once they are among the cells made: seeds share them."""

    def run(self, kind: Kind, seed: int, made: dict[str, Cell]) -> Cell:
        """Give the run with a seed, and put it, and what it needs, among those ``made``."""
        final = kind == "final"
        base = None if self.before is None else self.before.run(kind, seed, made)
        if not self.found:
            self.found.append(self._search(made))
        ((search, tried),) = self.found
        settings = replace(self.settings, seed=seed, snapshots=self.settings.snapshots if final else 0)
        if self.plan.refit and final:
            n_train = settings.n_train and settings.n_train + (settings.n_val or 0)
            settings = replace(settings, n_train=n_train, train_split="trainval")
        if not search:
            lr = settings.lr or default_rate(self.plan.recipe, self.method, settings.batch_size)
            settings = replace(settings, lr=lr)
        after = "" if base is None else base.folder
        name = f"{_size(settings)}-seed{seed}-{self._hash(kind, settings, search, tried, after)}"
        root = "" if final else f"{SEARCH_FOLDER}/"
        folder = f"{root}{slug(self.task)}/{self.method.name}/{name}"
        return self._put(made, folder, kind, settings, search, tried, after)

    def _search(self, made: dict[str, Cell]) -> tuple[str, int]:
        """Put the trials among those made; gives their folder and number."""
        spec = self.plan.search
        if spec is None:
            return "", 0
        # What the trials start from is trained on their own draw, which no final run sees.
        base = None if self.before is None else self.before.run("base", spec.seed, made)
        after = "" if base is None else base.folder
        settings = replace(self.settings, seed=spec.seed, snapshots=0)
        tried = len(self.grid) + spec.extra
        # Not of the number of trials: a wider search goes on with those that are there.
        address = self._hash("trial", settings, self.grid, after)
        search = f"{SEARCH_FOLDER}/{slug(self.task)}/{self.method.name}/{_size(settings)}-{address}"
        if trial_folder(search, 0) not in made:
            for number in range(tried):
                planned = number < len(self.grid)
                lr, wd = self.grid[number] if planned else (None, settings.weight_decay)
                each = replace(settings, lr=lr, weight_decay=wd)
                waits = 0 if planned else number
                self._put(made, trial_folder(search, number), "trial", each, search, waits, after)
        return search, tried

    def _put(
        self,
        made: dict[str, Cell],
        folder: str,
        kind: Kind,
        settings: TrainSettings,
        search: str,
        tried: int,
        base: str,
    ) -> Cell:
        return made.setdefault(
            folder,
            Cell(folder=folder, kind=kind, task=self.task, method=self.method.name, backbone=self.plan.backbone,
                 settings=settings, search=search, tried=tried, base=base),
        )  # fmt: skip

    def _hash(self, kind: Kind, settings: TrainSettings, *others: object) -> str:
        return key_of(kind, self.task, self.method.name, self.plan.backbone, settings.changed(), others)[:8]


def _size(settings: TrainSettings) -> str:
    return "all" if settings.n_train is None else f"n{settings.n_train}"

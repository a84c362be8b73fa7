"""Protocols by name, one table: the studies that papers on tuning run, as plans."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vptft.data import registry
from vptft.errors import DataError, SettingsError, UnknownNameError
from vptft.tuning.plan import Arm, Plan
from vptft.tuning.recipes import has_own_search
from vptft.tuning.search import Search
from vptft.tuning.settings import TrainSettings

QUADRANT_TASKS = ("photo/category", "photo/count", "plain/category", "plain/count")
CORE_TASKS = tuple(
    f"{appearance}/{objective}"
    for appearance in ("photo", "plain")
    for objective in ("category", "count", "location", "orientation", "distance")
)
BOTH = ("ft", "vpt_deep")
CONTROLS = ("ft", "vpt_deep", "mixed", "ft_then_pt", "pt_then_ft", "linear", "multi_layer_probe")
DATA_SIZES = (400, 800, 2000, 5000, 10000, 20000)
"""Training images of the paper's data-size experiment (its section 4.3); a quarter as many validate."""
LENGTHS = (1, 5, 10, 50, 100)
"""Prompts a layer that Jia et al. 2022 and the paper choose from."""
VTAB_SEEDS = (42, 44, 82, 100, 800)
"""Seeds of the five final runs in KMnP/vpt."""

_STANDARD = TrainSettings(epochs=20, n_val=100, n_test=1000)
_EMBEDDED = Plan(
    name="suite",
    backbone="dinov2-s",
    tasks=CORE_TASKS,
    arms=tuple(Arm(method=name) for name in BOTH),
    sizes=(300,),
    seeds=(0, 1, 2),
    settings=_STANDARD,
    search=Search(),
)

QUICK = replace(
    _EMBEDDED,
    name="quick",
    tasks=QUADRANT_TASKS,
    sizes=(160,),
    seeds=(0,),
    settings=TrainSettings(epochs=6, n_val=20, n_test=300, n_curve=80),
    search=None,
)
"""One seed of four tasks, minutes: what ``quickstart`` trains."""
SUITE = _EMBEDDED
"""The embedded suite at its standard size (three seeds, each with a training draw of its own)."""
SUITE_98 = replace(
    _EMBEDDED, name="suite-98", tasks=QUADRANT_TASKS, settings=replace(_STANDARD, image_size=98, snapshots=5),
    given=frozenset({"image_size"}),
)  # fmt: skip
"""Four tasks at 98 px, 7x7 patches, for attention and landscapes; with five points of every trajectory."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A study by name.

    Attributes
    ----------
    about
        What it asks, and how it is done, in a line.
    tasks
        Names of tasks or collections where a user gives none.
    methods
        Methods compared where a user gives none.
    plans
        ``(tasks, arms, backbone)`` to the plans; what a task cannot give is left out, and told by the second value.
    sizes
        How many images it trains and validates on, in words, where that is part of the study and no user's choice.
    """

    about: str
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    plans: "Planner"
    sizes: str = ""


Planner = Callable[[Sequence[str], Sequence[Arm], str], tuple[list[Plan], list[str]]]


def _of(plan: Plan) -> Planner:
    """Return a protocol's plans where one plan serves all tasks."""

    def plans(tasks: Sequence[str], arms: Sequence[Arm], backbone: str) -> tuple[list[Plan], list[str]]:
        return [replace(plan, tasks=tuple(tasks), arms=tuple(arms), backbone=backbone)], []

    return plans


def _vtab1k(tasks: Sequence[str], arms: Sequence[Arm], backbone: str) -> tuple[list[Plan], list[str]]:
    plan = replace(
        _EMBEDDED,
        name="vtab1k",
        backbone=backbone,
        tasks=tuple(tasks),
        arms=tuple(arms),
        sizes=(None,),
        seeds=VTAB_SEEDS,
        settings=TrainSettings(epochs=100, batch_size=64, image_size=224, n_curve=1000),
        search=Search(decays=(1e-4, 1e-2), extra=3, seed=0),
        refit=True,
    )
    return [plan], []


def _datasize(tasks: Sequence[str], arms: Sequence[Arm], backbone: str) -> tuple[list[Plan], list[str]]:
    plans, left_out = [], []
    for task in tasks:
        sizes = tuple(n for n in DATA_SIZES if _can_give(task, n))
        left_out += [f"{task}: it cannot give {n} training images and {n // 4} to validate on" for n in DATA_SIZES
                     if n not in sizes]  # fmt: skip
        if sizes:
            plans.append(
                replace(_EMBEDDED, name="datasize", backbone=backbone, tasks=(task,), arms=tuple(arms), sizes=sizes,
                        seeds=(0, 1, 2, 3, 4), val_share=0.25, refit=True)
            )  # fmt: skip
    return plans, left_out


def _can_give(task: str, n: int) -> bool:
    found = registry.task(task)
    try:
        found.load("train", n=n)
        found.load("val", n=n // 4)
    except DataError:
        return False
    return True


def _oneshot(tasks: Sequence[str], arms: Sequence[Arm], backbone: str) -> tuple[list[Plan], list[str]]:
    plans = []
    for task in tasks:
        classes = len(registry.task(task).classes)
        settings = replace(_STANDARD, epochs=100, n_val=classes)
        plans.append(
            replace(_EMBEDDED, name="oneshot", backbone=backbone, tasks=(task,), arms=tuple(arms), sizes=(classes,),
                    seeds=tuple(range(20)), settings=settings)
        )  # fmt: skip
    return plans, []


def _prompts(tasks: Sequence[str], arms: Sequence[Arm], backbone: str) -> tuple[list[Plan], list[str]]:
    plan = replace(_EMBEDDED, name="prompts", backbone=backbone, tasks=tuple(tasks), arms=(*arms, *PROMPT_ARMS))
    return [plan], []


PROMPT_ARMS = (
    *(Arm(method="vpt_deep", options={"prompt_length": length}) for length in LENGTHS),
    *(Arm(method="vpt_shallow", options={"prompt_length": length}) for length in LENGTHS),
    *(
        Arm(method="vpt_deep", options={"prompt_layers": f"{side}:{k}"})
        for side in ("first", "last")
        for k in (3, 6, 9)
    ),
    Arm(method="vpt_deep", options={"prompt_init": "class_token"}),
    *(Arm(method="vpt_deep", options={"prompt_dropout": rate}) for rate in (0.1, 0.3)),
    Arm(method="vpt_deep", options={"prompt_shared": True}),
)
"""Every choice about prompts that papers make, one at a time; each is searched with as many trials as FT."""


def _overfitting(tasks: Sequence[str], arms: Sequence[Arm], backbone: str) -> tuple[list[Plan], list[str]]:
    """Every method as it is and stopped early, and FT with each regulariser: one search of equal size for each."""
    plain = replace(_EMBEDDED, name="overfitting", backbone=backbone, tasks=tuple(tasks), arms=tuple(arms))
    stopped = replace(plain, settings=replace(_STANDARD, keep="best_val"))
    finetuned = tuple(arm for arm in arms if arm.method == "ft")
    regularised = [
        replace(plain, arms=finetuned, settings=replace(_STANDARD, **changes), given=frozenset(changes))
        for changes in REGULARISERS
        if finetuned
    ]
    return [plain, stopped, *regularised], []


REGULARISERS: tuple[Mapping[str, Any], ...] = (
    {"weight_decay": 0.1},
    {"backbone_dropout": 0.1},
    {"augment": "colour"},
    {"label_smoothing": 0.1},
    {"weight_decay": 0.1, "backbone_dropout": 0.1, "augment": "colour", "label_smoothing": 0.1},
)
"""What is changed of FT, one at a time and then together: ten times the decay, and the usual rates of the others."""

PROTOCOLS: Mapping[str, Protocol] = {
    "suite": Protocol(
        about="the embedded suite: 300 training images, four trials of the learning rate for every method, three draws",
        tasks=CORE_TASKS,
        methods=BOTH,
        plans=_of(SUITE),
    ),
    "suite-98": Protocol(
        about="four embedded tasks at 98 px, with points of every trajectory, for attention and landscapes",
        tasks=QUADRANT_TASKS,
        methods=BOTH,
        plans=_of(SUITE_98),
    ),
    "vtab1k": Protocol(
        about="VTAB-1k: search on 800/200 with nine trials for every method, refit on 1,000, five seeds, last epoch",
        tasks=("vtab",),
        methods=BOTH,
        plans=_vtab1k,
        sizes="those of each task, 800 and 200 in VTAB-1k, and then both together",
    ),
    "datasize": Protocol(
        about="400 to 20,000 training images, a quarter as many to validate on, five draws of each",
        tasks=QUADRANT_TASKS,
        methods=BOTH,
        plans=_datasize,
        sizes=f"{', '.join(map(str, DATA_SIZES))}, and a quarter as many to validate on",
    ),
    "oneshot": Protocol(
        about="one image a class, twenty draws, the rate chosen on one other image a class, never on test",
        tasks=QUADRANT_TASKS,
        methods=BOTH,
        plans=_oneshot,
        sizes="one image a class, and one to validate on",
    ),
    "controls": Protocol(
        about="Mixed, FT-then-PT, PT-then-FT and probes beside VPT and FT",
        tasks=QUADRANT_TASKS,
        methods=CONTROLS,
        plans=_of(replace(_EMBEDDED, name="controls")),
    ),
    "prompts": Protocol(
        about="prompt length, depth, initialisation, dropout and sharing, one at a time, beside FT",
        tasks=QUADRANT_TASKS,
        methods=("ft",),
        plans=_prompts,
    ),
    "overfitting": Protocol(
        about="FT with decay, dropout, colour jitter, label smoothing and early stopping on validation, beside VPT",
        tasks=QUADRANT_TASKS,
        methods=BOTH,
        plans=_overfitting,
    ),
}


def find_protocol(name: str) -> Protocol:
    """Look a protocol up by name."""
    if name not in PROTOCOLS:
        raise UnknownNameError("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def fitted(
    plan: Plan,
    *,
    recipe: str = "even",
    image_size: int | None = None,
    epochs: int | None = None,
    seeds: int | None = None,
    n_train: int | None = None,
    n_val: int | None = None,
    n_test: int | None = None,
) -> Plan:
    """Return a plan with what a user wants otherwise.

    A recipe changes neither that nor what the protocol is about; one with a search of its own is searched as it says.

    Raises
    ------
    SettingsError
        More seeds than the protocol has.
    """
    if seeds is not None and seeds > len(plan.seeds):
        raise SettingsError(
            f"{plan.name} has {len(plan.seeds)} seeds, not {seeds}.",
            "For more: --emit plan, and `vptft-analyze sweep` with more of them.",
        )
    asked = {"image_size": image_size, "epochs": epochs, "n_val": n_val, "n_test": n_test}
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    return replace(
        plan,
        recipe=recipe,
        search=plan.search
        if plan.search is None or not has_own_search(recipe)
        else Search(extra=0, seed=plan.search.seed),
        settings=replace(plan.settings, **given),
        given=plan.given | given.keys(),
        seeds=plan.seeds[:seeds],
        sizes=plan.sizes if n_train is None else (n_train,),
    )

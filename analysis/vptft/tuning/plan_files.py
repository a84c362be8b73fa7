"""Plans as YAML files: what a person writes, checked by name and kind before anything is trained.

::

    name: depth                          # any name
    backbone: dinov2-s
    tasks: [photo/count, dtd]            # names, or collections: suite, vtab
    methods:
      - ft
      - {method: vpt_deep, prompt_length: [5, 50]}   # a list of values is as many lines of the comparison
    n_train: [100, 300]                  # left out: each task's own number
    seeds: [0, 1, 2]
    settings: {epochs: 20, image_size: 56, n_val: 100, n_test: 1000}
    search: {extra: 1}                   # rates, decays, extra, seed; left out or false: no search
    recipe: even                         # or kmnp
    given: [epochs]                      # settings that the recipe must leave alone; left out: all of them
    val_share: 0.25                      # validation images for each training image
    refit: false                         # train final runs on training and validation images together

Several plans, divided by ``---``, make one sweep.
"""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import yaml

from vptft.data import registry
from vptft.errors import SettingsError
from vptft.tuning.methods import METHODS
from vptft.tuning.plan import Arm, Plan
from vptft.tuning.protocols import PROTOCOLS
from vptft.tuning.search import Search
from vptft.tuning.settings import OPTIONS, TrainSettings

FIELDS = (
    "name", "backbone", "tasks", "methods", "n_train", "seeds", "settings", "search", "recipe", "given", "val_share",
    "refit",
)  # fmt: skip
ELSEWHERE = ("seed", "n_train", "train_split")
"""Settings that a plan says in its own fields."""
LARGEST = 1_000_000
"""Bytes of a plan file that are read; a person writes no more."""


class _Once(yaml.SafeLoader):
    """YAML in which a name stands once: of two, the earlier one would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping, or refuse a name that stands twice in it."""
        told: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in told:
                raise SettingsError(f"{key.value!r:.60} stands twice, again in line {key.start_mark.line + 1}.")
            told.add(str(key.value))
        return super().construct_mapping(node, deep=deep)


def read_plans(path: Path) -> list[Plan]:
    """Read the plans of a file.

    Raises
    ------
    SettingsError
        Not YAML, or something in it has another name, kind or range than expected; each with the file's name.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise SettingsError(f"{path} is larger than {LARGEST:,} bytes: it is no plan.")
        contents = list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=_Once))
    except OSError as error:
        raise SettingsError(f"{path} could not be read: {error.strerror or error}.", _WHERE) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(f"{path} is not YAML: {' '.join(str(error).split())[:300]}") from error
    if not contents:
        raise SettingsError(f"{path} is empty.", _WHERE)
    try:
        return [plan_of(content) for content in contents]
    except SettingsError as error:
        raise SettingsError(f"{path}: {error.problem}", error.hint) from error


def plan_of(content: Any) -> Plan:
    """Return the plan that a file's content stands for."""
    told = _mapping(content, "a plan", FIELDS)
    missing = [name for name in ("tasks", "methods") if name not in told]
    if missing:
        raise SettingsError(f"A plan needs {' and '.join(missing)}.", _WHERE)
    settings = _settings(told.get("settings", {}))
    return Plan(
        name=_text(told.get("name", "sweep"), "name"),
        backbone=_text(told.get("backbone", "dinov2-s"), "backbone"),
        tasks=_tasks(told["tasks"]),
        arms=tuple(arm for each in _list(told["methods"], "methods") for arm in _arms(each)),
        sizes=tuple(_whole(n, "n_train") for n in _list(told["n_train"], "n_train")) if "n_train" in told else (None,),
        seeds=tuple(_whole(seed, "seeds") for seed in _list(told.get("seeds", [0]), "seeds")),
        settings=settings,
        search=_search(told.get("search", False)),
        recipe=_text(told.get("recipe", "even"), "recipe"),
        given=frozenset(_setting(name) for name in _list(told["given"], "given"))
        if told.get("given")
        else frozenset(() if "given" in told else told.get("settings", {})),
        val_share=None if told.get("val_share") is None else _share(told["val_share"]),
        refit=_flag(told.get("refit", False), "refit"),
    )


def file_of(plan: Plan) -> str:
    """Return a plan as a file that :func:`read_plans` reads back."""
    told: dict[str, Any] = {
        "name": plan.name,
        "backbone": plan.backbone,
        "tasks": list(plan.tasks),
        "methods": [
            {"method": arm.method, **arm.options} if arm.options else arm.method for arm in plan.arms
        ],
        "seeds": list(plan.seeds),
        "settings": plan.settings.changed(),
        "recipe": plan.recipe,
        "given": sorted(plan.given),
        "refit": plan.refit,
    }  # fmt: skip
    if plan.sizes != (None,):
        told["n_train"] = list(plan.sizes)
    if plan.val_share is not None:
        told["val_share"] = plan.val_share
    if plan.search is not None:
        search = plan.search
        told["search"] = {"extra": search.extra, "seed": search.seed}
        lists = {"rates": list(search.rates), "decays": list(search.decays)}
        told["search"] |= {name: values for name, values in lists.items() if values}
    return yaml.safe_dump(told, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


_WHERE = f"vptft-analyze protocol {next(iter(PROTOCOLS))} --emit plan writes one to start from."


def _tasks(value: Any) -> tuple[str, ...]:
    named = (_text(name, "tasks") for name in _list(value, "tasks"))
    return tuple(dict.fromkeys(member for name in named for member in registry.members(name)))


def _arms(value: Any) -> Iterator[Arm]:
    """Give one arm for every combination of the values listed."""
    if isinstance(value, str):
        value = {"method": value}
    told = _mapping(value, "a method", ("method", *sorted(OPTIONS)))
    name = _text(told.get("method"), "method")
    options = {key: each if isinstance(each, list) else [each] for key, each in told.items() if key != "method"}
    for chosen in itertools.product(*options.values()):
        yield Arm(method=name, options=_values(dict(zip(options, chosen, strict=True))))


def _settings(value: Any) -> TrainSettings:
    return TrainSettings(**_values(_mapping(value, "settings", [name for name in _HINTS if name not in ELSEWHERE])))


def _setting(value: Any) -> str:
    name = _text(value, "given")
    _mapping({name: None}, "given", list(_HINTS))
    return name


def settings_from(words: Mapping[str, str]) -> dict[str, Any]:
    """Return settings given as words, ``{"prompt_shared": "true"}``, each of the kind it must have."""
    _mapping(words, "settings", list(_HINTS))
    return _values({name: _read_word(name, word) for name, word in words.items()})


def _read_word(name: str, word: str) -> Any:
    try:
        return yaml.safe_load(word)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise SettingsError(f"{name} is {word!r:.60}, which cannot be read as a value.") from error


def _values(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by name, each of the kind it must have."""
    return {name: _value(name, given) for name, given in told.items()}


def _value(name: str, given: Any) -> Any:
    hint = _HINTS[name]
    kinds = get_args(hint) or (hint,)
    if given is None and NoneType in kinds:
        return None
    if bool in kinds:
        return _flag(given, name)
    if float in kinds:
        return _number(given, name)
    return _whole(given, name) if int in kinds else _text(given, name)


_HINTS: Mapping[str, Any] = get_type_hints(TrainSettings)


def _search(value: Any) -> Search | None:
    if value is None or value is False:
        return None
    told = _mapping({} if value is True else value, "search", ("rates", "decays", "extra", "seed"))
    lists = {name: tuple(_number(each, name) for each in _list(told[name], name)) for name in ("rates", "decays")
             if name in told}  # fmt: skip
    numbers = {name: _whole(told[name], name) for name in ("extra", "seed") if name in told}
    return Search(**lists, **numbers)  # type: ignore[arg-type]


def _mapping(value: Any, what: str, names: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SettingsError(f"{what} is {value!r:.60}; expected names with values.", _WHERE)
    strange = [str(name) for name in value if name not in names]
    if strange:
        raise SettingsError(f"{what} has no {strange[0]!r:.60}.", f"Known: {', '.join(names)}.")
    return value


def _list(value: Any, name: str) -> list[Any]:
    found = value if isinstance(value, list) else [value]
    if not found:
        raise SettingsError(f"{name} is empty.")
    return found


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise SettingsError(f"{name} is {value!r:.60}; expected a name.", f"Methods: {', '.join(METHODS)}.")
    return value


def _whole(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise SettingsError(f"{name} is {value!r:.60}; expected whole numbers.")
    return value


def _number(value: Any, name: str) -> float:
    try:
        number = float("" if isinstance(value, bool) else value)  # YAML reads 1e-3 as text
    except (TypeError, ValueError, OverflowError) as error:
        raise SettingsError(f"{name} is {value!r:.60}; expected a number.") from error
    return number


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise SettingsError(f"{name} is {value!r:.60}; expected true or false.")
    return value


def _share(value: Any) -> float:
    share = _number(value, "val_share")
    if not 0 < share <= 1:
        raise SettingsError(f"val_share must lie in (0, 1], got {share}.")
    return share

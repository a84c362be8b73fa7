"""The tuning methods, one table: which parameters each moves, what it adds, what it starts from, how fast by default.

Planning needs the table and no network: torch is imported by what builds one.

Another package adds a method by an entry point of the group ``vptft.methods``: its name is the method's, its value a
:class:`Method`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Literal

from vptft.errors import SettingsError, UnknownNameError, VptftError
from vptft.tuning.settings import TrainSettings

if TYPE_CHECKING:
    from torch import nn

ENTRY_POINTS = "vptft.methods"

Tunes = Callable[["nn.Module", TrainSettings], set[str]]


def nothing(backbone: "nn.Module", settings: TrainSettings) -> set[str]:
    """No weight of the backbone."""
    return set()


def everything(backbone: "nn.Module", settings: TrainSettings) -> set[str]:
    """Every weight of the backbone."""
    return {name for name, _ in backbone.named_parameters()}


def biases(backbone: "nn.Module", settings: TrainSettings) -> set[str]:
    """Every bias, those of norms included (Ben Zaken et al. 2022, *BitFit*)."""
    return {name for name, _ in backbone.named_parameters() if name.split(".")[-1] == "bias"}


def last_blocks(backbone: "nn.Module", settings: TrainSettings) -> set[str]:
    """The last ``partial_layers`` blocks of a vision transformer, and the norms after them."""
    from vptft.models.tuned import TunedModel

    depth = len(TunedModel(backbone, n_classes=1).vit.blocks)
    if settings.partial_layers > depth:
        raise SettingsError(f"partial_layers is {settings.partial_layers}; the backbone has {depth} blocks.")
    roots = tuple(f"blocks.{i}." for i in range(depth - settings.partial_layers, depth))
    return {name for name, _ in backbone.named_parameters() if name.startswith((*roots, "norm.", "fc_norm."))}


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to adapt a backbone to a task; every method tunes the head.

    Attributes
    ----------
    name
        The word DESIGN fixes for it.
    called
        The field's word, in figures and tables; empty where it is the name.
    about
        One line for ``--help`` and reports.
    learning_rates
        Learning rates searched on validation, ascending and evenly spaced on a log scale; the middle one is the
        default.
    tunes
        Given the backbone and the settings, names of the backbone's parameters that move.
    prompts
        Prompts before the first layer, or before every one that ``prompt_layers`` names.
    adds
        Modules it puts beside the backbone's.
    probes_layers
        Whether the head reads several layers.
    after
        The method whose finished run it starts from, head included; None for the pretrained backbone.
    options
        Settings that matter to it besides those that matter to all.
    """

    name: str
    called: str = ""
    about: str
    learning_rates: tuple[float, float, float]
    tunes: Tunes = nothing
    prompts: Literal["shallow", "deep"] | None = None
    adds: Literal["lora", "adapter"] | None = None
    probes_layers: bool = False
    after: str | None = None
    options: frozenset[str] = frozenset()

    @property
    def default_lr(self) -> float:
        """The learning rate where none is searched or given."""
        return self.learning_rates[1]

    @property
    def reads_fixed_features(self) -> bool:
        """Whether the head is all that moves, so that what it reads never changes."""
        return self.tunes is nothing and self.prompts is None and self.adds is None and self.after is None


_PROMPT = frozenset({
    "prompt_length", "prompt_dropout", "prompt_dropout_per_sample", "prompt_projection", "prompt_init",
})  # fmt: skip
_DEEP = _PROMPT | {"prompt_layers", "prompt_shared"}
_FT_RATES, _PROMPT_RATES, _PROBE_RATES = (3e-6, 1e-5, 3e-5), (3e-4, 1e-3, 3e-3), (2e-3, 5e-3, 2e-2)

METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method(
            name="ft",
            called="FT",
            about="full finetuning: every weight",
            tunes=everything,
            learning_rates=_FT_RATES,
        ),
        Method(
            name="linear",
            called="Linear",
            about="linear probe: the head on frozen features",
            learning_rates=_PROBE_RATES,
        ),
        Method(
            name="multi_layer_probe",
            called="Multi-layer probe",
            about="the head on frozen features of the last layers, side by side",
            probes_layers=True,
            learning_rates=(5e-4, 1.5e-3, 5e-3),
            options=frozenset({"probe_layers"}),
        ),
        Method(
            name="partial_k",
            called="Partial-k",
            about="the last blocks (one by default), the norm after them, and the head",
            tunes=last_blocks,
            learning_rates=(1e-5, 3e-5, 1e-4),
            options=frozenset({"partial_layers"}),
        ),
        Method(
            name="bias",
            called="BitFit",
            about="every bias, and the head (BitFit; Ben Zaken et al. 2022)",
            tunes=biases,
            learning_rates=_PROMPT_RATES,
        ),
        Method(
            name="vpt_shallow",
            called="VPT-shallow",
            about="prompts before the first layer, and the head (Jia et al. 2022)",
            prompts="shallow",
            learning_rates=_PROMPT_RATES,
            options=_PROMPT,
        ),
        Method(
            name="vpt_deep",
            called="VPT",
            about="new prompts before every layer, and the head (Jia et al. 2022); the paper's VPT",
            prompts="deep",
            learning_rates=_PROMPT_RATES,
            options=_DEEP,
        ),
        Method(
            name="mixed",
            called="Mixed",
            about="deep prompts and every weight at once (the paper's Mixed)",
            tunes=everything,
            prompts="deep",
            learning_rates=_FT_RATES,
            options=_DEEP | {"prompt_lr"},
        ),
        Method(
            name="ft_then_pt",
            called="FT-then-PT",
            about="deep prompts on a finetuned and then frozen network (the paper's FT-then-PT)",
            prompts="deep",
            after="ft",
            learning_rates=_PROMPT_RATES,
            options=_DEEP,
        ),
        Method(
            name="pt_then_ft",
            called="PT-then-FT",
            about="every weight and the prompts, from a prompt-tuned network",
            tunes=everything,
            after="vpt_deep",
            learning_rates=_FT_RATES,
            options=_DEEP | {"prompt_lr"},
        ),
        Method(
            name="lora",
            called="LoRA",
            about="low-rank updates of attention's projections, and the head (Hu et al. 2022); extra `peft`",
            adds="lora",
            learning_rates=_PROMPT_RATES,
            options=frozenset({"lora_rank", "lora_alpha"}),
        ),
        Method(
            name="adapter",
            called="Adapter",
            about="a bottleneck after every MLP, and the head (Pfeiffer et al. 2021)",
            adds="adapter",
            learning_rates=_PROMPT_RATES,
            options=frozenset({"adapter_width"}),
        ),
    )
}
"""Methods of this package, by name."""


def known() -> dict[str, str]:
    """Return every method's name with what it is; those of other packages, which are not loaded, included."""
    added = {each.name: f"package {each.dist.name if each.dist else each.module}" for each in _plug_ins()}
    return added | {name: method.about for name, method in METHODS.items()}


def called(name: str) -> str:
    """Return the field's word for a method, for readers; its name where there is none, as for other packages' methods.

    "VPT" is VPT-deep, as in the paper.
    """
    return (METHODS[name].called if name in METHODS else "") or name


def find_method(name: str) -> Method:
    """Look a method up by name.

    Raises
    ------
    UnknownNameError
        Lists the known and the nearest.
    VptftError
        Another package's method cannot be loaded.
    """
    if name in METHODS:
        return METHODS[name]
    point = next((each for each in _plug_ins() if each.name == name), None)
    if point is None:
        raise UnknownNameError("method", name, known())
    said = f"The entry point {point.name} = {point.value} of {ENTRY_POINTS}"
    try:
        found = point.load()
    except Exception as error:
        # Another package's code, which can raise anything; whatever it is, its user must learn whose fault it is.
        raise VptftError(f"{said} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(found, Method) or found.name != name:
        raise VptftError(f"{said} gives {found!r:.80}, not a Method of that name.")
    return found


def _plug_ins() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=ENTRY_POINTS))

"""The tuning methods, one table: which parameters each moves, what it adds, what it starts from, how fast by default.

Another package adds a method by an entry point of the group ``vptft.methods``: its name is the method's, its value a
:class:`Method`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Literal

import torch
from torch import nn

from vptft.errors import NotApplicable, SettingsError, UnknownNameError, VptftError
from vptft.models.adapters import attach, fresh_pfeiffer
from vptft.models.backbones import Backbone
from vptft.models.lora import inject
from vptft.models.prompts import PromptSpec
from vptft.models.tuned import TunedModel
from vptft.tuning.settings import TrainSettings

ENTRY_POINTS = "vptft.methods"

Tunes = Callable[[nn.Module, TrainSettings], set[str]]


def nothing(backbone: nn.Module, settings: TrainSettings) -> set[str]:
    """No weight of the backbone."""
    return set()


def everything(backbone: nn.Module, settings: TrainSettings) -> set[str]:
    """Every weight of the backbone."""
    return {name for name, _ in backbone.named_parameters()}


def biases(backbone: nn.Module, settings: TrainSettings) -> set[str]:
    """Every bias, those of norms included (Ben Zaken et al. 2022, *BitFit*)."""
    return {name for name, _ in backbone.named_parameters() if name.split(".")[-1] == "bias"}


def last_blocks(backbone: nn.Module, settings: TrainSettings) -> set[str]:
    """The last ``partial_layers`` blocks of a vision transformer, and the norms after them."""
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
            about="full finetuning: every weight",
            tunes=everything,
            learning_rates=_FT_RATES,
        ),
        Method(
            name="linear",
            about="linear probe: the head on frozen features",
            learning_rates=_PROBE_RATES,
        ),
        Method(
            name="multi_layer_probe",
            about="the head on frozen features of the last layers, side by side",
            probes_layers=True,
            learning_rates=(5e-4, 1.5e-3, 5e-3),
            options=frozenset({"probe_layers"}),
        ),
        Method(
            name="partial_k",
            about="the last blocks (one by default), the norm after them, and the head",
            tunes=last_blocks,
            learning_rates=(1e-5, 3e-5, 1e-4),
            options=frozenset({"partial_layers"}),
        ),
        Method(
            name="bias",
            about="every bias, and the head (BitFit; Ben Zaken et al. 2022)",
            tunes=biases,
            learning_rates=_PROMPT_RATES,
        ),
        Method(
            name="vpt_shallow",
            about="prompts before the first layer, and the head (Jia et al. 2022)",
            prompts="shallow",
            learning_rates=_PROMPT_RATES,
            options=_PROMPT,
        ),
        Method(
            name="vpt_deep",
            about="new prompts before every layer, and the head (Jia et al. 2022); the paper's VPT",
            prompts="deep",
            learning_rates=_PROMPT_RATES,
            options=_DEEP,
        ),
        Method(
            name="mixed",
            about="deep prompts and every weight at once (the paper's Mixed)",
            tunes=everything,
            prompts="deep",
            learning_rates=_FT_RATES,
            options=_DEEP | {"prompt_lr"},
        ),
        Method(
            name="ft_then_pt",
            about="deep prompts on a finetuned and then frozen network (the paper's FT-then-PT)",
            prompts="deep",
            after="ft",
            learning_rates=_PROMPT_RATES,
            options=_DEEP,
        ),
        Method(
            name="pt_then_ft",
            about="every weight and the prompts, from a prompt-tuned network",
            tunes=everything,
            after="vpt_deep",
            learning_rates=_FT_RATES,
            options=_DEEP | {"prompt_lr"},
        ),
        Method(
            name="lora",
            about="low-rank updates of attention's projections, and the head (Hu et al. 2022); extra `peft`",
            adds="lora",
            learning_rates=_PROMPT_RATES,
            options=frozenset({"lora_rank", "lora_alpha"}),
        ),
        Method(
            name="adapter",
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


def build_model(
    method: Method, backbone: Backbone, settings: TrainSettings, *, n_classes: int, base: TunedModel | None = None
) -> TunedModel:
    """Model whose trainable parameters are exactly what the method tunes.

    The backbone's module is used, not copied: load a fresh one for each run.

    Parameters
    ----------
    method, backbone, settings
        What is tuned, of what, and how.
    n_classes
        Outputs of the head.
    base
        The finished model that a method with ``after`` starts from, on this backbone's architecture; its modules are
        used, and its prompts where it has any.

    Raises
    ------
    NotApplicable
        The method needs a plain vision transformer, and the backbone is none.
    """
    if (base is None) != (method.after is None):
        raise SettingsError(f"{method.name} starts from {method.after or 'the pretrained backbone'}.")
    module = backbone.module if base is None else base.backbone
    tuned = method.tunes(module, settings)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in tuned)
    _drop(module, settings.backbone_dropout)
    if method.adds is not None:
        _add(method, module, settings)
    generator = torch.Generator().manual_seed(settings.seed)
    model = TunedModel(
        module,
        n_classes=n_classes,
        prompts=prompt_spec(method, module, settings),
        generator=generator,
        head=None if base is None else base.head,
        probe_layers=_probed(method, module, settings),
    )
    if base is not None and base.prompts is not None:
        model.prompts = base.prompts
    if settings.head_init == "kaiming" and base is None:
        _kaiming(model.head, generator)
    return model


def prompt_spec(method: Method, module: nn.Module, settings: TrainSettings) -> PromptSpec | None:
    """Return what prompts a method inserts into a backbone; None for none."""
    if method.prompts is None:
        return None
    return PromptSpec(
        length=settings.prompt_length,
        layers=(0,) if method.prompts == "shallow" else _layers(settings.prompt_layers, _depth(module)),
        dropout=settings.prompt_dropout,
        dropout_per_sample=settings.prompt_dropout_per_sample,
        projection=settings.prompt_projection,
        shared=settings.prompt_shared,
    )


def _layers(which: str, depth: int) -> tuple[int, ...]:
    side, _, count = which.partition(":")
    if side == "all":
        return tuple(range(depth))
    if int(count) > depth:
        raise SettingsError(f"prompt_layers is {which}; the backbone has {depth} layers.")
    return tuple(range(int(count))) if side == "first" else tuple(range(depth - int(count), depth))


def _probed(method: Method, module: nn.Module, settings: TrainSettings) -> tuple[int, ...]:
    if not method.probes_layers:
        return ()
    depth = _depth(module)
    if settings.probe_layers > depth:
        raise SettingsError(f"probe_layers is {settings.probe_layers}; the backbone has {depth} layers.")
    return tuple(range(depth - settings.probe_layers, depth))


def _depth(module: nn.Module) -> int:
    return len(TunedModel(module, n_classes=1).vit.blocks)


def _add(method: Method, module: nn.Module, settings: TrainSettings) -> None:
    """Put the method's own trainable modules beside those of a vision transformer."""
    vit = TunedModel(module, n_classes=1).vit
    if method.adds == "lora":
        inject(vit, rank=settings.lora_rank, alpha=settings.lora_alpha, seed=settings.seed)
    else:
        generator = torch.Generator().manual_seed(settings.seed)
        attach(vit, fresh_pfeiffer(vit, bottleneck=settings.adapter_width, generator=generator), kind="pfeiffer")
    for name, parameter in vit.named_parameters():
        if ".lora_" in name or ".adapter." in name:
            parameter.requires_grad_(True)


def _drop(module: nn.Module, probability: float) -> None:
    """Set dropout where KMnP/vpt has it: after the position embedding and in every MLP, not in attention."""
    if not probability:
        return
    if not hasattr(module, "pos_drop"):
        raise NotApplicable(f"backbone_dropout is not applicable to {type(module).__name__}.")
    names = ("pos_drop", "mlp.drop1", "mlp.drop2")
    for name, part in module.named_modules():
        if isinstance(part, nn.Dropout) and name.endswith(names):
            part.p = probability


@torch.no_grad()
def _kaiming(head: nn.Module, generator: torch.Generator) -> None:
    for layer in head.modules():
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, a=0, mode="fan_out", generator=generator)
            nn.init.constant_(layer.bias, -4.59511985013459)  # -log((1 - 0.01) / 0.01), as focal loss starts


def _plug_ins() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=ENTRY_POINTS))

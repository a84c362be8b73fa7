"""Time and memory of one forward pass and of one training step, measured on the pieces that training is made of."""

import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch.nn import functional as F

from vptft.data.transforms import normalise
from vptft.models.backbones import Backbone
from vptft.models.tuned import TunedModel
from vptft.tuning.loop import logits_of
from vptft.tuning.optimisation import optimiser
from vptft.tuning.settings import TrainSettings

Clock = Callable[[], float]
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A model with one batch of made-up images, ready to be measured.

    Attributes
    ----------
    model, backbone, settings
        What is trained, how its images are normalised, and how it is trained.
    pixels, labels
        ``(B, 3, h, w)`` uint8 and ``(B,)`` int64.
    on_features
        Whether a step reads features computed once before training, as that of a probe does.
    """

    model: TunedModel
    backbone: Backbone
    settings: TrainSettings
    pixels: torch.Tensor
    labels: torch.Tensor
    on_features: bool

    @torch.inference_mode()
    def forward(self) -> torch.Tensor:
        """Logits ``(B, n_classes)``, from the pixels and through the whole network, whatever a step reads."""
        return logits_of(self.model, self.pixels, self.backbone, self.settings.precision)

    @torch.no_grad()
    def read_by_a_step(self) -> torch.Tensor:
        """Pixels; or what the head reads, ``(B, d)`` float32, where the network before it never moves."""
        if not self.on_features:
            return self.pixels
        device = next(self.model.parameters()).device
        return self.model.features(normalise(self.pixels.to(device), self.backbone.mean, self.backbone.std)).cpu()

    def loss(self, values: torch.Tensor) -> torch.Tensor:
        """Cross-entropy in nats, as training has it."""
        logits = logits_of(self.model, values, self.backbone, self.settings.precision)
        return F.cross_entropy(logits, self.labels.to(logits.device))

    def step(self, values: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Forward, backward and the optimiser's update."""
        loss = self.loss(values)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def optimizer(self) -> torch.optim.Optimizer:
        """Return training's optimiser at rate zero: the same work, but every repetition starts from the same weights.

        Its moments are made in the first step.
        """
        made = optimiser(self.model, self.settings)
        for group in made.param_groups:
            group["lr"] = 0.0
        return made


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes that a training step needs, by what for.

    Attributes
    ----------
    parameters
        Weights and buffers of the whole network and the head, tuned or not.
    gradients
        Of what is tuned.
    optimiser
        Moments and counters after the first step.
    activations
        What the forward pass keeps for the backward pass, see :func:`saved_for_backward`.
    device_peak
        Largest allocation of torch on a cuda device during a step; None elsewhere. It counts what the sum of the
        others leaves out (workspaces, temporaries) and all else this process keeps on the device.
    """

    parameters: int
    gradients: int
    optimiser: int
    activations: int
    device_peak: int | None

    @property
    def peak(self) -> int:
        """The parts together.

        An estimate of the true peak: activations go while gradients come, and temporaries are left out.
        """
        return self.parameters + self.gradients + self.optimiser + self.activations


def saved_for_backward(compute: Callable[[], torch.Tensor], *, apart_from: Iterable[torch.Tensor]) -> int:
    """Bytes that a computation keeps for its backward pass, measured by autograd's own hooks.

    Each storage counts once, and as a whole: a view keeps all of it alive. The batch itself counts where a gradient
    needs it.

    Parameters
    ----------
    compute
        Gives the loss; run once, without a backward pass.
    apart_from
        Tensors that are there anyway: parameters and buffers.
    """
    kept: list[torch.Tensor] = []  # alive until all is counted, so that no address is used twice

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.detach())
        return kept[-1]

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        compute()
    known = {tensor.untyped_storage().data_ptr() for tensor in apart_from}
    storages = {each.data_ptr(): each.nbytes() for each in (tensor.untyped_storage() for tensor in kept)}
    return sum(size for address, size in storages.items() if address not in known)


def memory_of(work: Workload) -> Memory:
    """Measure what a first training step needs, on the device the model is on."""
    own = [*work.model.parameters(), *work.model.buffers()]
    device = own[0].device
    values, optimizer = work.read_by_a_step(), work.optimizer()
    work.model.train()
    activations = saved_for_backward(lambda: work.loss(values), apart_from=own)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    work.step(values, optimizer)
    states = (value for state in optimizer.state.values() for value in state.values())
    return Memory(
        parameters=sum(tensor.nbytes for tensor in own),
        gradients=sum(p.grad.nbytes for p in work.model.parameters() if p.grad is not None),
        optimiser=sum(value.nbytes for value in states if isinstance(value, torch.Tensor)),
        activations=activations,
        device_peak=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
    )


def timed(work: Workload, clock: Clock) -> tuple[float, float]:
    """Seconds of a forward pass and of a training step, each right after one that is not timed."""
    values, optimizer = work.read_by_a_step(), work.optimizer()
    work.model.eval()
    forward = _seconds(work.forward, clock)
    work.model.train()
    return forward, _seconds(lambda: work.step(values, optimizer), clock)


def in_rounds(
    works: Mapping[K, Workload],
    *,
    repeats: int,
    device: torch.device,
    clock: Clock,
    on_turn: Callable[[int, int], None] = lambda done, total: None,
) -> dict[K, tuple[Memory, list[tuple[float, float]]]]:
    """Memory of each workload in a first round, then times of each in every round: drift of the machine hits all alike.

    Parameters
    ----------
    works
        By whatever name.
    repeats
        Rounds that are timed.
    device, clock
        Where it runs, and seconds, as of :func:`clock_of`.
    on_turn
        Called with (turns done, turns in all).
    """
    memory: dict[K, Memory] = {}
    times: dict[K, list[tuple[float, float]]] = {name: [] for name in works}
    turns = [(name, turn) for turn in range(1 + repeats) for name in works]
    for done, (name, turn) in enumerate(turns, start=1):
        with placed(works[name], device) as work:
            if turn:
                times[name].append(timed(work, clock))
            else:
                memory[name] = memory_of(work)
        on_turn(done, len(turns))
    return {name: (memory[name], times[name]) for name in works}


def clock_of(device: torch.device) -> Clock:
    """On the CPU, this process' own CPU time, which other programs do not lengthen; else wall time of finished work."""
    if device.type == "cpu":
        return time.process_time

    def now() -> float:
        torch.accelerator.synchronize(device)
        return time.perf_counter()

    return now


@contextmanager
def placed(work: Workload, device: torch.device) -> Iterator[Workload]:
    """Have a model on the device for this block alone, so that only one is there at a time; its gradients go after."""
    work.model.to(device)
    try:
        yield work
    finally:
        work.model.zero_grad(set_to_none=True)
        work.model.to("cpu")


@contextmanager
def alone(device: torch.device, threads: int) -> Iterator[None]:
    """Torch's number of threads for this block; it and the random numbers are the caller's again afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        torch.set_num_threads(before)


def _seconds(action: Callable[[], object], clock: Clock) -> float:
    action()
    started = clock()
    action()
    return clock() - started

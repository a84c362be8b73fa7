from dataclasses import replace

import pytest
import torch
from torch import nn

from vptft.models.backbones import load_backbone
from vptft.tuning.costs import alone, clock_of, in_rounds, memory_of, placed, saved_for_backward, timed
from vptft.tuning.methods import METHODS
from vptft.tuning.settings import TrainSettings
from vptft.tuning.subjects import Subject

CPU = torch.device("cpu")
DIM, CLASSES, BATCH = 32, 10, 8


def workload(method, batch=BATCH, **changes):
    settings = TrainSettings(image_size=32, prompt_length=4, probe_layers=2, **changes)
    return Subject(method=method, backbone="tiny", n_classes=CLASSES, settings=settings).build().workload(batch, seed=0)


def scripted(durations):
    """A clock that is read twice for each of the durations, which lie one after the other."""

    def readings():
        now = 0.0
        for duration in durations:
            yield now
            now += duration
            yield now
            now += 1000.0  # between two timings, which must not count

    return readings().__next__


def kept(net, x):
    return saved_for_backward(lambda: net(x).sum(), apart_from=[*net.parameters(), *net.buffers()])


def test_activations_of_a_chain_are_counted_by_hand():
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    x = torch.ones(3, 8)
    assert kept(net, x) == 4 * (3 * 8 + 3 * 16)  # the input for the first weight; ReLU's output for it and the second
    net[0].requires_grad_(False)
    assert kept(net, x) == 4 * 3 * 16
    net[2].requires_grad_(False)
    assert kept(net, x.requires_grad_()) == 4 * 3 * 16  # only ReLU needs to know what it let through
    assert kept(nn.Sequential(nn.Linear(8, 4)).requires_grad_(False), torch.ones(3, 8)) == 0


def test_each_storage_counts_once_and_a_view_counts_all_it_keeps_alive():
    weight, big = nn.Parameter(torch.ones(5)), torch.ones(100, 5)
    assert saved_for_backward(lambda: (big[:1] * weight).sum(), apart_from=[weight]) == 4 * 500
    both = saved_for_backward(lambda: (big[:1] * weight).sum() + (big[7:9] * weight).sum(), apart_from=[weight])
    assert both == 4 * 500
    assert saved_for_backward(lambda: (big[:1] * weight).sum(), apart_from=[weight, big]) == 0


def test_a_probe_keeps_features_and_the_loss_and_nothing_of_the_backbone():
    head, loss = BATCH * DIM * 4, BATCH * CLASSES * 4 + BATCH * 8 + 4  # log-probabilities, labels, sum of weights
    work = workload("linear")
    assert memory_of(work).activations == head + loss
    assert work.read_by_a_step().shape == (BATCH, DIM)
    assert memory_of(workload("multi_layer_probe")).activations == 2 * head + loss


def test_what_moves_decides_what_is_kept():
    found = {name: memory_of(workload(name)) for name in ("ft", "vpt_deep", "vpt_shallow", "bias", "partial_k")}
    kept = {name: memory.activations for name, memory in found.items()}
    assert kept["partial_k"] < min(kept["bias"], kept["vpt_deep"])
    assert max(kept["bias"], kept["vpt_deep"]) < kept["ft"]
    assert kept["vpt_deep"] < kept["vpt_shallow"], "shallow prompts are tokens of every layer"
    twice = memory_of(workload("ft", 2 * BATCH)).activations
    assert twice == pytest.approx(2 * kept["ft"], rel=1e-3)  # what is kept is kept for each image


@pytest.mark.parametrize("method", ["ft", "linear", "vpt_deep"])
def test_the_parts_of_the_peak_have_closed_forms(method):
    work = workload(method)
    own = [p.numel() for p in work.model.parameters()]
    tuned = [p.numel() for p in work.model.parameters() if p.requires_grad]
    found = memory_of(work)
    assert found.parameters == 4 * sum(own)
    assert found.gradients == 4 * sum(tuned)
    assert found.optimiser == 2 * 4 * sum(tuned) + 4 * len(tuned)  # Adam: two moments, and a counter a tensor
    assert found.peak == found.parameters + found.gradients + found.optimiser + found.activations
    assert found.device_peak is None
    plain = memory_of(workload(method, optimizer="sgd"))
    assert plain.optimiser == 4 * sum(tuned)


@pytest.mark.parametrize("method", METHODS)
def test_measuring_leaves_weights_gradients_threads_and_random_numbers_as_they_were(method):
    if METHODS[method].adds == "lora":
        pytest.importorskip("peft")
    work = workload(method, backbone_dropout=0.1)
    before = {name: value.clone() for name, value in work.model.state_dict().items()}
    threads, random = torch.get_num_threads(), torch.random.get_rng_state()
    with alone(CPU, threads + 1):
        assert torch.get_num_threads() == threads + 1
        with placed(work, CPU):
            memory_of(work)
            timed(work, clock_of(CPU))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), random)
    for name, value in work.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None for p in work.model.parameters())


def test_a_forward_pass_is_the_whole_network_also_for_a_probe():
    work = workload("linear")
    nn.init.eye_(work.model.head.weight)
    work.model.eval()
    mean, std = (torch.tensor(value)[:, None, None] for value in (work.backbone.mean, work.backbone.std))
    with torch.inference_mode():
        features = load_backbone("tiny", 32).module((work.pixels / 255 - mean) / std)
    torch.testing.assert_close(work.forward(), features[:, :CLASSES])
    assert features.abs().mean() > 0.1


def test_rounds_go_through_all_before_one_is_timed_again():
    works = {"a": workload("linear"), "b": workload("ft", batch=2)}
    durations = [float(i) for i in range(12)]  # round by round: a forward, a step, b forward, b step
    turns = []
    found = in_rounds(works, repeats=3, device=CPU, clock=scripted(durations), on_turn=lambda *turn: turns.append(turn))
    assert found["a"][1] == [(0.0, 1.0), (4.0, 5.0), (8.0, 9.0)]
    assert found["b"][1] == [(2.0, 3.0), (6.0, 7.0), (10.0, 11.0)]
    assert turns == [(i, 8) for i in range(1, 9)]
    assert found["b"][0] == memory_of(works["b"])


def test_a_pass_that_is_timed_follows_one_that_is_not(monkeypatch):
    work, seen = workload("ft"), []
    tracked = replace(work)
    monkeypatch.setattr(type(work), "forward", lambda self: seen.append("forward"))
    monkeypatch.setattr(type(work), "step", lambda self, values, optimizer: seen.append("step"))
    clock = scripted([1.0, 2.0])
    timed(tracked, lambda: (seen.append("clock"), clock())[1])
    assert seen == ["forward", "clock", "forward", "clock", "step", "clock", "step", "clock"]


def test_time_off_the_cpu_is_read_when_the_device_has_finished(monkeypatch):
    """No accelerator is needed: what is asked of it is recorded."""
    asked = []
    monkeypatch.setattr(torch.accelerator, "synchronize", asked.append)
    monkeypatch.setattr("vptft.tuning.costs.time.perf_counter", lambda: (asked.append("read"), 7.0)[1])
    device = torch.device("cuda")
    assert clock_of(device)() == 7.0
    assert asked == [device, "read"]
    monkeypatch.setattr("vptft.tuning.costs.time.process_time", lambda: 3.0)
    assert clock_of(CPU)() == 3.0
    assert asked == [device, "read"]

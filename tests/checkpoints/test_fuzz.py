"""Damaged and hostile checkpoints of every format: read, or refused by an error of ours, and nothing else.

``VPTFT_FUZZ_SECONDS`` says how long each reader is tried, ``VPTFT_FUZZ_SEED`` where to start. A reader is tried in a
process of its own, with a limit on its memory and on the seconds an input may take; what fails is kept in a folder.
"""

import argparse
import faulthandler
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import save

from checkpoints.foreign_files import (
    CLASSES,
    DEPTH,
    HEADS,
    WIDTH,
    Network,
    google,
    huggingface,
    kmnp,
    named,
    timm,
)
from checkpoints.foreign_files import random as numbers
from checkpoints.kmnp_files import log, results
from checkpoints.swin_files import authors, kmnp_swin
from checkpoints.test_conversion import adapters, mlp_head
from checkpoints.test_readers import LORA, noah
from data.test_fuzz import MUTATIONS, mutated
from oracles.swin import make_swin
from vptft.checkpoints.building import build_model
from vptft.checkpoints.found import Asked
from vptft.checkpoints.histories import read_history
from vptft.checkpoints.histories.kmnp_results import read_eval_results, read_logits, read_prompts
from vptft.checkpoints.inspection import inspect
from vptft.checkpoints.readers import read_checkpoint
from vptft.checkpoints.recipe import read_recipe
from vptft.checkpoints.trees import list_runs, table
from vptft.errors import VptftError

SECONDS = float(os.environ.get("VPTFT_FUZZ_SECONDS", "600"))
SEED = int(os.environ.get("VPTFT_FUZZ_SEED", "0"))
LONGEST, MEMORY = 20, 4 << 30
"""CPU seconds that one input may take, and bytes beyond what the process has before the first."""

REFUSED, READ, BUILT = range(3)
"""How far an input came: refused, read and described, made into a model (or, of a history, into a frame)."""

State = dict[str, Any]
Attempt = Callable[[], int]


class Seed(NamedTuple):
    """A valid checkpoint: tensors, what lies beside them, and what a user says; ``base`` where it needs one."""

    state: State
    wrap: str = ""
    name: str = "last_model.pth"
    beside: dict[str, str] = {}  # noqa: RUF012 - never changed
    base: State | None = None
    asked: dict[str, Any] = {"heads": HEADS}  # noqa: RUF012 - never changed
    containers: tuple[str, ...] = ("zip", "zip", "legacy", "safetensors")


NETWORK = Network()
PROMPTS, DEEP = numbers(1, 4, WIDTH, seed=1), numbers(DEPTH - 1, 4, WIDTH, seed=2)


def kmnp_seeds() -> list[Seed]:
    root = {f"enc.{name}": value for name, value in timm(NETWORK).items() if not name.startswith(("head", "norm."))}
    last = named("head.last_layer", NETWORK.head)
    mae = {**root, **last, **named("enc.fc_norm", NETWORK.last), "enc.prompt_embeddings": PROMPTS}
    narrow = {"prompts": numbers(1, 4, 7, seed=3), "projection": (numbers(WIDTH, 7, seed=4), numbers(WIDTH, seed=5))}
    states = [
        kmnp(NETWORK), kmnp(NETWORK, prompts=PROMPTS), kmnp(NETWORK, prompts=PROMPTS, deep=DEEP),
        kmnp(NETWORK, **narrow), kmnp(NETWORK, mlp=mlp_head()), {**kmnp(NETWORK), **adapters()}, mae,
    ]  # fmt: skip
    logs = [{}, {"logs.txt": log({"feature": "tiny"}, {"kind": "end2end", "feature": "tiny", "test": (30.0, 40.0)})}]
    return [Seed(state, "model", beside=beside) for state in states for beside in logs]


def swin_seeds() -> list[Seed]:
    """Small Swins: of KMnP/vpt without prompts, with shallow and with deep ones; and pretrained."""
    swin, head = make_swin(32), (numbers(CLASSES, 24, seed=70), numbers(CLASSES, seed=71))
    first, deep = numbers(1, 3, 12, seed=72), [numbers(1, 3, 12, seed=73), numbers(2, 3, 24, seed=74)]
    prompted = {"first": first}, {"first": first, "deep": deep}
    logs = log({"feature": "swint_imagenet"}), log({"feature": "swint_imagenet", "location": "prepend", "deep": False})
    tuned = [
        Seed(kmnp_swin(swin, head, **given), "model", asked={}, base=base, beside={"logs.txt": text})
        for given in ({}, *prompted)
        for base in (None, authors(swin))
        for text in logs
    ]
    return [*tuned, Seed(authors(swin, head=head), "model", asked={})]


def noah_seeds() -> list[Seed]:
    own = {i: numbers(1, 4, WIDTH, seed=10 + i) for i in range(DEPTH)}
    states = [noah({}, at_input=(PROMPTS, PROMPTS)), noah(own), noah(own, at_input=(PROMPTS, PROMPTS))]
    return [Seed(state, "model", "checkpoint.pth", containers=("zip", "legacy")) for state in states]


def petl_seeds() -> list[Seed]:
    rank = 6
    conv, fact = named("head", NETWORK.head), named("head", NETWORK.head)
    for i in range(DEPTH):
        for place in ("attn", "mlp"):
            shapes = {"down": (rank, WIDTH), "conv": (rank, rank, 3, 3), "up": (WIDTH, rank)}
            for part, shape in shapes.items():
                pair = numbers(*shape, seed=20 + i), numbers(shape[0], seed=30 + i)
                conv |= named(f"blocks.{i}.adapter_{place}.adapter_{part}", pair)
        for end in ("q", "k", "v", "proj"):
            fact[f"blocks.{i}.attn.{end}_FacTs.weight"] = numbers(3, 3, seed=40 + i)
        fact[f"blocks.{i}.mlp.fc1_FacTs.weight"] = numbers(6, 3, seed=50 + i)
    fact |= {"FacTu.weight": numbers(3, WIDTH, seed=60), "FacTv.weight": numbers(WIDTH, 3, seed=61)}
    more = {"base": timm(NETWORK), "asked": {"heads": HEADS, "scale": 0.5}, "name": "cifar.pt"}
    return [Seed(conv, **more), Seed(fact, **more), Seed(conv, name="cifar.pt")]


def dinov2(registers: int) -> State:
    root, within = "dinov2.", {"layernorm_before": "norm1", "layernorm_after": "norm2"}
    state: State = {}
    for name, value in huggingface(NETWORK).items():
        ours = name.replace("vit.", root).replace("intermediate.dense", "mlp.fc1")
        ours = ours if "attention.output" in ours else ours.replace("output.dense", "mlp.fc2")
        for old, new in within.items():
            ours = ours.replace(old, new)
        state[ours] = value
    for i in range(DEPTH):
        state |= {f"{root}encoder.layer.{i}.layer_scale{k}.lambda1": torch.ones(WIDTH) for k in (1, 2)}
    state["classifier.weight"] = numbers(CLASSES, 2 * WIDTH, seed=70)
    if registers:
        state[f"{root}embeddings.register_tokens"] = numbers(1, registers, WIDTH, seed=71)
    return state


def huggingface_seeds() -> list[Seed]:
    config = {"num_attention_heads": HEADS, "layer_norm_eps": 1e-6, "hidden_act": "gelu", "model_type": "vit"}
    processor = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_normalize": True}
    beside = {"config.json": json.dumps(config), "preprocessor_config.json": json.dumps(processor)}
    states = [huggingface(NETWORK), huggingface(NETWORK, new=True), dinov2(0), dinov2(2)]
    return [Seed(state, "", "model.safetensors", beside, asked={}) for state in states]


def lora_seeds() -> list[Seed]:
    seeds = []
    for block, query, hidden in (
        ("layers", "attention.q_proj", "mlp.fc1"), ("encoder.layer", "attention.attention.query", "intermediate.dense"),
    ):  # fmt: skip
        state = named("base_model.model.classifier", NETWORK.head)
        for i in range(DEPTH):
            for module, rows in ((query, WIDTH), (hidden, 2 * WIDTH)):
                start = f"base_model.model.vit.{block}.{i}.{module}"
                state[f"{start}.lora_A.weight"] = numbers(3, WIDTH, seed=80 + i)
                state[f"{start}.lora_B.weight"] = numbers(rows, 3, seed=90 + i)
        config = {**LORA, "rank_pattern": {"fc1": 3}, "alpha_pattern": {}, "use_rslora": False, "use_dora": False}
        beside = {"adapter_config.json": json.dumps(config)}
        for base in (huggingface(NETWORK), None):
            seeds.append(Seed(state, "", "adapter_model.safetensors", beside, base))
    return seeds


def google_seeds() -> list[Seed]:
    arrays = {name: torch.from_numpy(value) for name, value in google(NETWORK).items()}
    headed = {**arrays, "head/kernel": numbers(WIDTH, CLASSES, seed=1), "head/bias": numbers(CLASSES, seed=2)}
    logits = {**headed, "pre_logits/kernel": numbers(WIDTH, WIDTH, seed=3), "pre_logits/bias": numbers(WIDTH, seed=4)}
    containers = ("npz", "npz", "packed npz", "safetensors")
    return [Seed(state, "", "B.npz", asked={}, containers=containers) for state in (arrays, headed, logits)]


def timm_seeds() -> list[Seed]:
    config = {"config.json": json.dumps({"model_args": {"num_heads": HEADS}, "architecture": "vit"})}
    registers = {**timm(NETWORK), "reg_token": numbers(1, 4, WIDTH, seed=1)}
    average = {name.replace("norm.", "fc_norm.") if name[:4] == "norm" else name: v for name, v in registers.items()}
    states = [timm(NETWORK), registers, average]
    return [Seed(state, wrap, "x.pth", config) for state in states for wrap in ("", "model", "state_dict")]


READERS: dict[str, Callable[[], list[Seed]]] = {
    "KMnP": kmnp_seeds, "NOAH": noah_seeds, "PETL-ViT": petl_seeds, "Hugging Face": huggingface_seeds,
    "LoRA": lora_seeds, "Google": google_seeds, "timm": timm_seeds, "Swin": swin_seeds,
}  # fmt: skip

NUMBERS = ("²", "٣", "9" * 5000, "99", "9998", "-1", "", "0x1", "1.0")
"""In place of a number in a name."""
STRANGE = (
    "",
    ".",
    "[red]",
    "\x1b[31m",
    "\ud800",
    "\0",
    "é" * 3000,
    "weight",
    "blocks.",
    "module.",
    "enc.",
    "__class__",
)
FOREIGN = (
    "reg_token", "register_tokens", "mask_token", "fc_norm.weight", "visual_prompt_token", "FacTu.weight",
    "blocks.1.visual_prompt_token", "blocks.7.mlp.adapter.down.weight", "blocks.0.adapter_attn.adapter_down.weight",
    "x.lora_A.weight", "enc.transformer.prompt_embeddings", "enc.transformer.prompt_proj.weight",
    "enc.transformer.encoder.layer.9.adapter_downsample.weight", "vit.pooler.dense.weight",
    "Transformer/encoderblock_0/x", "blocks.0.ls1.gamma", "head.projection.0.weight", "head.projection.²0.weight",
    "classifier.weight", "head.weight", "head/kernel",
)  # fmt: skip
"""Names of any reader's tensors, to be among those of another."""
VALUES = (
    None, True, False, -1, 0, 1, 3, 1.5, 2**63, 10**30, 10**400, -1e308, 1e308, float("nan"), float("inf"), "", "3",
    "x" * 10000, "\x1b[31m", [], {}, [1, 2, 3], [None], {"num_heads": -3}, {"fc1": "x"}, [[[[]]]],
)  # fmt: skip
"""In place of a setting."""
WORDS = ("nan", "inf", "-inf", "1e999", "9" * 60, "9" * 5000, "-1", "0", "", "None", "[[{}]]", "'\\x1b'", "\x1b[31m")
"""In place of a word or number of a text."""


TENSORS: tuple[Callable[[torch.Tensor], Any], ...] = (
    lambda t: t.T, lambda t: t[None], lambda t: t.flatten(), lambda t: t.reshape(-1)[:1].reshape(()),
    lambda t: t[..., :-1], lambda t: t[:0], lambda t: t[..., :0], lambda t: t[:1], lambda t: torch.cat([t, t]),
    lambda t: torch.cat([t, t], dim=-1), lambda t: torch.full_like(t, torch.nan),
    lambda t: torch.full_like(t, torch.inf), lambda t: torch.full_like(t, 1e38), lambda t: t.double(),
    lambda t: t.half(), lambda t: t.bfloat16(), lambda t: t.int(), lambda t: t.bool(), lambda t: t.to(torch.uint8),
    lambda t: t.to(torch.uint16), lambda t: t.to(torch.float8_e4m3fn), lambda t: t.to(torch.complex64),
    lambda t: t.to_sparse(), lambda t: torch.nn.Parameter(t), lambda t: t.to("meta"),
    lambda t: torch.quantize_per_tensor(t.float(), 0.1, 0, torch.qint8), lambda t: torch.zeros(1).expand(10**10),
    lambda t: torch.zeros(1).expand(10**5, 10**6), lambda t: torch.zeros(0, 10**12), lambda t: torch.zeros(10**12, 0),
    lambda t: torch.zeros(1, 10**5, 1), lambda t: torch.zeros(t.shape[:1] + (0,) * (t.ndim - 1)), lambda t: None,
    lambda t: "text", lambda t: t.tolist() if t.numel() < 10**6 else [0.0], lambda t: {"weight": t},
)  # fmt: skip
"""What a tensor may become; not all of them can be written by every container."""


def rename(rng: random.Random, name: str) -> str:
    parts = name.split(".")
    place = rng.randrange(len(parts))
    how = rng.randrange(6)
    if how == 0:
        return re.sub(r"\d+", rng.choice(NUMBERS), name, count=1)
    if how == 1:
        parts[place] = rng.choice(STRANGE)
    elif how == 2:
        del parts[place]
    elif how == 3:
        parts.insert(place, parts[place])
    else:
        parts[-1] = {"weight": "bias", "bias": "weight"}.get(parts[-1], rng.choice(STRANGE))
    return ".".join(parts)


def changed_tensor(rng: random.Random, value: Any, change: Callable[[torch.Tensor], Any] | None = None) -> Any:
    if not isinstance(value, torch.Tensor) or value.numel() > 10**7:
        return value
    try:
        return (change or rng.choice(TENSORS))(value)
    except (RuntimeError, IndexError, NotImplementedError):  # this change cannot be made to this one
        return value


def damaged_state(rng: random.Random, state: State) -> State:
    """Change one to four things about the tensors and their names."""
    state = dict(state)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 4))):
        name = rng.choice(list(state) or [""])
        value, how = state.get(name), rng.randrange(9)
        if how <= 2:
            state[name] = changed_tensor(rng, value)
        elif how == 3:  # all of one kind alike
            change, end = rng.choice(TENSORS[:26]), name.rpartition(".")[2]
            for other in [other for other in state if other.endswith(end)]:
                state[other] = changed_tensor(rng, state[other], change)
        elif how == 4:
            state[rename(rng, name)] = state.pop(name, None)
        elif how == 5:
            state.pop(name, None)
        elif how == 6:
            shape = rng.choice([(WIDTH,), (1, 4, WIDTH), (0,), (), (2, 0), (3, WIDTH), (WIDTH, 3), (1, 1, WIDTH)])
            state[rng.choice(FOREIGN)] = torch.zeros(shape)
        elif how == 7:
            other = rng.choice(list(state) or [""])
            state[name], state[other] = state.get(other), value
        else:
            state = {rng.choice(STRANGE) + key: each for key, each in state.items()}
    return state


def wrapped(rng: random.Random, state: State, wrap: str) -> Any:
    """The state as a training program saves it, or nested in some other way."""
    content: Any = {wrap: state, "epoch": 3} if wrap else state
    how = rng.randrange(60)
    if how == 0:
        content = {}
        for _ in range(rng.choice((10, 19, 25, 200))):  # every key leads to the same: endless for who follows all
            content = dict.fromkeys(("state_dict", "model", "model_state_dict", "net", "model_ema"), content)
    elif how == 1:
        content = [content]
    elif how == 2:
        content = {3: state, None: state, "x": rng.choice((1, "a", [1], {}))}
    elif how < 8:
        values = rng.choice(VALUES)
        content = {"model": state, "args": argparse.Namespace(inception=values, lr=0.1), "optimizer": {"state": {}}}
    elif how == 8:
        content = {"state_dict": {"model": {"state_dict": content}}}
    return content


def packed(content: Any, state: State, container: str) -> bytes:
    """The bytes of a file; torch's where the container cannot hold it."""
    buffer = io.BytesIO()
    if any(isinstance(value, torch.Tensor) and value.numel() > 10**7 for value in state.values()):
        container = "zip"  # the others would write a view of one number out in full
    try:
        if container == "safetensors":
            return save({name: value.detach().clone().contiguous() for name, value in state.items()})
        if "npz" in container:
            write = np.savez if container == "npz" else np.savez_compressed
            write(buffer, **{name: value.numpy() for name, value in state.items()})
            return buffer.getvalue()
    except Exception:  # noqa: BLE001 - whatever it cannot hold: the next one can
        buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=container != "legacy")
    return buffer.getvalue()


def rezipped(rng: random.Random, data: bytes) -> bytes:
    """Damage inside a zip: one member's bytes under a right checksum, or the list of members."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except (zipfile.BadZipFile, ValueError, OSError):
        return data
    pickles = [i for i, (name, _) in enumerate(members) if name.endswith(".pkl")]
    place = rng.choice(pickles) if pickles and rng.random() < 0.6 else rng.randrange(len(members))
    name, content = members[place]
    how = rng.randrange(10)
    if how < 7 and content:
        members[place] = name, mutated(rng, [content])
    elif how == 7:
        del members[place]
    elif how == 8:
        members[place] = rng.choice(("../x", "/etc/x", "a\\..\\x", name + "/", "x/constants.pkl", "é.npy")), content
    else:
        members.insert(rng.randrange(len(members)), (rng.choice(members)[0], content))
    buffer = io.BytesIO()
    packing = zipfile.ZIP_DEFLATED if rng.random() < 0.1 else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        for each, inside in members:
            archive.writestr(each or "x", inside)  # zipfile writes no member without a name
    return buffer.getvalue()


def damaged_json(rng: random.Random, text: str) -> str:
    settings = json.loads(text)
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice([*settings, "hidden_act", "model_args", "rank_pattern", "lora_bias", "image_std"])
        if rng.random() < 0.2:
            settings.pop(name, None)
        else:
            settings[name] = rng.choice(VALUES)
    found = json.dumps(settings)
    return rng.choice((found,) * 8 + ("[" * 10**5, '{"a":' * 10**4, found[: len(found) // 2], "[]", "9" * 10**4))


def damaged_text(rng: random.Random, text: str) -> bytes:
    """Numbers replaced, lines moved, bytes damaged."""
    for _ in range(rng.choice((0, 1, 1, 3))):
        places = [match.span() for match in re.finditer(r"\d+(?:\.\d+)?|None|True|'\w+'", text)] or [(0, 0)]
        start, end = rng.choice(places)
        text = text[:start] + rng.choice(WORDS) + text[end:]
    lines = text.splitlines(keepends=True)
    how = rng.randrange(6)
    if how == 0:
        rng.shuffle(lines)
    elif how == 1 and lines:
        lines.insert(rng.randrange(len(lines)), rng.choice(lines) * rng.choice((1, 3)))
    data = "".join(lines).encode()
    return mutated(rng, [data]) if how in (2, 3) and data else data


def place(rng: random.Random, path: Path, data: bytes) -> None:
    """Write a file; now and then something else is where it should be."""
    how = rng.randrange(250)
    if how == 0:
        path.mkdir()
    elif how == 1:
        path.symlink_to(path)
    elif how == 2:
        path.symlink_to(path.parent / "nowhere")
    elif how == 3:
        path.write_bytes(b"")
    else:
        path.write_bytes(data)


def make_checkpoint(rng: random.Random, seeds: list[Seed], folder: Path) -> Attempt:
    """Write a damaged checkpoint and what lies beside it."""
    seed = rng.choice(seeds)
    state = damaged_state(rng, seed.state)
    data = packed(wrapped(rng, state, seed.wrap), state, rng.choice(seed.containers))
    how = rng.random()
    if how < 0.1:
        data = mutated(rng, [data])
    elif how < 0.2:
        data = rezipped(rng, data)
    place(rng, folder / seed.name, data)
    for name, text in seed.beside.items():
        if rng.random() < 0.5:
            found = text.encode()
        else:
            found = damaged_json(rng, text).encode() if name.endswith(".json") else damaged_text(rng, text)
        if rng.random() < 0.95:
            place(rng, folder / name, found)
    asked = dict(seed.asked)
    if rng.random() < 0.1:
        asked |= rng.choice((
            {"heads": None}, {"heads": 5}, {"heads": 10**9}, {"method": "ft"}, {"method": "x"}, {"scale": 1e300},
            {"scale": float("nan")}, {"prompt_length": 2}, {"prompt_length": 10**9}, {"pooling": "avg"},
        ))  # fmt: skip
    if seed.base is not None:
        base = damaged_state(rng, seed.base) if rng.random() < 0.3 else seed.base
        (folder / "base").mkdir()
        place(rng, folder / "base" / "base", packed(base, base, rng.choice(("zip", "safetensors"))))
        asked["base"] = folder / "base" / "base"
    path = folder if rng.random() < 0.5 and seed.name not in ("x.pth", "B.npz", "cifar.pt") else folder / seed.name
    return lambda: use_checkpoint(path, Asked(**asked))


def use_checkpoint(path: Path, asked: Asked) -> int:
    found = read_checkpoint(path, asked).found
    described = inspect(path, asked)
    json.dumps([described.about, described.layers, described.sources, described.unknown])
    try:
        model = build_model(found)
    except VptftError:
        return READ
    assert found.shape is not None
    with torch.inference_mode():
        logits = model(torch.zeros(1, 3, *found.shape.image_size))
    assert logits.shape == (1, found.n_classes)
    return BUILT


def container_seeds(container: str) -> list[bytes]:
    prompts = kmnp(NETWORK, prompts=PROMPTS)
    if container == "npz":
        arrays = {name: torch.from_numpy(value) for name, value in google(NETWORK).items()}
        return [packed(arrays, arrays, kind) for kind in ("npz", "packed npz")]
    states = [timm(NETWORK), prompts, {name: value.half() for name, value in prompts.items()}]
    return [packed({"model": state}, state, container) for state in states]


def make_container(rng: random.Random, seeds: list[bytes], folder: Path) -> Attempt:
    """Damage a file's bytes, or a header's numbers, whatever they mean."""
    data = rng.choice(seeds)
    how = rng.random()
    if how < 0.5 and data.startswith(b"PK"):
        data = rezipped(rng, data)
    elif how < 0.6:
        data = mutated(rng, seeds)
    else:  # the first thousands of bytes tell what the rest is
        size = rng.choice((64, 1000, 9000))
        head = bytearray(data[:size])
        data = bytes(rng.choice(MUTATIONS)(rng, head)) + data[size:]
    path = folder / "weights"
    place(rng, path, data)
    return lambda: use_checkpoint(path, Asked(heads=HEADS))


def log_seeds() -> list[str]:
    job = {"test": (30.0, 40.0), "folder": "x_finalfinal"}
    return [log({}), log({"kind": "end2end"}, job), log({"mixed": True, "val": (1.0,) * 5}, {"deep": False}), log(job)]


def make_log(rng: random.Random, seeds: list[str], folder: Path) -> Attempt:
    place(rng, folder / "logs.txt", damaged_text(rng, rng.choice(seeds)))

    def use() -> int:
        runs = list_runs([folder])
        table(runs)
        read_history(folder)
        read_recipe(folder)
        return BUILT

    return use


RESULTS = {"eval_results.pth": read_eval_results, "test_x_logits.pth": read_logits, "prompt_ep1.pth": read_prompts}


def result_seeds() -> list[tuple[str, bytes]]:
    logits = {"targets": [np.int64(1), np.int64(0)], "joint_logits": np.ones((2, 3), np.float32)}
    prompts = {"shallow_prompt": np.ones((1, 2, 3), np.float32), "deep_prompt": np.ones((4, 2, 3), np.float32)}
    found = []
    for legacy in (False, True):
        for name, content in (("test_x_logits.pth", logits), ("prompt_ep1.pth", prompts)):
            buffer = io.BytesIO()
            torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
            found.append((name, buffer.getvalue()))
    with tempfile.TemporaryDirectory() as folder:
        results(Path(folder) / "r.pth", test=(1.0, 2.0))
        found.append(("eval_results.pth", (Path(folder) / "r.pth").read_bytes()))
    return found


def make_results(rng: random.Random, seeds: list[tuple[str, bytes]], folder: Path) -> Attempt:
    name, data = rng.choice(seeds)
    data = rezipped(rng, data) if data.startswith(b"PK") and rng.random() < 0.7 else mutated(rng, [data])
    place(rng, folder / name, data)

    def use() -> int:
        RESULTS[name](folder / name)
        return BUILT

    return use


def table_seeds() -> list[str]:
    rows = [{"epoch": i, "val_acc": 50.0 + i, "train_loss": 1 / i, "lr": 0.1} for i in range(1, 5)]
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    wandb = '"Step","a - val_loss","a - val_loss__MIN","a - epoch"\n0,2.0,2.0,1\n1,1.0,1.0,2\n'
    trainer = {"log_history": [{"epoch": 0.5, "loss": 1.0}, {"epoch": 1.0, "eval_loss": 2.0}, {"train_runtime": 3}]}
    return [
        "\n".join(lines) + "\n", "\n".join(map(json.dumps, rows)), json.dumps(rows), wandb, json.dumps(trainer),
        json.dumps({"loss": [2.0, 1.0], "val_acc": [0.1, 0.2]}), "epoch;split;loss\n1;train;2.0\n1;val;3.0\n",
        ",".join(f"run{i} - val_loss" for i in range(20000)) + "\n" * 3000,
    ]  # fmt: skip


def make_table(rng: random.Random, seeds: list[str], folder: Path) -> Attempt:
    seed = rng.choice(seeds[:-1]) if rng.random() < 0.998 else seeds[-1]
    place(rng, folder / "history", damaged_text(rng, seed))

    def use() -> int:
        read_history(folder / "history")
        return BUILT

    return use


def event_seeds() -> list[list[bytes]]:
    """The records of event files."""
    from torch.utils.tensorboard import SummaryWriter

    found = []
    for curves in (("val/acc", "train/loss", "lr"), ("epoch", "val_loss")):
        with tempfile.TemporaryDirectory() as folder:
            with SummaryWriter(folder) as writer:
                for step in range(4):
                    for tag in curves:
                        writer.add_scalar(tag, step / 4 if "acc" in tag else step, step)
                writer.add_text("note", "words")
            (path,) = Path(folder).iterdir()
            data, records = path.read_bytes(), []
        while data:
            size = int.from_bytes(data[:8], "little")
            records.append(data[12 : 12 + size])
            data = data[16 + size :]
        found.append(records)
    return found


def framed(records: list[bytes]) -> bytes:
    """An event file of records, with right checksums."""
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    out = b""
    for record in records:
        size = len(record).to_bytes(8, "little")
        out += size + masked_crc32c(size).to_bytes(4, "little") + record + masked_crc32c(record).to_bytes(4, "little")
    return out


def make_events(rng: random.Random, seeds: list[list[bytes]], folder: Path) -> Attempt:
    records = list(rng.choice(seeds))
    for _ in range(rng.choice((0, 1, 1, 3))):
        place_of = rng.randrange(1, len(records))
        records[place_of] = mutated(rng, [records[place_of] or b"\0"])  # cut to nothing before, perhaps
    data = framed(records)
    place(rng, folder / "events.out.tfevents.1", mutated(rng, [data]) if rng.random() < 0.2 else data)

    def use() -> int:
        read_history(folder)
        return BUILT

    return use


def check_message(error: VptftError) -> None:
    """An error says something."""
    assert error.problem


Maker = Callable[[random.Random, Any, Path], Attempt]
CASES: dict[str, tuple[Callable[[], Any], Maker]] = {
    **{name: (seeds, make_checkpoint) for name, seeds in READERS.items()},
    **{f"torch {kind}": (lambda kind=kind: container_seeds(kind), make_container) for kind in ("zip", "legacy")},
    **{kind: (lambda kind=kind: container_seeds(kind), make_container) for kind in ("safetensors", "npz")},
    "KMnP log": (log_seeds, make_log),
    "KMnP results": (result_seeds, make_results),
    "tables": (table_seeds, make_table),
    "events": (event_seeds, make_events),
}
"""Each with what makes its seeds, and what makes an input of them."""


class Tried(NamedTuple):
    """How many inputs came how far, the slowest in seconds, and MiB that the process grew by at most."""

    inputs: int
    refused: int
    read: int
    built: int
    slowest: float
    grown: int


def explore(name: str, folder: Path, *, seconds: float, inputs: int = 10**9, watched: bool = False) -> Tried:
    """Try inputs of one kind; the last lies in ``folder / "input"``."""
    make_seeds, make = CASES[name]
    seeds, rng, counts, slowest = make_seeds(), random.Random(f"{name} {SEED}"), [0, 0, 0], 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    end = time.monotonic() + seconds
    while time.monotonic() < end and sum(counts) < inputs:
        shutil.rmtree(folder / "input", ignore_errors=True)
        (folder / "input").mkdir()
        attempt = make(rng, seeds, folder / "input")
        start = time.process_time()
        if watched:
            limit_time(LONGEST)
        try:
            reached = attempt()
        except VptftError as error:
            check_message(error)
            reached = REFUSED
        counts[reached] += 1
        slowest = max(slowest, time.process_time() - start)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    return Tried(sum(counts), *counts, round(slowest, 2), grown)


def limit_time(seconds: float) -> None:
    """End the process, and say where it was, once it has used so many more seconds of the CPU; waiting adds none.

    A limit on all that a process has used would not do: the kernel counts that in ticks, and is off by half a minute
    after five on a busy machine.
    """
    faulthandler.register(signal.SIGPROF, chain=True)
    signal.setitimer(signal.ITIMER_PROF, seconds)


def limit_memory() -> None:
    """Let the process have so much more than it has."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


@pytest.mark.verify
@pytest.mark.parametrize("name", CASES)
def test_damaged_files_are_read_or_refused(name, tmp_path, pytestconfig, record_property, capsys):
    if name == "events":
        pytest.importorskip("tensorboard")
    environment = {**os.environ, "PYTHONPATH": str(pytestconfig.rootpath / "tests"), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, __file__, name, str(tmp_path), str(SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=2 * SECONDS + 120)
    if done.returncode:
        kept = Path(tempfile.mkdtemp(prefix="vptft-fuzz-"))
        shutil.copytree(tmp_path, kept, symlinks=True, dirs_exist_ok=True)
        raise AssertionError(f"{kept / 'input'} ends with {done.returncode}:\n{done.stderr[-4000:]}")
    tried = Tried(*json.loads(done.stdout.splitlines()[-1]))
    record_property("tried", str(tried))
    with capsys.disabled():
        sys.stdout.write(f"\n{name}: {tried}\n")
    assert tried.inputs > 2 * SECONDS
    assert 0 < tried.refused < tried.inputs
    assert tried.slowest < LONGEST
    assert tried.grown < 1024


@pytest.mark.filterwarnings("default", "ignore:Duplicate name")
@pytest.mark.parametrize("name", CASES)
def test_some_damaged_files_are_read_or_refused(name, tmp_path):
    if name == "events":
        pytest.importorskip("tensorboard")
    assert explore(name, tmp_path, seconds=60, inputs=15).inputs == 15


@pytest.mark.parametrize("name", READERS)
def test_seeds_are_valid(name, tmp_path):
    for i, seed in enumerate(READERS[name]()):
        folder = tmp_path / str(i)
        folder.mkdir()
        content = {seed.wrap: seed.state} if seed.wrap else seed.state
        container = list(dict.fromkeys(seed.containers))[i % len(set(seed.containers))]
        (folder / seed.name).write_bytes(packed(content, seed.state, container))
        for beside, text in seed.beside.items():
            (folder / beside).write_text(text)
        asked = dict(seed.asked)
        if seed.base is not None:
            torch.save(seed.base, folder / "base")
            asked["base"] = folder / "base"
        without_base = name in ("LoRA", "PETL-ViT") and seed.base is None
        without_head = name == "Google" and i != 1
        expected = READ if without_base or without_head else BUILT
        assert use_checkpoint(folder / seed.name, Asked(**asked)) == expected


if __name__ == "__main__":
    torch.set_num_threads(1)
    limit_memory()
    found = explore(sys.argv[1], Path(sys.argv[2]), seconds=float(sys.argv[3]), watched=True)
    sys.stdout.write(json.dumps(found) + "\n")

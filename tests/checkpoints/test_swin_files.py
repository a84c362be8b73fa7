"""Swins of KMnP/vpt give the logits of a reference that goes through their windows one by one, in float64."""

import pytest
import torch

from checkpoints.foreign_files import random
from checkpoints.kmnp_files import log
from checkpoints.swin_files import authors, kmnp_swin
from oracles.swin import make_swin, prompted_swin
from vptft.checkpoints.building import build_model
from vptft.checkpoints.conversion import convert, save_merged
from vptft.checkpoints.found import Asked
from vptft.checkpoints.inspection import inspect
from vptft.checkpoints.loading import load
from vptft.checkpoints.native import load_run
from vptft.checkpoints.readers import read_checkpoint
from vptft.checkpoints.readers.source import open_source
from vptft.errors import CheckpointError, WeightsError
from vptft.models.swin_shape import SwinShape, shape_from_json

CLASSES, LENGTH = 5, 3
FIRST = random(1, LENGTH, 12, seed=1)
DEEP = random(1, LENGTH, 12, seed=2), random(2, LENGTH, 24, seed=3)
HEAD = random(CLASSES, 24, seed=4), random(CLASSES, seed=5)


def mask_of(rows, columns):
    """A mask as shifted windows have it: only the last row and the last column of windows hide something."""
    mask = torch.zeros(rows, columns, 16, 16)
    mask[-1, :, 0], mask[:, -1, 0] = -100, -100
    return mask.flatten(0, 1)


def images(size, n=2):
    return random(n, 3, size, size, seed=9)


def saved(tmp_path, state, name="last_model.pth"):
    torch.save({"model": state}, tmp_path / name)
    return tmp_path / name


def expected(swin, x, **prompted):
    features = prompted_swin(swin.double(), x=x.double(), **prompted)
    return features @ HEAD[0].double().T + HEAD[1].double()


def close(model, x, theirs):
    with torch.no_grad():
        torch.testing.assert_close(model(x).double(), theirs, rtol=1e-5, atol=1e-4)


def prompts_of(first=None, deep=None):
    rows = [] if first is None else [*first, *(row for own in deep or () for row in own)]
    return {i: row.double() for i, row in enumerate(rows)}


@pytest.mark.parametrize("size", [64, 32])
@pytest.mark.parametrize("given", [{}, {"first": FIRST}, {"first": FIRST, "deep": DEEP}], ids=["ft", "shallow", "deep"])
def test_logits_are_those_of_the_reference(given, size, tmp_path):
    swin, x = make_swin(size), images(size)
    path = saved(tmp_path, kmnp_swin(swin, HEAD, **given))
    found = read_checkpoint(path).found
    assert found.methods[0] == {0: "ft", 1: "vpt_shallow", 2: "vpt_deep"}[len(given)]
    assert found.shape.image_size == (size, size)
    assert not found.tried
    theirs = expected(swin, x, prompts=prompts_of(**given), merges_prompts=True, pools_prompts=True)
    loaded = load(path)
    close(loaded.model, x, theirs)
    assert loaded.image_size == size
    mixes = "shallow" if len(given) == 1 else "deep" if given and size == 64 else ""
    assert any("mixes the prompt outputs" in note for note in found.notes) == bool(mixes)


def test_parameters_are_counted_as_theirs_are(tmp_path):
    path = saved(tmp_path, kmnp_swin(make_swin(), HEAD, first=FIRST, deep=DEEP))
    tuned, total = read_checkpoint(path, Asked(method="vpt_deep")).found.parameters
    assert tuned == LENGTH * (2 * 12 + 2 * 24) + CLASSES * 24 + CLASSES
    assert total == tuned + sum(p.numel() for p in make_swin().parameters())


@pytest.mark.parametrize("moved", [False, True])
def test_pretrained_weights_tell_deep_from_mixed(moved, tmp_path):
    swin = make_swin()
    base = saved(tmp_path, authors(swin, head=(torch.zeros(7, 24), torch.zeros(7))), "swin.pth")
    if moved:
        with torch.no_grad():
            swin.layers[0].blocks[1].mlp.fc1.weight += 0.01
    path = saved(tmp_path, kmnp_swin(swin, HEAD, first=FIRST, deep=DEEP))
    reading = read_checkpoint(path, Asked(base=base))
    assert reading.found.method == ("mixed" if moved else "vpt_deep")
    layers = [layer.layer for layer in reading.match.layers]
    assert layers == [
        "embeddings", "layers.0.blocks.0", "layers.0.blocks.1", "layers.1.downsample", "layers.1.blocks.0",
        "layers.1.blocks.1", "norm",
    ]  # fmt: skip
    changed = [layer.layer for layer in reading.match.layers if layer.changed]
    assert changed == (["layers.0.blocks.1"] if moved else [])


@pytest.mark.parametrize("with_base", [True, False])
def test_a_swin_is_converted_and_read_back(with_base, tmp_path):
    swin, x = make_swin(32), images(32)
    base = saved(tmp_path, authors(swin), "swin.pth") if with_base else None
    path = saved(tmp_path, kmnp_swin(swin, HEAD, first=FIRST, deep=DEEP))
    run = convert(read_checkpoint(path, Asked(base=base, method="vpt_deep")), tmp_path / "run")
    assert run.info.backbone.startswith("swin@")
    again = load_run(tmp_path / "run").model()
    with torch.no_grad():
        assert torch.equal(again(x), build_model(read_checkpoint(path).found)(x))


def test_a_finetuned_swin_becomes_a_timm_state_dict(tmp_path):
    from safetensors.torch import load_file

    swin, x = make_swin(32), images(32)
    found = read_checkpoint(saved(tmp_path, kmnp_swin(swin, HEAD))).found
    save_merged(build_model(found), tmp_path, tmp_path / "merged.safetensors")
    theirs = make_swin(32, num_classes=CLASSES)
    theirs.load_state_dict(load_file(tmp_path / "merged.safetensors"))
    close(theirs, x, expected(swin, x, prompts={}))


def test_inspect_describes_it(tmp_path):
    path = saved(tmp_path, kmnp_swin(make_swin(), HEAD, first=FIRST, deep=DEEP))
    about = inspect(path).about
    assert about["network"] == "Swin of width 12, depths [2, 2], window 4"
    assert (about["heads"], about["image size"], about["prompts"]) == ("2, 2", "64 x 64 px", "3 before every layer")
    assert about["reader"].startswith("read by description")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers.0.blocks.1.attn_mask": None}, "nothing else of a Swin tells the size of its images"),
        ({"layers.0.blocks.1.attn_mask": torch.zeros(15, 16, 16)}, "no square of windows"),
        ({"layers.0.blocks.1.attn_mask": torch.zeros(16, 16, 16)}, "masks 0 of 16 windows, so they are no square"),
        ({"layers.0.blocks.1.attn_mask": mask_of(2, 8)}, "masks 9 of 16 windows, so they are no square"),
        (
            {"layers.0.blocks.1.attn_mask": torch.ones(7, 9, 9).new_zeros(16, 9, 9) + mask_of(4, 4)[:, :9, :9]},
            "fits no Swin|no square",
        ),
        ({"layers.1.blocks.1.attn_mask": torch.zeros(9, 16, 16)}, "fits no Swin"),
        ({"layers.1.blocks.1.attn_mask": None}, r"stage 1 lacks the masks of its shifted blocks \[1\]"),
        ({"layers.0.blocks.1.mlp.fc2.bias": None}, r"missing \(layers\.0\.blocks\.1\.mlp\.fc2\.bias"),
        ({"layers.1.blocks.1.norm1.weight": torch.zeros(5)}, r"\(5,\) instead of \(24,\)"),
        ({"layers.0.blocks.0.attn.relative_position_bias_table": torch.zeros(49, 5)}, "do not divide the widths"),
        ({"layers.3.blocks.0.norm1.weight": torch.zeros(5)}, "expected 0, 1, 2 and so on"),
        ({"absolute_pos_embed": torch.zeros(1, 256, 12)}, "1 tensors have no place in it: absolute_pos_embed"),
        ({"deep_prompt_embeddings_1": torch.zeros(2, LENGTH, 12)}, r"\(2, 3, 12\); expected \(2, 3, 24\)"),
        ({"deep_prompt_embeddings_0": None}, r"deep_prompt_embeddings_0 is missing; expected \(1, 3, 12\)"),
        ({"prompt_embeddings": None}, "deep prompts, but no prompt_embeddings"),
        ({"prompt_embeddings_tb": torch.zeros(1, 3, 6, 32)}, "(?s)no place in it.*prepended ones are read"),
    ],
)
def test_what_does_not_fit_is_named(change, message, tmp_path):
    state = kmnp_swin(make_swin(), HEAD, first=FIRST, deep=DEEP) | {f"enc.{n}": value for n, value in change.items()}
    path = saved(tmp_path, {name: value for name, value in state.items() if value is not None})
    with pytest.raises((CheckpointError, WeightsError), match=message):
        build_model(read_checkpoint(path).found)


def test_heads_that_contradict_the_file_are_refused(tmp_path):
    path = saved(tmp_path, kmnp_swin(make_swin(), HEAD))
    with pytest.raises(CheckpointError, match=r"tells its attention heads by stage: \(2, 2\)"):
        read_checkpoint(path, Asked(heads=7))


def test_one_prompt_may_be_another_location_unless_a_log_tells(tmp_path):
    path = saved(tmp_path, kmnp_swin(make_swin(), HEAD, first=FIRST[:, :1]))
    assert any("add-1" in note for note in read_checkpoint(path).found.notes)
    (tmp_path / "logs.txt").write_text(log({"feature": "swint_imagenet", "deep": False}))
    assert not any("add-1" in note for note in read_checkpoint(path).found.notes)


def test_a_projection_that_nothing_reads_is_said(tmp_path):
    state = kmnp_swin(make_swin(), HEAD, first=FIRST, deep=DEEP)
    state |= {"enc.prompt_proj.weight": torch.zeros(12, 7), "enc.prompt_proj.bias": torch.zeros(12)}
    assert any("prompt_proj is left out" in note for note in read_checkpoint(saved(tmp_path, state)).found.notes)


def test_prompts_in_another_place_are_refused(tmp_path):
    path = saved(tmp_path, kmnp_swin(make_swin(), HEAD, first=FIRST))
    (tmp_path / "logs.txt").write_text(log({"feature": "swint_imagenet", "location": "add"}))
    with pytest.raises(CheckpointError, match="prompts are at 'add'"):
        read_checkpoint(path)


def test_standard_sizes_have_their_names_and_shapes_survive_json():
    import timm

    for letter, name in (("T", "tiny"), ("B", "base")):
        with torch.device("meta"):
            swin = timm.create_model(f"swin_{name}_patch4_window7_224", num_classes=0)
        width, depths = {"T": (96, (2, 2, 6, 2)), "B": (128, (2, 2, 18, 2))}[letter]
        shape = SwinShape(
            width=width, mlp_width=4 * width, depths=depths, heads=tuple(width // 32 * 2**s for s in range(4)),
            window=7, patch=4, grid=(56, 56),
        )  # fmt: skip
        assert shape.name == f"Swin-{letter}/4, window 7"
        assert shape.parameters() == {n: tuple(value.shape) for n, value in swin.state_dict().items()}
        assert shape_from_json(shape.to_json()) == shape


def test_pretrained_weights_alone_are_a_backbone(tmp_path):
    path = saved(tmp_path, authors(make_swin()), "swin.pth")
    found = read_checkpoint(path).found
    assert (found.producer, found.methods, found.head) == ("Swin Transformer", (), {})
    assert open_source(path).state.keys() >= found.backbone.keys() - {
        name for name in found.backbone if "downsample" in name
    }

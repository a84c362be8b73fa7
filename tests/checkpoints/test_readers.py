"""Checkpoints of other programs give the logits of their own forward passes, written out in float64."""

import json
from dataclasses import replace

import numpy as np
import pytest
import timm as timm_library
import torch
from safetensors.torch import save_file

from checkpoints.foreign_files import (
    CLASSES,
    DEPTH,
    GRID,
    HEADS,
    MLP,
    WIDTH,
    Network,
    google,
    huggingface,
    images,
    kmnp,
    named,
    random,
    timm,
    with_prompts,
)  # fmt: skip
from checkpoints.kmnp_files import log
from oracles import foreign
from vptft.checkpoints.building import build_model
from vptft.checkpoints.found import Asked
from vptft.checkpoints.readers import READERS, read_checkpoint
from vptft.errors import CheckpointError, NotApplicable, WeightsError

NETWORK = Network()
X = images()
THREE_HEADS = Asked(heads=HEADS)


def saved(tmp_path, state, name="last_model.pth", wrap="model"):
    torch.save({wrap: state} if wrap else state, tmp_path / name)
    return tmp_path / name


def logits(path, asked=THREE_HEADS):
    model = build_model(read_checkpoint(path, asked).found)
    with torch.no_grad():
        return model(X).double()


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=3e-5)


PROMPTS, DEEP = random(1, 4, WIDTH, seed=501), random(DEPTH - 1, 4, WIDTH, seed=502)


def test_kmnp_shallow_prompts_are_carried_along(tmp_path):
    path = saved(tmp_path, kmnp(NETWORK, prompts=PROMPTS))
    found = read_checkpoint(path, THREE_HEADS).found
    assert found.methods == ("vpt_shallow", "mixed")
    tokens = foreign.run_blocks(NETWORK.embedded(X), NETWORK.blocks, HEADS, before=with_prompts({0: PROMPTS[0]}))
    close(logits(path), NETWORK.logits(tokens))


def test_kmnp_deep_prompts_are_replaced(tmp_path):
    path = saved(tmp_path, kmnp(NETWORK, prompts=PROMPTS, deep=DEEP))
    found = read_checkpoint(path, THREE_HEADS).found
    assert found.methods == ("vpt_deep", "mixed")
    assert found.prompts.parameters == DEPTH * 4 * WIDTH
    by_layer = {0: PROMPTS[0], **{i + 1: DEEP[i] for i in range(DEPTH - 1)}}
    tokens = foreign.run_blocks(NETWORK.embedded(X), NETWORK.blocks, HEADS, before=with_prompts(by_layer))
    close(logits(path), NETWORK.logits(tokens))


@pytest.mark.parametrize("deep", [False, True])
def test_kmnp_projected_prompts_are_projected(deep, tmp_path):
    narrow, rest = random(1, 4, 7, seed=503), random(DEPTH - 1, 4, 7, seed=504)
    projection = random(WIDTH, 7, seed=505), random(WIDTH, seed=506)
    path = saved(tmp_path, kmnp(NETWORK, prompts=narrow, deep=rest if deep else None, projection=projection))
    found = read_checkpoint(path, THREE_HEADS).found
    assert found.prompts.projected_from == 7
    assert found.prompts.parameters == (DEPTH if deep else 1) * 4 * 7 + WIDTH * 7 + WIDTH
    by_layer = {0: foreign.linear(narrow[0].double(), projection)}
    if deep:
        by_layer |= {i + 1: foreign.linear(rest[i].double(), projection) for i in range(DEPTH - 1)}
    tokens = foreign.run_blocks(NETWORK.embedded(X), NETWORK.blocks, HEADS, before=with_prompts(by_layer))
    close(logits(path), NETWORK.logits(tokens))


def test_kmnp_mlp_heads_are_linear_relu_norm_then_last_layer(tmp_path):
    shapes = {0: (13, WIDTH), 4: (11, 13)}
    mlp = {}
    for first, shape in shapes.items():
        mlp |= named(f"head.projection.{first}", (random(*shape, seed=600 + first), random(shape[0], seed=601 + first)))
        mlp |= named(
            f"head.projection.{first + 2}", (random(shape[0], seed=602 + first), random(shape[0], seed=603 + first))
        )
        mlp[f"head.projection.{first + 2}.running_mean"] = random(shape[0], seed=620 + first)
        mlp[f"head.projection.{first + 2}.running_var"] = 0.5 + random(shape[0], seed=630 + first).abs()
        mlp[f"head.projection.{first + 2}.num_batches_tracked"] = torch.tensor(7)
    last = random(CLASSES, 11, seed=640), random(CLASSES, seed=641)
    state = {**kmnp(NETWORK, prompts=PROMPTS, mlp=mlp), **named("head.last_layer", last)}
    tokens = foreign.run_blocks(NETWORK.embedded(X), NETWORK.blocks, HEADS, before=with_prompts({0: PROMPTS[0]}))
    y = foreign.norm(tokens, NETWORK.last)[:, 0]
    for first in shapes:
        y = foreign.linear(y, (mlp[f"head.projection.{first}.weight"], mlp[f"head.projection.{first}.bias"])).clamp(
            min=0
        )
        mean, var = (mlp[f"head.projection.{first + 2}.running_{name}"].double() for name in ("mean", "var"))
        y = (y - mean) / torch.sqrt(var + 1e-5)
        y = y * mlp[f"head.projection.{first + 2}.weight"].double() + mlp[f"head.projection.{first + 2}.bias"].double()
    close(logits(saved(tmp_path, state)), foreign.linear(y, last))


def test_kmnp_adapters_come_after_the_mlp(tmp_path):
    state, pairs = kmnp(NETWORK), []
    for i in range(DEPTH):
        down = random(6, WIDTH, seed=700 + i), random(6, seed=710 + i)
        up = random(WIDTH, 6, seed=720 + i), random(WIDTH, seed=730 + i)
        layer = f"enc.transformer.encoder.layer.{i}."
        state |= {**named(f"{layer}adapter_downsample", down), **named(f"{layer}adapter_upsample", up)}
        pairs.append((down, up))
    path = saved(tmp_path, state)
    found = read_checkpoint(path, THREE_HEADS).found
    assert found.methods == ("adapter",)
    assert not found.tried

    def after(i, said):
        down, up = pairs[i]
        return foreign.linear(foreign.gelu(foreign.linear(said, down)), up)

    tokens = foreign.run_blocks(NETWORK.embedded(X), NETWORK.blocks, HEADS, after_mlp=after)
    close(logits(path), NETWORK.logits(tokens))


def test_kmnp_mae_pools_prompts_in_and_norms_afterwards(tmp_path):
    state = {f"enc.{name}": value for name, value in timm(NETWORK).items() if not name.startswith(("head", "norm."))}
    state |= {**named("enc.fc_norm", NETWORK.last), **named("head.last_layer", NETWORK.head)}
    state |= {"enc.prompt_embeddings": PROMPTS, "enc.deep_prompt_embeddings": DEEP}
    path = saved(tmp_path, state)
    found = read_checkpoint(path, THREE_HEADS).found
    assert not found.tried
    by_layer = {0: PROMPTS[0], **{i + 1: DEEP[i] for i in range(DEPTH - 1)}}
    tokens = foreign.run_blocks(NETWORK.embedded(X), NETWORK.blocks, HEADS, before=with_prompts(by_layer))
    pooled = foreign.norm(tokens[:, 1:].mean(dim=1), NETWORK.last)
    close(logits(path), foreign.linear(pooled, NETWORK.head))


@pytest.mark.parametrize(("pooling", "first"), [("img_pool", 5), ("imgprompt_pool", 1), ("original", 1)])
def test_kmnp_mae_pools_what_its_log_says(pooling, first, tmp_path):
    state = {f"enc.{name}": value for name, value in timm(NETWORK).items() if not name.startswith(("head", "norm."))}
    state |= {**named("enc.fc_norm", NETWORK.last), **named("head.last_layer", NETWORK.head)}
    path = saved(tmp_path, {**state, "enc.prompt_embeddings": PROMPTS})
    (tmp_path / "logs.txt").write_text(log({"feature": "mae_vitb16", "deep": False, "pooling": pooling}))
    tokens = foreign.run_blocks(NETWORK.embedded(X), NETWORK.blocks, HEADS, before=with_prompts({0: PROMPTS[0]}))
    pooled = foreign.norm(tokens[:, first:].mean(dim=1), NETWORK.last)
    model = build_model(replace(read_checkpoint(path, Asked(method="vpt_shallow")).found, shape=shape_with_heads(path)))
    with torch.no_grad():
        close(model(X).double(), foreign.linear(pooled, NETWORK.head))


def shape_with_heads(path):
    """Its log names a ViT-B, whose 12 heads this small one has not."""
    return replace(read_checkpoint(path).found.shape, heads=HEADS)


@pytest.mark.parametrize("feature", ["mae_vitb16", "sup_vitb16_imagenet21k"])
def test_kmnp_another_pooling_is_refused(feature, tmp_path):
    state = kmnp(NETWORK, prompts=PROMPTS)
    if feature.startswith("mae"):
        state = {f"enc.{name}": value for name, value in timm(NETWORK).items() if not name.startswith("head")}
        state |= {"enc.prompt_embeddings": PROMPTS, **named("head.last_layer", NETWORK.head)}
    path = saved(tmp_path, state)
    (tmp_path / "logs.txt").write_text(log({"feature": feature, "deep": False, "pooling": "prompt_pool"}))
    with pytest.raises(CheckpointError, match="VIT_POOL_TYPE is 'prompt_pool', which is not understood"):
        read_checkpoint(path)


@pytest.mark.parametrize("kind", ["prompt+bias", "cls+prompt"])
def test_kmnp_a_transfer_type_that_is_none_of_ours_is_no_method(kind, tmp_path):
    path = saved(tmp_path, kmnp(NETWORK, prompts=PROMPTS))
    (tmp_path / "logs.txt").write_text(log({"kind": kind}))
    found = read_checkpoint(path).found
    assert (found.method, found.methods) == (None, ())
    assert any(f"TRANSFER_TYPE is {kind}" in note for note in found.notes)


def test_kmnp_moco_reads_the_cls_token(tmp_path):
    state = {f"enc.{name}": value for name, value in timm(NETWORK).items() if not name.startswith("head")}
    state |= {"enc.prompt_embeddings": PROMPTS, **named("head.last_layer", NETWORK.head)}
    tokens = foreign.run_blocks(NETWORK.embedded(X), NETWORK.blocks, HEADS, before=with_prompts({0: PROMPTS[0]}))
    close(logits(saved(tmp_path, state)), NETWORK.logits(tokens))


def test_kmnp_another_network_is_described_and_not_built(tmp_path):
    state = {
        "enc.stages.0.blocks.0.conv.weight": torch.zeros(8, 3, 4, 4),
        "enc.prompt_embeddings": torch.zeros(1, 5, 8),
        **named("head.last_layer", NETWORK.head),
    }
    found = read_checkpoint(saved(tmp_path, state)).found
    assert "prompt_embeddings (1, 5, 8)" in found.notes[0]
    with pytest.raises(NotApplicable, match="plain vision transformers and Swins are built"):
        build_model(found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"enc.transformer.attn.deep_QKV_embeddings": torch.zeros(3, 5, 8)}, "(?s)have no place in it.*E2VPT"),
        ({"enc.transformer.encoder.layer.1.attn.query.bias": None}, "missing .*blocks.1.attn.qkv.bias|no place"),
        ({"enc.transformer.prompt_embeddings": torch.zeros(1, 4, 9)}, r"\(1, 4, 9\); expected \(layers, prompts, 24\)"),
        ({"enc.transformer.deep_prompt_embeddings": DEEP}, "deep prompts or a projection, but no prompt_embeddings"),
        ({"head.last_layer.bias": torch.zeros(9)}, "is no linear head"),
        ({"side.conv.weight": torch.zeros(1)}, r"1 tensors have no place in it: side\.conv\.weight"),
        ({"enc.transformer.encoder.layer.2.ffn.fc1.weight": torch.zeros(5, WIDTH)}, r"2\.mlp\.fc1\.weight \(5, 24\)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(change, message, tmp_path):
    state = {**kmnp(NETWORK), **change}
    state = {name: value for name, value in state.items() if value is not None}
    path = saved(tmp_path, state)
    with pytest.raises((CheckpointError, WeightsError), match=message):
        build_model(read_checkpoint(path, THREE_HEADS).found)


def test_deep_prompts_that_do_not_cover_every_layer_are_refused(tmp_path):
    path = saved(tmp_path, kmnp(NETWORK, prompts=PROMPTS, deep=DEEP[:1]))
    with pytest.raises(CheckpointError, match=r"expected \(2, 4, 24\): one row for each layer after the first"):
        read_checkpoint(path, THREE_HEADS)


def test_the_number_of_heads_is_never_guessed(tmp_path):
    path = saved(tmp_path, kmnp(NETWORK))
    found = read_checkpoint(path).found
    assert found.shape.heads is None
    assert "number of attention heads is not known" in " ".join(found.notes)
    with pytest.raises(WeightsError, match=r"(?s)number of attention heads.*Pass --heads"):
        build_model(found)
    with pytest.raises(WeightsError, match="5 heads do not divide a width of 24"):
        read_checkpoint(path, Asked(heads=5))
    np.savez(tmp_path / "base.npz", **google(NETWORK))
    told = read_checkpoint(path, Asked(base=tmp_path / "base.npz")).found
    assert (told.shape.heads, told.sources["heads"]) == (HEADS, "the pretrained weights")
    with pytest.raises(CheckpointError, match="contradictory: --heads: 6, shape of query/kernel: 3"):
        read_checkpoint(path, Asked(heads=6, base=tmp_path / "base.npz"))


@pytest.fixture
def base(tmp_path):
    np.savez(tmp_path / "base.npz", **google(NETWORK))
    return tmp_path / "base.npz"


def moved(state, *ends):
    return {
        n: v + 0.001 if any(n.endswith(end) for end in ends) and n.startswith("enc") else v for n, v in state.items()
    }


@pytest.mark.parametrize(
    ("prompts", "ends", "method"),
    [
        (None, (), "linear"),
        (None, ("weight", "bias", "token", "embeddings"), "ft"),
        (None, (".bias",), "bias"),
        (None, ("layer.2.ffn.fc1.weight",), "partial_k"),
        (PROMPTS, (), "vpt_shallow"),
        (PROMPTS, ("fc1.weight",), "mixed"),
    ],
)
def test_the_method_is_told_by_what_moved(prompts, ends, method, base, tmp_path):
    state = moved(kmnp(NETWORK), *ends)
    if prompts is not None:
        state["enc.transformer.prompt_embeddings"] = prompts
    reading = read_checkpoint(saved(tmp_path, state), Asked(base=base))
    assert reading.found.method == method
    assert ("bit for bit" if not ends else "tensors moved") in reading.found.sources["method"]
    assert reading.match.frozen == (not ends)


def test_another_networks_weights_are_told_apart_from_tuned_ones(base, tmp_path):
    reading = read_checkpoint(saved(tmp_path, kmnp(Network(seed=8))), Asked(base=base))
    assert reading.match.unrelated
    assert reading.found.method is None
    assert "did not start from them" in " ".join(reading.found.notes)


def test_a_method_that_the_keys_exclude_is_refused(tmp_path):
    path = saved(tmp_path, kmnp(NETWORK))
    with pytest.raises(CheckpointError, match="cannot be vpt_deep: its tensors are those of ft or linear"):
        read_checkpoint(path, Asked(heads=HEADS, method="vpt_deep"))
    assert read_checkpoint(path, Asked(heads=HEADS, method="ft")).found.method == "ft"


@pytest.mark.parametrize("wrap", ["", "model", "state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model.", "_orig_mod.module."])
def test_timm_state_dicts_are_read_in_any_wrapping(wrap, prefix, tmp_path):
    state = {prefix + name: value for name, value in timm(NETWORK).items()}
    close(logits(saved(tmp_path, state, wrap=wrap)), NETWORK.plain(X))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", {}),
        ("vit_tiny_patch16_224", {"global_pool": "avg"}),
        ("vit_small_patch14_reg4_dinov2", {"depth": 2}),
        ("vit_medium_patch16_gap_240", {"depth": 2, "class_token": False}),
    ],
)
def test_what_timm_itself_saves_gives_timms_logits(name, options, tmp_path):
    torch.manual_seed(0)
    model = timm_library.create_model(name, num_classes=5, img_size=64 if "dinov2" not in name else 56, **options)
    torch.nn.init.normal_(model.head.weight, std=0.1)
    torch.save(model.state_dict(), tmp_path / "x.pth")
    found = read_checkpoint(tmp_path / "x.pth", Asked(heads=model.blocks[0].attn.num_heads)).found
    x = torch.randn(2, 3, *found.shape.image_size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(build_model(found)(x), model.eval()(x), rtol=0, atol=1e-6)


def test_content_decides_and_not_the_name(tmp_path):
    save_file({n: v.contiguous() for n, v in timm(NETWORK).items()}, tmp_path / "weights.npz")
    close(logits(tmp_path / "weights.npz"), NETWORK.plain(X))
    np.savez(tmp_path / "x.npz", **google(NETWORK))
    (tmp_path / "x.npz").rename(tmp_path / "base.safetensors")
    assert read_checkpoint(tmp_path / "base.safetensors").found.producer == "Google's ViT .npz"


@pytest.mark.parametrize("prefix", ["", "opt/target/", "params/"])
def test_google_arrays_are_the_same_backbone_as_timms(prefix, tmp_path):
    arrays = {prefix + name: value for name, value in google(NETWORK).items()}
    np.savez(tmp_path / "base.npz", **arrays)
    found = read_checkpoint(tmp_path / "base.npz").found
    assert found.shape.heads == HEADS
    theirs = {name: value for name, value in timm(NETWORK).items() if not name.startswith("head")}
    assert found.backbone.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.equal(found.backbone[name], value), name
    with pytest.raises(NotApplicable, match="backbone without a head"):
        build_model(found)


@pytest.mark.parametrize("new", [False, True])
@pytest.mark.parametrize("eps", [1e-12, 1e-2])
def test_hugging_face_names_of_old_and_new_releases(new, eps, tmp_path):
    save_file({n: v.contiguous() for n, v in huggingface(NETWORK, new=new).items()}, tmp_path / "model.safetensors")
    config = {"model_type": "vit", "num_attention_heads": HEADS, "layer_norm_eps": eps, "hidden_act": "gelu"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    close(logits(tmp_path, Asked()), NETWORK.plain(X, eps))


def test_hugging_face_settings_are_taken_or_refused(tmp_path):
    save_file({n: v.contiguous() for n, v in huggingface(NETWORK).items()}, tmp_path / "model.safetensors")
    bare = read_checkpoint(tmp_path, THREE_HEADS).found
    assert bare.normalisation is None
    assert "1e-12, their default" in " ".join(bare.notes)
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 3]}')
    told = read_checkpoint(tmp_path, THREE_HEADS).found
    assert told.normalisation == ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    for text, message in (
        ('{"hidden_act": "quick_gelu"}', "hidden_act is 'quick_gelu'; only gelu"),
        ('{"num_attention_heads": "3"}', "num_attention_heads is '3'; expected a positive"),
        ("[1]", "holds a list; expected an object"),
        ("{", "could not be read as JSON"),
    ):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(CheckpointError, match=message):
            read_checkpoint(tmp_path, THREE_HEADS)


@pytest.mark.parametrize("registers", [0, 2])
def test_hugging_face_dinov2_gives_cls_and_mean_of_patches(registers, tmp_path):
    scales = [(1 + random(WIDTH, seed=800 + i), 1 + random(WIDTH, seed=850 + i)) for i in range(DEPTH)]
    blocks = [{**b, "scale1": s[0], "scale2": s[1]} for b, s in zip(NETWORK.blocks, scales, strict=True)]
    head = random(CLASSES, 2 * WIDTH, seed=870), random(CLASSES, seed=871)
    extra = random(1, registers, WIDTH, seed=872)
    root = "dinov2_with_registers." if registers else "dinov2."
    state = {
        f"{root}embeddings.cls_token": NETWORK.cls,
        f"{root}embeddings.mask_token": torch.zeros(1, WIDTH),
        f"{root}embeddings.position_embeddings": NETWORK.positions,
        **named(f"{root}embeddings.patch_embeddings.projection", NETWORK.patch),
        **named(f"{root}layernorm", NETWORK.last),
        **named("classifier", head),
    }
    if registers:
        state[f"{root}embeddings.register_tokens"] = extra
    names = {
        "norm1": "norm1", "norm2": "norm2", "q": "attention.attention.query", "k": "attention.attention.key",
        "v": "attention.attention.value", "out": "attention.output.dense", "fc1": "mlp.fc1", "fc2": "mlp.fc2",
    }  # fmt: skip
    for i, block in enumerate(NETWORK.blocks):
        for ours, theirs in names.items():
            state |= named(f"{root}encoder.layer.{i}.{theirs}", block[ours])
        state[f"{root}encoder.layer.{i}.layer_scale1.lambda1"] = scales[i][0]
        state[f"{root}encoder.layer.{i}.layer_scale2.lambda1"] = scales[i][1]
    save_file({n: v.contiguous() for n, v in state.items()}, tmp_path / "model.safetensors")
    tokens = NETWORK.embedded(X)
    tokens = torch.cat([tokens[:, :1], extra.double().expand(len(X), -1, -1), tokens[:, 1:]], dim=1)
    tokens = foreign.norm(foreign.run_blocks(tokens, blocks, HEADS), NETWORK.last)
    both = torch.cat([tokens[:, 0], tokens[:, 1 + registers :].mean(dim=1)], dim=1)
    close(logits(tmp_path), foreign.linear(both, head))
    model = build_model(read_checkpoint(tmp_path, THREE_HEADS).found)
    assert model.pooling == "cls and patches"
    assert not read_checkpoint(tmp_path, THREE_HEADS).found.tried


LORA = {"peft_type": "LORA", "r": 3, "lora_alpha": 12, "target_modules": ["q_proj", "v_proj", "fc1"]}


@pytest.mark.parametrize("new", [False, True])
def test_lora_is_merged_under_old_and_new_names(new, tmp_path):
    save_file({n: v.contiguous() for n, v in huggingface(NETWORK).items()}, tmp_path / "base.safetensors")
    folder = tmp_path / "adapter"
    folder.mkdir()
    state, blocks = named("base_model.model.classifier", NETWORK.head), []
    names = {"q": "q_proj", "v": "v_proj"} if new else {"q": "attention.query", "v": "attention.value"}
    names["fc1"] = "mlp.fc1" if new else "intermediate.dense"
    for i, block in enumerate(NETWORK.blocks):
        changed = dict(block)
        for k, (ours, theirs) in enumerate(names.items()):
            weight, bias = block[ours]
            a, b = random(3, WIDTH, seed=900 + 10 * i + k), random(weight.shape[0], 3, seed=950 + 10 * i + k)
            inner = theirs if ours == "fc1" else f"attention.{theirs}"
            module = f"base_model.model.vit.{'layers' if new else 'encoder.layer'}.{i}.{inner}"
            state |= {f"{module}.lora_A.weight": a, f"{module}.lora_B.weight": b}
            changed[ours] = (weight.double() + 12 / 3 * b.double() @ a.double(), bias)
        blocks.append(changed)
    save_file({n: v.contiguous() for n, v in state.items()}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(LORA))
    asked = Asked(heads=HEADS, base=tmp_path / "base.safetensors")
    close(
        logits(folder, asked), NETWORK.logits(foreign.run_blocks(NETWORK.embedded(X), blocks, HEADS, eps=1e-12), 1e-12)
    )
    alone = read_checkpoint(folder).found
    assert "pass it with --backbone" in alone.not_applicable
    factors = sum(value.numel() for name, value in state.items() if ".lora_" in name)
    head = sum(value.numel() for value in alone.head.values())
    assert alone.parameters == (factors + head, None)
    for change, message in (
        ({"use_dora": True}, "use_dora is True, which is not understood"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa', which changes the base's weights too"),
        ({"init_lora_weights": ["x"]}, r"init_lora_weights is \['x'\]"),
        ({"r": 4}, "has rank 3, adapter_config.json says 4"),
        ({"peft_type": "IA3"}, "peft_type is 'IA3'; only LORA"),
    ):
        (folder / "adapter_config.json").write_text(json.dumps({**LORA, **change}))
        with pytest.raises(CheckpointError, match=message):
            read_checkpoint(folder, asked)


def noah(tokens, *, at_input=None):
    state = timm(NETWORK)
    renames = {
        "patch_embed.": "patch_embed_super.", ".norm1.": ".attn_layer_norm.", ".norm2.": ".ffn_layer_norm.",
        ".mlp.fc": ".fc",
    }  # fmt: skip
    for ours, theirs in renames.items():
        state = {name.replace(ours, theirs): value for name, value in state.items()}
    state |= {f"blocks.{i}.visual_prompt_token": value for i, value in tokens.items()}
    if at_input is not None:
        state |= {"visual_prompt_token": at_input[0], "visual_prompt_token_pos_embed": at_input[1]}
    return {**state, "blocks.0.adapter.down.weight": torch.zeros(0, WIDTH)}


@pytest.mark.parametrize("every_layer", [False, True])
def test_noah_prompts_stand_at_the_end(every_layer, tmp_path):
    own = {i: random(1, 4, WIDTH, seed=1000 + i) for i in range(DEPTH)} if every_layer else {}
    at_input = random(1, 4, WIDTH, seed=1010), random(1, 4, WIDTH, seed=1011)
    import argparse

    content = {"model": noah(own, at_input=at_input), "epoch": 3, "args": argparse.Namespace(inception=True, lr=0.1)}
    torch.save(content, tmp_path / "checkpoint.pth")
    by_layer = {0: (at_input[0] + at_input[1])[0], **{i: value[0] for i, value in own.items()}}
    before = with_prompts(by_layer, at_end=True)
    tokens = foreign.run_blocks(NETWORK.embedded(X), NETWORK.blocks, HEADS, before=before)
    close(logits(tmp_path), NETWORK.logits(tokens))
    found = read_checkpoint(tmp_path, THREE_HEADS).found
    assert "inception=True" in " ".join(found.notes)
    assert not found.tried
    if every_layer:
        short = build_model(read_checkpoint(tmp_path, Asked(heads=HEADS, prompt_length=2)).found)
        assert short.prompts.tokens.shape == (DEPTH, 2, WIDTH)
        with pytest.raises(CheckpointError, match="prompts of lengths"):
            read_checkpoint(tmp_path, Asked(heads=HEADS, prompt_length=9))


def test_noah_with_adapters_is_refused_by_name(tmp_path):
    state = noah({0: random(1, 4, WIDTH, seed=1)}) | {"blocks.1.adapter.down.weight": torch.ones(2, WIDTH)}
    with pytest.raises(CheckpointError, match=r"(?s)blocks.1.adapter.down.weight.*Only its prompts are understood"):
        read_checkpoint(saved(tmp_path, state), THREE_HEADS)


def test_petl_convpass_convolves_patches_and_cls_apart(base, tmp_path):
    rank, scale, state, parts = 6, 0.5, named("head", NETWORK.head), {}
    for i in range(DEPTH):
        for place in ("attn", "mlp"):
            seed = 1100 + 20 * i + (10 if place == "mlp" else 0)
            down = random(rank, WIDTH, seed=seed), random(rank, seed=seed + 1)
            conv = random(rank, rank, 3, 3, seed=seed + 2), random(rank, seed=seed + 3)
            up = random(WIDTH, rank, seed=seed + 4), random(WIDTH, seed=seed + 5)
            for name, pair in (("down", down), ("conv", conv), ("up", up)):
                state |= named(f"blocks.{i}.adapter_{place}.adapter_{name}", pair)
            parts[i, place] = (down, conv, up)

    def beside(place):
        def add(i, x):
            down, conv, up = parts[i, place]
            low = foreign.linear(x, down)
            low = low * torch.sigmoid(1.702 * low)
            mixed = torch.zeros_like(low)
            weight = conv[0].double()
            mixed[:, 0] = low[:, 0] @ weight[:, :, 1, 1].T + conv[1].double()
            for row in range(GRID):
                for column in range(GRID):
                    total = conv[1].double().expand(len(x), -1).clone()
                    for di in (-1, 0, 1):
                        for dj in (-1, 0, 1):
                            r, c = row + di, column + dj
                            if 0 <= r < GRID and 0 <= c < GRID:
                                total += low[:, 1 + r * GRID + c] @ weight[:, :, di + 1, dj + 1].T
                    mixed[:, 1 + row * GRID + column] = total
            return scale * foreign.linear(mixed * torch.sigmoid(1.702 * mixed), up)

        return add

    path = saved(tmp_path, state, name="cifar.pt", wrap="")
    tokens = foreign.run_blocks(
        NETWORK.embedded(X), NETWORK.blocks, HEADS, beside_attention=beside("attn"), beside_mlp=beside("mlp")
    )
    asked = Asked(base=base, scale=scale)
    close(logits(path, asked), NETWORK.logits(tokens))
    model = build_model(read_checkpoint(path, asked).found)
    with pytest.raises(NotApplicable, match="an adapter beside it"):
        next(model.attention(X))
    with pytest.raises(CheckpointError, match=r"(?s)scale .*Pass it with --scale"):
        read_checkpoint(path, Asked(base=base))
    assert "pass the pretrained weights" in read_checkpoint(path).found.not_applicable


def test_petl_fact_is_merged(base, tmp_path):
    rank, scale = 3, 0.7
    u, v = random(rank, WIDTH, seed=1300), random(WIDTH, rank, seed=1301)
    state = {"FacTu.weight": u, "FacTv.weight": v, **named("head", NETWORK.head)}
    factor, blocks = MLP // WIDTH, []
    for i, block in enumerate(NETWORK.blocks):
        changed = dict(block)
        for k, name in enumerate(("q", "k", "v", "out")):
            core = random(rank, rank, seed=1310 + 10 * i + k)
            state[f"blocks.{i}.attn.{'proj' if name == 'out' else name}_FacTs.weight"] = core
            changed[name] = (block[name][0].double() + scale * v.double() @ core.double() @ u.double(), block[name][1])
        tall, wide = random(factor * rank, rank, seed=1316 + 10 * i), random(rank, factor * rank, seed=1317 + 10 * i)
        state |= {f"blocks.{i}.mlp.fc1_FacTs.weight": tall, f"blocks.{i}.mlp.fc2_FacTs.weight": wide}
        rows = [v.double() @ part.double() @ u.double() for part in tall.split(rank)]
        columns = [v.double() @ part.double() @ u.double() for part in wide.split(rank, dim=1)]
        changed["fc1"] = (block["fc1"][0].double() + scale * torch.cat(rows), block["fc1"][1])
        changed["fc2"] = (block["fc2"][0].double() + scale * torch.cat(columns, dim=1), block["fc2"][1])
        blocks.append(changed)
    path = saved(tmp_path, state, name="cifar.pt", wrap="")
    tokens = foreign.run_blocks(NETWORK.embedded(X), blocks, HEADS)
    close(logits(path, Asked(base=base, scale=scale)), NETWORK.logits(tokens))
    torch.save({**state, "FacTc": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match=r"(?s)FacTc.*FacT-TK, AdaptFormer and binary adapters are not"):
        read_checkpoint(path, Asked(base=base, scale=scale))


def test_a_file_of_no_known_format_is_refused_with_its_names(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1), "fc.bias": torch.zeros(1)}, tmp_path / "resnet.pth")
    with pytest.raises(CheckpointError, match=r"(?s)its tensors are conv1\.weight, fc\.bias\..*KMnP/vpt"):
        read_checkpoint(tmp_path / "resnet.pth")
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        read_checkpoint(tmp_path / "nothing.pth")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"(?s)holds no weights under a known name.*runs list"):
        read_checkpoint(tmp_path / "empty")


def test_values_that_are_no_numbers_are_refused_where_a_model_is_built(tmp_path):
    state = kmnp(NETWORK, prompts=PROMPTS)
    state["enc.transformer.encoder.layer.1.ffn.fc1.weight"] = torch.full((MLP, WIDTH), torch.inf)
    with pytest.raises(WeightsError, match=r"NaN or infinite values in blocks\.1\.mlp\.fc1\.weight"):
        logits(saved(tmp_path, state))


def test_half_precision_is_read_in_float32(tmp_path):
    state = {name: value.half() for name, value in kmnp(NETWORK).items()}
    model = build_model(read_checkpoint(saved(tmp_path, state), THREE_HEADS).found)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("extra", "tried"),
    [
        ({}, True),
        ({"prompts": PROMPTS, "deep": DEEP}, True),
        ({"prompts": PROMPTS}, False),
        ({"prompts": random(1, 4, 7, seed=1), "projection": (random(WIDTH, 7, seed=2), random(WIDTH, seed=3))}, False),
    ],
)
def test_only_forms_of_which_a_file_of_theirs_was_read_are_called_tried(extra, tried, tmp_path):
    assert read_checkpoint(saved(tmp_path, kmnp(NETWORK, **extra)), THREE_HEADS).found.tried == tried


def test_every_reader_is_tried_or_says_that_it_is_not():
    assert {reader.name for reader in READERS if not reader.tried} == {"NOAH", "PETL-ViT", "Swin Transformer"}

"""Files as other programs write them, built after their description with random weights; each with its forward pass.

``Network`` holds the plain matrices. Builders give a state dict under a program's names; oracles give its logits.
"""

from dataclasses import dataclass, field

import torch

from oracles import foreign

WIDTH, HEADS, DEPTH, MLP, PATCH, GRID, CLASSES = 24, 3, 3, 48, 8, 3, 5
SIZE = PATCH * GRID


def random(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.3


@dataclass
class Network:
    """A random vision transformer, as raw matrices."""

    seed: int = 0
    depth: int = DEPTH
    blocks: list = field(default_factory=list)

    def __post_init__(self):
        count = iter(range(1000 * self.seed, 1000 * self.seed + 1000))

        def pair(*shape):
            return random(*shape, seed=next(count)), random(shape[0], seed=next(count))

        def scale():
            weight, bias = pair(WIDTH)
            return 1 + weight, bias

        self.cls, self.positions = (
            random(1, 1, WIDTH, seed=next(count)),
            random(1, GRID**2 + 1, WIDTH, seed=next(count)),
        )
        self.patch = pair(WIDTH, 3, PATCH, PATCH)
        self.last, self.head = scale(), pair(CLASSES, WIDTH)
        self.blocks = [
            {
                "norm1": scale(), "norm2": scale(), "fc1": pair(MLP, WIDTH), "fc2": pair(WIDTH, MLP),
                **{name: pair(WIDTH, WIDTH) for name in ("q", "k", "v", "out")},
            }
            for _ in range(self.depth)
        ]  # fmt: skip

    def embedded(self, x):
        tokens = foreign.embed(x, *self.patch)
        cls = self.cls.double().expand(len(x), -1, -1)
        return torch.cat([cls, tokens], dim=1) + self.positions.double()

    def logits(self, tokens, eps=1e-6):
        return foreign.linear(foreign.norm(tokens, self.last, eps)[:, 0], self.head)

    def plain(self, x, eps=1e-6):
        return self.logits(foreign.run_blocks(self.embedded(x), self.blocks, HEADS, eps=eps), eps)


def images(n=3, seed=99):
    return random(n, 3, SIZE, SIZE, seed=seed)


def named(prefix, pair):
    weight, bias = pair
    return {f"{prefix}.weight": weight, f"{prefix}.bias": bias}


def kmnp(network, *, prompts=None, deep=None, projection=None, mlp=None):
    """State dict of KMnP/vpt: formats of a supervised ViT."""
    root = "enc.transformer."
    state = {
        f"{root}embeddings.cls_token": network.cls,
        f"{root}embeddings.position_embeddings": network.positions,
        **named(f"{root}embeddings.patch_embeddings", network.patch),
        **named(f"{root}encoder.encoder_norm", network.last),
        **named("head.last_layer", network.head),
    }
    for i, block in enumerate(network.blocks):
        layer = f"{root}encoder.layer.{i}."
        names = {
            "norm1": "attention_norm", "norm2": "ffn_norm", "q": "attn.query", "k": "attn.key", "v": "attn.value",
            "out": "attn.out", "fc1": "ffn.fc1", "fc2": "ffn.fc2",
        }  # fmt: skip
        for ours, theirs in names.items():
            state |= named(f"{layer}{theirs}", block[ours])
    if prompts is not None:
        state[f"{root}prompt_embeddings"] = prompts
    if deep is not None:
        state[f"{root}deep_prompt_embeddings"] = deep
    if projection is not None:
        state |= named(f"{root}prompt_proj", projection)
    if mlp is not None:
        state |= mlp
    return state


def timm(network):
    """State dict under timm's names."""
    state = {
        "cls_token": network.cls,
        "pos_embed": network.positions,
        **named("patch_embed.proj", network.patch),
        **named("norm", network.last),
        **named("head", network.head),
    }
    for i, block in enumerate(network.blocks):
        qkv = tuple(torch.cat([block[name][part] for name in "qkv"]) for part in (0, 1))
        pairs = {"norm1": block["norm1"], "norm2": block["norm2"], "attn.qkv": qkv, "attn.proj": block["out"]}
        pairs |= {"mlp.fc1": block["fc1"], "mlp.fc2": block["fc2"]}
        for name, pair in pairs.items():
            state |= named(f"blocks.{i}.{name}", pair)
    return state


def google(network, *, first="Transformer/"):
    """Arrays of Google's .npz."""
    arrays = {
        "cls": network.cls, f"{first}posembed_input/pos_embedding": network.positions,
        "embedding/kernel": network.patch[0].permute(2, 3, 1, 0), "embedding/bias": network.patch[1],
        f"{first}encoder_norm/scale": network.last[0], f"{first}encoder_norm/bias": network.last[1],
    }  # fmt: skip
    size = WIDTH // HEADS
    for i, block in enumerate(network.blocks):
        root = f"{first}encoderblock_{i}/"
        attention = f"{root}MultiHeadDotProductAttention_1/"
        for ours, theirs in (("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2")):
            arrays |= {f"{root}{theirs}/scale": block[ours][0], f"{root}{theirs}/bias": block[ours][1]}
        for ours, theirs in (("q", "query"), ("k", "key"), ("v", "value")):
            arrays[f"{attention}{theirs}/kernel"] = block[ours][0].T.reshape(WIDTH, HEADS, size)
            arrays[f"{attention}{theirs}/bias"] = block[ours][1].reshape(HEADS, size)
        arrays[f"{attention}out/kernel"] = block["out"][0].T.reshape(HEADS, size, WIDTH)
        arrays[f"{attention}out/bias"] = block["out"][1]
        for ours, theirs in (("fc1", "Dense_0"), ("fc2", "Dense_1")):
            arrays[f"{root}MlpBlock_3/{theirs}/kernel"] = block[ours][0].T
            arrays[f"{root}MlpBlock_3/{theirs}/bias"] = block[ours][1]
    return {name: value.contiguous().numpy() for name, value in arrays.items()}


def huggingface(network, *, new=False):
    """State dict of ViTForImageClassification, under the names of old or new releases."""
    state = {
        "vit.embeddings.cls_token": network.cls,
        "vit.embeddings.position_embeddings": network.positions,
        **named("vit.embeddings.patch_embeddings.projection", network.patch),
        **named("vit.layernorm", network.last),
        **named("classifier", network.head),
    }
    old_names = {
        "norm1": "layernorm_before", "norm2": "layernorm_after", "q": "attention.attention.query",
        "k": "attention.attention.key", "v": "attention.attention.value", "out": "attention.output.dense",
        "fc1": "intermediate.dense", "fc2": "output.dense",
    }  # fmt: skip
    new_names = {
        "norm1": "layernorm_before", "norm2": "layernorm_after", "q": "attention.q_proj", "k": "attention.k_proj",
        "v": "attention.v_proj", "out": "attention.o_proj", "fc1": "mlp.fc1", "fc2": "mlp.fc2",
    }  # fmt: skip
    for i, block in enumerate(network.blocks):
        layer = f"vit.layers.{i}." if new else f"vit.encoder.layer.{i}."
        for ours, theirs in (new_names if new else old_names).items():
            state |= named(f"{layer}{theirs}", block[ours])
    return state


def with_prompts(by_layer, *, at_end=False):
    """``before`` of the oracle: insert prompts ``(P, d)`` before the layers of a dict, in place of those before."""
    carried = [0]

    def before(i, tokens):
        if i not in by_layer:
            return tokens
        new = by_layer[i].double().expand(len(tokens), -1, -1)
        if at_end:
            kept = tokens[:, : tokens.shape[1] - carried[0]]
            tokens = torch.cat([kept, new], dim=1)
        else:
            tokens = torch.cat([tokens[:, :1], new, tokens[:, 1 + carried[0] :]], dim=1)
        carried[0] = new.shape[1]
        return tokens

    return before

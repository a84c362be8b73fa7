"""Curvature: what a Hessian product costs, how many the largest eigenvalues take, and how far traces are off."""

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from sklearn.datasets import load_digits
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.timing import Options, Rival, compare, say, verdict
from vptft.models.prompts import PromptSpec
from vptft.models.tuned import TunedModel
from vptft.why.landscape.curvature.eigenvalues import TOLERANCE, extreme_eigenvalues
from vptft.why.landscape.curvature.exact import exact_matrix
from vptft.why.landscape.curvature.function import Batch
from vptft.why.landscape.curvature.hvp import GaussNewtonProducts, HessianProducts, Products
from vptft.why.landscape.curvature.trace import beyond, hutchinson, hutchpp
from vptft.why.landscape.parameters import ALL, PROMPTS, Parameters, space

GRADIENTS, PRODUCTS, ERROR, BUDGET = 2.6, 25, 0.03, 30
"""A product takes at most so many gradients, the largest five eigenvalues so many products, and a trace of so many
products has at most this median error."""


def digits(count: int) -> Batch:
    """Scikit-learn's digits, 32 px and three equal channels."""
    found = load_digits()
    images = torch.as_tensor(found.images[:count] / 16, dtype=torch.float32)[:, None]
    return Batch(F.interpolate(images, size=32).repeat(1, 3, 1, 1), torch.as_tensor(found.target[:count]))


def trained(model: nn.Module, parameters: Parameters, batch: Batch, *, steps: int, lr: float = 2e-3) -> nn.Module:
    """The model after some steps of Adam on the whole batch, which leaves it short of its optimum."""
    optimiser = torch.optim.Adam(parameters.values(), lr=lr)
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(model(batch.images), batch.labels).backward()
        optimiser.step()
    model.zero_grad()
    return model.eval()


def tiny_vit(prompts: int = 0, *, patch: int = 8) -> TunedModel:
    """ViT of width 64 and 4 layers for 32 px, 0.2 million parameters."""
    torch.manual_seed(0)
    vit = VisionTransformer(img_size=32, patch_size=patch, embed_dim=64, depth=4, num_heads=4, num_classes=0)
    spec = PromptSpec(length=prompts, layers=(0,)) if prompts else None
    return TunedModel(vit, n_classes=10, prompts=spec)


def hessian_products(options: Options) -> None:
    """A product against gradients by the fused kernel, a graph built anew, and curvlinops; all weights."""
    _one_product("ViT d 64, 65 tokens", tiny_vit(patch=4), digits(16 if options.quick else 128), options)
    if not options.quick:
        torch.manual_seed(0)
        vit = VisionTransformer(img_size=56, patch_size=14, embed_dim=384, num_heads=6, num_classes=0)
        small = digits(32)
        images = F.interpolate(small.images, size=56)
        _one_product("ViT-S/14, 17 tokens", TunedModel(vit, n_classes=10), Batch(images, small.labels), options)


def _one_product(name: str, model: TunedModel, batch: Batch, options: Options) -> None:
    nn.init.normal_(model.eval().head.weight, std=0.1)  # a head of zeros has no gradient behind it
    parameters = space(model, ALL)
    products = HessianProducts(model, parameters, [batch])
    anew = HessianProducts(model, parameters, [batch], keep_graph=False)
    gauss_newton = GaussNewtonProducts(model, parameters, [batch])
    vector = torch.randn(products.size, generator=torch.Generator().manual_seed(0))

    def gradient() -> object:
        loss = F.cross_entropy(model(batch.images), batch.labels)
        return torch.autograd.grad(loss, list(parameters.values()))

    rivals = [
        Rival("one gradient by the fused kernel", gradient, 1 / GRADIENTS),
        Rival("the same, graph built anew", lambda: anew(vector)),
        Rival("a Gauss-Newton product", lambda: gauss_newton(vector)),
    ]
    if find_spec("curvlinops"):
        rivals.append(Rival("curvlinops", _curvlinops(model, parameters, batch, vector)))
    given = compare(
        f"Hessian product, {name}, {products.size:,} parameters, {len(batch.labels)} images",
        lambda: products(vector), rivals, repetitions=options.repetitions,
    )  # fmt: skip
    # The gradient's derivative along the vector, of steps of several lengths in single precision: the best counts.
    length = float(vector.norm())
    truths = [
        (products.function.gradient(batch, step * vector)[1] - products.function.gradient(batch, -step * vector)[1])
        / (2 * step)
        for step in (0.1 / length, 0.03 / length, 0.01 / length)
    ]
    for name, found in (("ours", given[0]), *([("curvlinops", given[4])] if len(given) > 4 else [])):
        assert isinstance(found, torch.Tensor)
        off = min(float((found - truth).norm() / truth.norm()) for truth in truths)
        say(f"  {name} differs from central differences of the gradient by {off:.1e}")


def _curvlinops(
    model: nn.Module, parameters: Parameters, batch: Batch, vector: torch.Tensor
) -> Callable[[], torch.Tensor]:
    """Product by curvlinops, forward over reverse; its attention has to be told not to be fused."""
    import curvlinops

    def product() -> torch.Tensor:
        with sdpa_kernel([SDPBackend.MATH]):
            return operator @ vector

    with sdpa_kernel([SDPBackend.MATH]):
        operator = curvlinops.HessianLinearOperator(
            model, nn.CrossEntropyLoss(), list(parameters.values()), [tuple(batch)], check_deterministic=False
        )  # fmt: skip
    return product


def eigenvalues(options: Options) -> None:
    """How many products the largest five eigenvalues take, and both ends; scipy's eigsh to 1e-6 is the truth."""
    steps = 2 if options.quick else 60
    batch = digits(32 if options.quick else 128)
    for name, model, parameters in _trained_models(batch, steps):
        products = HessianProducts(model, parameters, [batch])
        ours = extreme_eigenvalues(products, k=5, ends="largest")
        both = extreme_eigenvalues(products, k=5)
        before = products.count
        truth = np.sort(eigsh(_operator(products), k=5, which="LA", tol=1e-6, return_eigenvectors=False))[::-1]
        exact_count, before = products.count - before, products.count
        eigsh(_operator(products), k=5, which="LA", tol=1e-3, return_eigenvectors=False)
        off = float(np.abs(ours.largest / truth - 1).max())
        said = "" if both.largest_converged and both.smallest_converged else ", not converged"
        say(f"Largest five of {name}: {', '.join(f'{value:.4g}' for value in truth)}")
        say(f"  ours to a residual of {TOLERANCE:g}: {ours.products} products (bar: at most {PRODUCTS}) "
            f"{verdict(ours.products <= PRODUCTS and ours.largest_converged)}; off by {off:.1e} at most; "
            f"both ends: {both.products}{said}; "
            f"eigsh: {products.count - before} at its own 1e-3, {exact_count} at 1e-6")  # fmt: skip


def traces(options: Options) -> None:
    """Median error of traces at 30 products over seeds, where the exact trace is known."""
    steps = 2 if options.quick else 60
    seeds = range(3 if options.quick else 20)
    batch = digits(16 if options.quick else 32)
    for name, model, parameters in _small_models(batch, steps):
        products = HessianProducts(model, parameters, [batch])
        exact = exact_matrix(products)
        truth = float(np.trace(exact))

        def by_krylov(seed: int, products: HessianProducts = products) -> object:
            ends = extreme_eigenvalues(products, k=BUDGET, max_products=BUDGET * 2 // 3, seed=seed)
            return beyond(products, ends.krylov, probes=BUDGET - ends.products, seed=seed)

        say(f"Trace of {name}, {products.size:,} parameters: {truth:.4g}, sum of |eigenvalues| "
            f"{np.abs(np.linalg.eigvalsh(exact)).sum():.4g}")  # fmt: skip
        for what, estimate in (
            ("Hutch++", lambda seed, p=products: hutchpp(p, budget=BUDGET, seed=seed)),
            ("Krylov space, then probes", by_krylov),
            ("Hutchinson", lambda seed, p=products: hutchinson(p, probes=BUDGET, seed=seed)),
        ):
            found = [estimate(seed) for seed in seeds]
            errors = [abs(each.value / truth - 1) for each in found]
            within = np.mean([each.interval.low <= truth <= each.interval.high for each in found])
            bar = f" (bar: at most {ERROR:.0%}) {verdict(np.median(errors) <= ERROR)}" if what != "Hutchinson" else ""
            say(f"  {what}: median error {np.median(errors):.1%}{bar}, worst {max(errors):.1%}; "
                f"95% interval holds it in {within:.0%} of {len(found)} seeds")  # fmt: skip


def _trained_models(batch: Batch, steps: int) -> list[tuple[str, nn.Module, Parameters]]:
    whole, prompted = tiny_vit(), tiny_vit(prompts=4)
    trained(whole, space(whole, ALL), batch, steps=steps)
    trained(prompted, dict(prompted.named_parameters()), batch, steps=steps)
    return [
        ("a ViT trained as a whole, all weights", whole, space(whole, ALL)),
        ("a ViT with 4 prompts, the prompts", prompted, space(prompted, PROMPTS)),
    ]


def _small_models(batch: Batch, steps: int) -> list[tuple[str, nn.Module, Parameters]]:
    _, (_, prompted, prompts) = _trained_models(batch, steps)
    torch.manual_seed(0)
    pooled = [nn.AvgPool2d(4), nn.Flatten()]
    layers = nn.Sequential(*pooled, nn.Linear(192, 8), nn.Tanh(), nn.Linear(8, 10))
    linear = nn.Sequential(*pooled, nn.Linear(192, 10))
    for model in (layers, linear):
        trained(model, dict(model.named_parameters()), batch, steps=steps, lr=1e-2)
    return [
        ("a ViT's 4 shallow prompts", prompted, prompts),
        ("a network of two layers", layers, dict(layers.named_parameters())),
        ("softmax regression", linear, dict(linear.named_parameters())),
    ]


def _operator(products: Products) -> LinearOperator:
    def matvec(vector: np.ndarray) -> np.ndarray:
        return products(torch.as_tensor(vector.ravel(), dtype=products.dtype)).double().numpy()

    return LinearOperator((products.size, products.size), matvec=matvec, dtype=np.float64)

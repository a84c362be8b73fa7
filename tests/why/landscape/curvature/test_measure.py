"""Curvature of a tiny prompted ViT: what its table holds, against the exact matrices."""

import numpy as np
import pytest
import torch

from vptft.errors import NotApplicable, SettingsError
from vptft.why.landscape.curvature.exact import exact_matrix
from vptft.why.landscape.curvature.function import Batch, LossFunction
from vptft.why.landscape.curvature.hvp import HessianProducts
from vptft.why.landscape.curvature.measure import Cell, CurvatureSettings, measure
from vptft.why.landscape.curvature.scaling import scaled
from vptft.why.landscape.evaluation import Sample
from vptft.why.landscape.parameters import HEAD, PROMPTS, space
from why.landscape.conftest import make_model

OPTIONS = CurvatureSettings(
    spaces=(PROMPTS, HEAD), k=2, seeds=(0, 1), probes=4, scalings=("element", "none"), max_products=25, m=2,
    density_probes=1, density_steps=4, matrices=("hessian", "gauss-newton"), tolerance=1e-4, batches=2,
)  # fmt: skip


def measured(model, sample, options=OPTIONS, **settings):
    return measure(model, sample=sample, label="m", task="t", method="vpt_deep", options=options, **settings)


@pytest.fixture(scope="module")
def small():
    return make_model(prompts=1, depth=2)


@pytest.fixture(scope="module")
def sample():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(6, 3, 32, 32, generator=generator)
    return Sample(split="train", images=images, labels=torch.arange(6) % 3, groups=np.array([0, 0, 1, 2, 3, 3]))


@pytest.fixture(scope="module")
def result(small, sample):
    return measured(small, sample)


def test_each_cell_holds_the_extremes_and_trace_of_its_own_exact_matrix(small, sample, result):
    frame = result.frame()
    member = sample.batches(2)
    for batch in (0, 1):
        own = Batch(sample.images[member == batch], sample.labels[member == batch])
        products = HessianProducts(small, space(small, PROMPTS), [own])
        for scaling in OPTIONS.scalings:
            matrix = exact_matrix(scaled(products, products.function, scaling))
            values = np.linalg.eigvalsh(matrix)
            rows = frame.query(
                "space == @PROMPTS and scaling == @scaling and batch == @batch and matrix == 'hessian' and seed == 0"
            )
            found = rows[rows["quantity"] == "eigenvalue"].set_index("rank")["value"]
            allowed = 2e-4 * np.abs(values).max()
            assert [found[1], found[2], found[-1], found[-2]] == pytest.approx(values[[-1, -2, 0, 1]], abs=allowed)
            trace = rows[rows["quantity"] == "trace"].iloc[0]
            assert abs(trace["value"] - np.trace(matrix)) <= 5 * trace["error"] + allowed
        rows = frame.query("space == @PROMPTS and batch == @batch and matrix == ''").set_index("quantity")["value"]
        loss, gradient = products.function.gradient(own)
        assert rows["loss"] == pytest.approx(loss)
        assert rows["gradient norm"] == pytest.approx(float(gradient.norm()))
    smallest = frame.query("matrix == 'gauss-newton' and quantity == 'eigenvalue'")["value"].min()
    assert smallest > -1e-5  # it has no negative eigenvalue


def test_batches_are_of_whole_groups_and_are_all_there(small, sample, result):
    losses = result.frame().query("space == @HEAD and quantity == 'loss'").set_index("batch")["value"]
    whole = (3 * losses[0] + 3 * losses[1]) / 6  # groups 0 and 2, 1 and 3
    parameters = space(small, HEAD)
    assert whole == pytest.approx(LossFunction(small, parameters).at(Batch(sample.images, sample.labels)), rel=1e-5)


def test_the_summary_is_over_batches_and_seeds(small, sample):
    result = measured(small, sample)
    summary, frame = result.summary(), result.frame()
    row = summary.query("space == @PROMPTS and matrix == 'hessian' and scaling == 'none' and quantity == 'trace'").iloc[
        0
    ]
    own = frame.query("space == @PROMPTS and matrix == 'hessian' and scaling == 'none' and quantity == 'trace'")
    means = own.groupby("batch")["value"].mean()
    assert row["value"] == pytest.approx(means.mean())
    assert row["batch_sd"] == pytest.approx(abs(means[0] - means[1]) / 2**0.5)
    assert (row["lowest"], row["highest"]) == (own["value"].min(), own["value"].max())
    assert (row["n_batches"], row["n_seeds"], row["reading"]) == (2, 2, "picture")
    three = CurvatureSettings(spaces=(HEAD,), batches=3, k=1, max_products=6, scalings=("element",))
    assert set(measured(small, sample, three).summary()["reading"]) == {"average of this run"}


def test_densities_have_nodes_whose_weights_sum_to_one(result):
    density = result.density
    keys = ["space", "matrix", "scaling", "batch", "seed", "probe"]
    assert density.groupby(keys)["weight"].sum().to_numpy() == pytest.approx(1)
    assert len(density) == 4 * 2 * 2 * 2 * 2 * 2  # nodes: spaces, matrices, scalings, batches, seeds


def test_there_is_no_finding_and_the_same_seed_gives_the_same_numbers(small, sample):
    few = CurvatureSettings(spaces=(HEAD,), k=1, max_products=5, scalings=("filter",))
    first, second = (measured(small, sample, few) for _ in range(2))
    assert first.findings() == ()
    assert first.frame().equals(second.frame())


def test_spaces_that_a_model_has_not_are_left_out(sample):
    few = CurvatureSettings(spaces=(PROMPTS, HEAD), k=1, max_products=5, scalings=("none",))
    net = make_model()
    result = measured(net, sample, few)
    assert set(result.frame()["space"]) == {HEAD}
    assert result.settings["spaces"] == [HEAD]
    with pytest.raises(NotApplicable, match="none of the parameter spaces prompts"):
        measured(net, sample, CurvatureSettings(spaces=(PROMPTS,)))


def test_cells_can_be_computed_elsewhere(small, sample):
    few = CurvatureSettings(spaces=(HEAD,), k=1, max_products=5, scalings=("none",), batches=2)
    seen = []

    def mapped(one, cells):
        seen.extend(cells)
        return [one(cell) for cell in reversed(cells)][::-1]

    assert measured(small, sample, few, mapped=mapped).frame().equals(measured(small, sample, few).frame())
    assert seen == [Cell(HEAD, 0), Cell(HEAD, 1)]


def test_what_cannot_be_asked_is_said(small, sample):
    with pytest.raises(SettingsError, match="4 independent train images cannot fill 7 batches"):
        measured(small, sample, CurvatureSettings(batches=7))
    for wrong in ({"scalings": ("layer",)}, {"matrices": ("fisher",)}):
        with pytest.raises(SettingsError, match=r"There is no (layer|fisher); there are"):
            CurvatureSettings(**wrong)
    with pytest.raises(SettingsError, match="probes 2"):
        CurvatureSettings(probes=1)
    with pytest.raises(SettingsError, match="needs a space"):
        CurvatureSettings(seeds=())
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(3072, 3))
    with pytest.raises(NotApplicable, match="deterministic"):
        measured(net, sample, CurvatureSettings(spaces=("all",)))

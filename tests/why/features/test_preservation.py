"""The measures of one run together: a network beside itself, beside a rotated one, and beside what tuning left."""

import copy

import numpy as np
import pytest
import torch

from vptft.features.layers import layer_features
from vptft.features.probes import knn_above_chance, linear_above_chance
from vptft.why.features.cka import linear_cka
from vptft.why.features.neighbours import overlap_by_chance
from vptft.why.features.preservation import COMPARED, OTHER, OWN, REFERENCE, Described, Seen, measure

LABELS, GROUPS = np.arange(40) % 4, np.arange(40) // 2
RUN = Described(
    label="ft t seed 0", task="t", method="ft", n_train=8, seed=0, pretraining="random", backbone="tiny", accuracy=0.5
)


def compared(before, after, images, *, prompted=False, **options):
    moved = images + 2 * torch.nn.functional.one_hot(torch.tensor(LABELS), 4)[:, :3, None, None]
    sets = [
        Seen(name=role, role=role, before=layer_features(before, each), after=layer_features(after, each),
             groups=GROUPS, labels=labels)
        for role, each, labels in ((REFERENCE, images, None), (OWN, moved, LABELS), (OTHER, moved, LABELS))
    ]  # fmt: skip
    prompts = (moved, LABELS, GROUPS) if prompted else None
    return measure(before, after, run=RUN, sets=sets, prompted=prompts, **options), sets


def test_a_network_is_all_preserved_beside_itself(model, images):
    result, _ = compared(model(), model(), images)
    table = result.frame()
    between = table[table["measure"].isin(COMPARED)].groupby("measure")["value"]
    assert between.min()[["cka", "subspace_overlap", "neighbour_overlap"]].to_numpy() == pytest.approx(1)
    assert between.max()["procrustes"] == pytest.approx(0, abs=1e-6)
    alone = table[~table["measure"].isin(COMPARED)]
    assert (alone["value"] == alone["before"]).all()
    assert result.change("knn") == 0
    assert result.drift.empty
    assert any("moves no weight" in note for note in result.notes)


def test_numbers_are_those_of_each_measure(model, images):
    result, (reference, own, _) = compared(model(), model(seed=1), images)
    table = result.frame().set_index(["role", "layer", "kind", "measure"])
    for where, after in reference.after.items():
        assert table.loc[(REFERENCE, *where, "cka"), "value"] == linear_cka(reference.before[where], after)
        assert table.loc[(REFERENCE, *where, "neighbour_overlap"), "chance"] == overlap_by_chance(GROUPS)
        assert (REFERENCE, *where, "knn") not in table.index
    for where in own.after:
        for name, probe in (("knn", knn_above_chance), ("linear", linear_above_chance)):
            row = table.loc[(OWN, *where, name)]
            assert row["value"] == probe(own.after[where], LABELS, GROUPS)
            assert row["before"] == probe(own.before[where], LABELS, GROUPS)
    assert result.scalar("cka") == table.loc[(REFERENCE, 2, "cls", "cka"), "value"]
    assert result.over_layers("cka") == pytest.approx(
        np.mean([table.loc[(REFERENCE, layer, "cls", "cka"), "value"] for layer in range(3)])
    )
    assert set(result.drift["part"]) == {"embedding", "block 0", "block 1", "block 2", "norm"}


def test_linear_probes_are_fitted_where_asked(model, images):
    table = compared(model(), model(seed=1), images, probed_linearly=(2,))[0].frame()
    assert set(table.loc[table["measure"] == "linear", "layer"]) == {2}
    assert set(table.loc[table["measure"] == "knn", "layer"]) == {0, 1, 2}


def test_carried_prompts_are_held_against_cls_and_deep_ones_have_no_features(model, images):
    shallow, sets = compared(model(), model(prompts=4, layers=(0,)), images, prompted=True)
    rows = shallow.frame().query("kind == 'prompts' and role == 'reference' and measure == 'cka'")
    assert list(rows["layer"]) == [0, 1, 2]
    assert rows["value"].iloc[0] == linear_cka(sets[0].before[(0, "cls")], sets[0].after[(0, "prompts")])
    assert len(shallow.written) == 6
    deep, _ = compared(model(), model(prompts=4), images, prompted=True)
    assert "prompts" not in set(deep.frame()["kind"])


def test_an_averaged_backbone_is_judged_by_its_patches_and_has_no_cls(model, images):
    average = model(kind="average")
    prompted = model(kind="average", prompts=4, layers=(0,))
    result, _ = compared(average, prompted, images)
    assert result.read == "patches"
    assert set(result.frame()["kind"]) == {"patches"}
    assert any("no such tokens" in note for note in result.notes)
    assert np.isfinite(result.scalar("cka"))


def test_what_cannot_be_probed_is_said(model, images):
    before, after = model(), model(seed=1)
    features = [layer_features(each, images) for each in (before, after)]
    one = Seen(name="one class", role=OTHER, before=features[0], after=features[1], groups=GROUPS,
               labels=np.zeros(40, dtype=int))  # fmt: skip
    result = measure(before, after, run=RUN, sets=[one])
    assert any("one class" in note and "two classes" in note for note in result.notes)
    assert np.isnan(result.change("knn"))


def test_the_models_are_left_as_they_were(model, images):
    before, after = model(), model(prompts=4)
    state = copy.deepcopy(after.state_dict())
    compared(before, after, images, prompted=True)
    assert all(torch.equal(value, state[name]) for name, value in after.state_dict().items())

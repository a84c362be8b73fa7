"""The recipe lint names what formats differ in, where it stands, and nothing on a fair pair."""

from dataclasses import replace

import pytest

from vptft.checkpoints.conversion import convert
from vptft.checkpoints.fairness import ASPECTS, Fairness, measure
from vptft.checkpoints.found import Asked
from vptft.checkpoints.readers import read_checkpoint
from vptft.checkpoints.recipe import Fact, Recipe, of_run, read_recipe
from vptft.errors import CheckpointError


def remarks(result, kind="confound"):
    frame = result.frame()
    return frame[frame["kind"] == kind].set_index("aspect")


def at(evidence):
    """The line a piece of evidence points at."""
    place = next(part for part in evidence.split("; ") if "logs.txt:" in part)
    path, _, rest = place.partition("logs.txt:")
    number = int(rest.split()[0])
    with open(path + "logs.txt") as file:  # noqa: PTH123
        return file.read().split("\n")[number - 1]


def test_the_fixtures_pair_has_the_confounds_of_their_programs(peers):
    result = measure([(read_recipe(peers / "kmnp/deep"), read_recipe(peers / "kmnp/ft"))])
    found = remarks(result)
    assert list(found.index) == ["task", "optimiser", "weight decay", "backbone dropout", "prompt dropout"]
    assert found.loc["backbone dropout", ["vpt", "ft"]].tolist() == ["0", "0.1"]
    assert found.loc["optimiser", ["vpt", "ft"]].tolist() == ["SGD, momentum 0.9", "AdamW"]
    assert found.loc["weight decay", "ft"] == "0.01, LayerNorm's weights too (asked for: 0.0001)"
    assert "'OPTIMIZER': 'sgd'" in at(found.loc["optimiser", "evidence_vpt"])
    assert "'OPTIMIZER': 'adamw'" in at(found.loc["optimiser", "evidence_ft"])
    assert "'TRANSFER_TYPE': 'end2end'" in at(found.loc["backbone dropout", "evidence_ft"])
    assert all(found["remedy"])
    cautions = result.frame()[result.frame()["kind"] == "caution"]
    first = cautions[cautions["vpt"].str.contains("learning rate of 0")].iloc[0]
    assert "with learning rate 0.0" in at(first["evidence_vpt"])
    val = cautions[cautions["ft"].str.contains("part of the training data")].iloc[0]
    assert "dataset trainval" in at(val["evidence_ft"])
    (finding,) = result.findings()
    assert (finding.hypothesis, finding.verdict, finding.effect, finding.n) == ("C0", "refuted", 5.0, 1)
    assert "task, optimiser, weight decay, backbone dropout" in finding.reason


def test_a_search_beside_the_final_run_is_counted(peers):
    folder = next((peers / "kmnp/runtree/deep_finalfinal").rglob("run1"))
    assert read_recipe(folder).facts["search"].value == "4 cells, 2 learning rates"


def test_a_fair_pair_of_our_runs_has_none(finished):
    result = measure([(read_recipe(finished["vpt_deep"].folder), read_recipe(finished["ft"].folder))])
    assert result.frame().empty, result.frame()
    (finding,) = result.findings()
    assert (finding.verdict, finding.effect) == ("supported", 0.0)


def recipe(method, **facts):
    known = {name: Fact("same", "a.txt:1") for name, aspect in ASPECTS.items() if not aspect.one_sided}
    known |= {name.replace("_", " "): Fact(value, "a.txt:2") for name, value in facts.items()}
    return Recipe(name=method, producer="x", method=method, facts=known)


@pytest.mark.parametrize("aspect", ASPECTS)
def test_each_aspect_is_seen_alone(aspect):
    one = recipe("vpt_deep", **{aspect.replace(" ", "_"): 1})
    other = recipe("ft") if ASPECTS[aspect].one_sided else recipe("ft", **{aspect.replace(" ", "_"): 2})
    found = remarks(measure([(one, other)]))
    assert list(found.index) == [aspect]
    assert found.loc[aspect, "severity"] == ASPECTS[aspect].severity


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "supported"),
        ({"warm-up": 3}, "inconclusive"),
        ({"epochs": 3}, "refuted"),
        ({"image size": None}, "inconclusive"),
    ],
)
def test_the_verdict_follows_its_rule(change, verdict):
    ft = recipe("ft")
    facts = {**ft.facts, **{name: Fact(value, "b:1") for name, value in change.items()}}
    facts = {name: fact for name, fact in facts.items() if fact.value is not None}
    ft = Recipe(name="ft", producer="x", method="ft", facts=facts)
    result = measure([(recipe("vpt_deep"), ft)])
    assert result.findings()[0].verdict == verdict
    assert len(result.confounds) == (1 if change and None not in change.values() else 0)


def test_the_methods_own_learning_rate_is_no_confound():
    assert measure([(recipe("vpt_deep", learning_rate=1.0), recipe("ft", learning_rate=2.0))]).frame().empty


def test_any_other_setting_of_our_runs_counts(finished):
    changed = {"epochs": 100, "weight_decay": 0.5, "only_here": True, "lr": 9.0, "key": "x"}
    vpt = finished["vpt_deep"]
    vpt = replace(vpt, info=replace(vpt.info, settings={**vpt.info.settings, **changed}))
    result = measure([(of_run(vpt), of_run(finished["ft"]))] * 2)
    assert result.differences() == [
        "weight decay: 0.5 vs 0.01", "epochs: 100 vs 2", "setting only_here: True vs 0",
    ]  # fmt: skip
    assert result.n_pairs == 2


def test_two_of_one_method_and_nothing_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="are both ft"):
        measure([(recipe("ft"), recipe("ft"))])
    with pytest.raises(CheckpointError, match="no pair"):
        measure([])
    with pytest.raises(CheckpointError, match=r"(?s)tells how it was trained.*logs.txt"):
        read_recipe(tmp_path)


def test_the_finetuned_run_comes_second():
    with pytest.raises(CheckpointError, match=r"(?s)ft is ft and vpt_deep is vpt_deep.*Give the FT run second"):
        measure([(recipe("ft"), recipe("vpt_deep"))])


def test_a_log_of_the_folder_above_is_not_taken_for_a_runs(peers, tmp_path):
    (tmp_path / "logs.txt").write_bytes((peers / "kmnp/deep/logs.txt").read_bytes())
    (tmp_path / "other").mkdir()
    (tmp_path / "last_model.pth").write_bytes(b"weights beside the log")
    with pytest.raises(CheckpointError, match="tells how it was trained"):
        read_recipe(tmp_path / "other")
    assert read_recipe(tmp_path / "last_model.pth").method == "vpt_deep"


@pytest.fixture
def converted(peers, tmp_path):
    """Convert one of the fixtures, with the pretrained weights or without."""

    def make(name, *, with_base=True, **asked):
        base = peers / "kmnp/imagenet21k_ViT-tiny8.npz" if with_base else None
        reading = read_checkpoint(peers / "kmnp" / name, Asked(base=base, heads=4, **asked))
        return convert(reading, tmp_path / f"{name} {with_base}")

    return make


def test_converted_runs_differ_in_what_their_logs_differ_in(converted, peers):
    logs = measure([(read_recipe(peers / "kmnp/deep"), read_recipe(peers / "kmnp/ft"))])
    runs = measure([(of_run(converted("deep")), of_run(converted("ft")))])
    assert runs.differences() == logs.differences()
    cautions = runs.frame()[runs.frame()["kind"] == "caution"]
    assert "logs.txt:" in cautions["evidence_vpt"].iloc[0]


def test_an_unknown_base_is_no_difference(converted):
    result = measure([(of_run(converted("deep", with_base=False)), of_run(converted("ft", with_base=False)))])
    assert not {"backbone", "backbone weights"} & set(result.frame()["aspect"])


def test_other_weights_under_one_name_are_seen_by_their_hash(converted):
    vpt, ft = converted("deep"), converted("ft")
    ft = replace(ft, info=replace(ft.info, backbone_sha256="0" * 64))
    assert "backbone weights" in remarks(measure([(of_run(vpt), of_run(ft))])).index


def test_a_result_is_read_back(tmp_path):
    result = measure([(recipe("vpt_deep", epochs=1), recipe("ft", epochs=2))], settings={"key": "k"})
    result.save(tmp_path / "fair")
    again = Fairness.load(tmp_path / "fair")
    assert again.frame().equals(result.frame())
    assert again.findings() == result.findings()


LOG = """[11/23 04:52:38][INFO] visual_prompt:   95: Rank of current process: 0. World size: 1
[11/23 04:52:38][INFO] visual_prompt:  109: CfgNode({{'SEED': 42, 'MODEL': CfgNode({{'TRANSFER_TYPE': '{kind}', \
'PROMPT': CfgNode({{'DEEP': True, 'FT_PT_MIXED': {mixed}}})}}), 'SOLVER': CfgNode({{'OPTIMIZER': '{optimizer}', \
'WEIGHT_DECAY': {decay}, 'TOTAL_EPOCH': 1}}), 'DATA': CfgNode({{'NAME': 'vtab-dtd', 'FEATURE': '{feature}'}})}})
[11/23 04:52:38][INFO] visual_prompt:  163: Training 1 / 1 epoch, with learning rate 0.1
[11/23 04:52:38][INFO] visual_prompt:  215: Epoch 1 / 1: avg data time: 1, avg batch time: 1, average train loss: 5.0
"""


def logged(tmp_path, **changes):
    values = {
        "kind": "end2end",
        "mixed": False,
        "optimizer": "adamw",
        "decay": 0.01,
        "feature": "sup_vitb16_imagenet21k",
    }
    (tmp_path / "logs.txt").write_text(LOG.format(**{**values, **changes}))
    return read_recipe(tmp_path)


def test_adamw_without_decay_is_known_to_be_sgd(tmp_path):
    facts = logged(tmp_path, decay=0.0).facts
    assert facts["optimiser"].value == "SGD because weight decay is 0: asked for AdamW, momentum 0.9"
    assert "AdamW with decay 0 becomes SGD" in facts["optimiser"].evidence
    assert facts["weight decay"].value == "0"


def test_the_backbone_file_and_mixed_are_cautioned(tmp_path):
    said = [fact.value for fact in logged(tmp_path, feature="sup_vitb16_224").cautions]
    assert any("ViT-B_16-224.npz" in text for text in said)
    mixed = logged(tmp_path, kind="prompt", mixed=True, optimizer="sgd")
    assert mixed.method == "mixed"
    assert any("Mixed trains every weight with VPT's SGD" in fact.value for fact in mixed.cautions)
    assert not logged(tmp_path).cautions

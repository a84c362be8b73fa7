import pytest
import yaml

from vptft.errors import DataError, SettingsError, UnknownNameError
from vptft.tuning.plan import Arm
from vptft.tuning.plan_files import file_of, plan_of, read_plans, settings_from
from vptft.tuning.protocols import PROTOCOLS
from vptft.tuning.search import Search
from vptft.tuning.settings import TrainSettings

LEAST = {"tasks": ["photo/count"], "methods": ["ft"]}


def test_the_example_of_the_docstring_is_a_plan(tmp_path):
    from vptft.tuning import plan_files

    example = plan_files.__doc__.partition("::\n")[2].partition("\nSeveral plans")[0].replace("dtd", "digits")
    (tmp_path / "plan.yaml").write_text(example)
    (plan,) = read_plans(tmp_path / "plan.yaml")
    assert plan.tasks == ("photo/count", "digits")
    assert plan.arms == (
        Arm(method="ft"),
        Arm(method="vpt_deep", options={"prompt_length": 5}),
        Arm(method="vpt_deep", options={"prompt_length": 50}),
    )
    assert plan.sizes == (100, 300)
    assert (plan.search, plan.val_share, plan.refit) == (Search(extra=1), 0.25, False)
    assert plan.settings == TrainSettings(n_val=100, n_test=1000)


def test_little_is_enough():
    plan = plan_of(LEAST)
    assert (plan.tasks, plan.arms, plan.sizes, plan.seeds, plan.search) == (
        ("photo/count",), (Arm(method="ft"),), (None,), (0,), None,
    )  # fmt: skip


def test_collections_and_combinations_are_spelled_out():
    plan = plan_of({
        "tasks": ["suite", "photo/count"],
        "methods": [{"method": "vpt_deep", "prompt_length": [1, 5], "prompt_layers": ["all", "first:2"]}],
    })  # fmt: skip
    assert len(plan.tasks) == 10
    assert [tuple(arm.options.values()) for arm in plan.arms] == [
        (1, "all"), (1, "first:2"), (5, "all"), (5, "first:2"),
    ]  # fmt: skip


def test_numbers_that_yaml_reads_as_words_are_numbers(tmp_path):
    (tmp_path / "plan.yaml").write_text(
        "tasks: photo/count\nmethods: ft\nsettings: {weight_decay: 1e-3, head_lr: null}\nsearch: {rates: [1e-5, 1e-4]}"
    )
    (plan,) = read_plans(tmp_path / "plan.yaml")
    assert (plan.settings.weight_decay, plan.settings.head_lr) == (1e-3, None)
    assert plan.search.rates == (1e-5, 1e-4)


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != "vtab1k"])
def test_every_protocols_plans_are_files_that_read_back(name, tmp_path):
    protocol = PROTOCOLS[name]
    plans, _ = protocol.plans(("photo/count", "digits"), [Arm(method=each) for each in protocol.methods], "tiny")
    (tmp_path / "plan.yaml").write_text("---\n".join(map(file_of, plans)))
    again = read_plans(tmp_path / "plan.yaml")
    assert [plan.cells() for plan in again] == [plan.cells() for plan in plans]


def test_a_recipe_leaves_alone_what_is_given():
    plan = plan_of({**LEAST, "settings": {"epochs": 7, "batch_size": 4}, "recipe": "kmnp", "given": ["epochs"]})
    (cell,) = plan.cells().values()
    assert (cell.settings.epochs, cell.settings.batch_size) == (7, 128)
    assert plan_of(yaml.safe_load(file_of(plan))).given == {"epochs"}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ([], r"a plan is \[\]; expected names with values"),
        ("text", "a plan is 'text'"),
        ({"tasks": ["photo/count"]}, r"A plan needs methods\.\n.*protocol suite --emit plan"),
        ({**LEAST, "taks": 1}, r"a plan has no 'taks'\.\nKnown: name, backbone, tasks"),
        ({**LEAST, "seeds": ["a"]}, "seeds is 'a'; expected whole numbers"),
        ({**LEAST, "seeds": []}, "seeds is empty"),
        ({**LEAST, "seeds": [True]}, "seeds is True"),
        ({**LEAST, "n_train": 2.5}, "n_train is 2.5; expected whole numbers"),
        ({**LEAST, "settings": {"epoch": 3}}, r"settings has no 'epoch'\.\nKnown: epochs"),
        ({**LEAST, "settings": {"seed": 3}}, "settings has no 'seed'"),
        ({**LEAST, "settings": {"epochs": "many"}}, "epochs is 'many'; expected whole numbers"),
        ({**LEAST, "settings": {"epochs": 0}}, "epochs must be positive, got 0"),
        ({**LEAST, "settings": {"prompt_shared": 1}}, "prompt_shared is 1; expected true or false"),
        ({**LEAST, "settings": {"weight_decay": "none"}}, "weight_decay is 'none'; expected a number"),
        ({**LEAST, "settings": {"optimizer": "adam"}}, "optimizer must be one of adamw, sgd; got 'adam'"),
        ({**LEAST, "methods": [{"prompt_length": 3}]}, "method is None; expected a name"),
        ({**LEAST, "methods": [{"method": "ft", "prompt_length": 3}]}, "ft has no option prompt_length"),
        ({**LEAST, "search": 3}, "search is 3; expected names with values"),
        ({**LEAST, "search": {"rates": ["fast"]}}, "rates is 'fast'; expected a number"),
        ({**LEAST, "val_share": 2}, r"val_share must lie in \(0, 1\], got 2"),
        ({**LEAST, "refit": "yes"}, "refit is 'yes'; expected true or false"),
    ],
)
def test_what_is_no_plan_is_refused_by_name(content, match):
    with pytest.raises(SettingsError, match=match):
        plan_of(content)


def test_unknown_names_are_listed():
    with pytest.raises(UnknownNameError, match="no method named 'vpt'"):
        plan_of({**LEAST, "methods": ["vpt"]})
    with pytest.raises(DataError, match="vtab"):
        plan_of({**LEAST, "tasks": ["vtab"]})


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a: [1", "is not YAML"),
        ("!!python/object/apply:os.system ['touch /tmp/hacked']", "is not YAML"),
        ("", "is empty"),
        ("tasks: photo/count\nmethods: ft\nseeds: x", "plan.yaml: seeds is 'x'"),
        ("tasks: photo/count\nmethods: ft\nmethods: linear", "'methods' stands twice, again in line 3"),
        ("tasks: photo/count\nmethods: ft\ngiven: [epoch]", "given has no 'epoch'|settings has no 'epoch'"),
        ("tasks: photo/count\nmethods: ft\nsettings: {lr: 0.5}\nsearch: true", "both gives a learning rate, 0.5, and"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_name(text, match, tmp_path):
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(SettingsError, match=match):
        read_plans(tmp_path / "plan.yaml")
    with pytest.raises(SettingsError, match=r"gone\.yaml could not be read: No such file"):
        read_plans(tmp_path / "gone.yaml")


def test_a_bomb_of_aliases_is_too_large_or_harmless(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    (tmp_path / "plan.yaml").write_text("\n".join(lines))
    with pytest.raises(SettingsError, match="a plan has no 'a0'"):
        read_plans(tmp_path / "plan.yaml")
    (tmp_path / "plan.yaml").write_text("#" * 1_000_001)
    with pytest.raises(SettingsError, match="larger than 1,000,000 bytes"):
        read_plans(tmp_path / "plan.yaml")


def test_settings_are_read_from_words():
    words = {
        "prompt_shared": "true",
        "lora_rank": "4",
        "head_lr": "1e-2",
        "prompt_layers": "last:3",
        "prompt_lr": "null",
    }
    assert settings_from(words) == {
        "prompt_shared": True, "lora_rank": 4, "head_lr": 0.01, "prompt_layers": "last:3", "prompt_lr": None,
    }  # fmt: skip
    with pytest.raises(SettingsError, match="settings has no 'lora'"):
        settings_from({"lora": "4"})

import pandas as pd
import pytest

from vptft.errors import SettingsError
from vptft.why.overfitting import measure


def history(test_loss, *, train_loss=None, method="ft", seed=0):
    epochs = range(1, len(test_loss) + 1)
    train_loss = train_loss or [1.0] * len(test_loss)
    rows = [(e, "train", loss, 0.5) for e, loss in zip(epochs, train_loss, strict=True)]
    rows += [(e, "test", loss, 1 / (1 + loss)) for e, loss in zip(epochs, test_loss, strict=True)]
    frame = pd.DataFrame(rows, columns=["epoch", "split", "loss", "accuracy"])
    return frame.assign(task="t", method=method, seed=seed, lr=0.1)


def test_onset_and_rise_of_known_curves():
    rising = history([2.0, 1.0, 0.5, 0.8, 1.25], train_loss=[2, 1, 0.5, 0.2, 0.25])
    falling = history([2.0, 1.5, 1.0, 0.8, 0.75], method="vpt_deep")
    runs = measure([rising, falling]).runs.set_index("method")
    assert runs.loc["ft", ["onset_epoch", "rise_nats", "loss_gap_nats"]].tolist() == [3, 0.75, 1.0]
    assert runs.loc["vpt_deep", ["onset_epoch", "rise_nats"]].tolist() == [5, 0]
    assert runs.loc["ft", "test_accuracy_best"] == pytest.approx(1 / 1.5)
    assert runs.loc["ft", "test_accuracy_last"] == pytest.approx(1 / 2.25)


def test_the_finding_counts_runs_and_gives_no_verdict():
    result = measure([history([1, 2], seed=0), history([2, 1], seed=1), history([1, 2], method="vpt_deep")])
    (finding,) = result.findings()
    assert finding.verdict == "inconclusive"
    assert "ft: 1 of 2 runs; vpt_deep: 1 of 1 runs" in finding.statement


def test_the_order_of_rows_does_not_matter():
    shuffled = history([2.0, 1.0, 3.0]).sample(frac=1, random_state=0)
    assert measure([shuffled]).runs.equals(measure([history([2.0, 1.0, 3.0])]).runs)


def test_missing_columns_missing_splits_and_nothing_are_refused():
    with pytest.raises(SettingsError, match=r"lacks the columns \['loss'\]"):
        measure([history([1.0]).drop(columns="loss")])
    with pytest.raises(SettingsError, match=r"splits \['train'\]; train and test are needed"):
        measure([history([1.0]).query("split == 'train'")])
    with pytest.raises(SettingsError, match="no history"):
        measure([])

import numpy as np
import pytest
import torch

from vptft.errors import WeightsError
from vptft.features import weights
from vptft.features.weights import classifier, read_state, soft_classifier


class Touch:
    """Unpickled, it would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).touch, (self.path,)


def test_tensors_are_read(tmp_path):
    torch.save({"weight": torch.arange(3)}, tmp_path / "weights.pth")
    assert read_state(tmp_path / "weights.pth", "numbers")["weight"].tolist() == [0, 1, 2]


def test_a_hostile_file_is_not_executed(tmp_path):
    torch.save({"weight": Touch(tmp_path / "touched")}, tmp_path / "hostile.pth")
    with pytest.raises(WeightsError, match=r"hostile\.pth could not be read as numbers"):
        read_state(tmp_path / "hostile.pth", "numbers")
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 half a file"], ids=["missing", "empty", "truncated"])
def test_a_file_that_is_missing_or_damaged_is_named(tmp_path, content):
    path = tmp_path / "weights.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"weights\.pth could not be read as numbers") as caught:
        read_state(path, "numbers")
    assert caught.value.__cause__ is not None


def test_the_most_probable_class_is_the_softmaxs_in_any_number_of_pieces(monkeypatch):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(23, 6)).astype(np.float32)
    weight, bias = rng.normal(size=(5, 6)), rng.normal(size=5)
    expected = [int(np.argmax(np.exp(weight @ row + bias) / np.exp(weight @ row + bias).sum())) for row in features]
    assert len(set(expected)) > 2
    for rows in (4096, 10, 1):
        monkeypatch.setattr(weights, "ROWS", rows)
        found = classifier(torch.tensor(weight), torch.tensor(bias))(features)
        assert found.dtype == np.int64
        assert found.tolist() == expected


def test_no_features_have_no_classes():
    assert classifier(torch.ones(3, 2), torch.ones(3))(np.empty((0, 2), dtype=np.float32)).shape == (0,)


def test_probabilities_are_the_softmax_and_agree_with_the_most_probable_class():
    rng = np.random.default_rng(0)
    features = rng.normal(0, 30, size=(23, 6)).astype(np.float32)
    weight, bias = torch.tensor(rng.normal(size=(5, 6))), torch.tensor(rng.normal(size=5))
    found = soft_classifier(weight, bias)(features)
    expected = torch.softmax(torch.tensor(features).double() @ weight.T + bias, dim=1)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-15)
    np.testing.assert_array_equal(found.argmax(axis=1), classifier(weight, bias)(features))

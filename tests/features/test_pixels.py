import numpy as np
import pytest
import torch
from PIL import Image

from vptft.features.pixels import load_pixels


def embedded(extractor, image):
    return extractor.embed(extractor.prepare(image).unsqueeze(0)).numpy()[0]


def test_an_image_of_the_size_is_its_own_features():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    found = embedded(load_pixels(32), Image.fromarray(pixels))
    expected = np.concatenate([pixels[..., channel].ravel() for channel in range(3)]) / 255
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_one_pixel_is_its_colour_everywhere():
    found = embedded(load_pixels(8), Image.new("RGB", (1, 1), (255, 51, 0)))
    np.testing.assert_allclose(found.reshape(3, 64), np.repeat([[1.0], [0.2], [0.0]], 64, axis=1), atol=1e-6)


@pytest.mark.parametrize(("size", "components"), [(32, 64), (64, 64), (4, 48)])
def test_the_distance_is_taken_in_components_that_are_there(size, components):
    extractor = load_pixels(size)
    assert extractor.components == components
    assert extractor.distance_name == f"FD (pixels, {size} px)"
    assert embedded(extractor, Image.new("RGB", (50, 70))).shape == (3 * size * size,)


def test_the_space_says_that_there_are_no_weights():
    extractor = load_pixels(32)
    assert extractor.name == extractor.space.extractor == "pixels:32"
    assert (extractor.space.weights, extractor.top_1) == ("", None)
    assert extractor.space.difference(load_pixels(16).space).startswith(
        "extractor (pixels:32 and pixels:16) and resize"
    )


def test_features_go_to_the_device():
    batch = load_pixels(4).prepare(Image.new("RGB", (4, 4))).unsqueeze(0)
    assert load_pixels(4, device="meta").embed(batch).device == torch.device("meta")

import numpy as np
import pytest
import torch
from PIL import Image

from data.builders import peak_memory
from vptft.data.transforms import LONGEST, resize, to_square, to_tensor


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))


def crop_of_the_whole(image: Image.Image, size: int) -> torch.Tensor:
    """Resize everything, then crop."""
    pixels = to_tensor(image)
    height, width = pixels.shape[-2:]
    scale = size / min(height, width)
    pixels = resize(pixels, max(size, round(height * scale)), max(size, round(width * scale)))
    top, left = (pixels.shape[-2] - size) // 2, (pixels.shape[-1] - size) // 2
    return pixels[:, top : top + size, left : left + size].round().to(torch.uint8)


@pytest.mark.parametrize("shape", [(40, 30), (LONGEST * 5, 5), (5, LONGEST * 5), (7, 7), (1, 1)])
def test_ordinary_images_are_resized_whole(shape: tuple[int, int]) -> None:
    image = noise(*shape)
    assert torch.equal(to_square(image, 16), crop_of_the_whole(image, 16))


@pytest.mark.parametrize("size", [4, 14, 50])
@pytest.mark.parametrize("shape", [(241, 10), (10, 241), (90, 2), (1, 35)])
def test_of_a_strip_the_crop_does_not_depend_on_the_far_ends(shape: tuple[int, int], size: int) -> None:
    image = noise(*shape)
    far = image.copy()
    far.paste("white", (0, 0, 1, 1))
    far.paste("black", (image.width - 1, image.height - 1, image.width, image.height))
    assert torch.equal(to_square(far, size), to_square(image, size))


def test_a_strip_gives_what_resizing_all_of_it_gives() -> None:
    # 8 x 100 to 16 px: the scale is whole, so that the cut and the whole are sampled at the same points.
    for shape in ((100, 8), (8, 100)):
        image = noise(*shape)
        assert torch.equal(to_square(image, 16), crop_of_the_whole(image, 16))


def test_a_very_long_strip_takes_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    resized: list[tuple[int, ...]] = []
    interpolate = torch.nn.functional.interpolate

    def watched(pixels: torch.Tensor, **settings: object) -> torch.Tensor:
        out = interpolate(pixels, **settings)  # type: ignore[arg-type]
        resized.append(tuple(out.shape))
        return out

    monkeypatch.setattr("vptft.data.transforms.F.interpolate", watched)
    with peak_memory() as peak:
        for shape in ((1, 20_000), (20_000, 1), (3, 20_000)):
            assert to_square(noise(*shape), 299).shape == (3, 299, 299)
    assert max(np.prod(shape) for shape in resized) * 4 < 16 * 2**20
    assert peak[0] < 16 * 2**20


def test_one_pixel_is_a_square_of_its_colour() -> None:
    assert to_square(Image.new("RGB", (1, 1), (10, 20, 30)), 8).flatten(1).unique(dim=1).tolist() == [[10], [20], [30]]

"""What of a colour image is registered."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regstudio.data.checking.check import ReadOptions, check
from regstudio.data.loading.loaders import ImageLoader
from regstudio.data.pictures.colour import LEAST, STAINS, dark_background, foreground, grey_image
from regstudio.data.pictures.writing import write_image
from regstudio.errors import DataError
from tests.pictures import index, ramp

# The inverse of the stains' colours as scikit-image prints it (color.hed_from_rgb).
HED_FROM_RGB = np.array([
    [1.87798274, -1.00767869, -0.55611582],
    [-0.06590806, 1.13473037, -0.1355218],
    [-0.60190736, -0.48041419, 1.57358807],
])  # fmt: skip


def section(tmp_path: Path, amounts: np.ndarray) -> Path:
    """A section on white glass with these amounts (H, W, 2) of hematoxylin and eosin."""
    light = np.exp(np.log(LEAST) * (amounts @ STAINS[:2]))
    Image.fromarray(np.rint(255 * light).astype(np.uint8)).save(tmp_path / "section.png")
    return tmp_path / "section.png"


@pytest.mark.parametrize(("number", "stain"), [(0, "hematoxylin"), (1, "eosin")])
def test_stains_are_told_apart(tmp_path: Path, number: int, stain: str) -> None:
    amounts = 0.1 * np.stack([ramp(), ramp()[::-1]], axis=-1)
    image = ImageLoader(grey=stain, background="auto")(section(tmp_path, amounts))[0]
    np.testing.assert_allclose(image, 10 * amounts[..., number], atol=0.03)


def test_amounts_are_those_of_scikit_image() -> None:
    colours = np.random.default_rng(0).integers(1, 255, (20, 30, 3)).astype(np.uint8)
    theirs = np.maximum((np.log(colours / 255) / np.log(1e-6)) @ HED_FROM_RGB, 0)
    for number, stain in enumerate(("hematoxylin", "eosin")):
        np.testing.assert_allclose(grey_image(colours, stain, colours.dtype), theirs[..., number], atol=1e-6)


def test_saturation_and_channels() -> None:
    colours = np.array([[[200, 200, 200], [200, 100, 50], [0, 0, 0]]], np.uint8)
    np.testing.assert_allclose(grey_image(colours, "saturation", colours.dtype), [[0, 0.75, 0]], atol=1e-6)
    np.testing.assert_array_equal(grey_image(colours, "channel:2", colours.dtype), [[200, 50, 0]])
    np.testing.assert_array_equal(grey_image(colours[..., 0], "eosin", colours.dtype), colours[..., 0])


def test_a_channel_that_is_not_there_is_named_with_its_file(root: Path) -> None:
    write_image(root / "moving" / "t1.png", np.stack([ramp()] * 3, axis=-1))
    with pytest.raises(DataError, match=r"t1\.png: has 3 channels, counted from 0, and no channel 4\. Choose another"):
        ImageLoader(grey="channel:4")(root / "moving" / "t1.png")
    report = check(index(root), ReadOptions(grey="channel:4"))
    assert [problem.path.name for problem in report.index.warnings] == ["t1.png"]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32])
def test_a_bright_background_becomes_0(dtype: type) -> None:
    image = np.full((60, 80), 250)
    image[20:40, 20:50] = np.arange(30)
    turned = dark_background(image.astype(dtype), "auto", "luminance")
    np.testing.assert_array_equal(turned, 250 - image)
    np.testing.assert_array_equal(dark_background(turned, "auto", "luminance"), turned)
    np.testing.assert_array_equal(dark_background(image, "black", "luminance"), image)
    np.testing.assert_array_equal(dark_background(ramp(), "white", "channel:0"), 1 - ramp())
    np.testing.assert_array_equal(dark_background(ramp(), "auto", "luminance"), ramp())


def test_the_foreground_is_what_the_dark_border_does_not_reach() -> None:
    image = np.zeros((40, 50))
    image[10:30, 12:40] = 0.7
    image[15:20, 20:25] = 0  # dark, but within
    shown = np.zeros((40, 50), bool)
    shown[10:30, 12:40] = True
    np.testing.assert_array_equal(foreground(image), shown)
    assert foreground(image + 0.1).all()
    assert foreground(0 * image).all()

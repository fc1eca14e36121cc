import importlib.util
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from regstudio.config import build_config
from regstudio.data.folders.layout import Layout, index_folder
from regstudio.data.loading.loaders import ImageLoader, LabelLoader
from regstudio.data.pairs.pair import Pair
from regstudio.data.pairs.reader import PairReader
from regstudio.data.phantom import make_demo
from regstudio.errors import ConfigError
from regstudio.evaluation.scores import score
from regstudio.methods import BASELINES
from regstudio.methods.baselines import baseline, run_tool
from regstudio.methods.method import Method
from regstudio.transforms.registration import Registration
from regstudio.transforms.resampling import warp
from tests.methods.test_masks import behind_a_plate, error

MODULES = {name: tool.module for name, tool in BASELINES.items() if tool}


def installed(name: str) -> Any:
    missing = importlib.util.find_spec(MODULES[name]) is None
    return pytest.param(name, marks=[pytest.mark.slow, pytest.mark.skipif(missing, reason=f"{name} is not installed")])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A validation case of the demo at its own size, 128x128: on much smaller images SyN goes astray."""
    demo = tmp_path_factory.mktemp("demo")
    make_demo(demo, train=1, validation=1)
    index = index_folder(Layout(**build_config({"data_base_dir": demo}).layout.model_dump()))
    assert index.atlas is not None
    return PairReader(fixed=index.atlas, image_loader=ImageLoader(), label_loader=LabelLoader())(index.validation[0])


@pytest.fixture
def off_centre() -> Pair:
    """Smooth blobs, not square, the moving ones 3 pixels lower and 5 to the left: moving(p + (3, -5)) = fixed(p)."""
    y, x = np.mgrid[:72, :56]
    blobs = [(20, 22, 40, 1.0), (45, 30, 60, 0.7), (30, 38, 15, 0.5), (55, 20, 20, 0.9)]

    def draw(dy: float, dx: float) -> Any:
        parts = [a * np.exp(-((y - cy - dy) ** 2 + (x - cx - dx) ** 2) / s) for cy, cx, s, a in blobs]
        image = np.sum(parts, axis=0)
        return ((image - image.min()) / np.ptp(image)).astype(np.float32)

    return Pair(id="blobs", fixed=draw(0, 0), moving=draw(3, -5))


@cache
def shared(name: str) -> Method:
    """One process of each tool for all tests: it takes seconds to start."""
    return baseline(name)


@pytest.mark.parametrize("name", [installed(name) for name in MODULES])
def test_the_flow_points_from_the_fixed_to_the_moving_image(name: str, off_centre: Pair) -> None:
    transform = shared(name)(off_centre)
    assert transform.flow.shape == (2, 72, 56)
    assert transform.flow.dtype == np.float32
    inside = off_centre.fixed > 0.2
    np.testing.assert_allclose(transform.flow[:, inside].mean(axis=1), [3, -5], atol=0.25)
    assert np.abs(warp(off_centre.moving, transform.flow, "bilinear") - off_centre.fixed)[inside].mean() < 0.04


@pytest.mark.parametrize("name", [installed(name) for name in MODULES])
def test_each_method_overlays_the_labels_better_and_says_what_its_affine_part_did(name: str, pair: Pair) -> None:
    transform = shared(name)(pair)
    values = score(Registration(pair=pair, transform=transform)).values
    assert values["dice"] > values["dice_before"] + 0.05
    assert values["dice"] > values["dice_affine"]
    assert transform.seconds > 0


@pytest.mark.parametrize("name", [installed("syn"), installed("elastix")])
def test_what_a_mask_covers_is_left_out(name: str) -> None:
    """Without masks SyN is off by 0.56 pixels, and elastix by 1.00."""
    assert error(shared(name)(behind_a_plate()).flow) < {"syn": 0.45, "elastix": 0.3}[name]


@pytest.mark.slow
def test_demons_warp_as_simpleitk_does(pair: Pair) -> None:
    sitk = pytest.importorskip("SimpleITK")
    flow = baseline("demons")(pair).flow
    fixed, moving = (sitk.GetImageFromArray(image) for image in (pair.fixed, pair.moving))
    field = sitk.GetImageFromArray(np.ascontiguousarray(flow[::-1].transpose(1, 2, 0), np.float64), isVector=True)
    own = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, sitk.DisplacementFieldTransform(field), sitk.sitkLinear))
    inside = within(flow)
    np.testing.assert_allclose(warp(pair.moving, flow, "bilinear")[inside], own[inside], atol=1e-4)


def within(flow: Any) -> Any:
    reached = np.indices(flow.shape[1:]) + flow
    return np.all([(at >= 0) & (at <= size - 1) for at, size in zip(reached, flow.shape[1:], strict=True)], axis=0)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "order"), [("syn", 1), ("elastix", 3)])
def test_the_flow_warps_as_the_tool_itself_does(name: str, order: int, pair: Pair) -> None:
    if importlib.util.find_spec(MODULES[name]) is None:
        pytest.skip(f"{name} is not installed")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        found = process.submit(run_tool, name, pair.fixed, pair.moving).result()
    reached = np.indices(found.flow.shape[1:]) + found.flow
    # ANTs interpolates linearly, as we do; elastix cubically.
    ours = ndimage.map_coordinates(pair.moving.astype(np.float64), reached, order=order)
    assert np.abs(ours - found.warped)[within(found.flow)].mean() < 2e-3
    assert np.abs(pair.moving - found.warped)[within(found.flow)].mean() > 2e-2


def test_none_moves_nothing(off_centre: Pair) -> None:
    assert not baseline("none")(off_centre).flow.any()


@pytest.mark.parametrize(("name", "module"), [("syn", "ants"), ("elastix", "itk")])
def test_a_method_that_is_not_installed_says_how_to_install_it(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=r'pip install "regstudio\[baselines\]"'):
        baseline(name)


def test_an_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=", ".join(BASELINES)):
        baseline("magic")


def test_the_report_knows_which_tool_it_was() -> None:
    assert baseline("demons").provenance["package"] == "SimpleITK"

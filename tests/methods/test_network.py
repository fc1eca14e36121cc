"""Registering arrays and files with networks whose flow is known."""

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from regstudio.data.folders.layout import Case
from regstudio.data.loading.loaders import ImageLoader, LabelLoader
from regstudio.data.pairs.dataset import load_validation_pair
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.errors import CheckpointError, DataError, DeviceError
from regstudio.methods.network import NetworkMethod, load_method
from regstudio.metrics import dice, ncc, njd
from regstudio.networks.base import Prediction
from regstudio.networks.checkpoint import Checkpoint, save_checkpoint
from regstudio.networks.corrmlp import CorrMLP
from regstudio.networks.warp import SpatialTransformer
from regstudio.registering.two_images import register
from tests.known_flows import constant_flow, shifted


def test_constant_flow_is_a_shift(shift: NetworkMethod, image: np.ndarray, label: np.ndarray) -> None:
    fixed_label = shifted(label)
    result = register(shift, shifted(image), image, fixed_label=fixed_label, moving_label=label)
    np.testing.assert_allclose(result.warped, shifted(image), atol=1e-5)
    np.testing.assert_array_equal(result.flow, np.broadcast_to(np.float32([[[2]], [[-3]]]), (2, 40, 36)))
    np.testing.assert_array_equal(result.warped_label, fixed_label)
    assert (result.warped.dtype, result.flow.dtype, result.warped_label.dtype) == (np.float32, np.float32, np.int16)
    # Label 1 is 10 x 12 pixels, of which 8 x 9 overlap once moved; label 300 is 8 x 8 with 6 x 5.
    before = {1: 72 / 120, 300: 30 / 64}
    expected = {"dice": 1, "dice_1": 1, "dice_300": 1, "njd": 0, "njd_percent": 0, "quality": 1}
    expected |= {"ncc_before": ncc(shifted(image), image), "ncc": ncc(shifted(image), shifted(image))}
    expected |= {"dice_before": sum(before.values()) / 2, "dice_before_1": before[1], "dice_before_300": before[300]}
    assert result.metrics == pytest.approx(expected, abs=1e-5)
    assert result.seconds > 0


def test_a_fresh_network_returns_the_image(image: np.ndarray, label: np.ndarray) -> None:
    model = CorrMLP()
    method = load_method(Checkpoint(weights=model.state_dict(), network={}), device="cpu")
    result = register(method, image, image, moving_label=label)
    assert abs(result.flow).max() < 0.01
    # Neighbouring pixels differ by at most 1, so a flow below 0.01 along both axes changes the image by less than 0.02.
    np.testing.assert_allclose(result.warped, image, atol=0.02)
    np.testing.assert_array_equal(result.warped_label, label)
    assert set(result.metrics) == {"njd", "njd_percent", "ncc_before", "ncc", "quality"}


def test_metrics_are_those_of_the_arrays(image: np.ndarray, label: np.ndarray) -> None:
    torch.manual_seed(0)
    model = CorrMLP(2, 4)
    for head in model.heads:
        torch.nn.init.normal_(head.weight, std=0.3)
    checkpoint = Checkpoint(weights=model.state_dict(), network={"encoder_channels": 2, "decoder_channels": 4})
    other = label[:, ::-1]
    result = register(load_method(checkpoint, "cpu"), image[:, ::-1], image, fixed_label=other, moving_label=label)
    assert result.metrics["njd"] == njd(result.flow).count > 0
    assert result.metrics["ncc"] == ncc(image[:, ::-1], result.warped)
    assert result.metrics["dice"] == dice(other, result.warped_label).mean
    flow = torch.tensor(result.flow, dtype=torch.float64)[None]
    nearest = SpatialTransformer("nearest")(torch.tensor(label, dtype=torch.float64)[None, None], flow)
    np.testing.assert_array_equal(result.warped_label, nearest[0, 0].numpy())


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_any_intensities_are_normalised_as_files_are(dtype: type, identity: NetworkMethod, image: np.ndarray) -> None:
    scaled = (100 * image + 7).astype(dtype)
    result = register(identity, scaled, scaled[::-1])
    expected = (scaled[::-1].astype(float) - scaled.min()) / np.ptp(scaled)
    np.testing.assert_allclose(result.warped, expected, atol=1e-6)


@pytest.mark.parametrize("ids", [[0, 2**53 - 1], [-5, 7], [3, 2**24 + 1]])
def test_large_and_negative_label_ids_survive(ids: list[int], shift: NetworkMethod, image: np.ndarray) -> None:
    label = np.array(ids)[(image > 0.3).astype(int)]
    np.testing.assert_array_equal(register(shift, image, image, moving_label=label).warped_label, shifted(label))


def test_a_bool_label_stays_one(shift: NetworkMethod, image: np.ndarray) -> None:
    result = register(shift, image, image, fixed_label=image > 0.3, moving_label=image > 0.3)
    assert result.warped_label.dtype == bool
    assert result.metrics["dice"] == result.metrics["dice_1"] < 1


def test_nothing_to_score_gives_no_dice(identity: NetworkMethod, image: np.ndarray) -> None:
    empty = np.zeros(image.shape, int)
    result = register(identity, image, image, fixed_label=empty, moving_label=empty)
    assert not any(name.startswith("dice") for name in result.metrics)
    assert all(math.isfinite(value) for value in result.metrics.values())


def test_files_give_what_arrays_give(tmp_path: Path, image: np.ndarray, label: np.ndarray) -> None:
    save_checkpoint(tmp_path / "c.pt", constant_flow(2, -3))
    write_image(tmp_path / "a.png", image)
    write_image(tmp_path / "b.nii.gz", image)
    write_label(tmp_path / "b_seg.npy", label)
    result = register(
        tmp_path / "c.pt",
        tmp_path / "a.png",
        str(tmp_path / "b.nii.gz"),
        fixed_label=label,
        moving_label=tmp_path / "b_seg.npy",
        device="cpu",
    )
    expected = register(tmp_path / "c.pt", image, image, fixed_label=label, moving_label=label, device="cpu")
    np.testing.assert_allclose(result.warped, expected.warped, atol=1e-6)
    np.testing.assert_array_equal(result.warped_label, expected.warped_label)
    case = Case(id="b", image=tmp_path / "b.nii.gz", label=tmp_path / "b_seg.npy")
    pair = load_validation_pair(case, case, ImageLoader(), LabelLoader())
    np.testing.assert_array_equal(pair["moving_image"][0], image)


def test_threads_share_a_method(shift: NetworkMethod, image: np.ndarray) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: register(shift, image, image), range(8)))
    assert all((result.warped == results[0].warped).all() for result in results)


def test_bad_arrays_are_told_apart(identity: NetworkMethod, image: np.ndarray, label: np.ndarray) -> None:
    cases = {
        "moving is 32 x 36 pixels and fixed is 40 x 36; they must have one size": (image, image[:32], None),
        "moving_label is 39 x 36 pixels and fixed is 40 x 36": (image, image, label[1:]),
        "moving_label holds float32 values; it must hold whole numbers": (image, image, image),
        "moving holds NaN or infinity": (image, np.where(image > 0.5, np.nan, image), None),
        "fixed has the shape (1, 40, 36)": (image[None], image, None),
        "moving holds complex64 values; it must hold real numbers": (image, image.astype(np.complex64), None),
        "The images are 20 x 36 pixels; at least 32 x 32 are needed": (image[:20], image[:20], None),
    }
    for message, (fixed, moving, moving_label) in cases.items():
        with pytest.raises(DataError) as error:
            register(identity, fixed, moving, moving_label=moving_label)
        assert message in str(error.value)


def test_bad_checkpoints_and_devices_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.pt: there is no such checkpoint"):
        load_method(tmp_path / "none.pt", device="cpu")
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"other\.pt: its weights do not fit the network"):
        load_method(tmp_path / "other.pt", device="cpu")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="device cuda: no CUDA device is there"):
            load_method(constant_flow(0, 0), device="cuda")


class TooLarge(CorrMLP):
    """A network that needs more memory than there is."""

    def predict(self, *_: object, **__: object) -> Prediction:
        raise torch.OutOfMemoryError("out of memory")


def test_a_full_device_is_an_error_of_the_device(image: np.ndarray) -> None:
    method = NetworkMethod(model=TooLarge(), device=torch.device("cpu"))
    with pytest.raises(DeviceError, match="images of 40 x 36 pixels do not fit in its memory"):
        register(method, image, image)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_what_the_cpu_gives(image: np.ndarray, label: np.ndarray) -> None:
    on_cuda = register(load_method(constant_flow(2, -3), device="cuda"), image, image, moving_label=label)
    np.testing.assert_allclose(on_cuda.warped, shifted(image), atol=1e-4)
    np.testing.assert_array_equal(on_cuda.warped_label, shifted(label))


def test_a_flow_that_is_not_finite_warps_nothing(image: np.ndarray) -> None:
    """Weights may be finite numbers, and yet too large for what is computed with them."""
    weights = CorrMLP(2, 4).state_dict()
    weights["heads.3.bias"] = torch.full((2,), 3e38)
    network = {"encoder_channels": 2, "decoder_channels": 4}
    method = load_method(Checkpoint(weights=weights, network=network), device="cpu")
    with pytest.raises(DataError, match="not made of finite numbers"):
        register(method, image, image)

import base64
import io
import json
import time
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from regstudio.drawing.canvas_payload import Shown, grey_png, jacobian_index, to_payload
from regstudio.drawing.comparison import Comparison
from regstudio.metrics import njd

Array = npt.NDArray[Any]


def shown(size: int = 48, **values: Any) -> Shown:
    rng = np.random.default_rng(0)
    images = rng.random((3, size, size))
    flow = np.zeros((2, size, size), np.float32)
    case = {"name": "a", "fixed": images[0], "moving": images[1], "warped": images[2], "flow": flow, **values}
    return Shown(title="best", case=Comparison(**case), metrics={"ncc": 0.5, "dice": float("nan")})


def unpacked(plane: str, dtype: str, shape: tuple[int, ...]) -> Array:
    return np.frombuffer(zlib.decompress(base64.b64decode(plane)), dtype).reshape(shape)


def test_a_grey_png_holds_the_image() -> None:
    image = np.linspace(0, 1, 256).reshape(16, 16)
    header, _, data = grey_png(image).partition(",")
    read = Image.open(io.BytesIO(base64.b64decode(data)))
    assert header == "data:image/png;base64"
    assert read.mode == "L"
    np.testing.assert_array_equal(np.asarray(read).ravel(), np.arange(256))


def test_the_flow_comes_back_to_within_half_a_step() -> None:
    flow = np.random.default_rng(1).normal(0, 3, (2, 40, 48)).astype(np.float32)
    images = np.zeros((40, 48))
    result = to_payload([shown(fixed=images, moving=images, warped=images, flow=flow)])["results"][0]
    steps = np.cumsum(unpacked(result["flow"], "<i2", flow.shape), axis=-1, dtype=np.int16)
    np.testing.assert_allclose(steps * result["flow_step"], flow, atol=result["flow_step"] / 2 + 1e-6)


def test_a_flow_too_large_for_the_finest_step_still_comes_back() -> None:
    flow = np.full((2, 48, 48), -1000.0)
    result = to_payload([shown(flow=flow)])["results"][0]
    steps = np.cumsum(unpacked(result["flow"], "<i2", flow.shape), axis=-1, dtype=np.int16)
    np.testing.assert_allclose(steps * result["flow_step"], flow, rtol=1e-4)


def test_labels_are_places_in_the_list_of_ids() -> None:
    label = np.zeros((48, 48), np.int64)
    label[:4], label[4:8] = 7, 500
    payload = to_payload([shown(fixed_label=label, moving_label=label, warped_label=label)])
    places = unpacked(payload["fixed_label"], "<u2", (48, 48))
    assert payload["ids"] == [7, 500]
    np.testing.assert_array_equal(np.array([0, 7, 500])[places], label)


def test_folds_are_those_that_njd_counts() -> None:
    flow = np.random.default_rng(2).normal(0, 1, (2, 48, 48))
    flow[0, 3, 3] = np.nan
    assert (jacobian_index(flow) == 0).sum() == njd(flow).count


def test_no_change_of_area_is_the_middle_of_the_colours() -> None:
    assert (jacobian_index(np.zeros((2, 48, 48))) == 128).all()


def test_a_network_that_gives_nan_is_shown_all_the_same() -> None:
    payload = to_payload([shown(flow=np.full((2, 48, 48), np.nan), warped=np.full((48, 48), np.nan))])
    json.dumps(payload, allow_nan=False)
    assert payload["results"][0]["metrics"] == {"ncc": 0.5, "dice": None}


def test_two_networks_share_fixed_moving_and_the_scale_of_magnitudes() -> None:
    small, large = np.full((2, 48, 48), 1.0), np.full((2, 48, 48), 2.0)
    payload = to_payload([shown(flow=small), shown(flow=large)])
    places = [unpacked(result["magnitude"], "u1", (48, 48))[0, 0] for result in payload["results"]]
    assert payload["largest"] == np.hypot(2, 2)
    assert places == [128, 255]


def test_a_case_of_256_pixels_is_compact_and_fast() -> None:
    rng = np.random.default_rng(3)
    label = rng.integers(0, 5, (8, 8)).repeat(32, 0).repeat(32, 1)
    case = shown(256, fixed_label=label, moving_label=label, warped_label=label, flow=rng.normal(0, 2, (2, 256, 256)))
    started = time.process_time()
    payload = json.dumps(to_payload([case]))
    assert len(payload) < 1_000_000
    assert time.process_time() - started < 1  # a tenth of that is usual


def test_masks_are_planes_of_what_counts() -> None:
    mask = np.zeros((48, 48), np.float32)
    mask[:, 10:] = 1
    payload = to_payload([shown(moving_mask=mask, warped_mask=mask[:, ::-1])])
    assert payload["fixed_mask"] is None
    np.testing.assert_array_equal(unpacked(payload["moving_mask"], "<u2", (48, 48)), mask)
    np.testing.assert_array_equal(unpacked(payload["results"][0]["warped_mask"], "<u2", (48, 48)), mask[:, ::-1])

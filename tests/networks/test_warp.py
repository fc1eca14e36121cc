import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from regstudio.networks.warp import SpatialTransformer, integrate, resampled, resize_flow, upsample_flow

HEIGHT, WIDTH = 37, 52


@pytest.fixture
def image() -> np.ndarray:
    """A textured image, neither square nor symmetric."""
    return gaussian_filter(np.random.default_rng(0).random((HEIGHT, WIDTH)), 1.5).astype(np.float64)


@pytest.fixture
def flow() -> np.ndarray:
    """A smooth flow of a few pixels, larger in x than in y, that leaves the image at some edges."""
    noise = np.random.default_rng(1).standard_normal((2, HEIGHT, WIDTH))
    smooth = np.stack([gaussian_filter(component, 4) for component in noise])
    return smooth / smooth.std() * np.array([2.0, 4.0])[:, None, None]


def warp(image: np.ndarray, flow: np.ndarray, mode: str = "bilinear") -> np.ndarray:
    transformer = SpatialTransformer(mode)  # type: ignore[arg-type]
    return transformer(torch.from_numpy(image)[None, None], torch.from_numpy(flow)[None])[0, 0].numpy()


def inside(flow: np.ndarray) -> np.ndarray:
    """Where p + flow(p) lies within the image, so that no convention about the outside matters."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + flow
    return (y >= 0) & (y <= HEIGHT - 1) & (x >= 0) & (x <= WIDTH - 1)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_zero_flow_returns_the_image(image: np.ndarray, mode: str, dtype: type) -> None:
    image = image.astype(dtype)
    np.testing.assert_allclose(warp(image, np.zeros((2, HEIGHT, WIDTH), dtype), mode), image, atol=1e-5)


def test_constant_flow_is_a_shift(image: np.ndarray) -> None:
    flow = np.zeros((2, HEIGHT, WIDTH))
    flow[0], flow[1] = 3, -5
    np.testing.assert_allclose(warp(image, flow)[:-3, 5:], image[3:, :-5], atol=1e-12)


def test_agrees_with_scipy(image: np.ndarray, flow: np.ndarray) -> None:
    coordinates = np.mgrid[:HEIGHT, :WIDTH] + flow
    expected = map_coordinates(image, coordinates, order=1, mode="grid-constant", cval=0)
    np.testing.assert_allclose(warp(image, flow), expected, atol=1e-10)


def test_nearest_agrees_with_scipy_and_keeps_the_ids(image: np.ndarray, flow: np.ndarray) -> None:
    label = np.digitize(image, np.quantile(image, [0.3, 0.6, 0.9])) * 100.0
    warped = warp(label, flow, "nearest")
    expected = map_coordinates(label, np.mgrid[:HEIGHT, :WIDTH] + flow, order=0, mode="grid-constant", cval=0)
    np.testing.assert_array_equal(warped[inside(flow)], expected[inside(flow)])
    assert set(np.unique(warped)) <= {0, 100, 200, 300}


@pytest.mark.parametrize(
    ("mode", "interpolator"), [("bilinear", sitk.sitkLinear), ("nearest", sitk.sitkNearestNeighbor)]
)
def test_agrees_with_simpleitk(image: np.ndarray, flow: np.ndarray, mode: str, interpolator: int) -> None:
    # ITK's displacement vectors are (x, y); the array it is made from is (H, W, 2).
    field = sitk.GetImageFromArray(np.ascontiguousarray(np.moveaxis(flow[::-1], 0, -1)), isVector=True)
    transform = sitk.DisplacementFieldTransform(field)
    picture = sitk.GetImageFromArray(image)
    expected = sitk.GetArrayFromImage(sitk.Resample(picture, picture, transform, interpolator, 0.0))
    where = inside(flow)
    np.testing.assert_allclose(warp(image, flow, mode)[where], expected[where], atol=1e-6)


def test_moving_may_be_larger_than_fixed(image: np.ndarray) -> None:
    flow = np.zeros((2, 20, 30))
    np.testing.assert_allclose(warp(image, flow), image[:20, :30], atol=1e-12)


def test_each_row_of_the_batch_and_each_channel_has_its_own() -> None:
    moving = torch.rand(2, 3, 16, 20, dtype=torch.float64)
    flow = torch.zeros(2, 2, 16, 20, dtype=torch.float64)
    flow[1, 0] = 1
    warped = SpatialTransformer()(moving, flow)
    torch.testing.assert_close(warped[0], moving[0])
    torch.testing.assert_close(warped[1, :, :-1], moving[1, :, 1:])


def test_upsampled_flow_points_to_the_same_places() -> None:
    # A linear flow is reproduced exactly: with corners aligned, fine pixel i lies at coarse i * (n - 1) / (2n - 1).
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(10.0), indexing="ij")
    flow = torch.stack((0.5 * rows, -0.25 * columns))[None]
    fine = upsample_flow(flow)
    assert fine.shape == (1, 2, 16, 20)
    torch.testing.assert_close(fine[0, 0, :, 0], torch.arange(16.0) * 7 / 15)
    torch.testing.assert_close(fine[0, 1, 0], -0.5 * torch.arange(20.0) * 9 / 19)


def test_unknown_mode_is_named() -> None:
    with pytest.raises(ValueError, match="'cubic'"):
        SpatialTransformer("cubic")  # type: ignore[arg-type]


def test_a_flow_that_is_no_number_is_not_taken_for_background() -> None:
    flow = torch.zeros(1, 2, 8, 8)
    flow[0, 1, 3, 4] = torch.nan
    warped = SpatialTransformer()(torch.rand(1, 16, 8, 8), flow)
    assert warped.isnan().sum() == 16
    assert warped[0, :, 3, 4].isnan().all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_the_gradient_of_a_flow_that_is_no_number_harms_nothing(bad: float) -> None:
    """It once ended the process: this must not crash, and what is finite has its own gradient."""
    velocity = torch.full((4, 2, 64, 64), bad)
    velocity[0] = 0.1
    velocity.requires_grad_()
    integrate(velocity)[0].sum().backward()  # type: ignore[no-untyped-call]
    assert velocity.grad is not None
    assert velocity.grad[0].isfinite().all()


def test_a_resized_flow_is_the_same_in_other_pixels() -> None:
    """Of a flow that is linear in the place, away from the border, to coarser and finer grids with the same edges."""
    rows, columns = (((torch.arange(side) + 0.5) / side) for side in (32, 24))
    flow = torch.stack((3 * rows[:, None] + 0 * columns, 0 * rows[:, None] - 2 * columns))[None] * 32
    for size in ((16, 12), (64, 48), (48, 36), (20, 15)):
        resized = resize_flow(flow, size)
        y, x = (((torch.arange(side) + 0.5) / side) for side in size)
        expected = torch.stack((3 * y[:, None] * size[0] + 0 * x, 0 * y[:, None] - 2 * x * 32 / 24 * size[1]))[None]
        torch.testing.assert_close(resized[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], rtol=0, atol=0.5)
    assert resize_flow(flow, (32, 24)) is flow


@pytest.mark.parametrize("size", [(16, 12), (20, 15), (32, 24), (33, 25), (64, 48), (75, 61)])
def test_images_are_resampled_as_torch_does(size: tuple[int, int]) -> None:
    maps = torch.rand(2, 3, 32, 24, generator=torch.manual_seed(0))
    if size[0] < 32:
        expected = torch.nn.functional.interpolate(maps, size, mode="area")
    else:
        expected = torch.nn.functional.interpolate(maps, size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(resampled(maps, size), expected)

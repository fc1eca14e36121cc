"""Flows of the working grid between the files themselves, against SimpleITK."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  the name that everybody gives it
import tifffile
from PIL import Image, ImageCms

from regstudio.data.loading.working_grid import GridRule
from regstudio.data.pairs.pair import Pair, Pictures
from regstudio.data.pictures.formats import read_image
from regstudio.data.pictures.picture import Picture
from regstudio.drawing.canvas_payload import Shown, to_payload
from regstudio.drawing.comparison import comparison
from regstudio.transforms import file_field
from regstudio.transforms.file_field import FileField, field_between
from regstudio.transforms.registration import Registration
from regstudio.transforms.result_files import save_registration
from regstudio.transforms.transform import Transform

FIXED, MOVING = (90, 130), (151, 120)
RULES = [GridRule(), GridRule(working_size="40x64"), GridRule(working_size="48", fit="stretch")]


def smooth(size: tuple[int, int], amount: float) -> np.ndarray:
    """A flow that leads somewhere else at every pixel, and out of the image at the border."""
    rows, columns = np.indices(size) / np.reshape(size, (2, 1, 1)) * 2 * np.pi
    return amount * np.stack([np.sin(rows + columns) + 0.3, np.cos(2 * columns - rows)])


def picture(path: Path, size: tuple[int, int], spacing: tuple[float, float], colours: bool) -> Path:
    values = np.random.default_rng(0).random((*size, 3)) * 255
    image = sitk.GetImageFromArray(values.astype(np.uint8) if colours else values[..., 0].astype(np.float32), colours)
    image.SetSpacing(spacing[::-1])
    image.SetOrigin((5.0, -3.0))
    sitk.WriteImage(image, path)
    return path


def registered(tmp_path: Path, rule: GridRule, colours: bool = True) -> Registration:
    """Two pictures of different sizes, shapes, spacings and origins, with a flow on their working grid."""
    fixed = read_image(picture(tmp_path / "fixed.mha", FIXED, (1.5, 1.0), colours), colour=True)
    moving = read_image(picture(tmp_path / "moving.mha", MOVING, (0.8, 1.1), colours), colour=True)
    grid = rule.grid(fixed.size, fixed.spacing)
    on, image = (grid.place(file.size, file.spacing) for file in (fixed, moving))
    blank = np.zeros(grid.size, np.float32)
    pictures = Pictures(fixed=fixed, moving=moving, fixed_place=on, moving_place=image)
    pair = Pair(id="x", fixed=blank, moving=blank, pictures=pictures)
    return Registration(pair=pair, transform=Transform(flow=smooth(grid.size, 4.0), seconds=0.0))


@pytest.mark.parametrize("nodes", [2**22, 1500])
@pytest.mark.parametrize("rule", RULES)
def test_simpleitk_makes_the_same_of_the_originals(
    tmp_path: Path, rule: GridRule, nodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_field, "MAX_NODES", nodes)
    registration = registered(tmp_path, rule)
    save_registration(registration, tmp_path / "out", "a")
    ours = read_image(tmp_path / "out" / "a_warped.mha", colour=True)
    fixed, moving = (sitk.ReadImage(tmp_path / name) for name in ("fixed.mha", "moving.mha"))
    field = sitk.ReadImage(tmp_path / "out" / "a_displacement.nii.gz", sitk.sitkVectorFloat64)
    assert (field.GetSize() == fixed.GetSize()) == (nodes == 2**22)
    transform = sitk.DisplacementFieldTransform(field)
    theirs = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, sitk.sitkLinear))
    outside = (theirs == 0).all(axis=-1)  # ours have the minimum there, which is 0, too
    assert ours.array.shape == (*FIXED, 3)
    assert 0.02 < outside.mean() < 0.6
    assert (np.abs(ours.array.astype(int) - theirs) <= 1).mean() > 0.999
    assert np.allclose(read_image(tmp_path / "out" / "a_warped.mha").spacing, (1.5, 1.0))


def test_a_tiff_keeps_its_tags_and_itk_reads_its_resolution_as_spacing(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    values = np.random.default_rng(0)
    for name, size, resolution in (("fixed", FIXED, (100, 50)), ("moving", MOVING, (25, 80))):
        tifffile.imwrite(
            tmp_path / f"{name}.tif",
            values.integers(0, 255, (*size, 3)).astype(np.uint8),
            photometric="rgb",
            resolution=resolution,
            resolutionunit="CENTIMETER",
            iccprofile=profile if name == "moving" else None,
        )
    fixed, moving = (read_image(tmp_path / f"{name}.tif", colour=True) for name in ("fixed", "moving"))
    blank = np.zeros((45, 65), np.float32)
    pair = Pair(id="x", fixed=blank, moving=blank, pictures=Pictures(fixed=fixed, moving=moving))
    registration = Registration(pair=pair, transform=Transform(flow=smooth((45, 65), 4.0), seconds=0.0))
    save_registration(registration, tmp_path / "out", "a")
    with tifffile.TiffFile(tmp_path / "out" / "a_warped.tif") as written:
        tags = written.pages[0].tags
        assert tags.valueof(34675) == profile
        assert tags.valueof(296) == 3
        assert [tags.valueof(tag)[0] / tags.valueof(tag)[1] for tag in (282, 283)] == [100, 50]
        ours = written.asarray()
    originals = [sitk.ReadImage(tmp_path / f"{name}.tif") for name in ("fixed", "moving")]
    field = sitk.ReadImage(tmp_path / "out" / "a_displacement.nii.gz", sitk.sitkVectorFloat64)
    np.testing.assert_allclose(originals[0].GetSpacing(), (0.1, 0.2))
    theirs = sitk.Resample(originals[1], originals[0], sitk.DisplacementFieldTransform(field), sitk.sitkLinear)
    differences = np.abs(sitk.GetArrayFromImage(theirs).astype(int) - ours)
    assert (differences <= 1).mean() > 0.999
    save_registration(registration, tmp_path / "out", "b", output_size="working")
    small = read_image(tmp_path / "out" / "b_warped.tif")
    assert small.tags is not None
    assert small.tags.resolution == (25, 50)


def test_the_flow_between_files_follows_from_where_they_lie(tmp_path: Path) -> None:
    registration = registered(tmp_path, GridRule(working_size="40x64"))
    on, image = registration.pair.places
    field = field_between(registration.flow, on, image)
    for y, x in ((0, 0), (89, 129), (40, 17)):
        at = on.to_grid(np.array([[y, x]], float))
        rows, columns = (at[0].clip(0, np.array(registration.flow.shape[1:]) - 1) + 1e-9).astype(int)
        near = registration.flow[:, rows : rows + 2, columns : columns + 2].reshape(2, -1)
        reached = image.to_grid(np.array([[y, x]]) + field.flow[:, y, x]) - at
        assert (near.min(axis=1) - 1e-3 <= reached).all()
        assert (reached <= near.max(axis=1) + 1e-3).all()


@pytest.mark.parametrize(("output_size", "size"), [("working", (64, 62)), ("moving", (169, 118)), ("fixed", FIXED)])
def test_results_have_the_size_that_is_asked_for(tmp_path: Path, output_size: str, size: tuple[int, int]) -> None:
    registration = registered(tmp_path, GridRule(working_size="64"), colours=False)
    save_registration(registration, tmp_path / "out", "a", output_size=output_size)
    written = read_image(tmp_path / "out" / "a_warped.mha")
    if output_size == "moving":  # 135 x 130 mm in pixels of 0.8 x 1.1 mm
        np.testing.assert_allclose(written.spacing, (0.8, 1.1), rtol=0.01)
    assert written.size == size
    assert np.allclose(np.multiply(written.spacing, written.size), (135, 130))


def test_labels_are_scored_at_the_fixed_files_own_resolution() -> None:
    """One label is a checkerboard that a grid of half the size cannot hold."""
    board = (np.indices((80, 64)).sum(axis=0) % 2 + 1).astype(np.uint8)
    files = [Picture(array=array, path=Path(name)) for name, array in (("f", board * 9), ("m", board * 9))]
    labels = [Picture(array=board, path=Path(name)) for name in ("f_seg", "m_seg")]
    place = GridRule(working_size="40x32").grid((80, 64), None).place((80, 64))
    small = board[::2, ::2]
    pair = Pair(
        id="x",
        fixed=small.astype(np.float32),
        moving=small.astype(np.float32),
        fixed_label=small,
        moving_label=small,
        pictures=Pictures(
            fixed=files[0],
            moving=files[1],
            fixed_label=labels[0],
            moving_label=labels[1],
            fixed_place=place,
            moving_place=place,
        ),
    )
    flow = np.zeros((2, 40, 32))
    flow[0] = 0.5  # of the grid: one pixel of the files
    registration = Registration(pair=pair, transform=Transform(flow=flow, seconds=0.0))
    assert registration.dice_before is not None
    assert registration.dice is not None
    assert registration.dice_before.mean == 1
    assert registration.dice.mean == 0


def test_a_tile_sees_what_the_whole_picture_shows() -> None:
    array = np.random.default_rng(1).integers(0, 255, (70, 90)).astype(np.uint8)
    flow = np.stack(np.meshgrid(np.linspace(-20, 30, 64), np.linspace(25, -25, 80), indexing="ij"))
    field = FileField(flow=flow, size=(64, 80), image_size=(70, 90))
    whole = field.warped(array)
    np.testing.assert_array_equal(field.warped(array, tile=16), whole)
    np.testing.assert_array_equal(field.warped(array, label=True, tile=16), field.warped(array, label=True))
    assert whole.any()


def test_what_is_shown_is_in_colour_on_the_grid(tmp_path: Path) -> None:
    registration = registered(tmp_path, GridRule(working_size="40x64"))
    fixed, moving, warped = registration.colours
    assert fixed is not None
    assert moving is not None
    assert warped is not None
    assert {(image.shape, image.dtype.name) for image in (fixed, moving, warped)} == {((40, 64, 3), "uint8")}
    assert len(np.unique(fixed[20, 30])) > 1
    payload = to_payload([Shown(title="a", case=comparison(registration), metrics={})])
    for uri, expected in ((payload["fixed_colours"], fixed), (payload["results"][0]["warped_colours"], warped)):
        png = base64.b64decode(uri.partition(",")[2])
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), expected)
    grey = registered(tmp_path, GridRule(), colours=False)
    assert grey.colours == (None, None, None)
    assert to_payload([Shown(title="a", case=comparison(grey), metrics={})])["fixed_colours"] is None

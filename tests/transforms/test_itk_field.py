"""Displacement fields, judged by the programs they are for: SimpleITK, and ANTs where antspyx is installed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  the name that everybody gives it
from scipy import ndimage

from regstudio.data.geometry import LPS_TO_RAS, Geometry
from regstudio.data.loading.loaders import DataWarning
from regstudio.data.pictures.formats import read_image
from regstudio.data.pictures.picture import Picture
from regstudio.data.pictures.writing import write_image
from regstudio.data.problems import FileError
from regstudio.transforms.itk_field import read_field
from regstudio.transforms.resampling import points_into, sample_nearest
from regstudio.transforms.result_files import save_registration
from tests.known_flows import registered_by

SIZE = (40, 36)


def smooth(seed: int, size: tuple[int, int] = SIZE, sigma: float = 2) -> np.ndarray:
    """A picture of whole numbers from 3 to 203 without any symmetry."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=size), sigma)
    return np.rint(200 * (noise - noise.min()) / np.ptp(noise) + 3).astype(np.int16)


def flow_of(seed: int = 5, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A flow of up to 6 pixels or so, whose ends lie outside the image in places."""
    noise = np.random.default_rng(seed).normal(size=(2, *size))
    return (ndimage.gaussian_filter(noise, (0, 6, 6)) * 60).astype(np.float32)


def affine_of(angle: float, spacing: tuple[float, float], origin: tuple[float, float, float]) -> np.ndarray:
    """(row, column, slice) to RAS: rotated in the plane of x and y, rows running along y."""
    rotation = np.array([[-np.sin(angle), np.cos(angle)], [np.cos(angle), np.sin(angle)]])
    lps = np.eye(4)
    lps[:2, :2] = rotation * spacing
    lps[:3, 3] = origin
    return LPS_TO_RAS @ lps


ROTATED = affine_of(0.4, (0.7, 1.3), (31, -12, 0))
OTHER = affine_of(-0.25, (1.1, 0.6), (-8, 40, 0))
TILTED = np.array([[0.0, 1.2, 0, 5], [0.6, 0, 0.8, -7], [0.8, 0, -0.6, 11], [0, 0, 0, 1]]) @ np.diag([0.8, 1, 2, 1])


def write_2d(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    if path.name.endswith((".nii", ".nii.gz")):
        write_nifti(path, array, affine)
    else:
        write_image(path, array, like=Picture(array=array, path=path, geometry=Geometry(affine=affine)))


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write an array [row, column, ...] with nibabel, which counts x, the columns, first."""
    nib.save(nib.Nifti1Image(array.swapaxes(0, 1), affine[:, [1, 0, 2, 3]]), path)


def write_slice(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    write_nifti(path, array[..., None], affine) if ".nii" in path.name else _write_itk_volume(path, array, affine)


def _write_itk_volume(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    image = sitk.GetImageFromArray(array[None])
    lps = (LPS_TO_RAS @ affine)[:, [1, 0, 2, 3]]
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path))


@dataclass
class Saved:
    """What was registered, read back, and the files that came of it."""

    fixed: Path
    moving: Path
    out: Path
    warped: Path

    def array(self, image: sitk.Image) -> np.ndarray:
        """An ITK result as an array, which ours are like."""
        return sitk.GetArrayFromImage(image).squeeze()


def save(folder: Path, fixed: Path, moving: Path, flow: np.ndarray, **options: int) -> Saved:
    pictures = read_image(fixed), read_image(moving, **options)
    written = save_registration(registered_by(flow, *pictures), folder / "out", "x")
    assert [path.name for path in written[1:]] == ["x_flow.npy", "x_flow.json", "x_displacement.nii.gz"]
    return Saved(fixed, moving, folder / "out", written[0])


def by_sitk(saved: Saved, *, reference: Path, interpolator: int = sitk.sitkLinear) -> sitk.Image:
    field = sitk.ReadImage(str(saved.out / "x_displacement.nii.gz"), sitk.sitkVectorFloat64)
    moving = sitk.ReadImage(str(saved.moving), sitk.sitkFloat64)
    lowest = float(sitk.GetArrayFromImage(moving).min())
    transform = sitk.DisplacementFieldTransform(field)
    return sitk.Resample(moving, sitk.ReadImage(str(reference)), transform, interpolator, lowest)


PAIRS: dict[str, tuple[Callable[..., None], str, np.ndarray, str, np.ndarray]] = {
    "mha": (write_2d, "f.mha", ROTATED, "m.mha", OTHER),
    "nrrd onto mha": (write_2d, "f.mha", ROTATED, "m.nrrd", OTHER),
    "2-D NIfTI": (write_2d, "f.nii.gz", ROTATED, "m.nii.gz", OTHER),
    "NIfTI of one slice": (write_slice, "f.nii.gz", ROTATED, "m.nii.gz", OTHER),
    "tilted NIfTI": (write_slice, "f.nii", TILTED, "m.nii.gz", ROTATED),
    "mha of one slice": (write_slice, "f.mha", TILTED, "m.mha", OTHER),
    "NIfTI onto mha": (write_2d, "f.mha", ROTATED, "m.nii", OTHER),
    "mha onto NIfTI": (write_2d, "f.nii", ROTATED, "m.mha", OTHER),
    "unplaced NIfTI": (write_2d, "f.nii", np.diag([1.5, 0.5, 1, 1]), "m.nii", OTHER),
}


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    write, fixed, fixed_affine, moving, moving_affine = PAIRS[request.param]
    write(tmp_path / fixed, smooth(1), fixed_affine)
    write(tmp_path / moving, smooth(2), moving_affine)
    if request.param == "unplaced NIfTI":
        header = nib.load(tmp_path / fixed).header
        header["sform_code"] = header["qform_code"] = 0
        nib.save(nib.Nifti1Image(smooth(1).T, None, header), tmp_path / fixed)
    return tmp_path / fixed, tmp_path / moving


def test_simpleitk_warps_the_original_as_we_do(pair: tuple[Path, Path], tmp_path: Path) -> None:
    saved = save(tmp_path, *pair, flow_of())
    ours = read_image(saved.warped).array
    theirs = saved.array(by_sitk(saved, reference=saved.fixed))
    assert np.ptp(ours) > 100
    assert abs(theirs - ours).max() <= 0.6  # ours is rounded, theirs is not
    field = sitk.ReadImage(str(saved.out / "x_displacement.nii.gz"))
    fixed = sitk.ReadImage(str(saved.fixed))
    for of_field, of_fixed in zip(
        (field.GetSize()[:2], field.GetSpacing(), field.GetOrigin(), field.GetDirection()),
        (fixed.GetSize()[:2], fixed.GetSpacing(), fixed.GetOrigin(), fixed.GetDirection()),
        strict=True,
    ):
        assert of_field == pytest.approx(of_fixed, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mha", "2-D NIfTI", "NIfTI of one slice", "tilted NIfTI"])
def test_ants_warps_the_original_as_we_do(name: str, tmp_path: Path) -> None:
    ants = pytest.importorskip("ants", reason="needs antspyx, in regstudio[baselines]")
    write, fixed_name, fixed_affine, moving_name, moving_affine = PAIRS[name]
    write(tmp_path / fixed_name, smooth(1), fixed_affine)
    write(tmp_path / moving_name, smooth(2), moving_affine)
    saved = save(tmp_path, tmp_path / fixed_name, tmp_path / moving_name, flow_of())
    ours = read_image(saved.warped).array
    fixed, moving = (ants.image_read(str(path)) for path in (saved.fixed, saved.moving))
    theirs = ants.apply_transforms(
        fixed, moving, [str(saved.out / "x_displacement.nii.gz")], interpolator="linear", defaultvalue=float(ours.min())
    )
    assert abs(theirs.numpy().squeeze().T - ours).max() <= 1  # x first


def test_files_without_a_place_are_pixels(tmp_path: Path) -> None:
    for name, seed in (("f.png", 1), ("m.png", 2)):
        write_image(tmp_path / name, smooth(seed).astype(np.uint8))
    flow = flow_of()
    saved = save(tmp_path, tmp_path / "f.png", tmp_path / "m.png", flow)
    assert abs(saved.array(by_sitk(saved, reference=saved.fixed)) - read_image(saved.warped).array).max() <= 0.6
    field = sitk.ReadImage(str(saved.out / "x_displacement.nii.gz"))
    assert (field.GetSpacing(), field.GetOrigin(), field.GetDirection()) == ((1, 1), (0, 0), (1, 0, 0, 1))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(field), np.moveaxis(flow[::-1], 0, -1))  # dx, dy
    stored = nib.load(saved.out / "x_displacement.nii.gz")
    assert stored.shape == (36, 40, 1, 1, 2)
    assert stored.header.get_intent()[0] == "vector"
    assert int(stored.header["intent_code"]) == 1007


def test_a_slice_of_a_volume_is_found_in_the_volume(tmp_path: Path) -> None:
    volume = np.stack([smooth(seed, (36, 5), 1) for seed in range(40)])  # (40, 36, 5), sliced along its last axis
    write_slice(tmp_path / "f.nii", smooth(1), TILTED)
    write_nifti(tmp_path / "m.nii.gz", volume, TILTED @ np.diag([1, 1, 1.7, 1]))
    saved = save(tmp_path, tmp_path / "f.nii", tmp_path / "m.nii.gz", flow_of(), slice_axis=2, slice_index=3)
    ours, theirs = read_image(saved.warped).array, saved.array(by_sitk(saved, reference=saved.fixed))
    inside = ours > ours.min()
    assert inside.sum() > 1000
    assert abs(theirs - ours)[inside].max() <= 0.6


def test_the_warped_file_will_do_as_the_reference(pair: tuple[Path, Path], tmp_path: Path) -> None:
    saved = save(tmp_path, *pair, flow_of())
    theirs = sitk.GetArrayFromImage(by_sitk(saved, reference=saved.warped)).squeeze()
    assert abs(theirs - read_image(saved.warped).array).max() <= 0.6


def test_another_size_is_the_same_field_of_view_to_itk_too(tmp_path: Path) -> None:
    write_2d(tmp_path / "f.mha", smooth(1), ROTATED)
    write_2d(tmp_path / "m.mha", smooth(2, (60, 90), 4), OTHER)
    saved = save(tmp_path, tmp_path / "f.mha", tmp_path / "m.mha", flow_of())
    assert abs(saved.array(by_sitk(saved, reference=saved.fixed)) - read_image(saved.warped).array).max() <= 0.6


def test_labels_agree_but_for_ties(tmp_path: Path) -> None:
    write_2d(tmp_path / "f.mha", smooth(1), ROTATED)
    ids = smooth(2) // 50
    write_2d(tmp_path / "m.mha", ids, OTHER)
    flow = flow_of()
    saved = save(tmp_path, tmp_path / "f.mha", tmp_path / "m.mha", flow)
    theirs = saved.array(by_sitk(saved, reference=saved.fixed, interpolator=sitk.sitkNearestNeighbor))
    np.testing.assert_array_equal(sample_nearest(ids, points_into(ids.shape, flow)), theirs)


def test_micrometres_become_millimetres(tmp_path: Path) -> None:
    for name, affine in (("f.nii", ROTATED), ("m.nii", OTHER)):
        file = nib.Nifti1Image(smooth(2).T, np.diag([1000, 1000, 1000, 1]) @ affine[:, [1, 0, 2, 3]])
        file.header.set_xyzt_units("micron")
        nib.save(file, tmp_path / name)
    saved = save(tmp_path, tmp_path / "f.nii", tmp_path / "m.nii", flow_of())
    assert abs(saved.array(by_sitk(saved, reference=saved.fixed)) - read_image(saved.warped).array).max() <= 0.6


def test_no_field_is_written_where_itk_knows_none(tmp_path: Path) -> None:
    sheared = np.array([[1.0, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    for name in ("f.nii", "m.nii"):
        file = nib.Nifti1Image(smooth(1), None)
        file.set_sform(sheared, 2)
        nib.save(file, tmp_path / name)
    fixed, moving = (read_image(tmp_path / name) for name in ("f.nii", "m.nii"))
    with pytest.warns(DataWarning, match="not at right angles, which ITK cannot express"):
        written = save_registration(registered_by(flow_of(), fixed, moving), tmp_path / "out", "x")
    assert [path.name for path in written] == ["x_warped.nii", "x_flow.npy", "x_flow.json"]


def test_a_field_read_back_is_the_flow(pair: tuple[Path, Path], tmp_path: Path) -> None:
    flow = flow_of()
    saved = save(tmp_path, *pair, flow)
    read, affine = read_field(saved.out / "x_displacement.nii.gz", read_image(saved.moving))
    np.testing.assert_allclose(read, flow, atol=1e-3)
    np.testing.assert_allclose(affine[:3, 3], _origin_as_itk_reads(saved.fixed), atol=1e-4)


def _origin_as_itk_reads(path: Path) -> np.ndarray:
    origin = np.zeros(3)
    found = sitk.ReadImage(str(path)).GetOrigin()
    origin[: len(found)] = found
    return origin * [-1, -1, 1]


def test_what_is_no_field_is_told(tmp_path: Path) -> None:
    write_2d(tmp_path / "m.mha", smooth(2), OTHER)
    write_2d(tmp_path / "no.nii.gz", smooth(1), OTHER)
    (tmp_path / "junk.nii.gz").write_bytes(b"junk" * 200)
    moving = read_image(tmp_path / "m.mha")
    for name, what in (("no.nii.gz", "not a vector of 2 or 3"), ("junk.nii.gz", "cannot be read as a displacement")):
        with pytest.raises(FileError, match=what):
            read_field(tmp_path / name, moving)
    with pytest.raises(FileError, match="there is no such file"):
        read_field(tmp_path / "none.nii.gz", moving)

"""Files in any orientation, and networks of version 0.1: what is registered, and where the results lie."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  the name that everybody gives it
import torch
from click.testing import CliRunner

from regstudio.cli import main
from regstudio.data.folders.layout import Case
from regstudio.data.loading.loaders import ImageLoader, LabelLoader
from regstudio.data.pairs.reader import PairReader
from regstudio.data.pictures.formats import read_image
from regstudio.methods import onnx_export
from regstudio.methods.method import axes_of
from regstudio.methods.network import load_method
from regstudio.networks.checkpoint import load_checkpoint, save_checkpoint
from regstudio.registering.batch import register_files
from regstudio.registering.two_images import register
from regstudio.transforms.result_files import save_registration
from tests.data.writers import ORIENTATIONS, by_nibabel, in_the_world, written
from tests.known_flows import constant_flow, registered_by, shifted
from tests.transforms.test_itk_field import flow_of, smooth

SIZE = (40, 36)
WRITERS = ("nibabel .nii.gz", "SimpleITK .mha", "SimpleITK .nii", "pydicom .dcm")


def reader(fixed: Case) -> PairReader:
    return PairReader(fixed=fixed, image_loader=ImageLoader(), label_loader=LabelLoader())


def by_sitk(moving: Path, field: Path, reference: Path) -> np.ndarray:
    image = sitk.ReadImage(str(moving), sitk.sitkFloat64)
    transform = sitk.DisplacementFieldTransform(sitk.ReadImage(str(field), sitk.sitkVectorFloat64))
    lowest = float(sitk.GetArrayFromImage(image).min())
    warped = sitk.Resample(image, sitk.ReadImage(str(reference)), transform, sitk.sitkLinear, lowest)
    return sitk.GetArrayFromImage(warped)[0]


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_turned_moving_image_is_warped_as_simpleitk_warps_the_file(
    orientation: str, writer: str, tmp_path: Path
) -> None:
    fixed = written(tmp_path, "nibabel .nii.gz", smooth(1), "RAS", angle=7, name="fixed")
    moving = written(tmp_path, writer, smooth(2), orientation, angle=-5, name="moving")
    pair = reader(Case(id="fixed", image=fixed))(Case(id="moving", image=moving))
    assert pair.pictures is not None
    flow = flow_of(5, pair.fixed.shape)
    found = registered_by(flow, pair.pictures.fixed, pair.pictures.moving, inverse=-flow)
    warped, *_ = save_registration(found, tmp_path / "out", "x")
    ours = read_image(warped)
    assert np.ptp(ours.array) > 100
    assert abs(by_sitk(moving, tmp_path / "out" / "x_displacement.nii.gz", fixed) - ours.array).max() <= 0.6
    np.testing.assert_allclose(ours.affine, read_image(fixed).affine, atol=1e-4)
    # The flow that was saved does the same to the file as it is stored, and so does a copy without a place.
    np.save(tmp_path / "plain.npy", sitk.GetArrayFromImage(sitk.ReadImage(str(moving)))[0])
    for image in (moving, tmp_path / "plain.npy"):
        arguments = ["--flow", tmp_path / "out" / "x_flow.npy", "--image", image, "--out", tmp_path / "again"]
        assert CliRunner().invoke(main, ["apply", *map(str, arguments)]).exit_code == 0
    again = read_image(next((tmp_path / "again").glob("moving_warped.*")))
    np.testing.assert_array_equal(again.array, ours.array)
    np.testing.assert_array_equal(np.load(tmp_path / "again" / "plain_warped.npy"), ours.array)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_points_are_in_pixels_of_the_files(orientation: str, tmp_path: Path) -> None:
    """Through the flow and through ITK's displacement field, a point of the fixed file comes to the same place."""
    fixed = written(tmp_path, "SimpleITK .mha", smooth(1), name="fixed")
    moving = written(tmp_path, "nibabel .nii.gz", smooth(2), orientation, name="moving")
    pair = reader(Case(id="fixed", image=fixed))(Case(id="moving", image=moving))
    assert pair.pictures is not None
    found = registered_by(flow_of() / 3, pair.pictures.fixed, pair.pictures.moving)
    save_registration(found, tmp_path / "out", "x")
    (tmp_path / "a.csv").write_text("y,x\n20,15\n11,24\n")
    field = sitk.ReadImage(str(tmp_path / "out" / "x_displacement.nii.gz"), sitk.sitkVectorFloat64)
    transform = sitk.DisplacementFieldTransform(field)
    stored = sitk.ReadImage(str(moving))
    expected = []
    for y, x in ((20, 15), (11, 24)):
        world = transform.TransformPoint(sitk.ReadImage(str(fixed)).TransformIndexToPhysicalPoint((x, y, 0)))
        expected.append(stored.TransformPhysicalPointToContinuousIndex(world)[1::-1])
    arguments = ["apply", "--flow", str(tmp_path / "out" / "x_flow.npy"), "--out", str(tmp_path / "p")]
    assert CliRunner().invoke(main, [*arguments, "--points", str(tmp_path / "a.csv")]).exit_code == 0
    moved = tmp_path / "p" / "a_moved.csv"
    rows = [(float(row["y"]), float(row["x"])) for row in csv.DictReader(moved.read_text().splitlines())]
    np.testing.assert_allclose(rows, expected, atol=2e-3)
    assert CliRunner().invoke(main, [*arguments, "--inverse", "--points", str(moved)]).exit_code == 0
    back = (tmp_path / "p" / "a_moved_moved.csv").read_text().splitlines()
    np.testing.assert_allclose(
        [(float(r["y"]), float(r["x"])) for r in csv.DictReader(back)], [(20, 15), (11, 24)], atol=4e-3
    )


def test_two_affines_in_one_file_lie_at_one_place(tmp_path: Path) -> None:
    """What SPM's coregistration leaves: the sform turned by 10 degrees and shifted by 8 mm."""
    fixed = written(tmp_path, "nibabel .nii.gz", smooth(1), "RAS", name="fixed")
    by_nibabel(tmp_path / "moving.nii", in_the_world(smooth(2)))
    file = nib.load(tmp_path / "moving.nii")
    angle = np.deg2rad(10)
    turned = np.array(
        [[np.cos(angle), -np.sin(angle), 0, 8], [np.sin(angle), np.cos(angle), 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    )
    second = nib.Nifti1Image(np.asarray(file.dataobj), None)
    second.set_qform(file.affine, 1)
    second.set_sform(turned @ file.affine, 2)
    nib.save(second, tmp_path / "two.nii")
    pair = reader(Case(id="fixed", image=fixed))(Case(id="two", image=tmp_path / "two.nii"))
    assert pair.pictures is not None
    found = registered_by(flow_of(), pair.pictures.fixed, pair.pictures.moving)
    warped, *_ = save_registration(found, tmp_path / "out", "x")
    theirs = by_sitk(tmp_path / "two.nii", tmp_path / "out" / "x_displacement.nii.gz", fixed)
    assert abs(theirs - read_image(warped).array).max() <= 0.6
    result, wanted = sitk.ReadImage(str(warped)), sitk.ReadImage(str(fixed))
    assert result.GetOrigin() == pytest.approx(wanted.GetOrigin(), abs=1e-4)
    assert result.GetDirection() == pytest.approx(wanted.GetDirection(), abs=1e-5)


@pytest.fixture
def checkpoint_of_0_1(tmp_path: Path) -> Path:
    """The same flow for every pair, (dy, dx) in the order of version 0.1, whose checkpoints name no rule."""
    path = tmp_path / "old.pt"
    save_checkpoint(path, constant_flow(2, -3))
    content = torch.load(path, weights_only=True)
    assert content.pop("axes") == "itk"
    del content["sha256"]  # which came later, too
    content["regstudio_checkpoint"] = 1
    torch.save(content, path)
    return path


def test_a_network_of_0_1_registers_nifti_as_it_did(checkpoint_of_0_1: Path, tmp_path: Path) -> None:
    """It sees rows and columns as nibabel counts them, and nothing is turned: the values are those that 0.1 wrote."""
    image = smooth(2)
    affine = np.diag([-0.8, 1.3, 2.5, 1.0])
    affine[:3, 3] = 31, -17, 40
    for name, values in (
        ("fixed", smooth(1)),
        ("moving", image),
        ("moving_seg", image // 60),
        ("fixed_seg", image // 60),
    ):
        nib.save(nib.Nifti1Image(values.astype(np.int16)[..., None], affine), tmp_path / f"{name}.nii.gz")
    method = load_method(checkpoint_of_0_1, "cpu")
    assert axes_of(method) == "nibabel"
    fixed = Case(id="fixed", image=tmp_path / "fixed.nii.gz", label=tmp_path / "fixed_seg.nii.gz")
    moving = Case(id="moving", image=tmp_path / "moving.nii.gz", label=tmp_path / "moving_seg.nii.gz")
    (result,) = register_files(method, reader(fixed), [moving], tmp_path / "out")
    assert result.error is None
    flow = np.load(tmp_path / "out" / "moving_flow.npy")
    assert flow.shape == (2, *SIZE)
    assert (flow[0] == 2).all()
    warped = nib.load(tmp_path / "out" / "moving_warped.nii.gz")
    np.testing.assert_array_equal(np.asarray(warped.dataobj)[..., 0], shifted(image, outside=image.min()))
    np.testing.assert_allclose(warped.affine, affine, atol=1e-6)
    seg = nib.load(tmp_path / "out" / "moving_warped_seg.nii.gz")
    np.testing.assert_array_equal(np.asarray(seg.dataobj)[..., 0], shifted(image // 60))
    field = nib.load(tmp_path / "out" / "moving_displacement.nii.gz")
    vectors = np.asarray(field.dataobj)[:, :, 0, 0]
    np.testing.assert_allclose(vectors, np.broadcast_to((2 * 0.8, -(-3 * 1.3), 0), vectors.shape), atol=1e-4)  # LPS
    assert field.shape[:2] == SIZE
    result_of_files = register(checkpoint_of_0_1, fixed.image, moving.image, device="cpu")
    np.testing.assert_array_equal(result_of_files.flow, flow)


def test_a_flow_of_0_1_is_applied_as_it_was_made(checkpoint_of_0_1: Path, tmp_path: Path) -> None:
    image = smooth(2)
    for name, values in (("fixed", smooth(1)), ("moving", image)):
        nib.save(nib.Nifti1Image(values, np.diag([0.8, 1.3, 1, 1])), tmp_path / f"{name}.nii")
    case = Case(id="m", image=tmp_path / "moving.nii")
    list(
        register_files(
            load_method(checkpoint_of_0_1, "cpu"),
            reader(replace(case, image=tmp_path / "fixed.nii")),
            [case],
            tmp_path / "out",
        )
    )
    record = json.loads((tmp_path / "out" / "m_flow.json").read_text())
    assert record.pop("axes") == "nibabel"
    new = ("facing", "on_turn", "image_turn", "turn_convention")
    (tmp_path / "out" / "m_flow.json").write_text(json.dumps({k: v for k, v in record.items() if k not in new}))
    arguments = [
        "--flow",
        tmp_path / "out" / "m_flow.npy",
        "--image",
        tmp_path / "moving.nii",
        "--out",
        tmp_path / "again",
    ]
    assert CliRunner().invoke(main, ["apply", *map(str, arguments)]).exit_code == 0
    again = nib.load(tmp_path / "again" / "moving_warped.nii")
    np.testing.assert_array_equal(np.asarray(again.dataobj), shifted(image, outside=image.min()))


def test_a_new_checkpoint_says_its_rule_and_a_plain_state_dict_has_the_new_one(tmp_path: Path) -> None:
    checkpoint = constant_flow(2, -3)
    save_checkpoint(tmp_path / "new.pt", checkpoint)
    assert load_checkpoint(tmp_path / "new.pt").axes == "itk"
    torch.save(dict(checkpoint.weights), tmp_path / "plain.pt")
    assert load_checkpoint(tmp_path / "plain.pt").axes == "itk"
    save_checkpoint(tmp_path / "old.pt", replace(checkpoint, axes="nibabel"))
    assert load_checkpoint(tmp_path / "old.pt").axes == "nibabel"


def test_a_network_is_exported_on_two_files_as_it_registers_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path / "c.pt", replace(constant_flow(2, -3), config={"reading": {"normalise": "percentile"}}))
    fixed = written(tmp_path, "nibabel .nii.gz", smooth(1), "LPS", name="fixed")
    moving = written(tmp_path, "SimpleITK .mha", smooth(2), "RAS", name="moving")
    seen = []

    def spied(checkpoint: Path, out: Path, *, pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
        seen.extend(pairs)
        out.touch()
        return {}

    monkeypatch.setattr(onnx_export, "export_onnx", spied)
    files = ["--fixed", fixed, "--moving", moving, "--checkpoint", tmp_path / "c.pt", "--out", tmp_path / "c.onnx"]
    assert CliRunner().invoke(main, ["export-onnx", *map(str, files)]).exit_code == 0
    percentiles = PairReader(
        fixed=Case(id="f", image=fixed), image_loader=ImageLoader(normalise="percentile"), label_loader=LabelLoader()
    )
    pair = percentiles(Case(id="m", image=moving))
    np.testing.assert_array_equal(seen, [(pair.fixed, pair.moving)])

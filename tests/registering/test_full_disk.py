"""A disk that is full while results are written."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  the name that everybody gives it

from regstudio.data.folders.layout import Case
from regstudio.data.loading.loaders import ImageLoader, LabelLoader
from regstudio.data.pairs.reader import PairReader
from regstudio.data.pictures.writing import write_image
from regstudio.errors import DiskFullError
from regstudio.methods.network import NetworkMethod
from regstudio.registering.batch import find_moving, register_files
from tests.known_flows import shifted
from tests.small_disk import largest_file

FLOW_BYTES = 128 + 40 * 36 * 2 * 4  # of NAME_flow.npy; the field that ITK makes of it is larger by 224


@pytest.mark.parametrize("room", [100, FLOW_BYTES - 1, FLOW_BYTES + 100])
def test_results_are_whole_or_missing(tmp_path: Path, image: np.ndarray, shift: NetworkMethod, room: int) -> None:
    write_image(tmp_path / "fixed.nii.gz", shifted(image), like=None)
    for name in ("a", "b"):
        write_image(tmp_path / "moving" / f"{name}.nii.gz", image)
    fixed, out = Case(id="fixed", image=tmp_path / "fixed.nii.gz", label=None), tmp_path / "out"
    reader = PairReader(fixed=fixed, image_loader=ImageLoader(), label_loader=LabelLoader())
    cases, _ = find_moving(tmp_path / "moving")
    with largest_file(room), pytest.raises(DiskFullError, match="disk is full"):
        list(register_files(shift, reader, cases, out, recipe="r"))
    assert {path.name for path in out.iterdir()} <= {"registered.jsonl", "metrics.csv"}

    results = list(register_files(shift, reader, cases, out, recipe="r"))
    assert [result.reused for result in results] == [False, False]
    assert sitk.ReadImage(str(out / "a_displacement.nii.gz")).GetNumberOfComponentsPerPixel() >= 2
    assert len(list(out.iterdir())) == 2 * 4 + 2

from pathlib import Path

from regstudio.config import build_config
from regstudio.data.folders.layout import DataIndex, Layout, index_folder


def found(root: Path, leave_out: str) -> DataIndex:
    return index_folder(Layout(**build_config({"data_base_dir": root, "leave_out": leave_out}).layout.model_dump()))


def test_images_are_left_out_by_name_or_path_and_the_index_says_so(root: Path) -> None:
    before = found(root, "")
    index = found(root, "t1.png, validation_moving/v2.nii.gz,moving/none.png")
    assert [case.id for case in index.train] == [case.id for case in before.train if case.id != "t1"]
    assert [case.id for case in index.validation] == ["v1"]
    gone = [problem.path.name for problem in index.problems if problem.left_out]
    assert gone == ["t1.png", "v2.nii.gz"]
    assert not index.errors


def test_all_images_left_out_are_an_error(root: Path) -> None:
    names = ",".join(case.image.name for case in found(root, "").train)
    (error,) = found(root, names).errors
    assert "all its images are left out" in error.what

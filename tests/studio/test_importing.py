"""Imports from the page, without a browser."""

import zipfile
from pathlib import Path

import pytest

from regstudio.data.importing.options import ImportOptions
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.errors import ConfigError, DataError
from regstudio.studio.importing import _shortened, as_atlas, changed, perform, propose
from regstudio.studio.studio import Studio
from tests.hostile import headers
from tests.pictures import flat_folder, ids, ramp


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return flat_folder(tmp_path / "scans")


def test_a_proposal_is_shown_and_its_atlas_may_be_changed(studio: Studio, source: Path) -> None:
    proposal = propose(studio, str(source), None, ImportOptions())
    assert proposal.atlas in proposal.names
    assert proposal.rows[0][:2] == ["atlas", proposal.atlas]
    assert proposal.picture.ndim == 3
    other = next(name for name in proposal.names if name != proposal.atlas)
    assert propose(studio, str(source), None, ImportOptions(atlas=other)).rows[0][1] == other
    done = perform(studio, str(source), None, "mine", ImportOptions(atlas=other))
    assert done.folder == studio.roots[0] / "data_uploads" / "mine"
    assert (done.folder / "fixed" / "atlas.png").read_bytes() == (source / f"{other}.png").read_bytes()


def test_a_zip_is_read_apart_and_what_is_hostile_in_it_is_left_out(studio: Studio, source: Path) -> None:
    headers.tiff_with_a_loop(source / "loop.tif")
    archive = source.parent / "scans.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in source.iterdir():
            opened.write(path, path.name)
    proposal = propose(studio, "", str(archive), ImportOptions())
    assert "Left out: loop.tif" in proposal.summary
    assert len(proposal.names) == 5
    perform(studio, "", str(archive), "zipped", ImportOptions())
    assert [path.name for path in (studio.roots[0] / "data_uploads").iterdir()] == ["zipped"]


def test_nothing_outside_the_roots_is_read_or_written(
    studio: Studio, source: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    write_image(outside / "secret.png", ramp())
    (source / "link.png").symlink_to(outside / "secret.png")
    with pytest.raises(ConfigError, match="may not be opened from the page"):
        propose(studio, str(outside), None, ImportOptions())
    with pytest.raises(ConfigError, match="may not be opened from the page"):
        perform(studio, str(source), None, str(outside / "new"), ImportOptions())
    proposal = propose(studio, str(source), None, ImportOptions())
    assert "link" not in proposal.names
    assert "leads out of the folders" in proposal.summary
    with pytest.raises(ConfigError, match="Name the folder"):
        propose(studio, " ", None, ImportOptions())
    with pytest.raises(DataError, match="is there already"):
        perform(studio, str(source), None, str(source), ImportOptions())


def test_roles_are_changed_by_name_and_a_subject_goes_as_a_whole(studio: Studio, source: Path) -> None:
    proposal = propose(studio, str(source), None, ImportOptions())
    assert len(proposal.pictures) == len(proposal.shown) == len(proposal.rows)
    assert "atlas" in proposal.pictures[0][1]
    trained = next(row[1] for row in proposal.rows if row[0] == "train")
    validated = next(row[1] for row in proposal.rows if row[0] == "validation")
    once = changed((), proposal.files, trained, "train")
    changes = changed(changed(once, proposal.files, trained, "validation"), proposal.files, validated, "out")
    assert changes == [(trained, "validation"), (validated, "out")]
    after = propose(studio, str(source), None, ImportOptions(changes=tuple(changes)))
    roles = {row[1]: row[0] for row in after.rows}
    assert roles[trained] == "validation"
    assert roles[validated] == "left out"
    assert roles[proposal.atlas] == "atlas"
    assert as_atlas(changes, after.files, validated) == [(trained, "validation")]  # which takes it in again
    kept = ImportOptions(atlas=proposal.atlas, changes=((proposal.atlas, "out"),))  # it stays the atlas
    assert propose(studio, str(source), None, kept).atlas == proposal.atlas
    with pytest.raises(ConfigError, match="no such role"):
        changed((), proposal.files, trained, "king")
    with pytest.raises(ConfigError, match="older proposal"):
        changed((), proposal.files, "nobody", "train")


def test_a_click_says_whether_a_file_is_a_label(studio: Studio, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    for number in (1, 2, 3):
        write_image(scans / f"p{number}.png", ramp(shift=number))
        write_label(scans / f"p{number}_lungs.png", ids())
    write_image(scans / "mask.png", ramp(shift=9))  # of nobody, by its name
    (scans / "labels.csv").write_text("id,name\n1,lung\n")
    before = propose(studio, str(scans), None, ImportOptions())
    assert dict(zip(before.shown, (caption for _, caption in before.pictures), strict=True))["mask"] == (
        "mask: a label of no picture"
    )
    changes = changed((), before.files, "p2_lungs", "label")
    after = propose(studio, str(scans), None, ImportOptions(changes=tuple(changes)))
    assert {row[1]: row[4] for row in after.rows if row[4]} == {f"p{n}": f"p{n}_lungs.png" for n in (1, 2, 3)}
    changes = changed(changes, after.files, "mask", "validation")
    taken = propose(studio, str(scans), None, ImportOptions(changes=tuple(changes)))
    assert {row[1]: row[0] for row in taken.rows}["mask"] == "validation"
    apart = changed(changes, taken.files, "p1", "image")  # labels are pictures after all
    assert len(propose(studio, str(scans), None, ImportOptions(changes=tuple(apart))).names) == 7
    with pytest.raises(ConfigError, match="has no label"):
        changed((), taken.files, "mask", "image")
    done = perform(studio, str(scans), None, "named", ImportOptions(changes=tuple(changes)))
    assert (done.folder / "labels.csv").read_text() == "id,name\n1,lung\n"


def test_a_zip_of_one_folder_is_that_folder(studio: Studio, source: Path) -> None:
    archive = source.parent / "scans.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in source.iterdir():
            opened.write(path, f"scans/{path.name}")
    inside = propose(studio, "", str(archive), ImportOptions())
    assert inside.rows == propose(studio, str(source), None, ImportOptions()).rows


def test_of_many_pictures_some_are_shown_and_those_set_aside_too() -> None:
    assert _shortened(list(range(5)), 5) == list(range(5))
    assert _shortened(list(range(101)), 3) == [0, 50, 100]

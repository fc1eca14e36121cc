"""Imports from the page, without a browser."""

import zipfile
from pathlib import Path

import pytest

from regstudio.data.importing.options import ImportOptions
from regstudio.data.pictures.writing import write_image
from regstudio.errors import ConfigError, DataError
from regstudio.studio.importing import changed, perform, propose
from regstudio.studio.studio import Studio
from tests.hostile import headers
from tests.pictures import flat_folder, ramp


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
    assert proposal.pictures[0][1].startswith("atlas")
    trained = next(row[1] for row in proposal.rows if row[0] == "train")
    validated = next(row[1] for row in proposal.rows if row[0] == "validation")
    changes = changed(changed(changed((), trained, "train"), trained, "validation"), validated, "out")
    assert changes == [(trained, "validation"), (validated, "out")]
    after = propose(studio, str(source), None, ImportOptions(changes=tuple(changes)))
    roles = {row[1]: row[0] for row in after.rows}
    assert roles[trained] == "validation"
    assert validated not in roles
    assert roles[proposal.atlas] == "atlas"
    kept = ImportOptions(atlas=proposal.atlas, changes=((proposal.atlas, "out"),))  # it stays the atlas
    assert propose(studio, str(source), None, kept).atlas == proposal.atlas
    with pytest.raises(ConfigError, match="no such role"):
        changed((), trained, "king")

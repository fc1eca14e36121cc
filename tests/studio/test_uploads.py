import stat
import zipfile
from pathlib import Path

import pytest

from regstudio.config import LayoutSection
from regstudio.errors import ConfigError, DataError, DiskFullError
from regstudio.studio.uploads import LIMITS, Limits, add_files, roles, target_folder, unpack

LAYOUT = LayoutSection()
SET = ("fixed/atlas.png", "fixed_seg/atlas_seg.png", "moving/a.nii.gz", "moving/b.png", "validation_moving/c.npz")


@pytest.fixture
def target(tmp_path):
    return tmp_path / "data_uploads" / "new"


def make_zip(tmp_path: Path, *names: str | zipfile.ZipInfo, content: bytes = b"pixels") -> Path:
    path = tmp_path / "upload.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return path


def held(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def refused(archive: Path, target: Path, what: str, limits: Limits = LIMITS) -> None:
    before = held(target.parent) if target.parent.exists() else set()
    with pytest.raises(DataError, match=what):
        unpack(archive, target, LAYOUT, limits)
    assert not target.exists()
    assert not target.parent.exists() or held(target.parent) == before


@pytest.mark.parametrize("top", ["", "my set/", "a/b/c/"])
def test_the_layout_is_found_wherever_it_lies_in_the_zip(tmp_path, target, top):
    done = unpack(make_zip(tmp_path, *(top + name for name in SET)), target, LAYOUT)
    assert held(target) == set(SET)
    assert (done.files, done.left_out) == (len(SET), ())


def test_backslashes_separate_folders_too(tmp_path, target):
    names = [zipfile.ZipInfo() for _ in SET]
    for entry, name in zip(names, SET, strict=True):
        entry.filename = "set\\" + name.replace("/", "\\")
    unpack(make_zip(tmp_path, *names), target, LAYOUT)
    assert held(target) == set(SET)


def test_landmarks_are_kept_beside_the_images_and_in_folders_of_their_own(tmp_path, target):
    points = ("moving/a_points.csv", "moving_points/b_points.fcsv")
    done = unpack(make_zip(tmp_path, *SET, *points, "notes_points/x_points.csv", "moving_points/b.png"), target, LAYOUT)
    assert held(target) == {*SET, *points}
    assert set(done.left_out) == {"notes_points/x_points.csv", "moving_points/b.png"}


def test_a_compression_that_python_cannot_undo_is_not_called_damage(tmp_path, target):
    archive = make_zip(tmp_path, *SET)
    content = archive.read_bytes()
    for name in (b"PK\x03\x04", b"PK\x01\x02"):
        place = {b"PK\x03\x04": 8, b"PK\x01\x02": 10}[name]
        parts = content.split(name)
        content = name.join([parts[0], *(part[: place - 4] + b"\x09\0" + part[place - 2 :] for part in parts[1:])])
    archive.write_bytes(content)
    refused(archive, target, "is compressed in a way that is not supported .* with ordinary Deflate")


def test_names_of_the_layout_may_be_changed_and_nested(tmp_path, target):
    layout = LayoutSection(fixed_subdir="ref", train_moving_subdir="images/train")
    unpack(make_zip(tmp_path, "x/ref/atlas.png", "x/images/train/a.png"), target, layout)
    assert held(target) == {"ref/atlas.png", "images/train/a.png"}


def test_only_images_in_folders_of_the_layout_are_kept_and_the_rest_is_named(tmp_path, target):
    extra = ("moving/run.exe", "notes.txt", "moving/deep/d.png", "__MACOSX/moving/._a.png", "moving/.DS_Store")
    done = unpack(make_zip(tmp_path, *SET, *extra), target, LAYOUT)
    assert held(target) == set(SET)
    assert set(done.left_out) == {"moving/run.exe", "notes.txt", "moving/deep/d.png"}
    assert "run.exe" in str(done)


def test_the_fullest_of_two_data_sets_is_taken(tmp_path, target):
    unpack(make_zip(tmp_path, "old/moving/x.png", *(f"new/{name}" for name in SET)), target, LAYOUT)
    assert held(target) == set(SET)


@pytest.mark.parametrize(
    "name", ["../evil.png", "moving/../../evil.png", "/etc/evil.png", "C:/evil.png", "..\\evil.png"]
)
def test_names_that_lead_out_are_refused(tmp_path, target, name):
    refused(make_zip(tmp_path, *SET, name), target, "leads out")
    assert not list(tmp_path.rglob("evil.png"))


def test_links_are_refused(tmp_path, target):
    link = zipfile.ZipInfo("moving/link.png")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    refused(make_zip(tmp_path, *SET, link, content=b"/etc/passwd"), target, "is a link")


def test_two_files_of_one_name_are_refused(tmp_path, target):
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive = make_zip(tmp_path, *SET, SET[0])
    refused(archive, target, "two files of one name")


def test_a_bomb_is_refused_by_what_it_declares(tmp_path, target):
    archive = make_zip(tmp_path, *SET, content=bytes(5_000))
    refused(archive, target, "too much for one upload", Limits(max_bytes=10_000))


def test_a_bomb_that_lies_is_refused(tmp_path, target):
    archive = make_zip(tmp_path, "moving/a.npy", content=bytes(100_000))
    lie = archive.read_bytes().replace((100_000).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    archive.write_bytes(lie)
    refused(archive, target, "damaged")


def test_too_many_files_are_refused(tmp_path, target):
    refused(make_zip(tmp_path, *SET), target, "too much for one upload", Limits(max_files=3))


def test_a_full_disk_is_seen_before(tmp_path, target):
    refused(make_zip(tmp_path, *SET), target, "no room", Limits(min_free_bytes=2**62))


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 and then nothing"])
def test_what_is_no_zip_says_so(tmp_path, target, content):
    (tmp_path / "upload.zip").write_bytes(content)
    refused(tmp_path / "upload.zip", target, "damaged, or no zip")


def test_a_damaged_zip_leaves_nothing_behind(tmp_path, target):
    archive = make_zip(tmp_path, *SET, content=bytes(range(256)) * 50)
    content = bytearray(archive.read_bytes())
    content[200:220] = bytes(20)
    archive.write_bytes(content)
    refused(archive, target, "damaged")


def test_a_zip_without_the_layout_names_what_it_holds_and_what_to_do(tmp_path, target):
    refused(make_zip(tmp_path, "images/a.png"), target, "it holds images. .*drop them beside the data folder")


def test_a_zip_takes_the_place_of_nothing(tmp_path, target):
    (target / "moving").mkdir(parents=True)
    with pytest.raises(DataError, match="there already"):
        unpack(make_zip(tmp_path, *SET), target, LAYOUT)
    assert held(target) == set()


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "received"
    folder.mkdir()
    for name in ("a.png", "b.nii.gz"):
        (folder / name).write_bytes(name.encode())
    return sorted(folder.iterdir())


def test_landmarks_may_be_sent_alone(tmp_path, target):
    for name in ("a_points.csv", "table.csv"):
        (tmp_path / name).write_text("y,x\n1,2\n")
    assert add_files([tmp_path / "a_points.csv"], target, "moving").files == 1
    with pytest.raises(DataError, match=r"table\.csv: this format is not supported"):
        add_files([tmp_path / "table.csv"], target, "moving")


def test_files_go_where_they_are_sent(files, target):
    assert add_files(files, target, "moving").files == 2
    add_files(files, target, "validation_moving")
    assert held(target) == {
        f"{folder}/{name}" for folder in ("moving", "validation_moving") for name in ("a.png", "b.nii.gz")
    }
    assert all(path.exists() for path in files)
    assert not list(target.parent.glob(".upload*"))


def test_files_take_the_place_of_nothing(files, target):
    (target / "moving").mkdir(parents=True)
    (target / "moving" / "a.png").write_text("mine")
    with pytest.raises(DataError, match="there already"):
        add_files(files, target, "moving")
    assert held(target) == {"moving/a.png"}
    assert (target / "moving" / "a.png").read_text() == "mine"


def test_a_failure_half_way_leaves_nothing_behind(files, target, monkeypatch):
    replace = Path.replace

    def fail_at_the_second(self, other):
        if other.name == "b.nii.gz":
            raise OSError(28, "No space left on device")
        return replace(self, other)

    monkeypatch.setattr(Path, "replace", fail_at_the_second)
    with pytest.raises(DiskFullError, match="the disk is full"):
        add_files(files, target, "moving")
    assert held(target) == set()


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no file here that never ends")
def test_a_file_that_is_longer_than_it_says_is_refused(tmp_path, target):
    (tmp_path / "endless.npy").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="larger than the limit"):
        add_files([tmp_path / "endless.npy"], target, "moving", Limits(max_bytes=10_000))
    assert held(target.parent) == set()


def test_other_formats_are_refused(files, target, tmp_path):
    (tmp_path / "setup.exe").touch()
    with pytest.raises(DataError, match=r"setup\.exe: this format is not supported"):
        add_files([*files, tmp_path / "setup.exe"], target, "moving")
    assert not target.exists()


@pytest.mark.parametrize("subfolder", ["../elsewhere", "/tmp"])
def test_a_subfolder_may_not_lead_out(files, target, subfolder):
    with pytest.raises(ConfigError, match="leads out"):
        add_files(files, target, subfolder)


def test_no_files_say_what_to_do(target):
    with pytest.raises(DataError, match="Drop some images"):
        add_files([], target, "moving")


def test_a_name_is_a_folder_of_the_uploads_and_a_path_is_itself(tmp_path):
    def allowed(path):
        return Path(path)

    assert target_folder(" my set ", tmp_path, allowed) == tmp_path / "data_uploads" / "my set"
    assert target_folder(f"{tmp_path}/x", tmp_path, allowed) == tmp_path / "x"


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a:b", "a\nb", "x" * 200])
def test_odd_names_are_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="no name for a folder"):
        target_folder(name, tmp_path, Path)


def test_every_folder_of_the_layout_is_a_place_for_files():
    assert all(hasattr(LAYOUT, name) for name in roles())
    assert len(roles()) == 6

import json
import os
from pathlib import Path

import pytest

from regstudio.errors import ConfigError, DataError
from regstudio.studio.folders import MAX_RECENT, MAX_SHOWN, RecentFolders, nearest_folder, subfolders


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    for name in ("case 2", "case 10", ".hidden", "case 1/inner"):
        (root / name).mkdir(parents=True)
    (root / "file.png").touch()
    (tmp_path / "outside").mkdir()
    return root


@pytest.fixture
def allowed(root):
    def resolve(path: str) -> Path:
        resolved = Path(path).resolve()
        if not resolved.is_relative_to(root):
            raise ConfigError(f"{resolved}: out of bounds")
        return resolved

    return resolve


def test_subfolders_in_natural_order_without_files_and_hidden_ones(root, allowed):
    listing = subfolders(str(root), allowed)
    assert listing.names == ("case 1", "case 2", "case 10")
    assert listing.more == 0


def test_one_goes_up_to_the_root_and_no_further(root, allowed):
    assert subfolders(str(root / "case 1"), allowed).parent == root
    assert subfolders(str(root), allowed).parent is None


def test_links_out_of_bounds_are_neither_listed_nor_followed(root, allowed):
    (root / "way out").symlink_to(root.parent / "outside")
    (root / "way in").symlink_to(root / "case 1")
    (root / "circle").symlink_to(root / "circle")
    assert "way out" not in subfolders(str(root), allowed).names
    assert "way in" in subfolders(str(root), allowed).names
    with pytest.raises(ConfigError):
        subfolders(str(root / "way out"), allowed)


@pytest.mark.parametrize("path", ["../outside", "..", "/"])
def test_paths_out_of_bounds_are_refused(root, allowed, path):
    with pytest.raises(ConfigError):
        subfolders(str(root / path), allowed)


def test_a_folder_that_may_not_be_read_says_so(root, allowed, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="permission denied"):
        subfolders(str(root), allowed)


@pytest.mark.parametrize(("name", "what"), [("none", "no such folder"), ("file.png", "is a file")])
def test_what_is_no_folder_says_so(root, allowed, name, what):
    with pytest.raises(DataError, match=what):
        subfolders(str(root / name), allowed)


def test_a_bounded_number_is_shown(root, allowed):
    for number in range(MAX_SHOWN):
        (root / f"more {number}").mkdir()
    listing = subfolders(str(root), allowed)
    assert (len(listing.names), listing.more) == (MAX_SHOWN, 3)


def test_the_nearest_folder_is_the_first_above_that_can_be_listed(root, allowed):
    assert nearest_folder(str(root / "case 1"), allowed) == root / "case 1"
    assert nearest_folder(str(root / "gone" / "too"), allowed) == root
    assert nearest_folder(str(root.parent), allowed) is None


def test_recent_folders_are_kept_the_latest_first(root, allowed, tmp_path):
    record = tmp_path / "state" / "recent.json"
    for name in ("case 1", "case 2", "case 1"):
        RecentFolders(record).add(root / name)
    assert RecentFolders(record).read(allowed) == [root / "case 1", root / "case 2"]


def test_recent_folders_are_few(root, allowed, tmp_path):
    recent = RecentFolders(tmp_path / "recent.json")
    for number in range(20):
        (root / f"data {number}").mkdir()
        recent.add(root / f"data {number}")
    assert len(recent.read(allowed)) == MAX_RECENT


def test_folders_that_are_gone_or_out_of_bounds_are_left_out(root, allowed, tmp_path):
    record = tmp_path / "recent.json"
    record.write_text(
        json.dumps([str(tmp_path / "outside"), 7, None, str(root / "gone"), str(root / "case 1"), "a\0b"])
    )
    assert RecentFolders(record).read(allowed) == [root / "case 1"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1}', b"\xff\xfe", b"[" * 60_000])
def test_a_damaged_record_counts_as_empty(allowed, tmp_path, content):
    record = tmp_path / "recent.json"
    record.write_bytes(content)
    assert RecentFolders(record).read(allowed) == []


def test_a_state_folder_that_cannot_be_written_to_is_no_error(tmp_path, root):
    (tmp_path / "blocked").touch()
    RecentFolders(tmp_path / "blocked" / "recent.json").add(root)

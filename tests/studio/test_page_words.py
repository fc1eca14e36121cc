from pathlib import Path

import pytest

from regstudio.config import settings
from regstudio.data.problems import FileError
from regstudio.errors import DataError
from regstudio.studio.page_words import of_own_images, on_the_page, without_folders

UPLOAD = Path("/tmp/gradio/0a1b2c/my scan.png")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Lower --batch_size, or use --gradient_checkpointing.",
            "Lower “batch size”, or use “gradient checkpointing”.",
        ),
        ("Change --fixed_subdir.", "Change “fixed subdir” under Advanced."),
        ("Name it with --data_base_dir.", "Name it with the field Data folder."),
        ("turn it off with --no-run_validation.", "turn it off with “run validation” at “no”."),
        (
            "Choose another --run_name, or go on with it: regstudio train --resume /runs/a",
            "Choose another “run name”, or go on with it under “Go on with a run”",
        ),
        ("start RegStudio with --root /data.", "start RegStudio with --root /data."),
        ("a -- b --", "a -- b --"),
    ],
)
def test_flags_become_fields(text: str, expected: str) -> None:
    assert on_the_page(text) == expected


@pytest.mark.parametrize("name", [setting.name for setting in settings()])
def test_no_flag_of_a_training_is_left(name: str) -> None:
    assert "--" not in on_the_page(f"Use --{name} 3.")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            FileError(UPLOAD, "has 3 axes", "Take --slice_axis and --slice_index."),
            "Drop in a file that holds one slice.",
        ),
        (FileError(UPLOAD, "holds keys", "Name it with --image_key."), "Drop in a file that holds one array."),
        (FileError(UPLOAD, f"is unlike {UPLOAD}", "Export it again."), "is unlike my scan.png. Export it again."),
        (DataError(f"{UPLOAD}: and {UPLOAD.parent}/other.png"), "my scan.png: and other.png"),
        (FileError(Path("/data/atlas.png"), "is damaged", "Copy it again."), "/data/atlas.png: is damaged"),
    ],
)
def test_own_images_are_named_as_their_owner_does(error: DataError, words: str) -> None:
    said = str(of_own_images(error, {"fixed": None, "moving": UPLOAD}))
    assert words in said
    assert "/tmp/gradio" not in said
    assert "--" not in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'x' is not the name of a run in /data/my runs.", "'x' is not the name of a run in the host's folder."),
        ("/data/my runs/a/checkpoints/last.pt: cannot be read.", "a/checkpoints/last.pt: cannot be read."),
        ("OSError: [Errno 2] No such file: '/srv/x/y.png'", "OSError: [Errno 2] No such file: 'y.png'"),
        (r"C:\Users\me\a.png: is damaged (see /tmp/b/c.txt)", "a.png: is damaged (see c.txt)"),
        ("~/secret/a.png and/or 1/4 of http://x.example/a/b", "a.png and/or 1/4 of http://x.example/a/b"),
    ],
)
def test_guests_read_no_folders(text: str, expected: str) -> None:
    assert without_folders(text, [Path("/data/my runs"), Path("/data")]) == expected

"""What the Viewer keeps of large pictures for whoever zooms in."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regstudio.studio.full_resolution import FullResolutions
from regstudio.studio.prefetcher import Prefetcher
from regstudio.studio.studio import Studio
from regstudio.studio.viewer import Viewer
from regstudio.studio.viewer_session import Choice, ViewerSession

NONE = Choice(run="no training", checkpoint="none")
PART = {"side": "fixed", "top": 0, "left": 0, "bottom": 32, "right": 32, "rows": 64, "columns": 64}


@pytest.fixture
def session(studio: Studio) -> ViewerSession:
    return ViewerSession(Viewer(studio), Prefetcher())


@pytest.fixture
def large(tmp_path: Path) -> dict[str, Path | None]:
    """Two images that are larger than any grid that is not asked for."""
    y, x = np.mgrid[:640, :520]
    pixels = (y * 7 + x * 3) % 200
    pixels[0, 0] = 255
    paths = {"fixed": tmp_path / "fixed.png", "moving": tmp_path / "moving.png"}
    for path, image in zip(paths.values(), (pixels, pixels[::-1]), strict=True):
        Image.fromarray(image.astype(np.uint8)).save(path)
    return dict(paths)


def test_more_pixels_than_the_grid_has_come_from_the_file(
    session: ViewerSession, large: dict[str, Path | None]
) -> None:
    drawing = session.own_drawing(NONE, large, resize=False)
    assert (drawing["height"], drawing["file_step"][0]) == (256, 2.5)
    answer = session.viewer.full_resolutions.region({**PART, "detail": drawing["detail"], "rows": 80, "columns": 80})
    seen = np.array(Image.open(io.BytesIO(base64.b64decode(answer["png"].partition(",")[2]))))
    assert large["fixed"] is not None
    np.testing.assert_array_equal(seen, np.array(Image.open(large["fixed"]))[:80, :80])


def test_a_case_whose_grid_has_all_pixels_has_no_more(session: ViewerSession) -> None:
    drawing = session.open(Choice(run="no training", checkpoint="none", case="validation/phantom_05")).drawing
    assert drawing is not None and drawing["detail"] is None


def test_what_is_kept_is_bounded_and_made_anew_when_the_case_is_opened_again(
    session: ViewerSession, large: dict[str, Path | None]
) -> None:
    viewer = session.viewer
    viewer.full_resolutions = kept = FullResolutions(max_bytes=1_000_000)
    chosen = viewer.own_images(viewer.config(None), large)
    registrar = viewer.registrar("no training", "none")
    first = viewer.drawing(chosen, [registrar])["detail"]
    assert viewer.drawing(chosen, [registrar])["detail"] == first and kept.holds(first)
    other = viewer.own_images(viewer.config(None), {"fixed": large["moving"], "moving": large["fixed"]})
    viewer.drawing(other, [registrar])
    assert not kept.holds(first) and kept.region({**PART, "detail": first}) == {}
    again = viewer.drawing(chosen, [registrar])["detail"]
    assert again != first and "png" in kept.region({**PART, "detail": again})
    wrong = ({"rows": 10**6}, {"side": "other"}, {"bottom": 0}, {"top": float("nan")}, {"detail": "x"}, {"number": 5})
    for values in wrong:
        assert kept.region({**PART, "detail": again, **values}) == {}
    assert kept.region("x") == {}

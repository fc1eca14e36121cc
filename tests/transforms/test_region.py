"""Parts of a registered pair at the resolution of its files."""

import numpy as np
import pytest

from regstudio.data.loading.working_grid import spanning
from regstudio.transforms.file_field import FileField, field_between
from regstudio.transforms.region import Box, FullResolution

SIZE, GRID = (120, 160), (30, 40)


@pytest.fixture
def full() -> FullResolution:
    """Noise of four file pixels to one of the grid; the moving picture is the fixed one, 8 rows further down."""
    fixed = np.random.default_rng(0).integers(0, 256, SIZE, dtype=np.uint8)
    flow = np.zeros((2, *GRID), np.float32)
    flow[0] = 2  # pixels of the grid
    place = spanning(SIZE, GRID)
    field: FileField = field_between(flow, place, place)
    return FullResolution(fixed=fixed, moving=np.roll(fixed, 8, 0), places=(place, place), fields=(field,))


def test_a_part_has_the_pixels_of_the_file(full: FullResolution) -> None:
    box = Box(top=5, left=10, bottom=15, right=30)
    own = full.fixed[20:60, 40:120]
    np.testing.assert_array_equal(full.region("fixed", box, 40, 80), own)
    np.testing.assert_array_equal(full.region("moving", box, 40, 80), full.moving[20:60, 40:120])
    np.testing.assert_array_equal(full.region("warped", box, 40, 80), own)


def test_pixels_that_the_screen_has_no_room_for_are_averaged(full: FullResolution) -> None:
    whole = Box(top=0, left=0, bottom=30, right=40)
    seen = full.region("fixed", whole, 30, 40)
    means = full.fixed.reshape(30, 4, 40, 4).mean(axis=(1, 3))
    assert np.abs(seen[1:-1, 1:-1] - means[1:-1, 1:-1]).max() <= 1
    warped = full.region("warped", whole, 30, 40)
    assert np.abs(warped[1:-3, 1:-1] - means[1:-3, 1:-1]).max() <= 1


def test_beyond_the_picture_there_is_nothing_and_colours_stay(full: FullResolution) -> None:
    assert not full.region("fixed", Box(top=-20, left=0, bottom=-10, right=10), 8, 8).any()
    colours = np.repeat(full.fixed[..., None], 3, axis=2)
    coloured = FullResolution(fixed=colours, moving=colours, places=full.places, fields=full.fields)
    assert coloured.region("fixed", Box(top=0, left=0, bottom=10, right=10), 40, 40).shape == (40, 40, 3)
    assert coloured.bytes == 2 * colours.nbytes + full.fields[0].flow.nbytes

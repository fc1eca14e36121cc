import numpy as np
import pytest

from regstudio.drawing.colours import LABEL_COLOURS, label_colour, label_colours
from regstudio.drawing.thumbnails import thumbnail


def test_an_image_of_the_right_size_keeps_its_pixels():
    image = np.linspace(0, 1, 12 * 16).reshape(12, 16)
    picture = thumbnail(image, size=16)
    assert picture.dtype == np.uint8
    assert (picture == np.rint(image * 255)[..., None]).all()


def test_shrinking_averages():
    picture = thumbnail(np.tile([[0.0, 1.0]], (8, 4)), size=4)
    assert picture.shape == (4, 4, 3)
    assert (picture == 128).all()


def test_colours_are_shown():
    image = np.stack([np.full((8, 8), value) for value in (1.0, 0.0, 0.2)], axis=-1)
    assert (thumbnail(image, size=4) == (255, 0, 51)).all()
    assert (thumbnail(image, size=16) == (255, 0, 51)).all()


@pytest.mark.parametrize("shape", [(40, 56), (7, 300), (300, 7), (1, 500)])
@pytest.mark.parametrize("size", [32, 101])
def test_the_longer_side_is_the_size_and_the_shape_is_kept(shape, size):
    picture = thumbnail(np.full(shape, 0.2), size=size)
    assert max(picture.shape[:2]) == size
    assert (np.argmax(picture.shape[:2])) == np.argmax(shape)
    assert (picture == 51).all()


def test_enlarging_repeats_pixels():
    picture = thumbnail(np.array([[0.0, 1.0], [1.0, 0.0]]), size=4)
    assert (picture[..., 0] == np.kron([[0, 255], [255, 0]], np.ones((2, 2)))).all()


def test_a_label_is_outlined_and_not_filled():
    label = np.zeros((12, 12), int)
    label[3:9, 3:9] = 1
    picture = thumbnail(np.zeros((12, 12)), label, size=12)
    coloured = picture.any(axis=-1)
    assert (picture[3, 3:9] == LABEL_COLOURS[0]).all()
    assert coloured[3:9, 3:9].sum() == coloured.sum() == 36 - 16


def test_a_label_that_fills_the_picture_has_no_outline():
    assert not thumbnail(np.zeros((8, 8)), np.ones((8, 8), int), size=8).any()


def test_a_label_of_another_size_lies_where_it_belongs():
    label = np.zeros((6, 6), int)
    label[:, 3:] = 1
    picture = thumbnail(np.zeros((24, 24)), label, size=24)
    assert (np.flatnonzero(picture[0].any(axis=-1)) == [12]).all()


def test_a_label_id_has_the_same_colour_in_every_picture():
    assert label_colours([0, 5, 3])[3] == label_colours([1, 2, 3, 4])[3] == label_colour(3) == LABEL_COLOURS[2]
    label = np.zeros((8, 8), int)
    label[2:6, 2:6] = 900
    assert (thumbnail(np.zeros((8, 8)), label, size=8)[2, 2] == label_colour(900)).all()


def test_the_first_seven_label_ids_have_seven_colours_and_then_they_start_again():
    colours = label_colours(range(1, 9))
    assert len(set(colours.values())) == 7
    assert colours[8] == colours[1]


@pytest.mark.parametrize(("aspect", "shape"), [(2.0, (64, 64)), (1.0, (32, 64)), (0.5, (16, 64)), (4.0, (64, 32))])
def test_pixels_have_their_own_aspect(aspect, shape):
    picture = thumbnail(np.full((20, 40), 0.2), np.ones((20, 40), int), size=64, aspect=aspect)
    assert picture.shape[:2] == shape

"""Alignment before the first step: the affine map of every moving image of a training."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing

from regstudio.data.folders.layout import Case
from regstudio.errors import DataError
from regstudio.methods.affine import Matrix
from regstudio.methods.affine_cache import affine_matrices
from regstudio.methods.alignment import Aligner
from regstudio.methods.masks import MaskArrays
from regstudio.runs.events import ImageAligned
from regstudio.training.setup import Parts


def find_affine_maps(parts: Parts, stop_requested: Callable[[], bool], *, wide: bool = False) -> Iterator[ImageAligned]:
    """Find the affine map of every moving image, if alignment is on, and put it into `parts.aligned`.

    `wide` also finds images that are turned by up to 180 degrees, or mirrored.

    The processes of a group share the images, and each gets all maps. `stop_requested` is asked after each image.
    Raises DataError for an image that cannot be read.
    """
    if parts.aligned is None:
        return
    cases = list(dict.fromkeys((*parts.training, *parts.validation, parts.preview)))
    with closing(parts.group.gather_in_order(_affine_maps(parts, cases[parts.group.shard], wide))) as maps:
        for number, (case, matrix) in enumerate(zip(cases, maps, strict=True), 1):
            parts.aligned[case] = matrix
            yield ImageAligned(number=number, total=len(cases), image=case.image.name)
            if stop_requested():
                return


def masks_of_case(parts: Parts, case: Case) -> MaskArrays:
    """Return the masks (H, W) of a case and its fixed image; None where all of an image counts."""
    if parts.masks is None:
        return None, None
    sides = (case.fixed or parts.reference, case)
    fixed, moving = (parts.masks(side, parts.image_loader(side.image)) for side in sides)
    return None if fixed is None else fixed[0], None if moving is None else moving[0]


def _affine_maps(parts: Parts, cases: Sequence[Case], wide: bool) -> Generator[Matrix, None, None]:
    load = parts.image_loader
    found = affine_matrices(
        lambda case: load((case.fixed or parts.reference).image)[0],
        cases,
        lambda case: load(case.image),
        workers=parts.group.cores,
        search=Aligner(wide=wide, device=parts.device),
        masks=lambda case: masks_of_case(parts, case),
    )
    with closing(found) as results:
        for _, affine in results:
            if isinstance(affine, DataError):
                raise affine
            yield affine.matrix

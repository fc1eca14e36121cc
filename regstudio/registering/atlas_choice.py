"""Which image of many is the best atlas: the one that is most like all others once they are aligned by affine maps.

The images are compared as small copies. All are aligned at once to the one that is most like the others as they lie,
by gradient ascent of the correlation; the proposal is the one whose mean correlation with the others is highest then.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from regstudio.data.geometry import Facing
from regstudio.data.importing.plan import Item
from regstudio.data.importing.slices import read_slices
from regstudio.data.loading.loaders import rescale
from regstudio.data.problems import FileError

SIDE = 48  # pixels of the small copies
MAX_COMPARED = 60  # images, evenly spread
COARSENESS = (4, 2, 1)  # pixels that are one in each round
STEPS, STEP_SIZE = 30, 0.03  # of each round; in halves of the picture

Array = npt.NDArray[Any]


def propose_atlas(items: Sequence[Item]) -> Item:
    """Return the item that is most like all others; raises FileError where none can be read."""
    if len(items) > MAX_COMPARED:
        items = [items[round(place)] for place in np.linspace(0, len(items) - 1, MAX_COMPARED)]
    read: list[tuple[Item, Array]] = []
    facing: Facing | None = None
    refused: FileError | None = None
    for item in items:
        try:
            (picture,) = read_slices(item.scan.path, item.scan.paths, item.scan.key or "", item.axis, [item.index])
        except FileError as error:
            refused = error
            continue
        facing = facing or picture.facing
        read.append((item, small_copy(picture.turned_to(facing).grey)))
    if not read and refused is not None:
        raise refused
    return read[most_alike([copy for _, copy in read])][0]


def small_copy(array: Array) -> npt.NDArray[np.float32]:
    """Return an image (H, W) as (SIDE, SIDE) in [0, 1]; to what shape it is stretched, affine maps do not mind."""
    scaled = Image.fromarray(rescale(array))
    return np.asarray(scaled.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)


def most_alike(images: Sequence[Array]) -> int:
    """Return the index of the image (S, S) that is most like all others after affine alignment."""
    stack = torch.from_numpy(np.stack(images)).float()[:, None]
    if len(stack) < 3:
        return 0
    reference = int(_mean_likeness(stack).argmax())
    return int(_mean_likeness(aligned(stack, stack[reference : reference + 1])).argmax())


def aligned(images: Tensor, reference: Tensor) -> Tensor:
    """Return images (N, 1, S, S), each under the affine map that makes it most like the reference (1, 1, S, S)."""
    maps = torch.eye(2, 3).repeat(len(images), 1, 1).requires_grad_()
    with torch.enable_grad():
        for coarseness in COARSENESS:
            adam = torch.optim.Adam([maps], lr=STEP_SIZE)
            coarse, target = (F.avg_pool2d(part, coarseness) for part in (images, reference))
            for _ in range(STEPS):
                adam.zero_grad()
                likeness = (_standard(_mapped(coarse, maps)) * _standard(target)).sum(dim=1)
                (-likeness.sum()).backward()  # type: ignore[no-untyped-call]
                adam.step()
    return _mapped(images, maps.detach())


def _mapped(images: Tensor, maps: Tensor) -> Tensor:
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _standard(images: Tensor) -> Tensor:
    """Return each image as a row of mean 0 and norm 1."""
    rows = images.flatten(1)
    return F.normalize(rows - rows.mean(dim=1, keepdim=True), dim=1, eps=1e-6)


def _mean_likeness(images: Tensor) -> Tensor:
    rows = _standard(images)
    return (rows @ rows.T).mean(dim=1)

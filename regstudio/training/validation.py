"""How a network in training registers one pair, and how it is measured on it and over all of them."""

import math
from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regstudio.data.dataset import load_validation_pair
from regstudio.data.layout import Case
from regstudio.metrics import dice, njd, shared_labels
from regstudio.networks.device import images_at_once
from regstudio.networks.warp import SpatialTransformer
from regstudio.threads import divide_cpu_threads, map_in_order
from regstudio.training.setup import Parts


@torch.no_grad()
def register_pair(parts: Parts, case: Case) -> dict[str, NDArray[Any]]:
    """Return fixed, moving, warped (H, W) and flow (2, H, W) of a case as the network sees it now.

    With labels on both sides also fixed_label, moving_label and warped_label (H, W), warped with nearest neighbour.
    """
    pair = load_validation_pair(case, parts.atlas, parts.image_loader, parts.label_loader)
    fixed, moving = (pair[name][None].to(parts.device) for name in ("fixed_image", "moving_image"))
    affine = None
    if parts.aligned is not None:
        affine = torch.from_numpy(parts.aligned[case.image].astype(np.float32))[None].to(parts.device)
    prediction = parts.learner.averaged.eval().predict(fixed, moving, affine)
    flow = prediction.flow
    arrays = {"fixed": fixed[0, 0], "moving": moving[0, 0], "warped": prediction.warped[0, 0], "flow": flow[0]}
    if "moving_label" in pair and "fixed_label" in pair:
        # Ids are exact in float64, which grid_sample takes; the result goes back to their own type.
        label = pair["moving_label"][None].to(parts.device)
        warped_label = SpatialTransformer("nearest")(label.double(), flow.double())[0, 0].long()
        labels = {"fixed_label": pair["fixed_label"][0], "moving_label": label[0, 0], "warped_label": warped_label}
        arrays |= labels
    return {name: array.cpu().numpy() for name, array in arrays.items()}


def validate_pair(parts: Parts, case: Case) -> dict[str, float]:
    """Return njd and njd_percent and, with labels, dice, dice_before and dice_ID of each label.

    What cannot be scored is left out.
    """
    arrays = register_pair(parts, case)
    folds = njd(arrays["flow"])
    metrics = {"njd": float(folds.count), "njd_percent": folds.percent}
    if "warped_label" in arrays:
        scored = shared_labels(arrays["fixed_label"], arrays["moving_label"])
        after = dice(arrays["fixed_label"], arrays["warped_label"], scored)
        before = dice(arrays["fixed_label"], arrays["moving_label"], scored)
        metrics |= {"dice": after.mean, "dice_before": before.mean}
        metrics |= {f"dice_{label_id}": value for label_id, value in after.per_label.items()}
    return {name: value for name, value in metrics.items() if not math.isnan(value)}


def validate(parts: Parts, cases: Sequence[Case]) -> Generator[dict[str, float], None, None]:
    """Yield what `validate_pair` returns of each case, in their order; on the CPU, of several small ones at once."""
    at_once = images_at_once(parts.device, parts.image_loader(parts.atlas.image).size)
    return map_in_order(partial(validate_pair, parts), cases, workers=at_once, initializer=divide_cpu_threads(at_once))


def mean_metrics(measured: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each metric over the pairs that have it."""
    values: defaultdict[str, list[float]] = defaultdict(list)
    for metrics in measured:
        for name, value in metrics.items():
            values[name].append(value)
    return {name: fmean(items) for name, items in values.items()}

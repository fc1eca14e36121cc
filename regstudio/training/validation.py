"""How a network in training is measured on one validation pair, and over all of them."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import fmean

import numpy as np
import torch

from regstudio.data.dataset import load_validation_pair
from regstudio.data.layout import Case
from regstudio.metrics import dice, njd
from regstudio.networks.warp import SpatialTransformer
from regstudio.training.setup import Parts


@torch.no_grad()
def validate_pair(parts: Parts, case: Case) -> dict[str, float]:
    """Return njd and njd_percent and, with labels, dice, dice_before and dice_ID of each label.

    The label is warped with nearest neighbour. What cannot be scored is left out.
    """
    pair = load_validation_pair(case, parts.atlas, parts.image_loader, parts.label_loader)
    fixed, moving = (pair[name][None].to(parts.device) for name in ("fixed_image", "moving_image"))
    _, flow = parts.model(fixed, moving)
    folds = njd(flow[0].cpu().numpy())
    metrics = {"njd": float(folds.count), "njd_percent": folds.percent}
    if "moving_label" in pair and "fixed_label" in pair:
        # Ids are exact in float64, which grid_sample takes; the result goes back to their own type.
        label = pair["moving_label"][None].to(parts.device)
        warped = SpatialTransformer("nearest")(label.double(), flow.double())
        fixed_label = pair["fixed_label"][0].numpy()
        after = dice(fixed_label, warped[0, 0].cpu().numpy().astype(np.int64))
        metrics |= {"dice": after.mean, "dice_before": dice(fixed_label, pair["moving_label"][0].numpy()).mean}
        metrics |= {f"dice_{label_id}": value for label_id, value in after.per_label.items()}
    return {name: value for name, value in metrics.items() if not math.isnan(value)}


def mean_metrics(measured: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each metric over the pairs that have it."""
    values: defaultdict[str, list[float]] = defaultdict(list)
    for metrics in measured:
        for name, value in metrics.items():
            values[name].append(value)
    return {name: fmean(items) for name, items in values.items()}

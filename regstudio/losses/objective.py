"""The objective of a training: the weighted sum of named losses."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regstudio.losses.landmarks import LandmarkDistance, PointPairs
from regstudio.losses.masked import masked_losses
from regstudio.losses.mind import MIND
from regstudio.losses.overlap import SoftDice
from regstudio.losses.regularity import Folding, Grad, Nearness
from regstudio.losses.scales import AtScales
from regstudio.losses.similarity import MSE, NCC, GlobalNCC, MutualInformation

# What an image similarity is called in the objective; `NAME_weight` is its weight in the settings.
SIMILARITIES: dict[str, type[nn.Module]] = {
    "ncc": NCC,
    "global_ncc": GlobalNCC,
    "mse": MSE,
    "mi": MutualInformation,
    "mind": MIND,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class SoftLabels:
    """One-hot labels of a step: `fixed` (B or 1, L, H, W), `warped` (B, L, H, W); `scored` (B, L), bool."""

    fixed: Tensor
    warped: Tensor
    scored: Tensor


class Objective(nn.Module):
    """The weighted sum of losses; a loss of weight zero is not computed.

    The arguments are the settings of the config's loss section: `ncc` and `grad` weigh 1 unless a weight is given, all
    others 0. Raises TypeError for the weight of a term that does not exist.

    >>> terms = Objective(grad_weight=0.5)(fixed, warped, field, flow)
    >>> list(terms)
    ['loss', 'ncc', 'grad']
    """

    def __init__(
        self, *, ncc_win: int = 9, ncc_scales: int = 1, grad_penalty: Grad.Penalty = "l2", **weights: float
    ) -> None:
        super().__init__()
        arguments = {"ncc": (ncc_win,)}
        self.similarities = nn.ModuleDict({name: kind(*arguments.get(name, ())) for name, kind in SIMILARITIES.items()})
        self.similarities["ncc"] = AtScales(self.similarities["ncc"], ncc_scales)
        self.masked = masked_losses(ncc_win, ncc_scales)
        self.dice, self.grad, self.fold, self.teacher = SoftDice(), Grad(grad_penalty), Folding(), Nearness()
        self.landmarks = LandmarkDistance()
        given = {"ncc_weight": 1.0, "grad_weight": 1.0, **weights}
        self.weights = {name: given.pop(f"{name}_weight", 0.0) for name in SIMILARITIES}
        self.weights["dice_loss"] = given.pop("dice_weight", 0.0)
        self.weights["landmarks"] = given.pop("landmark_weight", 0.0)
        self.weights |= {name: given.pop(f"{name}_weight", 0.0) for name in ("grad", "fold", "teacher")}
        if given:
            raise TypeError(f"there is no term of the loss for {', '.join(given)}")

    @property
    def compares_images(self) -> bool:
        """Whether any term with a weight compares the images."""
        return any(self.weights[name] for name in self.similarities)

    def similarity(self, fixed: Tensor, warped: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return how alike images (B, 1, H, W) are: the weighted terms that compare them, such that more is better.

        With a mask (B, 1, H, W), only pixels where it is 1 count.
        """
        terms = [weight * self._compare(name, fixed, warped, mask) for name, weight in self._comparing()]
        return -torch.stack(terms).sum()

    def _comparing(self) -> list[tuple[str, float]]:
        return [(name, self.weights[name]) for name in self.similarities if self.weights[name]]

    def _compare(self, name: str, fixed: Tensor, warped: Tensor, mask: Tensor | None) -> Tensor:
        """Return a similarity's loss; one that knows no masks sees both images as 0 outside."""
        loss = self.similarities[name]
        if mask is not None and name in self.masked:
            return self.masked[name](fixed.expand_as(warped), warped, mask).mean()
        value: Tensor = loss(fixed, warped) if mask is None else loss(fixed * mask, warped * mask)
        return value

    def forward(
        self,
        fixed: Tensor,
        warped: Tensor,
        field: Tensor,
        flow: Tensor,
        labels: SoftLabels | None = None,
        expected: Tensor | None = None,
        *,
        landmarks: PointPairs | None = None,
        mask: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms and, as "loss", their weighted sum: scalars.

        `fixed` (B or 1, 1, H, W), `warped` (B, 1, H, W). `field` (B, 2, H, W) shall be smooth: the velocity field or,
        without one, the flow. `flow` (B, 2, H, W) shall not fold. `expected`
        is the field that a teacher gives. `mask` (B, 1, H, W) is 1 where images are compared.
        """
        terms = {name: self._compare(name, fixed, warped, mask) for name, _ in self._comparing()}
        if labels is not None and self.weights["dice_loss"]:
            terms["dice_loss"] = self.dice(labels.fixed, labels.warped, labels.scored)
        if landmarks is not None and self.weights["landmarks"]:
            terms["landmarks"] = self.landmarks(landmarks)
        if self.weights["grad"]:
            terms["grad"] = self.grad(field)
        if self.weights["fold"]:
            terms["fold"] = self.fold(flow)
        if expected is not None and self.weights["teacher"]:
            terms["teacher"] = self.teacher(field, expected)
        weighted = [self.weights[name] * term for name, term in terms.items()]
        return {"loss": torch.stack(weighted).sum(), **terms}

"""The objective of a training: the weighted sum of named losses."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regstudio.losses.overlap import SoftDice
from regstudio.losses.regularity import Folding, Grad
from regstudio.losses.similarity import MSE, NCC, GlobalNCC, MutualInformation


@dataclass(frozen=True, kw_only=True, eq=False)
class SoftLabels:
    """One-hot labels of a step: `fixed` (B or 1, L, H, W), `warped` (B, L, H, W); `scored` (B, L), bool."""

    fixed: Tensor
    warped: Tensor
    scored: Tensor


class Objective(nn.Module):
    """The weighted sum of losses; a loss of weight zero is not computed.

    The arguments are the settings of the config's loss section.

    >>> terms = Objective(grad_weight=0.5)(fixed, warped, field, flow)
    >>> list(terms)
    ['loss', 'ncc', 'grad']
    """

    def __init__(
        self,
        *,
        ncc_weight: float = 1.0,
        ncc_win: int = 9,
        global_ncc_weight: float = 0.0,
        mse_weight: float = 0.0,
        mi_weight: float = 0.0,
        dice_weight: float = 0.0,
        grad_weight: float = 1.0,
        grad_penalty: Grad.Penalty = "l2",
        fold_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.similarities = nn.ModuleDict(
            {"ncc": NCC(ncc_win), "global_ncc": GlobalNCC(), "mse": MSE(), "mi": MutualInformation()}
        )
        self.dice, self.grad, self.fold = SoftDice(), Grad(grad_penalty), Folding()
        self.weights = {
            "ncc": ncc_weight,
            "global_ncc": global_ncc_weight,
            "mse": mse_weight,
            "mi": mi_weight,
            "dice_loss": dice_weight,
            "grad": grad_weight,
            "fold": fold_weight,
        }

    @property
    def compares_images(self) -> bool:
        """Whether any term with a weight compares the images."""
        return any(self.weights[name] for name in self.similarities)

    def forward(
        self, fixed: Tensor, warped: Tensor, field: Tensor, flow: Tensor, labels: SoftLabels | None = None
    ) -> dict[str, Tensor]:
        """Return the terms and, as "loss", their weighted sum: scalars.

        `fixed` (B or 1, 1, H, W), `warped` (B, 1, H, W). `field` (B, 2, H, W) shall be smooth: the velocity field or,
        without one, the flow. `flow` (B, 2, H, W) shall not fold.
        """
        terms = {
            name: similarity(fixed, warped) for name, similarity in self.similarities.items() if self.weights[name]
        }
        if labels is not None and self.weights["dice_loss"]:
            terms["dice_loss"] = self.dice(labels.fixed, labels.warped, labels.scored)
        if self.weights["grad"]:
            terms["grad"] = self.grad(field)
        if self.weights["fold"]:
            terms["fold"] = self.fold(flow)
        weighted = [self.weights[name] * term for name, term in terms.items()]
        return {"loss": torch.stack(weighted).sum(), **terms}

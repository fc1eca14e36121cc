"""Losses: similarity of images, overlap of labels, regularity of flows, and their weighted sum, the objective."""

from regstudio.losses.objective import Objective, SoftLabels
from regstudio.losses.overlap import SoftDice, one_hot, scored_labels
from regstudio.losses.regularity import Folding, Grad
from regstudio.losses.similarity import MSE, NCC, GlobalNCC, MutualInformation

__all__ = [
    "MSE",
    "NCC",
    "Folding",
    "GlobalNCC",
    "Grad",
    "MutualInformation",
    "Objective",
    "SoftDice",
    "SoftLabels",
    "one_hot",
    "scored_labels",
]

"""Losses: similarity of images, overlap of labels, regularity of flows, and their weighted sum, the objective."""

from regstudio.losses.landmarks import LandmarkDistance, PointPairs
from regstudio.losses.mind import MIND, mind_descriptors
from regstudio.losses.objective import Objective, SoftLabels
from regstudio.losses.overlap import SoftDice, one_hot, scored_labels
from regstudio.losses.regularity import Folding, Grad, Nearness
from regstudio.losses.scales import AtScales, whole
from regstudio.losses.similarity import MSE, NCC, GlobalNCC, MutualInformation

__all__ = [
    "MIND",
    "MSE",
    "NCC",
    "AtScales",
    "Folding",
    "GlobalNCC",
    "Grad",
    "LandmarkDistance",
    "MutualInformation",
    "Nearness",
    "Objective",
    "PointPairs",
    "SoftDice",
    "SoftLabels",
    "mind_descriptors",
    "one_hot",
    "scored_labels",
    "whole",
]

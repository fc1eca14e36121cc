"""Metrics of a registration: functions on NumPy arrays, one module for each family."""

from regstudio.metrics.folding import (
    FoldCount,
    FoldedArea,
    jacobian_determinant,
    log_jacobian_std,
    nda,
    njd,
    njd_one_sided,
    one_sided_determinants,
)
from regstudio.metrics.landmarks import inverse_consistency, sample_flow, target_registration_error
from regstudio.metrics.overlap import DiceScore, dice, shared_labels
from regstudio.metrics.similarity import ncc, ssim
from regstudio.metrics.surface import SurfaceDistance, surface_distance

__all__ = [
    "DiceScore",
    "FoldCount",
    "FoldedArea",
    "SurfaceDistance",
    "dice",
    "inverse_consistency",
    "jacobian_determinant",
    "log_jacobian_std",
    "ncc",
    "nda",
    "njd",
    "njd_one_sided",
    "one_sided_determinants",
    "sample_flow",
    "shared_labels",
    "ssim",
    "surface_distance",
    "target_registration_error",
]

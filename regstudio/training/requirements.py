"""What the settings of a training ask of its data: labels, landmarks, masks, validation images."""

import numpy as np

from regstudio.config import TrainConfig
from regstudio.data.folders.layout import Case, DataIndex
from regstudio.data.loading.loaders import LabelLoader
from regstudio.data.pairs.landmark_reader import LandmarkReader
from regstudio.data.pairs.masks import MaskLoader
from regstudio.errors import ConfigError


def label_ids(config: TrainConfig, index: DataIndex, label_loader: LabelLoader) -> tuple[int, ...]:
    """Return the label ids for the Dice loss; empty without it. Raises ConfigError if there are no labels."""
    if not config.loss.dice_weight:
        return ()
    fixed = [index.atlas] if index.atlas else [case.fixed or case for case in index.train]
    labelled = [(case.image, case.label) for case in fixed if case.label]
    if not labelled or not any(case.label for case in index.train):
        layout = config.layout
        raise ConfigError(
            f"dice_weight is {config.loss.dice_weight:g}, but there are no labels to train on. Put the atlas's in "
            f"{layout.fixed_seg_subdir}/ and some images' in {layout.train_moving_seg_subdir}/, or set it to 0."
        )
    found = set().union(*(np.unique(label_loader(label, image)).tolist() for image, label in labelled))
    ids = tuple(sorted(int(label) for label in found if label != 0))
    if not ids:
        raise ConfigError(
            f"dice_weight is {config.loss.dice_weight:g}, but {labelled[0][1]} holds background alone. "
            "Save the fixed image's label with its ids, or set it to 0."
        )
    return ids


def mask_loader(config: TrainConfig, index: DataIndex, label_loader: LabelLoader) -> MaskLoader | None:
    """Return what reads masks; None where no image has one, and none is asked for."""
    outside = config.reading.mask_outside == "auto"
    sides = (index.atlas, *(side for case in (*index.train, *index.validation) for side in (case, case.fixed)))
    has_masks = outside or any(side is not None and side.mask is not None for side in sides)
    return MaskLoader(labels=label_loader, outside=outside) if has_masks else None


def trains_on_landmarks(config: TrainConfig, index: DataIndex) -> bool:
    """Whether landmarks have a weight. Raises ConfigError if no training pair has any."""
    weight = config.loss.landmark_weight
    if weight and not any(LandmarkReader.has_points(case, case.fixed or index.atlas or case) for case in index.train):
        raise ConfigError(
            f"landmark_weight is {weight:g}, but no training pair has landmarks. Put NAME_points.csv beside the fixed "
            "and the moving image, name them in pairs.csv, or set it to 0."
        )
    return bool(weight)


def validation_cases(config: TrainConfig, index: DataIndex) -> tuple[Case, ...]:
    """Return the cases to validate on, none if that is off. Raises ConfigError if there are none, but it is on."""
    wanted = config.validation.run_validation
    if wanted and not index.validation:
        raise ConfigError(
            f"run_validation is on, but there are no validation images in {index.root}. "
            "Add some, or turn it off with --no-run_validation."
        )
    return () if wanted is False else index.validation

"""Composition root: builds the objects of a training from a TrainConfig; nothing below it knows the config."""

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from regstudio.config import ReadingSection, TrainConfig
from regstudio.data.checking.check import ReadOptions, check
from regstudio.data.checking.report import CheckReport
from regstudio.data.folders.layout import Case, DataIndex, Layout, index_folder
from regstudio.data.folders.partners import lonely, pair_groups
from regstudio.data.geometry import AxisRule
from regstudio.data.loading.cache import Cache
from regstudio.data.loading.disk_cache import DiskCache
from regstudio.data.loading.loaders import ImageLoader, LabelLoader
from regstudio.data.loading.working_grid import GridRule
from regstudio.data.pairs.batches import TrainingLoader
from regstudio.data.pairs.dataset import RegistrationDataset
from regstudio.data.pairs.landmark_reader import LandmarkReader
from regstudio.data.pairs.masks import MaskLoader
from regstudio.data.pairs.reader import PairReader
from regstudio.distributed import SINGLE_PROCESS, Group
from regstudio.errors import DataError
from regstudio.files import cache_folder
from regstudio.losses import Objective
from regstudio.methods.affine import Matrix
from regstudio.networks import ops
from regstudio.networks.build import RANDOM_STATE, build_network
from regstudio.networks.checkpoint import load_checkpoint, load_weights
from regstudio.networks.device import find_device, keep_freed_memory
from regstudio.training.augmentation import Augmentation
from regstudio.training.requirements import label_ids, mask_loader, trains_on_landmarks, validation_cases
from regstudio.training.schedule import Schedule
from regstudio.training.step import Learner

STEPS_AHEAD = 8  # on a GPU
COMPILED_FROM = 10_000  # images seen on a GPU: fewer are done before kernels are compiled, which takes a minute


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The objects of one training.

    `reference` is the atlas or, of pairs, the first fixed image. `size` is that of the images, (H, W). `validation` is
    empty if validation is off. `preview` is the case that previews show. `cases_digest` is a hash of the list of
    training images. `aligned` maps each case to its affine matrix, filled before the first step; None without
    affine alignment. `masks` is None where all of every image counts. `group` holds the processes that train together.
    """

    group: Group
    device: torch.device
    learner: Learner
    loader: TrainingLoader
    steps_per_epoch: int
    cases_digest: str
    size: tuple[int, int]
    reference: Case
    training: tuple[Case, ...]
    validation: tuple[Case, ...]
    preview: Case
    image_loader: ImageLoader
    label_loader: LabelLoader
    landmarks: LandmarkReader
    masks: MaskLoader | None
    aligned: dict[Case, Matrix] | None
    axes: AxisRule


def check_data(
    config: TrainConfig,
    *,
    most: int | None = None,
    most_validation: int | None = None,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = lambda jobs: jobs,
) -> CheckReport:
    """Check the data folder of `config` and open its files; return the report with the index of usable cases.

    `most` and `most_validation` limit how many training and validation images are opened, so that a training starts
    quickly however large the data set is. `progress` wraps the list of files to open, such as tqdm. Raises DataError
    if the folder cannot be read.
    """
    index = index_folder(Layout(**config.layout.model_dump()))
    reading = ReadOptions(
        rule=grid_rule(config.reading),
        **config.reading.model_dump(
            include={"image_key", "label_key", "slice_axis", "slice_index", "normalise", "grey", "background"}
        ),
    )
    opened = replace(index, train=index.train[:most], validation=index.validation[:most_validation])
    report = check(opened, reading, progress=progress)
    train = report.index.train + index.train[len(opened.train) :]
    validation = report.index.validation + index.validation[len(opened.validation) :]
    return replace(report, index=replace(report.index, train=train, validation=validation))


def loaders(reading: ReadingSection, atlas: Case | None, axes: AxisRule = "itk") -> tuple[ImageLoader, LabelLoader]:
    """Return the image and label loaders, which share one cache.

    Files that know their place are turned until they lie as `atlas` does, and all come onto the grid that it makes.
    """
    images, labels = _plain_loaders(reading, axes)
    if atlas is None:
        return images, labels
    images, labels = images.facing_as(atlas.image), labels.facing_as(atlas.image)
    picture = images.picture(atlas.image)
    grid = grid_rule(reading).grid(picture.size, picture.spacing)
    return replace(images, grid=grid), replace(labels, grid=grid)


def grid_rule(reading: ReadingSection) -> GridRule:
    """Return how the working grid follows from the fixed image."""
    return GridRule(working_size=reading.working_size, fit="stretch" if reading.resize_to_atlas else reading.fit)


def _plain_loaders(reading: ReadingSection, axes: AxisRule = "itk") -> tuple[ImageLoader, LabelLoader]:
    disk = DiskCache(cache_folder("decoded"), reading.disk_cache_gb) if reading.disk_cache_gb else None
    cache = Cache(reading.cache_gb, disk)
    where: dict[str, Any] = {"slice_axis": reading.slice_axis, "slice_index": reading.slice_index, "axes": axes}
    images = ImageLoader(
        key=reading.image_key,
        normalise=reading.normalise,
        grey=reading.grey,
        background=reading.background,
        **where,
        cache=cache,
    )
    return images, LabelLoader(key=reading.label_key, **where, cache=cache)


def pair_reader(reading: ReadingSection, fixed: Case, *, with_points: bool = False) -> PairReader:
    """Return a PairReader: it reads cases as pairs with the image of `fixed`."""
    images, labels = _plain_loaders(reading)
    return PairReader(
        fixed=fixed,
        image_loader=images,
        label_loader=labels,
        with_points=with_points,
        rule=grid_rule(reading),
        mask_outside=reading.mask_outside == "auto",
    )


def build(config: TrainConfig, index: DataIndex, group: Group = SINGLE_PROCESS, *, axes: AxisRule = "itk") -> Parts:
    """Build the parts of a training for one process; raises a RegStudioError if data, device or weights are unfit.

    `axes` is the rule by which NIfTI files are read: a run that was started with version 0.1 keeps its own.
    """
    reference = index.reference
    if index.errors or reference is None:
        raise DataError("\n".join(["The data cannot be trained on:", *map(str, index.errors)]))
    if index.pooling:  # where a check has left out one of two, the other is left alone
        alone = set(lonely(index.train, index.pooling))
        index = replace(index, train=tuple(case for case in index.train if case not in alone))
    device = find_device(group.device(config.optimisation.device))
    image_loader, label_loader = loaders(config.reading, reference, axes)
    ids, landmarks = label_ids(config, index, label_loader), LandmarkReader(image_loader, label_loader)
    masks = mask_loader(config, index, label_loader)
    aligned: dict[Case, Matrix] | None = {} if config.alignment.affine != "none" else None
    loader = TrainingLoader(
        RegistrationDataset(
            index.train,
            atlas=index.atlas,
            image_loader=image_loader,
            label_loader=label_loader if ids else None,
            partly_labelled=True,
            aligned=aligned,
            mode="pair" if index.pooling else "atlas",
            groups=pair_groups(index.train, index.pooling) if index.pooling else None,
            landmarks=landmarks if trains_on_landmarks(config, index) else None,
            masks=masks,
            device=None if config.reading.num_workers else device,  # other processes have no GPU
        ),
        batch_size=config.optimisation.batch_size,
        seed=config.optimisation.seed,
        num_workers=config.reading.num_workers,
        pin_memory=device.type == "cuda",
        steps=_requested_steps_per_epoch(config),
        group=group,
    )
    height, width = image_loader(reference.image).shape[-2:]
    steps = len(loader) if config.optimisation.total_steps else _limited_steps(config, len(loader))
    return Parts(
        group=group,
        device=device,
        learner=build_learner(config, steps_per_epoch=steps, device=device, label_ids=ids, group=group),
        loader=loader,
        steps_per_epoch=steps,
        cases_digest=hashlib.sha256("\n".join(case.id for case in index.train).encode()).hexdigest(),
        size=(height, width),
        reference=reference,
        training=index.train,
        validation=validation_cases(config, index),
        preview=index.shown[0],
        image_loader=image_loader,
        label_loader=label_loader,
        landmarks=landmarks,
        masks=masks,
        aligned=aligned,
        axes=axes,
    )


def build_learner(
    config: TrainConfig,
    *,
    steps_per_epoch: int,
    device: torch.device,
    label_ids: Sequence[int] = (),
    group: Group = SINGLE_PROCESS,
    steps_ahead: int | None = None,
) -> Learner:
    """Return a Learner whose network has the weights of `load_model`, or random ones drawn from the seed.

    `steps_ahead` is the Learner's; if None, it is STEPS_AHEAD on a GPU, and none on the CPU.
    """
    keep_freed_memory()
    # Initial weights depend on the seed alone; fork_rng restores the global random state.
    with RANDOM_STATE, torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.optimisation.seed)
        model = build_network(**config.network.model_dump())
    path: Path | None = config.optimisation.load_model
    if path is not None:
        load_weights(model, load_checkpoint(path).weights, path)
    optimisation, augmentation = config.optimisation, config.augmentation
    seen = optimisation.epochs * steps_per_epoch * optimisation.batch_size
    if device.type == "cuda" and seen >= COMPILED_FROM:
        ops.compile_for_gpu()
    model = model.to(device)
    model.precision = optimisation.precision
    teacher = deepcopy(model) if config.loss.teacher_weight else None
    return Learner(
        model,
        torch.optim.Adam(model.parameters(), lr=optimisation.lr, fused=True, capturable=device.type == "cuda"),
        Objective(**config.loss.model_dump()),
        Schedule(
            total=optimisation.epochs * steps_per_epoch,
            lr=optimisation.lr,
            lr_schedule=optimisation.lr_schedule,
            warmup_steps=optimisation.warmup_steps,
            start_scale=optimisation.start_scale,
            coarse_share=optimisation.coarse_share,
            decay=optimisation.cosine_epochs and optimisation.cosine_epochs * steps_per_epoch,
        ),
        augmentation=Augmentation(
            affine=augmentation.augment_affine,
            smooth=augmentation.augment_smooth,
            intensity=augmentation.augment_intensity,
            group=group,
        ),
        both_directions=augmentation.both_directions,
        ema=optimisation.ema,
        label_ids=label_ids,
        teacher=teacher,
        seed=optimisation.seed,
        group=group,
        steps_ahead=STEPS_AHEAD * (device.type == "cuda") if steps_ahead is None else steps_ahead,
    )


def _limited_steps(config: TrainConfig, steps: int) -> int:
    return min(steps, config.optimisation.steps_per_epoch or steps)


def _requested_steps_per_epoch(config: TrainConfig) -> int | None:
    """Return the steps of an epoch if `total_steps` fixes them; None if an epoch is one pass over the images."""
    total: int | None = config.optimisation.total_steps
    return None if total is None else math.ceil(total / config.optimisation.epochs)

"""The composition root: turns a TrainConfig into the objects that train; nothing below it knows the config."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from regstudio.config import ReadingSection, TrainConfig
from regstudio.data.check import Reading, check
from regstudio.data.dataset import RegistrationDataset, TrainingLoader
from regstudio.data.layout import Case, DataIndex, Layout, index_folder
from regstudio.data.loaders import Cache, ImageLoader, LabelLoader
from regstudio.data.report import Report
from regstudio.errors import ConfigError, DataError
from regstudio.losses import NCC, Grad
from regstudio.networks.checkpoint import load_checkpoint, load_weights
from regstudio.networks.corrmlp import CorrMLP
from regstudio.networks.device import find_device


@dataclass(frozen=True, kw_only=True)
class Losses:
    """The named terms of what is minimised, and their weights."""

    ncc: NCC
    grad: Grad
    weights: Mapping[str, float]

    def __call__(self, fixed: torch.Tensor, warped: torch.Tensor, flow: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the terms and, as "loss", their weighted sum: scalars."""
        terms = {"ncc": self.ncc(fixed, warped), "grad": self.grad(flow)}
        total = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        return {"loss": total, **terms}


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a training works with.

    `validation` is empty where it is not to validate; `preview` is the case that the previews show; `cases_digest`
    tells one list of training images from another.
    """

    device: torch.device
    model: CorrMLP
    optimizer: torch.optim.Adam
    losses: Losses
    loader: TrainingLoader
    steps_per_epoch: int
    cases_digest: str
    atlas: Case
    validation: tuple[Case, ...]
    preview: Case
    image_loader: ImageLoader
    label_loader: LabelLoader


def check_data(
    config: TrainConfig,
    *,
    most: int | None = None,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = lambda jobs: jobs,
) -> Report:
    """Look at the data that `config` names and open its files, but only the first `most` training images.

    A training that is about to start opens a bounded number, so that it starts soon however much data there is.
    """
    index = index_folder(Layout(**config.layout.model_dump()))
    reading = Reading(**config.reading.model_dump(exclude={"cache_gb", "num_workers"}))
    report = check(replace(index, train=index.train[:most]), reading, progress=progress)
    unopened = index.train[len(index.train[:most]) :]
    return replace(report, index=replace(report.index, train=report.index.train + unopened))


def loaders(reading: ReadingSection, atlas: Case | None) -> tuple[ImageLoader, LabelLoader]:
    """Return the loaders of images and of labels, which share one cache; the atlas gives the size to resize to."""
    cache = Cache(reading.cache_gb)
    images = ImageLoader(
        key=reading.image_key, slice_axis=reading.slice_axis, slice_index=reading.slice_index, cache=cache
    )
    labels = LabelLoader(
        key=reading.label_key, slice_axis=reading.slice_axis, slice_index=reading.slice_index, cache=cache
    )
    if not reading.resize_to_atlas or atlas is None:
        return images, labels
    _, height, width = images(atlas.image).shape
    return replace(images, size=(height, width)), replace(labels, size=(height, width))


def build(config: TrainConfig, index: DataIndex) -> Parts:
    """Return the parts of a training; raises a RegStudioError where the data, device or weights do not allow it."""
    if index.errors or index.atlas is None:
        raise DataError("\n".join(["The data cannot be trained on:", *map(str, index.errors)]))
    device = find_device(config.optimisation.device)
    image_loader, label_loader = loaders(config.reading, index.atlas)
    loader = TrainingLoader(
        RegistrationDataset(index.train, atlas=index.atlas, image_loader=image_loader),
        batch_size=config.optimisation.batch_size,
        seed=config.optimisation.seed,
        num_workers=config.reading.num_workers,
        pin_memory=device.type == "cuda",
    )
    model = network_of(config).to(device)
    return Parts(
        device=device,
        model=model,
        optimizer=optimizer_of(config, model),
        losses=losses_of(config),
        loader=loader,
        steps_per_epoch=min(len(loader), config.optimisation.steps_per_epoch or len(loader)),
        cases_digest=hashlib.sha256("\n".join(case.id for case in index.train).encode()).hexdigest(),
        atlas=index.atlas,
        validation=_validation(config, index, index.atlas),
        preview=(*index.validation, *index.train)[0],
        image_loader=image_loader,
        label_loader=label_loader,
    )


def network_of(config: TrainConfig) -> CorrMLP:
    """Return the network with its first weights: those of `load_model`, or drawn from the seed."""
    # The first weights depend on the seed alone, and what the program drew before is left as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.optimisation.seed)
        model = CorrMLP(**config.network.model_dump())
    path: Path | None = config.optimisation.load_model
    if path is not None:
        load_weights(model, load_checkpoint(path), path)
    return model


def losses_of(config: TrainConfig) -> Losses:
    """Return what is minimised."""
    return Losses(
        ncc=NCC(config.loss.ncc_win),
        grad=Grad(config.loss.grad_penalty),
        weights={"ncc": config.loss.ncc_weight, "grad": config.loss.grad_weight},
    )


def optimizer_of(config: TrainConfig, model: CorrMLP) -> torch.optim.Adam:
    """Return Adam for the weights of `model`."""
    return torch.optim.Adam(model.parameters(), lr=config.optimisation.lr, fused=True)


def _validation(config: TrainConfig, index: DataIndex, atlas: Case) -> tuple[Case, ...]:
    labelled = atlas.label is not None and any(case.label for case in index.validation)
    wanted = config.validation.run_validation
    if wanted and not index.validation:
        raise ConfigError(
            f"run_validation is on, but there are no validation images in {index.root}. "
            "Add some, or turn it off with --no-run_validation."
        )
    return index.validation if (labelled if wanted is None else wanted) else ()

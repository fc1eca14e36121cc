"""A trained network as an ONNX model, for programs that run it without PyTorch.

Inputs `fixed` and `moving`, both float32 (1, 1, H, W) in [0, 1], of any one size from 32 x 32 on; outputs `warped`
(1, 1, H, W) and `flow` (1, 2, H, W). The model's metadata state the convention.
"""

import importlib
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor, nn

from regstudio.data.loaders import rescale
from regstudio.errors import CheckpointError, ConfigError
from regstudio.files import atomic_path
from regstudio.networks.checkpoint import Checkpoint, load_checkpoint

Array = npt.NDArray[Any]

OPSET = 18
TOLERANCE = 1e-3  # pixels of flow
SIZES = ((64, 64), (83, 85), (32, 113), (120, 72))
# What is a branch on the size in the network is traced as it goes at this one: 83 is padded to 88, and none of 88, 44,
# 22 and 11 is a multiple of 3, 5 or 7, so that all paddings are in the graph, and are of zero width where need be.
_TRACED_SIZE = (83, 85)
_CONVENTION = {
    "inputs": "fixed, moving: float32 (1, 1, H, W), each scaled to [0, 1] by its own minimum and maximum; H, W >= 32",
    "flow": "(1, 2, H, W) in pixels, channel 0 = dy (rows, down), channel 1 = dx (columns, right), on the fixed grid",
    "pull_back": "warped(p) = moving(p + flow(p)), bilinear; what lies outside the moving image is 0",
    "alone": "the network alone: what it was trained to see affinely aligned is to be aligned before",
}


def export_onnx(
    checkpoint: Checkpoint | Path | str, path: Path, *, pairs: Sequence[tuple[Array, Array]] = ()
) -> dict[str, float]:
    """Write a network to `path` as ONNX with dynamic height and width, once it agrees with the original.

    Both are run, by onnxruntime and by PyTorch on the CPU, on random images of several sizes and on `pairs`: (fixed,
    moving) arrays (H, W) float32 in [0, 1]. The original runs in float64: on real images its own float32 is off by up
    to some hundredths of a pixel, by rounding, and would hide what the export does. Returns the largest difference in
    the flow, in pixels, for each size; raises CheckpointError, and writes nothing, where one is not below 1e-3, and
    ConfigError without the packages.
    """
    onnx, runtime = _package("onnx"), _package("onnxruntime")
    loaded = checkpoint if isinstance(checkpoint, Checkpoint) else load_checkpoint(checkpoint)
    network = loaded.model(str(path) if isinstance(checkpoint, Checkpoint) else checkpoint).eval().requires_grad_(False)
    model = onnx.load_from_string(_traced(network))
    facts = {**_CONVENTION, "network": json.dumps(dict(loaded.network)), "epoch": str(loaded.epoch)}
    onnx.helper.set_model_props(model, {f"regstudio.{name}": value for name, value in facts.items()})
    content = model.SerializeToString()
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    network.double()
    differences: dict[str, float] = {}
    for fixed, moving in (*_random_pairs(), *pairs):
        size = " x ".join(map(str, fixed.shape))
        differences[size] = max(_difference(network, session, fixed, moving), differences.get(size, 0.0))
    if not max(differences.values()) < TOLERANCE:
        raise CheckpointError(f"{path}: the exported network differs from the original ({differences}, in pixels).")
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return differences


def _traced(network: nn.Module) -> bytes:
    """Return the network as ONNX, by tracing it.

    torch.export understands it too, but takes four minutes over the sizes of its windows, and its ONNX never came.
    """
    size = {2: "height", 3: "width"}
    with torch.no_grad(), _quiet(), TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        torch.onnx.export(
            network,
            (torch.rand(1, 1, *_TRACED_SIZE), torch.rand(1, 1, *_TRACED_SIZE)),
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=["fixed", "moving"],
            output_names=["warped", "flow"],
            dynamic_axes=dict.fromkeys(("fixed", "moving", "warped", "flow"), size),
        )
        return file.read_bytes()


def _difference(network: nn.Module, session: Any, fixed: Array, moving: Array) -> float:
    """Return the largest difference of the two flows, in pixels."""
    images = [np.ascontiguousarray(image, np.float32)[None, None] for image in (fixed, moving)]
    with torch.inference_mode():
        wanted: Tensor = network(*(torch.from_numpy(image).double() for image in images))[1]
    (flow,) = session.run(["flow"], dict(zip(("fixed", "moving"), images, strict=True)))
    return float(abs(flow - wanted.numpy()).max()) if flow.shape == wanted.shape else float("inf")


def _random_pairs() -> Iterator[tuple[Array, Array]]:
    rng = np.random.default_rng(0)
    for size in SIZES:
        # As smooth as pictures are: on white noise, a flow of many pixels turns rounding into more than it is.
        noise = ndimage.gaussian_filter(rng.normal(size=(2, *size)), (0, 3, 3))
        fixed, moving = (rescale(image) for image in noise)
        yield fixed, moving


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(
            f'The package {name} is needed to export to ONNX. Install it with: pip install "regstudio[onnx]"'
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    # The tracer warns of every size that Python looks at, and that it may be superseded one day.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

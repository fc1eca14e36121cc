"""Export a trained network to ONNX, for programs that run it without PyTorch.

Inputs: `fixed` and `moving`, float32 (1, 1, H, W) in [0, 1], of the same size, 32 x 32 or larger. Outputs: `warped`
(1, 1, H, W) and `flow` (1, 2, H, W) in pixels. The model's metadata state the convention.
"""

import importlib
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor, nn

from regstudio.data.loading.loaders import rescale
from regstudio.errors import CheckpointError, ConfigError
from regstudio.files import atomic_path, temporary_folder
from regstudio.networks.checkpoint import Checkpoint, load_checkpoint

Array = npt.NDArray[Any]

OPSET = 18
TOLERANCE = 1e-3  # pixels of flow
CHECKED_SIZES = ((64, 64), (83, 85), (32, 113), (120, 72))
# Tracing records the branch that this size takes. 83 is padded to 88, and none of 88, 44, 22 and 11 is a multiple of a
# window size (3, 5, 7), so that the graph contains every padding; for other sizes its width may be 0.
_TRACED_SIZE = (83, 85)
_CONVENTION = {
    "inputs": "fixed, moving: float32 (1, 1, H, W), each scaled to [0, 1] as 'normalise' says; H, W >= 32",
    "flow": "(1, 2, H, W) in pixels, channel 0 = dy (rows, down), channel 1 = dx (columns, right), on the fixed grid",
    "pull_back": "warped(p) = moving(p + flow(p)), bilinear; what lies outside the moving image is 0",
    "alone": "the network alone: what it was trained to see affinely aligned is to be aligned before",
}

_AXES = {
    "itk": "[row, column] as ITK reads a file, in every format; files that know their place lie as the fixed one does",
    "nibabel": "[row, column] as nibabel shows a NIfTI file, and as the other formats are written",
}
_NORMALISE = {
    "minmax": "its own minimum becomes 0 and its maximum 1",
    "percentile": "its own 0.5 percentile becomes 0 and its 99.5 percentile 1, and what lies beyond is clipped",
}


def export_onnx(
    checkpoint: Checkpoint | Path | str, path: Path, *, pairs: Sequence[tuple[Array, Array]] = ()
) -> dict[str, float]:
    """Write a network to `path` as ONNX with dynamic height and width, and verify it against the original.

    onnxruntime runs the export and PyTorch the original, on random images of several sizes and on `pairs`: (fixed,
    moving) arrays (H, W), float32 in [0, 1]. The original runs in float64, as float32 rounding alone changes the flow
    of real images by up to some hundredths of a pixel. Returns the largest difference of the flow, in pixels, by size.
    Raises CheckpointError, and writes nothing, if a difference reaches 1e-3; ConfigError if packages are missing.
    """
    _import_package("onnx")  # before the tracing, which takes a minute
    loaded = checkpoint if isinstance(checkpoint, Checkpoint) else load_checkpoint(checkpoint)
    network = loaded.model(str(path) if isinstance(checkpoint, Checkpoint) else checkpoint).eval().requires_grad_(False)
    return write_verified(path, traced(network), network, loaded, pairs=pairs)


def write_verified(
    path: Path,
    model: bytes,
    network: nn.Module,
    checkpoint: Checkpoint,
    *,
    pairs: Sequence[tuple[Array, Array]] = (),
) -> dict[str, float]:
    """Write a traced `network` with what is known of its checkpoint, if it gives the network's flows."""
    onnx, runtime = _import_package("onnx"), _import_package("onnxruntime")
    described = onnx.load_from_string(model)
    facts = {
        **_CONVENTION,
        "normalise": _NORMALISE[checkpoint.normalise],
        "axes": _AXES[checkpoint.axes],
        "network": json.dumps(dict(checkpoint.network)),
        "epoch": str(checkpoint.epoch),
    }
    onnx.helper.set_model_props(described, {f"regstudio.{name}": value for name, value in facts.items()})
    content = described.SerializeToString()
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    network.double()
    differences: dict[str, float] = {}
    for fixed, moving in (*_random_pairs(), *pairs):
        size = " x ".join(map(str, fixed.shape))
        differences[size] = max(_max_flow_difference(network, session, fixed, moving), differences.get(size, 0.0))
    if not max(differences.values()) < TOLERANCE:
        raise CheckpointError(f"{path}: the exported network differs from the original ({differences}, in pixels).")
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return differences


def traced(network: nn.Module) -> bytes:
    """Return the traced network as ONNX bytes.

    torch.export takes four minutes for the window sizes, and its ONNX export did not finish.
    """
    size = {2: "height", 3: "width"}
    with torch.no_grad(), _tracer_warnings_ignored(), temporary_folder() as folder:
        file = folder / "network.onnx"
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


def _max_flow_difference(network: nn.Module, session: Any, fixed: Array, moving: Array) -> float:
    """Return the largest difference of the two flows in pixels; infinite if their shapes differ."""
    images = [np.ascontiguousarray(image, np.float32)[None, None] for image in (fixed, moving)]
    with torch.inference_mode():
        expected: Tensor = network(*(torch.from_numpy(image).double() for image in images))[1]
    (flow,) = session.run(["flow"], dict(zip(("fixed", "moving"), images, strict=True)))
    return float(abs(flow - expected.numpy()).max()) if flow.shape == expected.shape else float("inf")


def _random_pairs() -> Iterator[tuple[Array, Array]]:
    rng = np.random.default_rng(0)
    for size in CHECKED_SIZES:
        # Smooth like real images: on white noise, a large flow amplifies rounding errors.
        noise = ndimage.gaussian_filter(rng.normal(size=(2, *size)), (0, 3, 3))
        fixed, moving = (rescale(image) for image in noise)
        yield fixed, moving


def _import_package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(
            f'The package {name} is needed to export to ONNX. Install it with: pip install "regstudio[onnx]"'
        ) from None


@contextmanager
def _tracer_warnings_ignored() -> Iterator[None]:
    # The tracer warns about every size that Python code reads, and about its deprecation.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

"""Classical methods of registration, to compare with: each takes two images and returns a flow by our conventions.

SimpleITK's demons come with RegStudio; SyN (ANTsPy) and elastix (ITKElastix) with `pip install "regstudio[baselines]"`.
Their displacements are those of ITK: in millimetres, where an image without spacing has pixels of 1 mm, in the order
(x, y), from points of the fixed image to points of the moving one, which makes them pull-backs like ours.
"""

import importlib
import importlib.metadata
import importlib.util
import multiprocessing
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from regstudio.data.codecs.itk import simpleitk
from regstudio.data.pairs import Pair
from regstudio.errors import ConfigError, DataError
from regstudio.methods.affine import affine_flow, affine_matrix
from regstudio.methods.method import Method, Unregistered
from regstudio.transforms.resampling import affine_after
from regstudio.transforms.transform import Transform

Array = npt.NDArray[Any]
Flow = npt.NDArray[np.float32]

NAMES = ("none", "demons", "syn", "elastix")
_PACKAGES = {"demons": "SimpleITK", "syn": "antspyx", "elastix": "itk-elastix"}
_MODULES = {"syn": "ants", "elastix": "itk"}
DEMONS_LEVELS = ((4, 60), (2, 40), (1, 20))  # shrink factor and iterations
DEMONS_SMOOTHING = 1.5  # pixels of each level: the standard deviation of the Gaussian on the displacement
HISTOGRAM = {"numberOfHistogramLevels": 256, "numberOfMatchPoints": 15}


def baseline(name: str) -> Method:
    """Return one of NAMES as a method, timed by itself: no import, no reading.

    "none" moves nothing. "demons" is the affine registration of regstudio.methods.affine, then symmetric diffeomorphic
    demons on three levels (Vercauteren et al., NeuroImage 2009). "syn" is ANTs' SyN (Avants et al., MedIA 2008), its
    affine stage first, and "elastix" affine and B-spline stages (Klein et al., IEEE TMI 2010), both with their
    defaults. Raises ConfigError for another name, and where the method is not installed.
    """
    if name not in NAMES:
        raise ConfigError(f"There is no baseline {name!r}. Choose one of {', '.join(NAMES)}.")
    if name == "none":
        return Unregistered()
    return Demons() if name == "demons" else ExternalTool(name)


def _provenance(name: str) -> dict[str, Any]:
    package = _PACKAGES[name]
    return {"package": package, "version": importlib.metadata.version(package), "cores": os.cpu_count()}


class ToolResult(NamedTuple):
    """What a tool found, and its own warped image (H, W), which is not ours to the last digit."""

    flow: Flow
    affine_flow: Flow
    seconds: float
    warped: Array


class ExternalTool:
    """SyN or elastix, in a process of its own: each brings an ITK, and two in one process clash."""

    def __init__(self, name: str) -> None:
        if importlib.util.find_spec(_MODULES[name]) is None:
            raise ConfigError(
                f"The baseline {name} needs {_PACKAGES[name]}, which is not installed. "
                'Install it with: pip install "regstudio[baselines]"'
            )
        self.name, self.provenance = name, _provenance(name)
        self._process = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))

    def __call__(self, pair: Pair) -> Transform:
        """Register a pair; raises DataError where the tool's process ends."""
        try:
            found = self._process.submit(run_tool, self.name, pair.fixed, pair.moving).result()
        except BrokenProcessPool:
            raise DataError(f"{pair.id}: {self.name} ended without a result. Leave this baseline out.") from None
        return Transform(flow=found.flow, seconds=found.seconds, affine_flow=found.affine_flow)


class Demons:
    """Affine registration, then symmetric diffeomorphic demons on three levels, by SimpleITK."""

    name = "demons"

    def __init__(self) -> None:
        self.provenance = _provenance(self.name)

    def __call__(self, pair: Pair) -> Transform:
        """Register a pair."""
        sitk = simpleitk()
        start = time.perf_counter()
        matrix = affine_matrix(pair.fixed, pair.moving)
        linear, shift = matrix[:, :2], matrix[:, 2]
        fixed, moving = sitk.GetImageFromArray(pair.fixed), sitk.GetImageFromArray(pair.moving)
        affine = sitk.AffineTransform(linear[::-1, ::-1].ravel().tolist(), shift[::-1].tolist())
        aligned = sitk.Resample(moving, fixed, affine, sitk.sitkLinear)
        matched = sitk.HistogramMatching(aligned, fixed, **HISTOGRAM)
        field = None
        for factor, iterations in DEMONS_LEVELS:
            field = _demons_level(fixed, matched, factor, iterations, field)
        # The affine map of where the demons point, so that the moving image is resampled once.
        flow = affine_after(matrix, _flow(sitk.GetArrayFromImage(field)))
        return Transform(
            flow=flow.astype(np.float32),
            seconds=time.perf_counter() - start,
            affine_flow=affine_flow(matrix, pair.fixed.shape),
        )


def run_tool(name: str, fixed: Array, moving: Array) -> ToolResult:
    """Register two images (H, W) by "syn" or "elastix" in this process."""
    return (_syn if name == "syn" else _elastix)(fixed, moving)


def _demons_level(still: Any, moved: Any, factor: int, iterations: int, field: Any) -> Any:
    """Return the displacement field on the grid of the images shrunk by `factor`, from a coarser grid's `field` on."""
    sitk = simpleitk()
    if factor > 1:
        still, moved = (
            sitk.Shrink(sitk.SmoothingRecursiveGaussian(image, factor / 2), [factor, factor])
            for image in (still, moved)
        )
    demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
    demons.SetNumberOfIterations(iterations)
    demons.SetStandardDeviations(DEMONS_SMOOTHING)
    if field is None:
        return demons.Execute(still, moved)
    resample = sitk.ResampleImageFilter()
    resample.SetReferenceImage(still)
    resample.SetUseNearestNeighborExtrapolator(True)
    return demons.Execute(still, moved, resample.Execute(field))


def _syn(fixed: Array, moving: Array) -> ToolResult:
    ants: Any = importlib.import_module("ants")
    # ANTsPy counts the axes of an array as x, y.
    still, moved = (ants.from_numpy(np.ascontiguousarray(image.T)) for image in (fixed, moving))
    with tempfile.TemporaryDirectory(prefix="regstudio-") as folder:  # where ANTs leaves its transforms

        def flow(transforms: Sequence[str]) -> Flow:
            composed = ants.apply_transforms(still, moved, transforms, compose=str(Path(folder) / "whole"))
            return _flow(ants.image_read(composed).numpy().transpose(1, 0, 2))

        start = time.perf_counter()
        found = ants.registration(still, moved, "SyN", random_seed=1, outprefix=str(Path(folder) / "syn"))
        seconds = time.perf_counter() - start
        warp, affine = found["fwdtransforms"]
        return ToolResult(flow([warp, affine]), flow([affine]), seconds, found["warpedmovout"].numpy().T)


def _elastix(fixed: Array, moving: Array) -> ToolResult:
    itk: Any = importlib.import_module("itk")
    stages = itk.ParameterObject.New()  # ITK imports its parts as they are first named, which is not to be timed
    still, moved = (itk.image_from_array(np.ascontiguousarray(image)) for image in (fixed, moving))
    start = time.perf_counter()
    for stage in ("affine", "bspline"):
        stages.AddParameterMap(stages.GetDefaultParameterMap(stage))
    warped, found = itk.elastix_registration_method(still, moved, parameter_object=stages, log_to_console=False)
    seconds = time.perf_counter() - start

    def flow(transforms: Any) -> Flow:
        # It writes its field to a file as well, by default to the working folder.
        with tempfile.TemporaryDirectory(prefix="regstudio-") as folder:
            field = itk.transformix_deformation_field(moved, transforms, log_to_console=False, output_directory=folder)
            return _flow(np.array(itk.array_from_image(field)))

    affine = itk.ParameterObject.New()
    affine.AddParameterMap(found.GetParameterMap(0))
    return ToolResult(flow(found), flow(affine), seconds, itk.array_from_image(warped))


def _flow(field: Array) -> Flow:
    """Return a field (H, W, 2) of displacements in the order (x, y) as a flow (2, H, W) in the order (y, x)."""
    return np.ascontiguousarray(field[..., ::-1].transpose(2, 0, 1), np.float32)

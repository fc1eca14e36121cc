"""Baselines: classical registration methods (demons, SyN, elastix) to compare a network with.

SimpleITK's demons come with RegStudio; SyN (ANTsPy) and elastix (ITKElastix) with `pip install "regstudio[baselines]"`.
They return ITK displacement fields: vectors (x, y) in mm, with pixels of 1 mm for an image without spacing, from points
of the fixed image to points of the moving one. So they are pull-backs, like our flows.
"""

import importlib
import importlib.metadata
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from regstudio.data.codecs.itk import simpleitk
from regstudio.data.pairs.pair import Pair
from regstudio.errors import ConfigError, DataError
from regstudio.files import temporary_folder
from regstudio.methods import BASELINES, Tool, installed
from regstudio.methods.affine import affine_flow, affine_matrix
from regstudio.methods.masks import MaskArrays, mask_arrays
from regstudio.methods.method import Method, Unregistered
from regstudio.transforms.resampling import affine_after
from regstudio.transforms.transform import Transform

Array = npt.NDArray[Any]
Flow = npt.NDArray[np.float32]

DEMONS_LEVELS = ((4, 60), (2, 40), (1, 20))  # shrink factor and iterations
DEMONS_SMOOTHING = 1.5  # pixels of each level: standard deviation of the Gaussian that smooths the displacement field
HISTOGRAM_MATCHING = {"numberOfHistogramLevels": 256, "numberOfMatchPoints": 15}


def baseline(name: str) -> Method:
    """Return one of BASELINES as a Method; its seconds include neither import nor reading.

    - "none" leaves the moving image unchanged.
    - "demons" is our affine registration, then symmetric diffeomorphic demons on three levels (Vercauteren et al.,
      NeuroImage 2009).
    - "syn" is ANTs' SyN after its affine stage (Avants et al., MedIA 2008), with ANTs' defaults.
    - "elastix" has an affine and a B-spline stage (Klein et al., IEEE TMI 2010), with elastix' defaults.

    Raises ConfigError for another name, and if the package is not installed.
    """
    if name not in BASELINES:
        raise ConfigError(f"There is no baseline {name!r}. Choose one of {', '.join(BASELINES)}.")
    tool = BASELINES[name]
    if tool is None:
        return Unregistered()
    return Demons(tool) if name == "demons" else ExternalTool(name, tool)


def _provenance(tool: Tool) -> dict[str, Any]:
    return {"package": tool.package, "version": importlib.metadata.version(tool.package), "cores": os.cpu_count()}


class ToolResult(NamedTuple):
    """Flows (2, H, W) of an external tool, and its own warped image (H, W), which may differ from ours by rounding."""

    flow: Flow
    affine_flow: Flow
    seconds: float
    warped: Array


class ExternalTool:
    """SyN or elastix in a separate process: each bundles an ITK, and two ITKs in one process clash."""

    def __init__(self, name: str, tool: Tool) -> None:
        if not installed(name):
            raise ConfigError(
                f"The baseline {name} needs {tool.package}, which is not installed. "
                'Install it with: pip install "regstudio[baselines]"'
            )
        self.name, self.provenance = name, _provenance(tool)
        self._process = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))

    def __call__(self, pair: Pair) -> Transform:
        """Register a pair; raises DataError if the tool's process dies."""
        try:
            result = self._process.submit(run_tool, self.name, pair.fixed, pair.moving, mask_arrays(pair)).result()
        except BrokenProcessPool:
            raise DataError(f"{pair.id}: {self.name} ended without a result. Leave this baseline out.") from None
        except RuntimeError as error:  # what ITK raises; the reason is in the last line
            reason = str(error).strip().splitlines()[-1].strip()
            raise DataError(
                f"{pair.id}: {self.name} could not register it ({reason}). Leave this baseline out, or the masks."
            ) from None
        return Transform(flow=result.flow, seconds=result.seconds, affine_flow=result.affine_flow)


class Demons:
    """Affine registration, then symmetric diffeomorphic demons on three levels, by SimpleITK."""

    name = "demons"

    def __init__(self, tool: Tool) -> None:
        self.provenance = _provenance(tool)

    def __call__(self, pair: Pair) -> Transform:
        """Register a pair."""
        sitk = simpleitk()
        start = time.perf_counter()
        matrix = affine_matrix(pair.fixed, pair.moving, mask_arrays(pair))
        linear, shift = matrix[:, :2], matrix[:, 2]
        fixed, moving = sitk.GetImageFromArray(pair.fixed), sitk.GetImageFromArray(pair.moving)
        affine = sitk.AffineTransform(linear[::-1, ::-1].ravel().tolist(), shift[::-1].tolist())
        aligned = sitk.Resample(moving, fixed, affine, sitk.sitkLinear)
        matched = sitk.HistogramMatching(aligned, fixed, **HISTOGRAM_MATCHING)
        field = None
        for factor, iterations in DEMONS_LEVELS:
            field = _demons_level(fixed, matched, factor, iterations, field)
        # Compose both maps, so that the moving image is resampled once.
        flow = affine_after(matrix, _flow_from_field(sitk.GetArrayFromImage(field)))
        return Transform(
            flow=flow.astype(np.float32),
            seconds=time.perf_counter() - start,
            affine_flow=affine_flow(matrix, pair.fixed.shape),
        )


def run_tool(name: str, fixed: Array, moving: Array, masks: MaskArrays = (None, None)) -> ToolResult:
    """Register two images (H, W), with masks, by "syn" or "elastix" in this process."""
    return (_syn if name == "syn" else _elastix)(fixed, moving, masks)


def _demons_level(fixed: Any, moving: Any, factor: int, iterations: int, field: Any) -> Any:
    """Return the displacement field on the images shrunk by `factor`, initialised by the coarser level's `field`."""
    sitk = simpleitk()
    if factor > 1:
        fixed, moving = (
            sitk.Shrink(sitk.SmoothingRecursiveGaussian(image, factor / 2), [factor, factor])
            for image in (fixed, moving)
        )
    demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
    demons.SetNumberOfIterations(iterations)
    demons.SetStandardDeviations(DEMONS_SMOOTHING)
    if field is None:
        return demons.Execute(fixed, moving)
    resample = sitk.ResampleImageFilter()
    resample.SetReferenceImage(fixed)
    resample.SetUseNearestNeighborExtrapolator(True)
    return demons.Execute(fixed, moving, resample.Execute(field))


def _syn(fixed: Array, moving: Array, masks: MaskArrays) -> ToolResult:
    ants: Any = importlib.import_module("ants")
    # ANTsPy takes the axes of an array as x, y.
    fixed_image, moving_image = (ants.from_numpy(np.ascontiguousarray(image.T)) for image in (fixed, moving))
    with temporary_folder() as folder:  # for the files of ANTs' transforms

        def flow(transforms: Sequence[str]) -> Flow:
            composed = ants.apply_transforms(fixed_image, moving_image, transforms, compose=str(folder / "whole"))
            return _flow_from_field(ants.image_read(composed).numpy().transpose(1, 0, 2))

        start = time.perf_counter()
        count = {
            name: ants.from_numpy(np.ascontiguousarray(mask.T, np.float32))
            for name, mask in zip(("mask", "moving_mask"), masks, strict=True)
            if mask is not None
        }
        where = {**count, "mask_all_stages": True} if count else {}
        result = ants.registration(
            fixed_image, moving_image, "SyN", random_seed=1, outprefix=str(folder / "syn"), **where
        )
        seconds = time.perf_counter() - start
        warp, affine = result["fwdtransforms"]
        return ToolResult(flow([warp, affine]), flow([affine]), seconds, result["warpedmovout"].numpy().T)


def _elastix(fixed: Array, moving: Array, masks: MaskArrays) -> ToolResult:
    itk: Any = importlib.import_module("itk")
    stages = itk.ParameterObject.New()  # triggers ITK's lazy imports before the timing starts
    fixed_image, moving_image = (itk.image_from_array(np.ascontiguousarray(image)) for image in (fixed, moving))
    count = {
        name: itk.image_from_array(np.ascontiguousarray(mask > 0, np.uint8))
        for name, mask in zip(("fixed_mask", "moving_mask"), masks, strict=True)
        if mask is not None
    }
    start = time.perf_counter()
    for stage in ("affine", "bspline"):
        stages.AddParameterMap(stages.GetDefaultParameterMap(stage))
    warped, transform = itk.elastix_registration_method(
        fixed_image, moving_image, parameter_object=stages, log_to_console=False, **count
    )
    seconds = time.perf_counter() - start

    def flow(transforms: Any) -> Flow:
        # transformix also writes the field to a file, by default in the working folder.
        with temporary_folder() as folder:
            field = itk.transformix_deformation_field(
                moving_image, transforms, log_to_console=False, output_directory=str(folder)
            )
            return _flow_from_field(np.array(itk.array_from_image(field)))

    affine = itk.ParameterObject.New()
    affine.AddParameterMap(transform.GetParameterMap(0))
    return ToolResult(flow(transform), flow(affine), seconds, itk.array_from_image(warped))


def _flow_from_field(field: Array) -> Flow:
    """Return a displacement field (H, W, 2) in the order (x, y) as a flow (2, H, W) in the order (y, x)."""
    return np.ascontiguousarray(field[..., ::-1].transpose(2, 0, 1), np.float32)

"""The exported network, run by onnxruntime, against the original."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy import ndimage

from regstudio.cli import main
from regstudio.data.loading.loaders import ImageLoader, rescale
from regstudio.errors import RegStudioError
from regstudio.methods.onnx_export import export_onnx, write_verified
from regstudio.networks.checkpoint import Checkpoint, save_checkpoint
from regstudio.networks.corrmlp import CorrMLP

runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime, in regstudio[onnx]")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    """A network whose flow is of some pixels, and depends on everything it sees."""
    torch.manual_seed(3)
    model = CorrMLP(2, 4)
    for head in model.heads:
        torch.nn.init.normal_(head.weight, std=0.01)
    return Checkpoint(weights=model.state_dict(), network={"encoder_channels": 2, "decoder_channels": 4}, epoch=7)


@pytest.fixture(scope="module")
def exported(checkpoint: Checkpoint, demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx")
    save_checkpoint(folder / "c.pt", checkpoint)
    images = ["--fixed", demo / "fixed" / "atlas.png", "--moving", demo / "moving" / "phantom_01.png"]
    arguments = ["export-onnx", "--checkpoint", folder / "c.pt", "--out", folder / "new" / "c.onnx", *images]
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    assert "83 x 85: the flow differs" in result.output
    assert "48 x 48: the flow differs" in result.output  # the two images
    return folder / "new" / "c.onnx"


@pytest.fixture(scope="module")
def session(exported: Path) -> Any:
    return runtime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])


# Sizes that need every combination of paddings: to a multiple of 8, and to windows of 3, 5 and 7.
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (105, 70), (840, 32), (120, 168), (83, 85)])
def test_any_size_gives_the_original_flow(size: tuple[int, int], session: Any, checkpoint: Checkpoint) -> None:
    noise = np.random.default_rng(size[0]).normal(size=(2, 1, 1, *size))
    fixed, moving = (rescale(image) for image in ndimage.gaussian_filter(noise, (0, 0, 0, 2, 2)))
    warped, flow = session.run(["warped", "flow"], {"fixed": fixed, "moving": moving})
    with torch.inference_mode():
        wanted = checkpoint.model().eval().double()(torch.from_numpy(fixed).double(), torch.from_numpy(moving).double())
    assert flow.shape == (1, 2, *size)
    assert warped.shape == (1, 1, *size)
    assert abs(wanted[1].numpy()).max() > 0.03
    np.testing.assert_allclose(flow, wanted[1].numpy(), atol=1e-3)
    np.testing.assert_allclose(warped, wanted[0].numpy(), atol=1e-3)


def test_real_images_give_the_original_flow(session: Any, checkpoint: Checkpoint, demo: Path) -> None:
    fixed = ImageLoader()(demo / "fixed" / "atlas.png")[None]
    for path in sorted((demo / "moving").iterdir()):
        moving = ImageLoader()(path)[None]
        (flow,) = session.run(["flow"], {"fixed": fixed, "moving": moving})
        with torch.inference_mode():
            wanted = (
                checkpoint.model()
                .eval()
                .double()(torch.from_numpy(fixed).double(), torch.from_numpy(moving).double())[1]
            )
        np.testing.assert_allclose(flow, wanted.numpy(), atol=1e-3)


def test_the_model_states_its_convention(session: Any) -> None:
    facts = session.get_modelmeta().custom_metadata_map
    assert "channel 0 = dy" in facts["regstudio.flow"]
    assert facts["regstudio.pull_back"].startswith("warped(p) = moving(p + flow(p))")
    assert json.loads(facts["regstudio.network"])["decoder_channels"] == 4
    assert facts["regstudio.epoch"] == "7"
    assert facts["regstudio.normalise"] == "its own minimum becomes 0 and its maximum 1"
    shapes = {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())}
    assert shapes["moving"] == [1, 1, "height", "width"]
    assert shapes["flow"][1:] == [2, "height", "width"]


def test_the_model_of_a_network_trained_with_percentiles_says_so(
    exported: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    checkpoint = replace(checkpoint, config={"reading": {"normalise": "percentile"}})
    write_verified(tmp_path / "net.onnx", exported.read_bytes(), checkpoint.model().eval(), checkpoint)
    session = runtime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    assert "0.5 percentile becomes 0" in session.get_modelmeta().custom_metadata_map["regstudio.normalise"]


def test_without_the_packages_it_says_what_to_install(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(RegStudioError, match=r"onnx is needed.*pip install \"regstudio\[onnx\]\""):
        export_onnx(checkpoint, tmp_path / "a.onnx")


def test_a_network_that_comes_out_differently_is_not_written(
    exported: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    weights = {name: 1.01 * weight for name, weight in checkpoint.weights.items()}
    other = replace(checkpoint, weights=weights).model().eval()
    with pytest.raises(RegStudioError, match=r"a\.onnx: the exported network differs"):
        write_verified(tmp_path / "a.onnx", exported.read_bytes(), other, checkpoint)
    assert not list(tmp_path.iterdir())


def test_a_network_with_a_size_of_its_own_and_passes(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Smaller and larger images, square and not; the sizes that every export is verified at, and a large one."""
    sees = {"transform": "svf", "network_side": 64, "passes": 2}
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(2, 200, 333)), (0, 4, 4))
    large = (rescale(noise[0]), rescale(noise[1]))
    found = export_onnx(
        replace(checkpoint, network={**checkpoint.network, **sees}), tmp_path / "net.onnx", pairs=[large]
    )
    assert {"32 x 113", "83 x 85", "120 x 72", "200 x 333"} <= set(found)
    assert max(found.values()) < 1e-3

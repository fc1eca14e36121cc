"""A checkpoint says how its images were scaled, and registering scales them so."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from regstudio.cli import main
from regstudio.data.pictures.writing import write_image
from regstudio.methods.network import load_method
from regstudio.networks.checkpoint import Checkpoint, save_checkpoint
from regstudio.networks.corrmlp import CorrMLP
from regstudio.registering.two_images import register


@pytest.fixture
def checkpoint() -> Checkpoint:
    """A network that answers to what it sees, trained with percentiles."""
    model = CorrMLP(2, 4)
    for head in model.heads:
        torch.nn.init.normal_(head.weight, std=0.3)
    network = {"encoder_channels": 2, "decoder_channels": 4}
    return Checkpoint(weights=model.state_dict(), network=network, config={"reading": {"normalise": "percentile"}})


@pytest.fixture
def bright(image: np.ndarray) -> np.ndarray:
    """The image with its brightest pixel twenty times as bright."""
    changed = image.copy()
    changed[np.unravel_index(changed.argmax(), changed.shape)] *= 20
    return changed


def test_a_bright_pixel_changes_nothing_for_a_network_trained_with_percentiles(
    checkpoint: Checkpoint, image: np.ndarray, bright: np.ndarray
) -> None:
    clean = register(load_method(checkpoint, "cpu"), image[:, ::-1], image).flow
    assert load_method(checkpoint, "cpu").normalise == "percentile"
    np.testing.assert_allclose(register(load_method(checkpoint, "cpu"), image[:, ::-1], bright).flow, clean, atol=1e-3)
    other = register(load_method(checkpoint, "cpu", normalise="minmax"), image[:, ::-1], bright).flow
    assert np.abs(other - clean).max() > 0.1


def test_a_network_that_says_nothing_was_trained_with_the_extremes(checkpoint: Checkpoint) -> None:
    older = Checkpoint(weights=checkpoint.weights, network=checkpoint.network)
    assert load_method(older, "cpu").normalise == "minmax"
    assert load_method(older, "cpu", normalise="percentile").normalise == "percentile"


@pytest.mark.slow
def test_register_takes_the_checkpoint_s_rule_unless_a_flag_says_otherwise(
    tmp_path: Path, checkpoint: Checkpoint, image: np.ndarray, bright: np.ndarray
) -> None:
    save_checkpoint(tmp_path / "net.pt", checkpoint)
    for name, array in (("fixed", image[:, ::-1]), ("clean", image), ("bright", bright)):
        write_image(tmp_path / f"{name}.npy", array)

    def flow(moving: str, *flags: str) -> np.ndarray:
        files = {"checkpoint": "net.pt", "fixed": "fixed.npy", "moving": f"{moving}.npy", "out": "out"}
        arguments = [part for name, file in files.items() for part in (f"--{name}", str(tmp_path / file))]
        result = CliRunner().invoke(main, ["register", *arguments, "--device", "cpu", *flags])
        assert result.exit_code == 0, result.output
        return np.load(tmp_path / "out" / f"{moving}_flow.npy")

    clean = flow("clean")
    np.testing.assert_allclose(flow("bright"), clean, atol=1e-3)
    assert np.abs(flow("bright", "--normalise", "minmax") - clean).max() > 0.1

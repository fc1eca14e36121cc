"""The look at the images before the first step, and what the trainer says of a training as it goes on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from regstudio.config import TrainConfig
from regstudio.data.pictures.formats import read_image
from regstudio.data.pictures.writing import write_image
from regstudio.runs.diagnosis import diagnose
from regstudio.runs.events import RunFinished
from regstudio.training.examination import examine
from regstudio.training.setup import build
from regstudio.training.trainer import train
from tests.training.whole_training import index_of, run_of

Configs = Callable[..., TrainConfig]


def pairs(folder: Path, change: Callable[[np.ndarray], np.ndarray], demo: Path) -> Path:
    """Two phantoms and what `change` makes of them, as pairs."""
    for path in sorted((demo / "moving").iterdir())[:2]:
        fixed = read_image(path).grey.astype(np.float32)
        for part, image in (("fixed", fixed), ("moving", change(fixed))):
            write_image(folder / part / f"{path.stem}.png", image.clip(0, 255).astype(np.uint8))
    return folder


def turned(image: np.ndarray) -> np.ndarray:
    return ndimage.rotate(image, 35, reshape=False, order=1)


def otherwise(image: np.ndarray) -> np.ndarray:
    """What is dark, what is grey and what is bright in another order, as between CT and MR."""
    return 255 * np.abs(np.sin(np.pi * 2.2 * image / 255))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "kinds"), [(lambda image: image, []), (turned, ["askew"]), (otherwise, ["other kinds"])]
)
def test_a_few_pairs_tell_whether_they_lie_askew_or_are_of_two_kinds(
    change: Callable[[np.ndarray], np.ndarray], kinds: list[str], demo: Path, tmp_path: Path, quick_config: Configs
) -> None:
    config = quick_config(data_base_dir=pairs(tmp_path / "data", change, demo), run_validation=False)
    seen = examine(build(config, index_of(config)), lambda: False)
    assert seen is not None
    assert seen.pairs == 2
    assert [finding.kind for finding in diagnose(config, [seen])] == kinds
    assert examine(build(config, index_of(config)), lambda: True) is None


def test_the_log_says_while_it_trains_and_at_its_end_that_nothing_is_learned(quick_config: Configs) -> None:
    config = quick_config(lr=1e-9, epochs=3, batch_size=4)
    events = list(train(config, index_of(config)))
    (end,) = (event for event in events if isinstance(event, RunFinished))
    assert end.message.startswith("Nothing is learned: after 3 epochs")
    lines = run_of(events).log_path.read_text().splitlines()
    places = [place for place, line in enumerate(lines) if "Nothing is learned" in line]
    assert len(places) == 2
    assert lines[places[0] - 1].find("Epoch 003/003") > 0
    assert lines[-1].endswith("Training Finished")

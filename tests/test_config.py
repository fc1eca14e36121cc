import inspect

import pytest

from regstudio.config import TrainConfig, build_config, knobs, read_config
from regstudio.data.check import Reading
from regstudio.data.layout import Layout
from regstudio.errors import ConfigError
from regstudio.losses import NCC, Grad
from regstudio.networks.corrmlp import CorrMLP


def defaults(function: object) -> dict[str, object]:
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    return {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}


def test_the_documented_defaults() -> None:
    config = TrainConfig()
    assert (config.optimisation.lr, config.optimisation.epochs, config.optimisation.batch_size) == (1e-4, 100, 1)
    assert (config.loss.ncc_weight, config.loss.grad_weight) == (1, 1)
    assert config.layout.atlas_name == "atlas.png"
    assert config.validation.run_validation is None


def test_modules_used_alone_have_the_same_defaults() -> None:
    config = TrainConfig()
    assert defaults(CorrMLP) == config.network.model_dump()
    assert defaults(NCC) == {"win": config.loss.ncc_win}
    assert defaults(Grad) == {"penalty": config.loss.grad_penalty}
    assert Reading(**config.reading.model_dump(exclude={"cache_gb", "num_workers"})) == Reading()
    assert Layout(**config.layout.model_dump()).atlas_seg_name == "atlas_seg.png"


def test_names_are_unique_and_every_knob_has_a_help() -> None:
    names = [knob.name for knob in knobs()]
    assert len(names) == len(set(names))
    assert all(knob.help for knob in knobs())


def test_a_record_reads_back() -> None:
    config = build_config({"lr": 0.5, "data_base_dir": "/somewhere", "run_validation": False, "grad_penalty": "l1"})
    assert read_config(config.model_dump(mode="json")) == config


def test_values_go_over_a_base() -> None:
    base = build_config({"lr": 0.5})
    assert build_config({"epochs": 3}, base).optimisation.model_dump(include={"lr", "epochs"}) == {
        "lr": 0.5,
        "epochs": 3,
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": 1}, "learning_rate: there is no such setting. Did you mean"),
        ({"epoch": 1}, "Did you mean epochs?"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"epochs": 0}, "epochs is 0: input should be greater than or equal to 1."),
        ({"ncc_win": 10}, "ncc_win is 10: must be odd"),
        ({"run_name": "a/b"}, "run_name is a/b: it should be: name of the run's folder, no slashes"),
        ({"run_name": ".."}, "run_name is ..:"),
        ({"seed": -1, "batch_size": 0}, "batch_size is 0"),
    ],
)
def test_bad_values_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_config(values)
    assert message in str(caught.value)


@pytest.mark.parametrize("record", [{"loss": {"nccweight": 1}}, {"losses": {}}])
def test_unknown_names_in_a_record_are_named(record: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"there is no such setting\. Did you mean (ncc_weight|loss)\?"):
        read_config(record)

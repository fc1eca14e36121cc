from pathlib import Path
from typing import Any

import pytest

from regstudio.config import GENERAL, TrainConfig, build_config, preset_values
from regstudio.errors import ConfigError
from regstudio.studio.simple_settings import CHECKPOINT, NOTHING, problems, settings_of, simple_of


def changed(config: TrainConfig, name: str, value: Any) -> TrainConfig:
    return build_config(settings_of(name, value, config.optimisation.total_steps), config)


@pytest.mark.parametrize("preset", ["paper", "fast", "best"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("duration", 77),
        ("smoothness", 2.5),
        ("askew", True),
        ("askew", False),
        ("other_kinds", True),
        ("other_kinds", False),
        ("start", NOTHING),
        ("start", GENERAL),
    ],
)
def test_each_field_shows_what_it_was_set_to_and_leaves_the_others(preset: str, name: str, value: Any) -> None:
    config = build_config(preset_values(preset))
    before, after = vars(simple_of(config)), vars(simple_of(changed(config, name, value)))
    assert after == {**before, name: value}


def test_the_duration_is_in_steps_where_these_are_set() -> None:
    fast = build_config(preset_values("fast"))
    assert simple_of(fast).unit == "steps"
    assert changed(fast, "duration", 60).optimisation.total_steps == 60
    paper = build_config({})
    assert simple_of(paper).unit == "epochs"
    assert changed(paper, "duration", 60).optimisation.epochs == 60


def test_what_starts_from_nothing_has_no_teacher_and_what_goes_on_from_the_general_network_looks_as_it_does() -> None:
    fast = build_config(preset_values("fast"))
    assert changed(fast, "start", NOTHING).loss.teacher_weight == 0
    general = changed(build_config({}), "start", GENERAL)
    expected = preset_values("fast")
    assert {name: expected[name] for name in ("transform", "network_side", "passes")} == general.network.model_dump(
        include={"transform", "network_side", "passes"}
    )
    own = changed(build_config({}), "checkpoint", "a.pt")
    assert (simple_of(own).start, simple_of(own).checkpoint) == (CHECKPOINT, "a.pt")
    assert own.optimisation.load_model == Path("a.pt")


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ConfigError, match="Reload the page"):
        settings_of("tricks", 1)


@pytest.mark.parametrize(
    ("values", "name", "words"),
    [
        ({"epochs": 0}, "epochs", "Should be greater than or equal to 1 (now 0)."),
        ({"start_scale": 3}, "start_scale", "Must be 1, 2, 4 or 8 (now 3)."),
        ({"passes": 2}, "passes", "“transform” svf"),
        ({"ncc_weight": 0}, "", "“ncc weight” 1"),
    ],
)
def test_a_refusal_is_told_by_field_in_words_of_the_page(values: dict[str, Any], name: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        build_config(values)
    found = problems(error.value)
    assert words in found[name]
    assert len(found) == 1


def test_an_empty_field_is_told_by_its_name() -> None:
    assert problems(ConfigError("lr is empty. Fill it in; its default is 0.0001.")) == {
        "lr": "Empty. Fill it in; its default is 0.0001."
    }

from typing import Any

import gradio as gr
import pytest

from regstudio.config import Setting, build_config, settings
from regstudio.errors import ConfigError
from regstudio.studio.training_control import device_choices
from regstudio.ui.tabs.data_handlers import reading_settings
from regstudio.ui.widgets.form import (
    IN_VIEW,
    Form,
    field,
    form_settings,
    from_field,
    help_text,
    to_field,
)

SETTINGS = {setting.name: setting for setting in settings()}


@pytest.fixture(scope="module")
def form() -> Form:
    ours = form_settings()
    return Form(tuple(ours), tuple(map(field, ours)))  # without a page, which would open sockets


def test_every_setting_but_those_of_places_has_one_field(form: Form) -> None:
    data_tab = {setting.name for setting in reading_settings()} | {"data_base_dir"}
    expected = {setting.name for setting in settings()} - data_tab - {"runs_dir"}
    assert [setting.name for setting in form.settings][: len(IN_VIEW)] == list(IN_VIEW)
    assert {setting.name for setting in form.settings} == expected
    assert len(form.components) == len(expected)


def test_untouched_the_form_gives_the_defaults(form: Form) -> None:
    raw = [component.value for component in form.components]
    assert build_config(form.values(raw)) == build_config({})


def test_a_configuration_goes_through_the_form_unchanged(form: Form) -> None:
    config = build_config(
        {
            "lr": 3e-5,
            "run_validation": False,
            "num_workers": 1,
            "run_name": "a",
            "grad_penalty": "l1",
            "load_model": "x",
        }
    )
    assert build_config(form.values(form.fields(config))) == config


@pytest.mark.parametrize("setting", form_settings(), ids=lambda setting: setting.name)
def test_help_bounds_and_default_are_told(setting: Setting) -> None:
    text = help_text(setting)
    assert text.startswith(setting.help)
    assert setting.bounds.split(", ")[0] in text


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", 3.0, 3),
        ("epochs", 3.5, 3.5),
        ("slice_axis", None, None),
        ("run_name", "  ", None),
        ("run_name", " a ", "a"),
        ("load_model", "", None),
        ("pair_by", "", None),
        ("pair_by", "csv", "csv"),
        ("run_validation", "", None),
        ("run_validation", "yes", True),
        ("run_validation", None, None),
        ("run_validation", "perhaps", "perhaps"),
        ("gradient_checkpointing", False, False),
    ],
)
def test_a_field_becomes_a_value(name: str, value: Any, expected: Any) -> None:
    assert from_field(SETTINGS[name], value) == expected


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("epochs", None, "epochs is empty.*100"),
        ("epochs", 0, "epochs is 0"),
        ("epochs", 1.5, "epochs is 1.5"),
        ("epochs", [1], "epochs"),
        ("epochs", {"a": 1}, "epochs"),
        ("run_validation", "perhaps", "run_validation"),
        ("run_validation", ["yes"], "run_validation"),
        ("device", "tpu", "device is tpu"),
        ("device", "", "device"),
        ("run_name", "a/b", "run_name is a/b"),
        ("ncc_win", 8, "odd"),
    ],
)
def test_what_is_no_value_is_refused_by_name(name: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_config({name: from_field(SETTINGS[name], value)})


def test_a_new_setting_needs_nothing_here() -> None:
    facts = {"section": "optimisation", "help": "shrinks weights", "choices": (), "bounds": ">= 0", "resumable": False}
    for kind, default, optional, component in (
        (float, 0.0, False, gr.Number),
        (str, None, True, gr.Textbox),
        (bool, None, True, gr.Dropdown),
        (bool, True, False, gr.Checkbox),
    ):
        setting = Setting(name="weight_decay", type=kind, default=default, optional=optional, **facts)
        assert isinstance(field(setting), component)
        assert from_field(setting, to_field(setting, default)) == default


def test_the_cpu_is_always_a_choice() -> None:
    assert {"auto", "cpu"} <= {value for _, value in device_choices()}


def test_the_fields_of_the_data_tab_show_the_defaults() -> None:
    for setting in reading_settings():
        shown = field(setting).value
        assert build_config({setting.name: from_field(setting, shown)}) == build_config({}), setting.name

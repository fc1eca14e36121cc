"""Generate the handbook's page of settings from their declaration."""

import re
from collections.abc import Iterable, Iterator

from regstudio.config import PRESETS, Setting, TrainConfig, settings

_INTRODUCTION = """\
# All settings

Each setting is a flag of `regstudio train`, a field in the page and a line of a run's `config.json`. The flags of the
sections *layout* and *reading* work with `check` and `evaluate`, too; those of *reading* with `register` and `apply`.
Only the settings marked *yes* under *on resume* may change when a run is resumed.
"""


def settings_markdown() -> str:
    """Return the page in Markdown: a table of the presets, and one for each section of settings."""
    lines = [_INTRODUCTION, "## Presets", "", *_table(["preset", "for", "sets"], _preset_rows())]
    for section, info in TrainConfig.model_fields.items():
        rows = [_setting_row(setting) for setting in settings(section)]
        lines += ["", f"## {section.capitalize()}", "", (type(info.default).__doc__ or "").strip(), ""]
        lines += _table(["flag", "default", "allowed", "on resume", "meaning"], rows)
    return "\n".join(lines) + "\n"


def _preset_rows() -> Iterator[list[str]]:
    for name, preset in PRESETS.items():
        flags = ", ".join(_code(f"--{setting} {value}") for setting, value in preset.values.items())
        yield [_code(f"--preset {name}"), _escape(preset.purpose), flags or "nothing"]


def _setting_row(setting: Setting) -> list[str]:
    return [
        _code(f"--{setting.name}") + (f" {_code(f'--no-{setting.name}')}" if setting.type is bool else ""),
        "not given" if setting.default is None else _code(_value_text(setting.default)),
        ", ".join(map(_code, setting.choices)) or (_code(setting.bounds) if setting.bounds else ""),
        "yes" if setting.resumable else "",
        _escape(setting.help),
    ]


def _value_text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _table(titles: list[str], rows: Iterable[list[str]]) -> list[str]:
    lines = [titles, ["---"] * len(titles), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _code(text: str) -> str:
    return f"`{text}`"


def _escape(text: str) -> str:
    return re.sub(r"([|*<])", r"\\\1", text)

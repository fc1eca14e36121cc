"""All settings of a training: declared in sections, preset in presets, built and validated in building."""

from regstudio.config.building import (
    READING_OF_0_1,
    Setting,
    build_config,
    extend_epochs,
    read_config,
    read_network,
    settings,
)
from regstudio.config.layout_section import LayoutSection
from regstudio.config.presets import PRESETS, Preset, preset_values
from regstudio.config.reading_section import ReadingSection
from regstudio.config.section import RESUMABLE
from regstudio.config.sections import GENERAL, TrainConfig, is_general

__all__ = [
    "GENERAL",
    "PRESETS",
    "READING_OF_0_1",
    "RESUMABLE",
    "LayoutSection",
    "Preset",
    "ReadingSection",
    "Setting",
    "TrainConfig",
    "build_config",
    "extend_epochs",
    "is_general",
    "preset_values",
    "read_config",
    "read_network",
    "settings",
]

"""Every knob of a training: what there is (sections), what people start from (presets), how values become one."""

from regstudio.config.building import Knob, build_config, knobs, prolonged, read_config, unknown_name
from regstudio.config.presets import PRESETS, Preset, preset
from regstudio.config.sections import RESUMABLE, LayoutSection, ReadingSection, TrainConfig

__all__ = [
    "PRESETS",
    "RESUMABLE",
    "Knob",
    "LayoutSection",
    "Preset",
    "ReadingSection",
    "TrainConfig",
    "build_config",
    "knobs",
    "preset",
    "prolonged",
    "read_config",
    "unknown_name",
]

"""Every setting of a training: what there is (sections), what people start from (presets), how values become one."""

from regstudio.config.building import Setting, build_config, extended_to, read_config, settings, unknown_name
from regstudio.config.presets import PRESETS, Preset, preset
from regstudio.config.sections import RESUMABLE, LayoutSection, ReadingSection, TrainConfig

__all__ = [
    "PRESETS",
    "RESUMABLE",
    "LayoutSection",
    "Preset",
    "ReadingSection",
    "Setting",
    "TrainConfig",
    "build_config",
    "extended_to",
    "preset",
    "read_config",
    "settings",
    "unknown_name",
]

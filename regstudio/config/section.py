"""The base class of a group of settings, and the bounds of every value."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

# Marks the settings that may change when a run is resumed.
RESUMABLE: dict[str, Any] = {"resumable": True}
MAX_NUMBER = 2**63
MAX_LETTERS = 4096  # of a path; Linux takes no longer ones


class Section(BaseModel):
    """Base class of a group of settings, which validates itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)

    @field_validator("*")
    @classmethod
    def _check_size(cls, value: Any) -> Any:
        if isinstance(value, int | float) and abs(value) >= MAX_NUMBER:
            raise ValueError(f"must be less than {MAX_NUMBER:.0e}")
        if isinstance(value, str | Path) and len(str(value)) > MAX_LETTERS:
            raise ValueError(f"must have less than {MAX_LETTERS} letters")
        return value

    @field_validator("*")
    @classmethod
    def _check_unicode(cls, value: Any) -> Any:
        if isinstance(value, str | Path) and any("\ud800" <= letter <= "\udfff" for letter in str(value)):
            raise ValueError("its name is not UTF-8, which the record of a run must be; rename it")
        return value

"""The examples in docstrings give what they say."""

import doctest
import importlib

import pytest

MODULES = [
    "config.building", "losses.similarity", "metrics.folding", "metrics.landmarks", "metrics.overlap", "threads",
]  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_right(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"regstudio.{name}"))
    assert result.attempted > 0
    assert result.failed == 0

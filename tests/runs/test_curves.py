"""Curves of many steps are thinned, and keep what is to be seen."""

import numpy as np
import pytest

from regstudio.runs.curves import thinned


@pytest.mark.parametrize("total", [1, 999, 1000, 1001, 1777, 20_000])
def test_thinning_keeps_every_extreme_and_the_ends(total: int) -> None:
    columns = np.random.default_rng(total).normal(size=(3, total))
    columns[1, total // 2] = 100
    columns[2, total // 3] = -100
    columns[0, ::7] = np.nan
    places = thinned(columns, 1000)
    assert places == sorted(set(places))
    assert (places[0], places[-1]) == (0, total - 1)
    assert len(places) <= 1002
    assert {total // 2, total // 3} <= set(places)

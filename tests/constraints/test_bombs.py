"""Schemas that are small to write and large to work out end in a Plan or a SpecError."""

from __future__ import annotations

import pytest

from tests.constraints.bombs import BOMBS, tried

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_in_a_plan_or_an_error_without_much_memory(name):
    outcome = tried(name)

    assert outcome.told.startswith(("Plan, ", "SpecError: "))
    assert outcome.peak_mib < 500

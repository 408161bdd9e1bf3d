"""A recipe means what it says: a field with two values is refused."""

from __future__ import annotations

import pytest

from harness.words import recipes


@pytest.mark.parametrize(
    "text", ["wanda(sparsity=0.5, sparsity=0.6)", "external:a.yaml(seed=1, seed=2)", "./a.py:Mine(x=1, x=1)"]
)
def test_a_field_that_is_written_twice_is_refused(text):
    with pytest.raises(ValueError, match=r"^method '.*': (sparsity|seed|x) is written twice$"):
        recipes.call(text)

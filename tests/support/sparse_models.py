"""Models that sparse baselines are tested on, and what their projections see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from families import FAMILIES, SIZES

from baselines.sparsegpt import SparseGPT
from baselines.wanda import Wanda
from harness.models.anatomy import linears

TOKENS = torch.randint(2, 258, (6, 32), generator=torch.Generator().manual_seed(3))
BOTH = pytest.mark.parametrize("kind", [Wanda, SparseGPT])


def model_of(family: str, *, heads: int = 4, tied: bool = True):
    kind, config = FAMILIES[family]
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return kind(config(**{**SIZES, "num_key_value_heads": heads, "tie_word_embeddings": tied})).eval()


SHAPES = pytest.mark.parametrize(("heads", "tied"), [(4, True), (8, False)], ids=["gqa-tied", "mha-untied"])


def projection_inputs(model, layer) -> dict[str, torch.Tensor]:
    """Return what each projection of a layer receives in a plain forward pass of the whole model."""
    actual: dict[str, torch.Tensor] = {}
    hooks = [
        linear.register_forward_pre_hook(
            lambda _, args, name=name: actual.update({name: args[0].detach().flatten(0, 1)})
        )
        for name, linear in linears(layer)
    ]
    with torch.no_grad():
        model(TOKENS)
    for hook in hooks:
        hook.remove()
    return actual


def column_by_column(weight, inputs, *, sparsity=None, pattern=None, damping=0.01, block=16):
    """Optimal brain surgeon as a textbook has it.

    Numpy, float64, the inverse of what remains formed anew for every column.

    Returns the weights and the mask; nothing is factored and no update waits for the end of a block.
    """
    work, x = weight.numpy().copy(), inputs.numpy()
    rows, columns = work.shape
    hessian = x.T @ x
    hessian += damping * np.trace(hessian) / columns * np.eye(columns)
    inverses = [np.linalg.inv(hessian[column:, column:]) for column in range(columns)]
    gone = np.zeros((rows, columns), dtype=bool)
    step = block if pattern is None else pattern[1]
    for column in range(columns):
        if column % step == 0:
            group = range(column, min(column + step, columns))
            cost = np.stack([work[:, j] ** 2 / inverses[j][0, 0] for j in group], axis=1)
            if pattern is None:
                least = np.argsort(cost, axis=None)[: int(sparsity * cost.size + 1e-6)]
                gone[:, group] = np.isin(np.arange(cost.size), least).reshape(cost.shape)
            else:
                for row in range(rows):
                    gone[row, column + np.argsort(cost[row])[: pattern[1] - pattern[0]]] = True
        for row in np.flatnonzero(gone[:, column]):
            work[row, column:] -= work[row, column] / inverses[column][0, 0] * inverses[column][0]
    work[gone] = 0
    return torch.from_numpy(work), torch.from_numpy(gone)

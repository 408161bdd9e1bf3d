"""Predict an objective from a genome.

Ridge or SVR-RBF, chosen with its hyperparameters by cross-validation.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from harness.evaluation.ranks import kendall

Coding = Literal["one_hot", "thermometer"]
CODINGS: tuple[Coding, ...] = ("thermometer", "one_hot")
FOLDS = 5


def models() -> list[Any]:
    """Return the models to choose from."""
    from sklearn.linear_model import Ridge
    from sklearn.svm import SVR

    return [Ridge(alpha=alpha) for alpha in (0.3, 3.0, 30.0)] + [
        SVR(C=penalty, gamma=width, epsilon=0.01) for penalty in (3.0, 30.0) for width in (0.001, 0.003, 0.01, 0.03)
    ]


def encoded(genomes: np.ndarray, upper: np.ndarray, coding: Coding) -> np.ndarray:
    """Return genomes (n, genes) as 0 and 1 (n, levels).

    `gene == level`, or `gene >= level`, which knows their order.
    """
    gene = np.repeat(np.arange(len(upper)), upper + 1)
    level = np.concatenate([np.arange(top + 1) for top in upper])
    compared = np.equal if coding == "one_hot" else np.greater_equal
    return compared(genomes[:, gene], level).astype(float)


class Predictor:
    """The best coding and model of values (n,) of canonical genomes (n, genes), n above FOLDS.

    The highest Kendall tau over held-out folds wins, not the least squared error: the search uses only the order, and squares are
    ruled by the few worst networks, which no front will hold.
    """

    def __init__(self, genomes: np.ndarray, values: np.ndarray, upper: np.ndarray) -> None:
        from sklearn.base import clone

        self.upper = upper
        self.mean, self.scale = values.mean(), values.std() or 1.0
        targets = (values - self.mean) / self.scale
        folds = np.empty(len(values), dtype=int)
        folds[np.argsort(values, kind="stable")] = np.arange(len(values)) % FOLDS  # every fold spans all values
        self.tau = -np.inf
        for coding in CODINGS:
            features = encoded(genomes, upper, coding)
            for model in models():
                tau = validated(model, features, targets, folds)
                if tau > self.tau:
                    self.tau, self.coding, best, inputs = tau, coding, model, features
        self.model = clone(best).fit(inputs, targets)

    def __call__(self, genomes: np.ndarray) -> np.ndarray:
        """Return the predicted values (n,) of canonical genomes (n, genes)."""
        return self.model.predict(encoded(genomes, self.upper, self.coding)) * self.scale + self.mean

    def notes(self) -> dict[str, Any]:
        """Return what was chosen, and its cross-validated Kendall tau."""
        return {"model": str(self.model), "coding": self.coding, "validated_tau": self.tau}


def validated(model: Any, features: np.ndarray, targets: np.ndarray, folds: np.ndarray) -> float:
    """Return the Kendall tau of predictions for each fold by a model fitted on the others.

    -1 where it is undefined.
    """
    from sklearn.base import clone

    predicted = np.empty(len(targets))
    for fold in range(FOLDS):
        held = folds == fold
        predicted[held] = clone(model).fit(features[~held], targets[~held]).predict(features[held])
    return float(np.nan_to_num(kendall(predicted, targets), nan=-1.0))

"""What a measured number is: label, unit, which way is better, and where it counts. Pure.

Measures declare their quantities; those of a variant's price and of tasks' metrics are here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Better = Literal["higher", "lower", ""]
Form = Literal["count", "megabytes", "decimal", "significant", "percent", "points", "duration"]
Kind = Literal["measured", "share", "mean", "perplexity", "bits"]
Detail = Literal["", "of dense", "interval", "bounds"]  # what stands small beside a number


@dataclass(frozen=True)
class Column:
    """Where a table shows a quantity.

    Its place from the left, its detail, and what narrow tables drop first (the lowest).
    """

    place: float = 0.0
    priority: float = 0.0
    detail: Detail = ""
    detail_priority: float = 0.0
    table: Literal["summary", "cost"] = "summary"


@dataclass(frozen=True)
class Button:
    """How the page calls a quantity that it may draw the average against, and its place among the others."""

    place: float
    name: str = ""  # empty: the quantity's label


@dataclass(frozen=True)
class Quantity:
    """What a number is. A task's metric has a `kind`.

    A share of items, a plain mean, a perplexity, or bits a byte.

    `better` is empty where nobody said which way is better: such a number has no rank, no sign and no place in a verdict.
    """

    key: str  # of a row; of a task's metric, lm-eval's name for it
    label: str
    unit: str = ""
    better: Better = ""
    form: Form = "decimal"
    scale: float = 1.0  # from the stored to the drawn unit
    axis: str = ""  # what a plot writes at its axis; empty: no plot has one
    fronts: bool = False  # may stand against the average on a front
    gate: Literal["", "exact", "relative", "points"] = ""  # by what a gate says that it got worse
    kind: Kind = "measured"
    through: str = ""  # of several filters of lm-eval the one whose answers it judges
    column: Column | None = None
    button: Button | None = None  # of the page, that chooses it as an axis
    meaning: str = ""  # what was measured, for the reference page

    @property
    def arrow(self) -> str:
        return {"higher": "↑", "lower": "↓", "": ""}[self.better]

    @property
    def sign(self) -> int:
        """Return 1 where more is better, -1 where less is, 0 where nobody said."""
        return {"higher": 1, "lower": -1, "": 0}[self.better]

    @property
    def averages(self) -> bool:
        """Tell whether it enters the average over tasks.

        Shares of which more is better, which alone have one unit.
        """
        return self.kind == "share" and self.better == "higher"

    @property
    def lossy(self) -> bool:
        """Tell whether items hold negative log-likelihoods and units, of which the metric is made."""
        return self.kind in ("perplexity", "bits")

    @property
    def axis_title(self) -> str:
        """Return the axis with an arrow that points to better."""
        return f"← {self.axis}" if self.better == "lower" else f"{self.axis} →"


def _cost(key: str, label: str, meaning: str, unit: str = "", form: Form = "count", scale: float = 1.0) -> Quantity:
    return Quantity(key, label, unit, "lower", form, scale, column=Column(table="cost"), meaning=meaning)


AVERAGE = Quantity(
    *("average", "average", "%", "higher", "percent", 100.0, "average, % ↑"),
    gate="points",
    kind="share",
    column=Column(80, 11, "interval", 10),
    meaning="mean over tasks of their headline metrics, of those that are shares of which more is better",
)
DIFFERENCE = Quantity(
    *("difference", "Δ dense", "points", "higher", "points", 100.0),
    kind="share",
    column=Column(90, 9.5, "bounds", 9),
    meaning="average minus that of dense, paired over the same items",
)
COSTS = (  # what making a variant took
    _cost("seconds", "wall time", "seconds of all steps that made the variant", form="duration"),
    _cost("cpu_seconds", "CPU time", "CPU seconds of these steps, over all cores", form="duration"),
    _cost("calibration_tokens", "calibration", "tokens of calibration text that these steps were given", "tokens"),
    _cost("training_tokens", "training", "tokens that they trained on, with a backward pass", "tokens"),
    _cost("teacher_tokens", "teacher", "tokens that passed through a teacher alone", "tokens"),
    _cost("search_evaluations", "search", "passes of candidates over the whole search set", "evaluations"),
    _cost(
        "compression_peak_memory_bytes", "peak memory", "the most that one of these steps took", "MB", "megabytes", 1e-6
    ),
)


def share(name: str, better: Better = "higher") -> Quantity:
    """Return a metric whose items lie in [0, 1], shown in percent.

    Where more is better it enters averages.
    """
    return Quantity(name, name, "%", better, "percent", 100.0, gate="points", kind="share")


def mean(name: str, better: Better) -> Quantity:
    """Return a metric that is a plain mean of items, in a unit of its own."""
    return Quantity(name, name, "", better, gate="relative", kind="mean")


def loss(name: str, better: Better = "lower", kind: Kind = "perplexity") -> Quantity:
    """Return a metric that is made of negative log-likelihoods and the units that they are divided by."""
    return Quantity(name, name, "", better, gate="relative", kind=kind)


# lm-eval's own metrics that are made of items, with what its registry says of them; token_perplexity is ours
METRICS = {
    **{name: share(name) for name in ("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "likelihood")},
    **{name: loss(name) for name in ("perplexity", "word_perplexity", "byte_perplexity", "token_perplexity")},
    "bits_per_byte": loss("bits_per_byte", kind="bits"),
}
MEANINGS = {  # of METRICS, for the reference page
    "acc": "items whose right choice has the highest log-likelihood; of one given answer, those that greedy decoding says",
    "acc_norm": "the same, log-likelihoods divided by the choices' lengths in characters",
    "acc_bytes": "the same, divided by their lengths in bytes",
    "acc_mutual_info": "the same, less the log-likelihood that a choice has without the question",
    "exact_match": "items whose generated answer is the reference",
    "likelihood": "as the task's definition in lm-eval computes it",
    "perplexity": "exp of the mean negative log-likelihood of an answer",
    "word_perplexity": "exp of the negative log-likelihood a word of running text",
    "byte_perplexity": "exp of the negative log-likelihood a byte of running text",
    "token_perplexity": "exp of the negative log-likelihood a token, over windows of running text as pruning papers cut it",
    "bits_per_byte": "negative log-likelihood in bits a byte of running text",
}
LOSSES: dict[str, Kind] = {"perplexity": "perplexity", "weighted_perplexity": "perplexity", "bits_per_byte": "bits"}


def metric(name: str, better: Better | None = None, *, aggregation: str = "", bounded: bool | None = None) -> Quantity:
    """Return a task's metric from what its definition says.

    What it leaves open is as lm-eval's registry has it.

    `bounded` tells that the items lie in [0, 1]; None: as the registry has it, and of a name that it lacks nobody knows.
    """
    registered = METRICS.get(name)
    way: Better = better if better is not None else registered.better if registered else ""
    if aggregation in LOSSES:
        return loss(name, way, LOSSES[aggregation])
    if registered and not aggregation:
        return replace(registered, better=way)
    is_share = registered is not None and registered.kind == "share"
    return share(name, way) if (is_share if bounded is None else bounded) else mean(name, way)


def plain(quantity: Quantity) -> dict[str, str]:
    """Return what a run's record keeps of a metric."""
    return {"better": quantity.better, "kind": quantity.kind, "through": quantity.through}


def recorded(name: str, kept: Mapping[str, str] | None) -> Quantity:
    """Return a metric as a run's record has it.

    Of an older record, which kept names alone, as lm-eval's registry has it.
    """
    if not kept:
        return metric(name)
    better: Any = kept["better"]
    kind: Any = kept["kind"]
    quantity = share(name, better) if kind == "share" else mean(name, better)
    if kind in LOSSES.values():
        quantity = loss(name, better, kind)
    return replace(quantity, through=kept.get("through", ""))


def of_run(run: Mapping[str, Any]) -> dict[str, Quantity]:
    """Return the headline metric of each task of a run's record."""
    kept = run.get("quantities") or {}
    return {task: recorded(name, kept.get(task, {}).get(name)) for task, name in run["metrics"].items()}

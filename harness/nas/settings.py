"""What a user may say of one-shot NAS, once for the method and for its steps.

How the super-network trains, what is searched.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from harness.nas.strategies import Strategy, Teacher
from harness.nas.tally import Objective
from harness.recovery.kinds import Trained
from harness.spec import Spec


class SpaceSettings(Spec):
    """Which sub-networks there are."""

    space: str = Field(
        "fine",
        description="search space, which widths and depths there are: fine, joint, large, layer, llama_nas, medium, small",
    )
    lowest: float = Field(
        0.6, ge=0, lt=1, description="smallest size that is trained and searched, as a share of the dense parameters"
    )


class TrainingSettings(SpaceSettings):
    """How the super-network is trained."""

    order: Literal["ranked", "prefix"] = Field(
        "ranked", description="which parts a sub-network keeps: the most important, or the first as in LLaMA-NAS"
    )
    strategy: Strategy = Field(
        "alternate", description="which sub-networks a training step updates (alternate: LLaMA-NAS)"
    )
    batch: int = Field(4, gt=0, description="sequences of a training step")
    length: int = Field(256, gt=1, description="tokens of a training sequence")
    learning_rate: float = Field(3e-5, gt=0, description="peak learning rate of AdamW")
    distill: float = Field(
        0.7, ge=0, le=1, description="weight of KL to the teacher in a sub-network's loss; the rest is cross-entropy"
    )
    teacher: Teacher = Field(
        "inplace", description="the whole network as it trains (inplace), or as it was before (dense)"
    )
    adapter: Trained = Field("full", description="what is trained: all decoder weights, or LoRA factors of rank 8")


class SearchSettings(SpaceSettings):
    """How the super-network is searched."""

    searcher: str = Field("evolution", description="name of a searcher, of those that `harness methods` lists")
    options: dict[str, Any] = Field(
        default_factory=dict, description="the searcher's own fields, as harness methods SEARCHER has them"
    )
    evaluations: int = Field(120, gt=0, description="passes of one candidate over the whole search set")
    objective: Objective = Field(
        "kl",
        description="what is minimised: an error of the search items, or kl (to the dense model) or perplexity on instruction text",
    )
    staged: bool = Field(
        False, description="score all candidates on a part of the search set, the better half on all of it"
    )
    only: tuple[str, ...] = Field((), description="search tasks that count; empty for all of the suite's")
    search_seed: int = Field(0, description="of the searcher's draws")

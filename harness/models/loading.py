"""The one way in which weights become a model.

What is missing, left over, of another shape or not tied as said is refused.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedModel

from harness.models import reloadable  # noqa: F401  (makes what was pruned loadable)
from harness.models.anatomy import shape_of
from harness.models.torchao_names import few_names

NAMED = 3  # tensors that a message names


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars and notices while loading and saving.

    `loaded` tells what they would of weights.
    """
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("torchao").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for words in (
                "Attempting to save a model with offloaded",
                "You passed `quantization_config` or equivalent",
            ):
                warnings.filterwarnings("ignore", words)  # of models that recipes quantized; both are as we want it
            yield
    finally:
        transformers.logging.set_verbosity(level)


def loaded(place: Path | str, **how: Any) -> PreTrainedModel:
    """Return the model in `place`, every weight of it read from there.

    ValueError naming those that do not fit.

    transformers would draw random numbers for weights that are missing, pass over others, and untie a head, each with no more than
    a notice. Pickled weights and code from beside the weights are not read.
    """
    if "gguf_file" not in how:
        how["use_safetensors"] = True
    with quiet(), few_names():
        model, told = AutoModelForCausalLM.from_pretrained(
            place, output_loading_info=True, ignore_mismatched_sizes=True, trust_remote_code=False, **how
        )
    told["mismatched_keys"] = set(told["mismatched_keys"]) | set(resized(model))
    if wrong := misfits(told):
        raise ValueError(f"the weights do not fit config.json: {wrong}")
    check_tied(model)
    return model


def misfits(told: dict[str, Any]) -> str:
    """Return what transformers' loading information says is wrong with the weights; "" where all fit."""
    missing, unknown = told["missing_keys"], told["unexpected_keys"]
    shapes = [
        f"{name} {tuple(file)} instead of {tuple(wanted)}" for name, file, wanted in sorted(told["mismatched_keys"])
    ]
    parts = [
        f"{len(names)} tensor{'s' if len(names) > 1 else ''} {what} ({_some(names)})"
        for what, names in (("missing", missing), ("that it does not know", unknown), ("of another shape", shapes))
        if names
    ]
    prefixes = {other.removesuffix(name) for name in missing for other in unknown if other.endswith("." + name)}
    if len(prefixes) == 1:
        parts.append(f"rename them without the prefix {prefixes.pop()}")
    return "; ".join([*parts, *told["error_msgs"]])


def resized(model: PreTrainedModel) -> Iterator[tuple[str, torch.Size, tuple[int, int]]]:
    """Yield (name, shape, shape wanted) of weights of other shapes than their modules.

    Quantizing while loading misses them.
    """
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and hasattr(module, "weight"):  # packed ones have theirs elsewhere
            wanted = (module.out_features, module.in_features)
            shape = shape_of(module.weight)
            if tuple(shape) != wanted:
                yield f"{name}.weight", shape, wanted


def _some(names: Collection[str]) -> str:
    shown = sorted(names)[:NAMED]
    return ", ".join(shown) + (", ..." if len(names) > NAMED else "")


def check_tied(model: PreTrainedModel) -> None:
    """Raise ValueError where the configuration ties a head that the file holds apart.

    transformers computes with that head then, while all that reads the configuration takes it for the embeddings.
    """
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    if not model.config.get_text_config().tie_word_embeddings or embeddings is None or head is None:
        return
    if head.weight is not embeddings.weight and not torch.equal(head.weight, embeddings.weight):
        name = next(name for name, weight in model.named_parameters(remove_duplicate=False) if weight is head.weight)
        raise ValueError(
            f"config.json says that head and embeddings are tied, but the file holds a {name} of its own that differs: "
            "write tie_word_embeddings: false there, or remove that tensor"
        )

"""The step that runs a recipe of SparseML's language through llm-compressor, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.compress import store_model
from harness.outside.sparse_recipes import check
from harness.spec import CHECKPOINT, CalibrationSpec, Cost, Step, Work

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class RunRecipe(Step):
    """Apply `recipe`, the text of a recipe file, on the calibration windows.

    Every method of the table gets the same.

    A sparse result is stored as dense ones are, zeros included. A quantized one is stored in llm-compressor's own format,
    really smaller on disk, and is computed in floating point with quantized values once loaded.
    """

    KIND = "recipe"
    name: str
    recipe: str
    calibration: CalibrationSpec
    seed: int = 0

    def title(self) -> str:
        return f"recipe {self.name}"

    def cost(self) -> Cost:
        return Cost(forward_tokens=3 * self.calibration.tokens, seconds=40)

    def checkpoint_share(self) -> float:
        return 1.0

    def run(self, work: Work) -> None:
        import torch

        from harness.data.calibration import draw
        from harness.models import checkpoint
        from harness.models.anatomy import parameter_count
        from harness.models.size import nonzero_count

        check(self.recipe)
        source = work.checkpoint()
        tokenizer = checkpoint.load_tokenizer(source)
        calibration = draw(self.calibration, tokenizer)
        torch.manual_seed(self.seed)
        model = checkpoint.load(source, work.device)
        parameters = parameter_count(model)
        apply(model, self.recipe, calibration.tokens, tokenizer, work.draft / "recipe.yaml")
        if not quantized(model):
            store_model(work, model, calibration_tokens=calibration.count)
            return
        facts = {"parameters": parameters, "nonzero_parameters": nonzero_count(model)}
        with checkpoint.quiet():
            model.save_pretrained(work.draft / CHECKPOINT, save_compressed=True)
        checkpoint.copy_tokenizer(source, work.draft / CHECKPOINT)
        work.result |= {**facts, "calibration_tokens": calibration.count}


def apply(model: PreTrainedModel, recipe: str, tokens: Tensor, tokenizer: PreTrainedTokenizerBase, file: Path) -> None:
    """Apply the recipe to `model` in place, on `tokens` (samples, length).

    `file` is where its text is kept.

    ValueError where it changed the head of a model whose embeddings are the same weights.
    """
    import torch
    from compressed_tensors.offload import remove_dispatch
    from datasets import Dataset
    from llmcompressor import oneshot

    file.write_text(recipe)
    head = model.get_output_embeddings().weight.detach().clone()
    rows = {"input_ids": tokens.tolist(), "attention_mask": torch.ones_like(tokens).tolist()}
    oneshot(
        model=model,
        processor=tokenizer,
        recipe=str(file),
        dataset=Dataset.from_dict(rows),
        num_calibration_samples=len(tokens),
        max_seq_length=tokens.shape[1],
        shuffle_calibration_samples=False,
    )
    remove_dispatch(model)
    if model.config.tie_word_embeddings and not torch.equal(head, model.get_output_embeddings().weight):
        raise ValueError('the recipe changes lm_head, which is the embedding too here: add ignore: ["re:.*lm_head"]')


def quantized(model: PreTrainedModel) -> bool:
    """Tell whether a recipe has put quantization on any of the model's linears."""
    return any(getattr(module, "quantization_scheme", None) is not None for module in model.modules())

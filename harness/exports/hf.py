"""A folder that transformers loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.exports.export_format import Export, Held, check_of_torch
from harness.runtimes.runtime import TORCH

if TYPE_CHECKING:
    import numpy as np


class HuggingFace(Export):
    """The checkpoint for transformers, of the family's own class where that can state it.

    All layers have one shape then.

    Otherwise the class of layers with widths of their own comes along as code, which `trust_remote_code=True` loads.
    """

    NAME = "hf"
    OF: ClassVar[str] = TORCH

    @classmethod
    def write(cls, held: Held, target: Path) -> str:
        from harness.models import checkpoint

        check_of_torch(held, cls.NAME)
        shutil.copytree(held.checkpoint, target, dirs_exist_ok=True)
        if library := checkpoint.quantization(held.checkpoint):
            return f"quantized weights of {library}"
        remote = "auto_map" in json.loads((target / "config.json").read_text())
        return "layers of widths of their own, whose class comes along" if remote else "the family's own class"

    @classmethod
    def logits(cls, target: Path, ids: Sequence[int]) -> np.ndarray:
        import torch
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(target, dtype="auto", trust_remote_code=True).eval()
        with torch.inference_mode():
            return model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0].float().numpy()

    @classmethod
    def use(cls, folder: Path, name: str) -> str:
        config = json.loads((folder / "config.json").read_text())
        trust = ", trust_remote_code=True" if "auto_map" in config else ""
        return (
            "```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            f'model = AutoModelForCausalLM.from_pretrained("{name}", dtype="auto"{trust})\n'
            f'tokenizer = AutoTokenizer.from_pretrained("{name}")\n```'
        )

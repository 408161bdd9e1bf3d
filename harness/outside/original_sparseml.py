"""Runs in the environment of the original SparseML, not in ours.

A recipe on a checkpoint, and a checkpoint back.

Needs nothing but that environment's packages: `sparseml` 1.8 and transformers 4.40, which know neither the tokenizers nor
the configuration files of today. So the model is built from a translated configuration, and what goes back are the
weights alone, beside the configuration as it came.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

FAMILIES = ("llama", "mistral", "qwen2")


def translated(config: dict) -> dict:
    """Return the configuration as transformers 4.40 reads it; SystemExit for what it cannot say."""
    config = dict(config)
    if config["model_type"] not in FAMILIES:
        sys.exit(f"the original sparseml takes {', '.join(FAMILIES)} checkpoints, not {config['model_type']}")
    rope = config.pop("rope_parameters", None) or {}
    if rope.get("rope_type", "default") != "default":
        sys.exit(f"the original sparseml knows the default rotary embedding only, not {rope['rope_type']}")
    head_dim = config.get("head_dim")
    if head_dim and head_dim * config["num_attention_heads"] != config["hidden_size"]:
        sys.exit("the original sparseml takes no head_dim of its own")
    if "sliding_attention" in (config.get("layer_types") or ()):  # its Qwen2 attends to everything instead
        sys.exit("the original sparseml knows no layers with sliding attention beside full ones")
    config["rope_theta"] = rope.get("rope_theta", config.get("rope_theta", 10000.0))
    config["torch_dtype"] = config.pop("dtype", None) or config.get("torch_dtype") or "float32"
    return config


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("input", "output", "calibration", "seed"):
        parser.add_argument(f"--{name}", required=True)
    asked = parser.parse_args()
    source, output = Path(asked.input), Path(asked.output)
    config = translated(json.loads((source / "config.json").read_text()))

    output.mkdir(parents=True)
    os.chdir(output)  # sparseml leaves its logs where it stands
    import sparseml
    import torch
    from safetensors.torch import load_file, save_file
    from sparseml.core.framework import Framework
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(int(asked.seed))
    kind = config.pop("model_type")
    built = AutoConfig.for_model(kind, **config)
    model = AutoModelForCausalLM.from_config(built).to(getattr(torch, config["torch_dtype"])).eval()
    state = {name: tensor for file in sorted(source.glob("*.safetensors")) for name, tensor in load_file(file).items()}
    missing, unknown = model.load_state_dict(state, strict=False)
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    if lost := sorted(set(missing) - tied):
        sys.exit(f"weights that the checkpoint does not have: {', '.join(lost[:3])}")
    if unknown:
        sys.exit(f"weights that this family does not have: {', '.join(unknown[:3])}")
    model.tie_weights()
    model.config.use_cache = False
    rows = [json.loads(line)["input_ids"] for line in Path(asked.calibration).read_text().splitlines()]
    samples = [
        {"input_ids": torch.tensor(row), "attention_mask": torch.ones(len(row), dtype=torch.long)} for row in rows
    ]
    recipe = output / "recipe.yaml"
    recipe.write_text(os.environ["SPARSEML_RECIPE"])
    sparseml.apply(
        framework=Framework.pytorch,
        recipe=str(recipe),
        model=model,
        calib_data=torch.utils.data.DataLoader(samples, batch_size=1),
        start=-1,
        copy_data=False,
    )
    changed = model.state_dict()
    weights = {name: changed[name].contiguous() for name in state}
    save_file(weights, output / "model.safetensors", metadata={"format": "pt"})
    (output / "config.json").write_text((source / "config.json").read_text())


if __name__ == "__main__":
    main()

"""GGUF files of tiny random Llamas, written as llama.cpp's converter writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import torch
from tokenizers import pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = ("Ġ t", "Ġ Ġ", "t h", "Ġt h", "Ċ Ċ", "Ã ¼", "a t")
TOKENS = (*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *(merge.replace(" ", "") for merge in MERGES))
CONTEXT = 512


def llama(**rope: Any) -> LlamaForCausalLM:
    """Return a tiny Llama whose positions matter, with this rotary scaling."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, **rope},
        tie_word_embeddings=True,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config).float().eval()


def write(
    model: LlamaForCausalLM, path: Path, *, pre: str = "smollm", tensors: dict | None = None, **keys: Any
) -> Path:
    """Write `model` with a byte-level tokenizer.

    `keys` are more of the file's, dots written as two underscores.
    """
    config = model.config
    file = gguf.GGUFWriter(path, "llama")
    file.add_block_count(config.num_hidden_layers)
    file.add_context_length(CONTEXT)
    file.add_embedding_length(config.hidden_size)
    file.add_feed_forward_length(config.intermediate_size)
    file.add_head_count(config.num_attention_heads)
    file.add_head_count_kv(config.num_key_value_heads)
    file.add_rope_freq_base(10000.0)
    file.add_rope_dimension_count(config.head_dim)
    file.add_layer_norm_rms_eps(config.rms_norm_eps)
    file.add_vocab_size(config.vocab_size)
    file.add_tokenizer_model("gpt2")
    file.add_tokenizer_pre(pre)
    file.add_token_list(list(TOKENS))
    file.add_token_types([3] * len(SPECIAL) + [1] * (len(TOKENS) - len(SPECIAL)))
    file.add_token_merges(list(MERGES))
    file.add_bos_token_id(1)
    file.add_eos_token_id(2)
    file.add_unk_token_id(0)
    file.add_pad_token_id(2)
    file.add_add_bos_token(False)
    for name, value in keys.items():
        name = f"llama.{name.replace('__', '.')}"
        if isinstance(value, str):
            file.add_string(name, value)
        elif isinstance(value, int):
            file.add_uint32(name, value)
        else:
            file.add_float32(name, value)
    for name, tensor in model.state_dict().items():
        if name == "model.embed_tokens.weight":
            file.add_tensor("token_embd.weight", tensor.numpy())
        elif name == "model.norm.weight":
            file.add_tensor("output_norm.weight", tensor.numpy())
        elif ".layers." in name:
            index, part = name.split(".layers.")[1].split(".", 1)
            heads = {"self_attn.q_proj": config.num_attention_heads, "self_attn.k_proj": config.num_key_value_heads}
            part = part.removesuffix(".weight")
            if part in heads:  # llama.cpp rotates neighbours, transformers halves
                halves = tensor.reshape(heads[part], 2, config.head_dim // 2, -1)
                tensor = halves.swapaxes(1, 2).reshape(tensor.shape)
            file.add_tensor(f"blk.{index}.{NAMES[part]}.weight", tensor.contiguous().numpy())
    for name, values in (tensors or {}).items():
        file.add_tensor(name, values)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()
    return path

"""Imports that the fork server pays once for all steps."""

# ruff: noqa: E402, F401

import logging

for _name in ("torchao", "torch.utils._pytree"):  # notices about kernels of other machines
    logging.getLogger(_name).setLevel(logging.ERROR)

import lm_eval.api.task
import lm_eval.evaluator
import lm_eval.models.huggingface
import lm_eval.tasks
import torch
import torchao.quantization
import transformers

import harness.models.checkpoint

"""Imports that the fork server pays once for all steps."""

import lm_eval.api.task
import lm_eval.evaluator
import lm_eval.models.huggingface
import lm_eval.tasks
import torch
import torchao.quantization
import transformers

import harness.models.checkpoint  # noqa: F401

"""Imports that the fork server pays once for all steps."""

import logging

for _name in ("torchao", "torch.utils._pytree"):  # notices about kernels of other machines
    logging.getLogger(_name).setLevel(logging.ERROR)

import lm_eval.api.task  # noqa: E402
import lm_eval.evaluator  # noqa: E402
import lm_eval.models.huggingface  # noqa: E402
import lm_eval.tasks  # noqa: E402
import torch  # noqa: E402
import torchao.quantization  # noqa: E402
import transformers  # noqa: E402

import harness.models.checkpoint  # noqa: E402, F401

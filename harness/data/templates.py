"""Templates of task definitions, filled in where they can read an item and nothing else.

Jinja's sandbox.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import BaseLoader
from jinja2.sandbox import SandboxedEnvironment


def sandbox() -> SandboxedEnvironment:
    """Let lm-eval fill in every template in a sandbox from now on, and return it.

    A template could run commands otherwise.
    """
    from lm_eval import utils

    if not isinstance(utils.env, SandboxedEnvironment):
        theirs: Any = utils.env
        made = SandboxedEnvironment(
            loader=BaseLoader(), undefined=theirs.undefined, keep_trailing_newline=theirs.keep_trailing_newline
        )
        made.filters.update(theirs.filters)
        utils.env = made
    env: SandboxedEnvironment = utils.env
    return env


@cache
def template(written: str) -> Any:
    """Return a template, compiled once: lm-eval compiles it anew for every item, a millisecond each."""
    return sandbox().from_string(written)

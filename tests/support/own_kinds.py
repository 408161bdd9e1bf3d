"""A method and a step of the tests' own, in a module of its own as a user's is.

A key reads their source.
"""

from __future__ import annotations

import os
import signal

from harness.spec import Method, Step


class Fatal(Method):
    """A method whose process is killed."""

    NAME = "fatal"

    def compress(self, model, calibration):
        os.kill(os.getpid(), signal.SIGKILL)


class Import(Step):
    """Any step whose result is a checkpoint."""

    KIND = "import"

"""Dense: the model as it is, the row that every other is compared with."""

from __future__ import annotations

from typing import ClassVar

from harness.spec import Method, Setup, Step


class Dense(Method):
    """The null method: no step at all."""

    NAME = "dense"
    FOLLOWS: ClassVar[bool] = False

    @property
    def families(self) -> None:
        return None

    def stages(self, setup: Setup) -> tuple[Step, ...]:
        return ()

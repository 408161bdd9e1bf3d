"""Anyone's method: a command in an environment of its own (`external:my-method.yaml`).

A YAML file describes it.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from harness.outside.commands import Command, read
from harness.outside.run_command import RunCommand
from harness.spec import Method, Setup, Step


class External(Method):
    """Checkpoint in, checkpoint out.

    Budget, calibration text and seed are passed on, what comes back is checked.

    The run's budgets are filled in when the command says {budget}. The keys of its YAML file are in the reference of files.
    """

    NAME = "external"
    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration"})
    FILE: ClassVar[str] = "file"
    UNKEYED: ClassVar[frozenset[str]] = frozenset({"file"})
    file: str = Field(description="the YAML file that describes the command")
    command: Annotated[Command, Field(repr=False)]
    budget: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="share of the parameters that stay, where the command says {budget}"
    )

    @model_validator(mode="before")
    @classmethod
    def _read(cls, fields: Any) -> Any:
        return {**fields, "command": read(fields["file"])} if isinstance(fields, dict) and "file" in fields else fields

    @model_validator(mode="after")
    def _a_budget_is_passed_on(self) -> External:
        if self.budget is not None and not self.command.takes("budget"):
            raise ValueError(f"budget={self.budget}, but the command of {self.file} never says {{budget}}")
        return self

    @classmethod
    def open_budget(cls, fields: dict[str, Any]) -> bool:
        return super().open_budget(fields) and read(fields["file"]).takes("budget")

    @property
    def families(self) -> frozenset[str]:
        return frozenset(self.command.families)

    @property
    def needs(self) -> frozenset[str]:
        return self.NEEDS if self.command.takes("calibration") else frozenset()

    @property
    def simulated(self) -> bool:
        return not self.command.structured

    def stages(self, setup: Setup) -> tuple[Step, ...]:
        calibration = setup.calibration if self.needs else None
        return (RunCommand(command=self.command, budget=self.budget, calibration=calibration, seed=setup.seed),)

"""Published tables: what to run for each of their rows.

And the numbers to print beside what was measured.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.words import recipes, yaml_text
from harness.words.misfits import misfits

AVERAGE = "average"


class PaperRow(BaseModel):
    """A row of the table: a recipe of ours and the scores that were published, by task.

    The recipe stands for the paper's row here. Scores are in percent, perplexities as they are.
    """

    model_config = ConfigDict(extra="forbid")
    recipe: str = Field(description="method, with its fields, or methods in sequence, as in methods=")
    published: dict[str, float] = Field(
        min_length=1, description="scores by task, or `average`: in percent, perplexities as they are"
    )

    @property
    def name(self) -> str:
        """Return what a run calls the recipe's variant."""
        return recipes.label(self.recipe)


class Paper(BaseModel):
    """A published table.

    `run` holds the keys of `harness run` that its protocol fixes, the suite among them.
    """

    model_config = ConfigDict(extra="forbid")
    title: str = Field(description="of the table")
    model: str = Field(description="that the paper measured")
    source: str = Field(description="where the numbers were read")
    run: dict[str, Any] = Field(description="keys of harness run that the protocol fixes, suite among them")
    rows: list[PaperRow] = Field(min_length=2, description="dense first, with the keys below")

    @model_validator(mode="after")
    def _dense_leads(self) -> Paper:
        if self.rows[0].recipe != "dense" or "suite" not in self.run:
            raise ValueError("the first row is dense, and run names a suite")
        return self

    def words(self) -> list[str]:
        """Return the words of `harness run` that measure the table's rows."""
        methods = json.dumps([row.recipe for row in self.rows])
        fixed = {"quantizers": "[none]", "measure.speed": "false", **self.run}
        return [f"methods={methods}", *(f"{key}={value}" for key, value in fixed.items())]


def known() -> list[str]:
    """Return the names of the shipped tables."""
    return yaml_text.names(_shipped())


def read(name: str) -> Paper:
    """Return the table shipped as `name`, or in the YAML file that `name` points to.

    ValueError says what is wrong.
    """
    path = yaml_text.place(name, _shipped(), "paper")
    try:
        return Paper.model_validate(yaml_text.read(path, "paper file"))
    except ValidationError as error:
        lines = misfits(error, known=[*Paper.model_fields, *PaperRow.model_fields])
        raise ValueError("\n".join(f"paper file {path}: {line}" for line in lines)) from None


def _shipped() -> Path:
    return Path(str(resources.files("reports"))) / "papers"

"""SparseML recipes: through llm-compressor in process, or through the original in its own environment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from harness import outside
from harness.outside import sparse_recipes
from harness.outside.commands import Command
from harness.outside.run_command import RunCommand
from harness.outside.run_recipe import RunRecipe
from harness.spec import Method, Setup, Step

SCRIPT = "original_sparseml.py"
QUANTIZING = re.compile("Quantization|GPTQ|AWQ|AutoRound")  # in the names of modifiers
PRUNING = {"SparseGPTModifier", "WandaPruningModifier", "MagnitudePruningModifier", "ConstantPruningModifier"}


class SparseML(Method):
    """Run a recipe file, or a shipped recipe by its name.

    `sparseml:my-recipe.yaml`, `sparseml:wanda_2of4`.

    SparseML's recipe language is llm-compressor's, its successor, and that runs it (`engine="llmcompressor"`).
    `engine="sparseml"` is the original 1.8.0, in the environment that `harness env create sparseml` builds. What the recipe
    prunes or quantizes, it says itself: no budget is passed on. Exclude lm_head there.
    """

    NAME = "sparseml"
    STRUCTURED: ClassVar[bool] = False
    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration"})
    FILE: ClassVar[str] = "recipe"
    SOURCE: ClassVar[str] = "github.com/vllm-project/llm-compressor"
    recipe: str = Field(description="a recipe's YAML file, or a shipped one by name")
    text: Annotated[str, Field(repr=False)]
    engine: Literal["llmcompressor", "sparseml"] = Field(
        "llmcompressor", description="what runs it: llm-compressor here, or the original sparseml in its environment"
    )

    @model_validator(mode="before")
    @classmethod
    def _read(cls, fields: Any) -> Any:
        written = isinstance(fields, dict) and "recipe" in fields
        return {**fields, "text": sparse_recipes.read(fields["recipe"])} if written else fields

    @model_validator(mode="after")
    def _the_engine_takes_it(self) -> SparseML:
        if self.engine == "llmcompressor":
            sparse_recipes.check(self.text)
        else:
            self.command()
        return self

    @property
    def families(self) -> frozenset[str] | None:
        """llm-compressor takes what transformers loads; the original, three families."""
        return frozenset(self.command().families) if self.engine == "sparseml" else None

    @property
    def simulated(self) -> bool:
        return any(name in PRUNING for name, _ in sparse_recipes.modifiers(self.text))

    @property
    def emulated(self) -> bool:
        return any(QUANTIZING.search(name) for name, _ in sparse_recipes.modifiers(self.text))

    def command(self) -> Command:
        """Return what runs the recipe in SparseML's own environment; ValueError where that is not there."""
        words = "{python} -I SCRIPT --input {input} --output {output} --calibration {calibration} --seed {seed}"
        return Command(
            name=f"sparseml {Path(self.recipe).stem}",
            command=tuple(words.replace("SCRIPT", SCRIPT).split()),
            structured=False,
            environment="sparseml",
            variables={"SPARSEML_RECIPE": self.text},
            families=("llama", "mistral", "qwen2"),
            files=(SCRIPT,),
            folder=outside.__path__[0],
        )

    def stages(self, setup: Setup) -> tuple[Step, ...]:
        if self.engine == "sparseml":
            return (RunCommand(command=self.command(), calibration=setup.calibration, seed=setup.seed),)
        name = Path(self.recipe).stem
        return (RunRecipe(name=name, recipe=self.text, calibration=setup.calibration, seed=setup.seed),)

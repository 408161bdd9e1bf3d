"""The contracts: Step (stored work), Method (makes a model smaller), Quantizer (goes on top).

A Step is a unit of stored work.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

from harness.families.all_families import families
from harness.quantities import Quantity, metric
from harness.storage import sources
from harness.storage.store import Corrupt

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from harness.data.calibration import Calibration
    from harness.storage.store import Store

CHECKPOINT = "checkpoint"  # the folder inside a step that holds a reloadable model
ARTIFACT = "artifact"  # the folder inside a step that holds what a runtime loads


class Spec(BaseModel):
    """A frozen description whose fields are its whole configuration and enter its fingerprint."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=False)
    VERSION: ClassVar[int] = 1
    UNKEYED: ClassVar[frozenset[str]] = frozenset()  # fields that change where or how fast, never what
    LATER: ClassVar[frozenset[str]] = frozenset()  # fields whose default does what was done before there were any

    @classmethod
    def key_name(cls) -> str:
        """Return what the key calls this kind of thing.

        Never where its module lies, so that files may be moved.
        """
        return cls.__qualname__

    @classmethod
    def key_source(cls) -> dict[str, str]:
        """Return the digest of the code that is in the key: of what is not ours, all of it."""
        return {} if cls.__module__.partition(".")[0] in sources.OURS else {"source": sources.of_kind(cls)}

    def fingerprint_fields(self) -> dict[str, Any]:
        """Return identity, VERSION, code and every field that decides the result, recursively, as JSON values."""
        kinds = type(self).model_fields
        default = {name for name in self.LATER if getattr(self, name) == kinds[name].default}
        fields = {name: _plain(getattr(self, name)) for name in kinds if name not in self.UNKEYED | default}
        return {"class": self.key_name(), "version": self.VERSION, **self.key_source(), **fields}

    def part(self, kind: type[Spec]) -> dict[str, Any]:
        """Return the values of those fields that `kind` has: a method hands its settings to its steps."""
        return {name: getattr(self, name) for name in kind.model_fields}

    def classes(self) -> Iterator[type[Spec]]:
        """Yield the classes of this description and of those it holds: whose code decides the result."""
        yield type(self)
        for name in type(self).model_fields:
            yield from _classes(getattr(self, name))


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.fingerprint_fields()
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def _classes(value: Any) -> Iterator[type[Spec]]:
    if isinstance(value, Spec):
        yield from value.classes()
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _classes(item)


class Cost(BaseModel):
    """What a step is expected to need.

    Tokens through the dense model, and seconds that no model size changes.
    """

    forward_tokens: float = 0
    backward_tokens: float = 0
    decode_tokens: float = 0
    seconds: float = 2.0


@dataclass
class Work:
    """What a running step is given.

    Where to write, what its ancestors made, and a place that survives a kill.
    """

    draft: Path
    scratch: Path
    store: Store
    key: str
    ancestors: tuple[str, ...]  # keys, nearest first
    needs: tuple[str, ...]  # keys of further steps that are stored
    device: str
    result: dict[str, Any] = field(default_factory=dict)

    def checkpoint(self, keys: tuple[str, ...] = ()) -> Path:
        """Return the nearest ancestor's model folder (or the first of `keys`), verified against its checksums.

        Corrupt where they do not match, and where another run let the weights go meanwhile: the run makes that step again.
        """
        return self._held(CHECKPOINT, keys or self.ancestors)

    def _held(self, name: str, keys: tuple[str, ...]) -> Path:
        for key in keys:
            folder = self.store.folder(key) / name
            if folder.is_dir():
                if self.store.released(key):
                    raise Corrupt(key, "its weights were let go")
                self.store.verify(key)
                return folder
        raise ValueError(f"no step before this one holds a{'n' if name == ARTIFACT else ''} {name}")

    def artifact(self, key: str = "") -> Path:
        """Return the nearest ancestor's folder of what a runtime loads (or that of `key`), verified.

        Corrupt as `checkpoint`.
        """
        return self._held(ARTIFACT, (key,) if key else self.ancestors)

    def origin(self) -> Path:
        """Return the folder of the dense model that the chain of steps began with, verified."""
        return self.checkpoint((self.ancestors[-1],))

    def parent(self) -> Path:
        """Return the folder of the step directly before this one."""
        return self.store.folder(self.ancestors[0])


class Step(Spec):
    """A unit of work with one parent. `run` writes files into `work.draft` and facts into `work.result`."""

    KIND: ClassVar[str]
    SHARED: ClassVar[bool] = False  # many variants are made from its weights: keep=none keeps them

    @classmethod
    def key_name(cls) -> str:
        return f"step {cls.KIND}"

    def run(self, work: Work) -> None:
        raise NotImplementedError(f"{type(self).__name__} does no work")

    def cost(self) -> Cost:
        """Return the work expected, for the plan's estimate."""
        return Cost()

    def checkpoint_share(self) -> float:
        """Return the share of the dense model's bytes that this step's checkpoint takes at most.

        0: it writes none.
        """
        return 0.0

    def title(self) -> str:
        """Return a short name for progress lines."""
        return self.KIND


@dataclass(frozen=True)
class Node:
    """A step in the plan, with the chain of steps before it. Equal keys are one piece of work."""

    step: Step
    parent: Node | None = None
    needs: tuple[Node, ...] = ()  # further steps that must be stored first

    @cached_property
    def key(self) -> str:
        """sha256 over KIND, VERSION, every field, code that is not ours, and the parent's key.

        40 hex digits of it are kept.
        """
        content = {
            "step": self.step.fingerprint_fields(),
            "parent": self.parent.key if self.parent else None,
            "needs": [node.key for node in self.needs],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:40]

    @cached_property
    def code(self) -> dict[str, sources.Stamp]:
        """The hashes of our modules that the step's classes import, to be stored beside its result."""
        return sources.stamps(sorted({kind.__module__ for kind in self.step.classes()}))

    def ancestors(self) -> tuple[Node, ...]:
        """Return the steps before this one, nearest first."""
        return (self.parent, *self.parent.ancestors()) if self.parent else ()


BUDGET: Any = Field(gt=0, le=1, description="share of the parameters that stay")


class Method(Spec):
    """Makes a model smaller. Subclass, add fields, implement `compress`; the file alone makes it known.

    `STRUCTURED` methods remove parameters and meet `budget` (the share of the dense parameters that stay);
    the others write zeros, which the tables label `simulated`.
    """

    NAME: ClassVar[str]
    STRUCTURED: ClassVar[bool] = True
    STANDARD_LAYERS: ClassVar[bool] = True  # the result's layers compute what the family's do, at widths of their own
    NEEDS: ClassVar[frozenset[str]] = frozenset()  # of "calibration", "backward", "training"
    FAMILIES: ClassVar[frozenset[str] | None] = None  # of harness/families; None for all of them
    FOLLOWS: ClassVar[bool] = True  # may come after another method in a recipe
    SOURCE: ClassVar[str] = ""  # paper
    FILE: ClassVar[str] = ""  # the field that what follows a colon fills, as in `external:my-method.yaml`

    @classmethod
    def key_name(cls) -> str:
        return f"method {cls.NAME}"

    @classmethod
    def key_source(cls) -> dict[str, str]:
        return {"source": sources.of_kind(cls)}

    @classmethod
    def open_budget(cls, fields: dict[str, Any]) -> bool:
        """Tell whether the run's `budgets` are to be filled in.

        The method takes one, and none is among `fields`.
        """
        return "budget" in cls.model_fields and fields.get("budget") is None

    @property
    def families(self) -> frozenset[str] | None:
        """Return the decoder families that this method with these fields takes; None for any model."""
        return frozenset(families()) if self.FAMILIES is None else self.FAMILIES

    @property
    def needs(self) -> frozenset[str]:
        """Return what this method with these fields needs: NEEDS, and more or less where fields say so."""
        return self.NEEDS

    @property
    def simulated(self) -> bool:
        """Tell whether zeros stay where they are, so that size, memory and speed are no savings."""
        return not self.STRUCTURED

    @property
    def emulated(self) -> bool:
        """Tell whether quantized values are computed in floating point.

        So memory and speed are no savings.
        """
        return False

    def effort(self, tokens: int) -> Cost:
        """Return the work expected of `compress` on that many calibration tokens, for the plan's estimate."""
        return Cost(forward_tokens=2 * tokens, backward_tokens=tokens if "backward" in self.needs else 0, seconds=5)

    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        """Return the smaller model; `model` may be changed and must not be used afterwards."""
        raise NotImplementedError(f"{type(self).__name__} must implement compress")

    def stages(self, setup: Setup) -> tuple[Step, ...]:
        """Return the steps of this method in order; most methods are one."""
        from harness.compress import Compress

        return (
            Compress(
                method=self, calibration=setup.calibration if "calibration" in self.needs else None, seed=setup.seed
            ),
        )


class Quantizer(Spec):
    """Stores a checkpoint in fewer bits. `apply` writes a folder that from_pretrained reloads."""

    NAME: ClassVar[str]
    SHARE: ClassVar[float] = 1.0  # of the bytes that stay, at most; for the plan's estimate
    RUNTIMES: ClassVar[frozenset[str]] = frozenset(
        {"torch"}
    )  # where it lives; beside torch the runtime itself applies it
    CALIBRATED: ClassVar[bool] = False  # looks at the run's calibration windows: `calibrate` instead of `apply`

    @classmethod
    def key_name(cls) -> str:
        return f"quantizer {cls.NAME}"

    @classmethod
    def key_source(cls) -> dict[str, str]:
        return {"source": sources.of_kind(cls)}

    def bits(self, working: int, hidden: int, tied: bool) -> tuple[float, float]:
        """Return the bits a weight takes in the layers and outside of them, scales among them.

        `working` are the bits of the run's dtype, `hidden` is the width of most rows, `tied` tells that the head is the embeddings.
        """
        raise ValueError(f"quantizer {self.NAME} does not say how many bits a weight takes, which bytes= asks")

    @classmethod
    def unavailable(cls) -> str:
        """Return why it cannot be applied here and what to do; empty where it can."""
        return ""

    def calibrate(self, source: Path, target: Path, tokens: Tensor, device: str) -> dict[str, Any]:
        """Write the quantized model of `source` to `target`, given windows (samples, length).

        Return its `parameters`, its `nonzero_parameters`, and what else is to be known of it.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement calibrate")

    def apply(self, source: Path, target: Path) -> PreTrainedModel:
        """Write the quantized model of `source` to `target`, tokenizer included, and return it."""
        raise NotImplementedError(f"{type(self).__name__} must implement apply")


class DataSource(Spec):
    """A named data set, found where `folder` says; its content hash, not its place, is in the key."""

    VERSION: ClassVar[int] = 2  # 2: texts are read without the rows that ask what is reported
    UNKEYED: ClassVar[frozenset[str]] = frozenset({"folder", "rows", "definition"})
    name: str
    folder: str | None = None
    definition: str | None = None  # the YAML of a task that lies beside its suite; its bytes are in `content`
    rows: int = 1500  # of the evaluated split, for estimates
    content: str = ""  # sha256 of the local files, or the hub's revision


class CalibrationSpec(Spec):
    """How many tokens of which text a method may look at."""

    source: DataSource
    samples: int
    length: int
    seed: int = 0

    @property
    def tokens(self) -> int:
        return self.samples * self.length


class TaskSpec(Spec):
    """One lm-eval task of a suite: where its items are, its shots, and the metric that tables show.

    `name` heads its column; a suite that holds one task twice labels it. `task` is what lm-eval calls it.
    `metrics` is what its definition says of its metrics: it decides how numbers are read, not what a model answers.
    """

    UNKEYED: ClassVar[frozenset[str]] = frozenset({"metrics"})
    LATER: ClassVar[frozenset[str]] = frozenset({"filter", "joined", "drawn"})
    source: DataSource
    label: str = ""
    metric: str = "acc"
    shots: int = 0
    optional: bool = False
    window: int = 2048  # tokens, for token-level perplexity
    filter: str = ""  # of lm-eval's filters the one whose answers count; empty: the first
    drawn: int = 0  # version of how answers are drawn at random; 0: none are
    joined: int = 1  # version of how rows make the text of a token-level perplexity
    metrics: tuple[Quantity, ...] = ()

    @property
    def others(self) -> dict[str, Quantity]:
        """Return the metrics that the definition tells of, by name."""
        return {metric.key: metric for metric in self.metrics}

    @property
    def quantity(self) -> Quantity:
        """Return the metric that tables show."""
        return self.others.get(self.metric) or metric(self.metric)

    @property
    def name(self) -> str:
        return self.label or self.source.name

    @property
    def task(self) -> str:
        return self.source.name


class Setup(Spec):
    """What a method with several stages may draw on, the same for every method of a run."""

    calibration: CalibrationSpec
    training: DataSource
    search_tasks: tuple[TaskSpec, ...]
    report_tasks: tuple[TaskSpec, ...]
    seed: int = 0


AnyMethod = SerializeAsAny[Method]

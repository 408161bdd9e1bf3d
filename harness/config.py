"""From `key=value` words to a validated run.

Words over a profile over defaults, all errors reported at once.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from harness import papers, registry
from harness.data import suites
from harness.machine import environment
from harness.models import source
from harness.words import grammar, recipes, yaml_text
from harness.words.home import home
from harness.words.nearest import nearest
from harness.words.reasons import one_line

PROFILES = ("quick", "standard", "paper")
MOST_SEED = 2**32 - 1  # what every generator in use takes


class ConfigErrors(ValueError):
    """Everything that is wrong with a configuration, a line each."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = [line for text in lines for line in text.splitlines()]
        super().__init__("\n".join(self.lines))


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _no_truth(value: Any) -> Any:
    """Refuse true and false where a number is wanted: they would count as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("Input should be a number")
    return value


Whole = Annotated[int, BeforeValidator(_no_truth)]
Number = Annotated[float, BeforeValidator(_no_truth)]
Share = Annotated[float, BeforeValidator(_no_truth), Field(gt=0, le=1)]


class CalibrationConfig(_Section):
    """The text that methods learn from."""

    text: str | None = Field(description="name of a text, or a .txt, .md or .jsonl file of yours; null for the suite's")
    samples: Annotated[Whole, Field(gt=0, le=1_000_000)] = Field(description="windows of text that are drawn")
    length: Annotated[Whole, Field(gt=1, le=1_000_000)] = Field(description="tokens of each window")


class MeasureConfig(_Section):
    """How time and energy are measured."""

    speed: bool = Field(description="false leaves the timing out")
    rounds: Annotated[Whole, Field(ge=2, le=10_000)] = Field(
        description="timings of every variant, in turns with all others"
    )
    prompt_tokens: Annotated[Whole, Field(gt=0, le=1_000_000)] = Field(description="tokens of the prompt (prefill)")
    generate_tokens: Annotated[Whole, Field(gt=0, le=1_000_000)] = Field(
        description="tokens generated behind it (decode)"
    )
    batches: Annotated[tuple[Annotated[Whole, Field(gt=0, le=4096)], ...], Field(min_length=1)] = Field(
        description="batch sizes of decoding"
    )


class RunConfig(_Section):
    """Everything a run may be told; conf/ holds the defaults."""

    paper: str | None = Field(
        default=None, description="a published table, whose protocol sets suite, methods and more"
    )
    suite: Annotated[str, Field(min_length=1)] = Field(description="name of a suite, or path of a suite's YAML file")
    model: Annotated[str, Field(min_length=1)] = Field(
        description="a causal language model: smollm2-135m, a folder, a .gguf file, or OWNER/NAME on the hub"
    )
    methods: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="what is compared; dense is always measured"
    )
    budgets: Annotated[tuple[Share, ...], Field(min_length=1)] = Field(
        description="share of the parameters that methods keep, those of the embeddings counted"
    )
    bytes: Annotated[tuple[Share, ...], Field(min_length=1)] | None = Field(
        description="instead of budgets: share of the dense model's bytes in 16 bits that weights take after quantization"
    )
    quantizers: Annotated[tuple[str, ...], Field(min_length=1)] = Field(description="what is layered on every variant")
    runtimes: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="where every variant is run: torch (transformers as it is), llamacpp, openvino"
    )
    limit: Annotated[Whole, Field(gt=0)] | None = Field(
        description="items of each task, as lm-eval counts them; null for all"
    )
    minutes: Annotated[Number, Field(gt=0, le=1_000_000)] | None = Field(
        description="time that the run should take: it chooses items a task, up to limit, and rounds of timing to fit"
    )
    data_dir: Path | None = Field(description="local mirror of the tasks' data; HARNESS_DATA_DIR where null")
    store: Path = Field(description="folder of the stored steps and runs")
    report: Path = Field(description="folder that the report is written to")
    keep: Literal["weights", "none"] = Field(
        description="none lets the weights of variants go once they are measured; those that variants are made from stay"
    )
    seed: Annotated[Whole, Field(ge=0, le=MOST_SEED)] = Field(description="of everything that is drawn at random")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        description="of weights and activations; auto is bfloat16 where the hardware has it, else float32"
    )
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = Field(
        description="auto, cpu, cuda or cuda:N; auto takes a GPU where there is one"
    )
    scorer: Literal["tree", "hflm"] = Field(description="our scorer, which shares prefixes, or lm-eval's own")
    redo: Literal["none", "changed", "all"] = Field(
        description="which stored steps are made again: those of other code or libraries (changed), or all"
    )
    calibration: CalibrationConfig
    measures: tuple[str, ...] = Field(description="what is measured beside accuracy; energy needs a counter")
    measure: MeasureConfig
    settings: dict[str, dict[str, Any]] = Field(description="settings.METHOD.FIELD: defaults of a method's fields")
    profile: Literal["quick", "standard", "paper"] = Field(
        description="effort: quick for minutes, standard for hours, paper for the sizes that papers use"
    )

    @field_validator("store", "report", mode="before")
    @classmethod
    def _a_folder_is_named(cls, value: Any) -> Any:
        if not str(value or ""):
            raise ValueError("name a folder")
        return value

    @field_validator("store", "report", "data_dir")
    @classmethod
    def _in_the_home_folder(cls, value: Path | None) -> Path | None:
        return None if value is None else home(value)

    @field_validator("quantizers", mode="before")
    @classmethod
    def _null_is_none(cls, value: Any) -> Any:
        return ["none" if item is None else item for item in value] if isinstance(value, list | tuple) else value

    @property
    def resolved_dtype(self) -> str:
        if self.dtype != "auto":
            return self.dtype
        return "bfloat16" if environment.has_bfloat16(self.device) else "float32"


def compose(words: list[str]) -> RunConfig:
    """Return the run that `words` (key=value) describe.

    ConfigErrors with every error and the nearest valid names.
    """
    errors: list[str] = []
    words = _with_paper(words, errors)
    written: dict[str, str] = {}
    all_keys = list(_keys(_read_conf("standard")))
    for word in words:
        key, separator, text = word.partition("=")
        if not separator:
            errors.append(f"{word!r} is not of the form key=value")
        elif key.startswith("~"):
            errors.append(f"{key.lstrip('~')}: a key is set with key=value and cannot be removed")
        elif key == "profile" and text not in PROFILES:
            errors.append(f"profile {text} is unknown; {nearest(text, list(PROFILES))}")
        elif key not in all_keys and not key.startswith("settings.") and key != "profile":
            errors.append(f"key {key} is unknown; {nearest(key.lstrip('+-'), all_keys)}")
        else:
            written[key] = text
    profile = written.pop("profile", "quick" if written.get("suite", "demo") == "demo" else "standard")
    if {"bytes", "budgets"} <= written.keys() and written["bytes"] != "null":
        errors.append("bytes and budgets are two ways to say how small; write one")
    content = _composed(profile)
    for key, text in written.items():
        try:
            _put(content, key.split("."), _read(key, text))
        except ValueError as error:
            errors.append(f"{key}: {error}")
    content["profile"] = profile
    if content.get("data_dir") is None and os.environ.get("HARNESS_DATA_DIR"):
        content["data_dir"] = os.environ["HARNESS_DATA_DIR"]
    errors += _name_errors(content)
    try:
        run = RunConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigErrors(errors + _lines(error)) from None
    errors += _device_errors(run.device)
    if errors:
        raise ConfigErrors(errors)
    return run


def _device_errors(device: str) -> list[str]:
    """Return what is wrong with a device that this machine does not have."""
    if not device.startswith("cuda"):
        return []
    import torch

    count, index = torch.cuda.device_count(), int(device.partition(":")[2] or 0)
    if index < count:
        return []
    has = f"has {count} CUDA device{'s' if count != 1 else ''}" if count else "has no CUDA device that torch can use"
    return [f"device={device}: this machine {has}; use device=auto or device=cpu"]


def _read(key: str, text: str) -> Any:
    """Return the value that stands behind `key=`, read as its kind is written.

    ValueError where it does not end.
    """
    section, _, name = key.rpartition(".")
    fields: dict[str, type[BaseModel]] = {"": RunConfig, "calibration": CalibrationConfig, "measure": MeasureConfig}
    if section not in fields or name in ("settings", "calibration", "measure"):
        return grammar.value(text)
    kind = str(fields[section].model_fields[name].annotation)
    if "tuple" in kind:
        return (
            None if text == "null" and "None" in kind else (grammar.texts if "str" in kind else grammar.scalars)(text)
        )
    return grammar.text(text) if any(word in kind for word in ("str", "Path", "Literal")) else grammar.scalar(text)


def _put(content: dict[str, Any], path: list[str], value: Any) -> None:
    """Set what lies at `path` in nested mappings; mappings are merged.

    ValueError where the way leads through a value.
    """
    for part in path[:-1]:
        content = content.setdefault(part, {})
        if not isinstance(content, dict):
            raise ValueError(f"{part} was set to {content!r}, which has no fields")
    if isinstance(value, dict) and isinstance(content.get(path[-1]), dict):
        for name, inner in value.items():
            _put(content[path[-1]], [name], inner)
    else:
        content[path[-1]] = value


def _with_paper(words: list[str], errors: list[str]) -> list[str]:
    """Return the words behind those that the paper named in them stands for: the later one of a key holds."""
    asked = dict(word.split("=", 1) for word in words if "=" in word)
    if asked.get("paper") in (None, "", "null"):
        return words
    try:
        fixed = papers.read(asked["paper"]).words()
    except ValueError as error:
        errors.append(str(error))
        return [word for word in words if not word.startswith("paper=")]
    return fixed + words


def defaults(profile: str = "standard") -> dict[str, Any]:
    """Return every key's value under a profile, those of sections as `section.key`."""
    content = _composed(profile)
    return {**{key: _at(content, key.split(".")) for key in _keys(content)}, "profile": profile}


def _at(content: Any, path: list[str]) -> Any:
    return _at(content[path[0]], path[1:]) if path else content


def _composed(profile: str) -> dict[str, Any]:
    """Return every key's value under a profile, as conf/ has them."""
    return copy.deepcopy(_read_conf(profile))


@cache
def _read_conf(profile: str) -> dict[str, Any]:
    folder = Path(str(resources.files("harness.conf")))
    content = yaml_text.read(folder / "config.yaml", "defaults")
    for key, value in yaml_text.read(folder / "profile" / f"{profile}.yaml", "profile").items():
        _put(content, [key], value)
    return content


def _keys(content: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        yield prefix + key
        if isinstance(value, dict) and key != "settings":
            yield from _keys(value, f"{prefix}{key}.")


def _lines(error: ValidationError) -> list[str]:
    """Return a line for each wrong value.

    Without the complaints about a list whose items are wrong already.
    """
    wrong = [item for item in error.errors() if item["type"] != "too_short" or not item["input"]]
    lines = []
    for item in wrong:
        where = ".".join(str(part) for part in item["loc"] if not isinstance(part, int))
        if where == "budgets" and item["type"] in {"greater_than", "less_than_equal"}:
            lines.append(f"budgets must lie in (0, 1], not {item['input']}")
        else:
            lines.append(one_line(f"{where}: {item['msg'].removeprefix('Value error, ')}, not {item['input']!r}"))
    return lines


def _name_errors(content: dict[str, Any]) -> list[str]:
    """Return what is wrong with names and places.

    Suite, model, data_dir, methods, their fields, quantizers, settings.
    """
    given = content["settings"] if isinstance(content["settings"], dict) else {}
    settings = {name: fields for name, fields in given.items() if isinstance(fields, dict)}  # others: wrong by type
    checks: list[Callable[[], object]] = [
        partial(suites.read, str(content["suite"])),
    ]
    if content["model"]:
        checks.append(partial(source.check, str(content["model"])))
    for recipe in filter(None, _listed(content["methods"])):
        checks += [partial(registry.parse, part, settings) for part in recipes.parts(str(recipe))]
    checks += [partial(registry.quantizer, str(name)) for name in _listed(content["quantizers"]) if name is not None]
    errors = []
    for check in checks:
        try:
            check()
        except ValueError as error:
            errors.append(str(error))
    if content["data_dir"] is not None and not home(str(content["data_dir"])).is_dir():
        errors.append(f"data_dir={content['data_dir']}: no such folder")
    for name, fields in settings.items():
        if name not in registry.methods():
            errors.append(f"settings.{name}: no such method; {nearest(name, list(registry.methods()))}")
            continue
        if "budget" in fields:
            errors.append(
                f"settings.{name}.budget: budgets are set with budgets=[...], or written with the method, {name}(budget=...)"
            )
        allowed = list(registry.methods()[name].model_fields)
        wrong = [field for field in fields if field not in allowed]
        errors += [f"settings.{name}.{field}: no such field; {nearest(field, allowed)}" for field in wrong]
    return errors


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []  # anything else is refused by its type

"""From `key=value` words to a validated run: Hydra composes, pydantic checks, all errors are reported at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from harness import environment, papers, recipes, registry
from harness.data import layout, suites
from harness.models import source

PROFILES = ("quick", "standard", "paper")


class ConfigErrors(ValueError):
    """Everything that is wrong with a configuration, a line each."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = [line for text in lines for line in text.splitlines()]
        super().__init__("\n".join(self.lines))


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CalibrationConfig(_Section):
    text: str | None
    samples: Annotated[int, Field(gt=0)]
    length: Annotated[int, Field(gt=1)]


class MeasureConfig(_Section):
    speed: bool
    rounds: Annotated[int, Field(ge=2)]
    prompt_tokens: Annotated[int, Field(gt=0)]
    generate_tokens: Annotated[int, Field(gt=0)]
    batches: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1)]


class RunConfig(_Section):
    """Everything a run may be told; see conf/config.yaml."""

    paper: str | None = None
    suite: Annotated[str, Field(min_length=1)]
    model: Annotated[str, Field(min_length=1)]
    methods: Annotated[tuple[str, ...], Field(min_length=1)]
    budgets: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)]
    quantizers: Annotated[tuple[str, ...], Field(min_length=1)]
    limit: Annotated[int, Field(gt=0)] | None
    data_dir: Path | None
    store: Path
    report: Path
    seed: Annotated[int, Field(ge=0)]
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
    scorer: Literal["tree", "hflm"]
    calibration: CalibrationConfig
    measure: MeasureConfig
    settings: dict[str, dict[str, Any]]
    profile: Literal["quick", "standard", "paper"]

    @field_validator("store", "report", mode="before")
    @classmethod
    def _a_folder_is_named(cls, value: Any) -> Any:
        if not str(value or ""):
            raise ValueError("name a folder")
        return value

    @field_validator("quantizers", mode="before")
    @classmethod
    def _null_is_none(cls, value: Any) -> Any:
        return ["none" if item is None else item for item in value] if isinstance(value, list | tuple) else value

    @property
    def resolved_dtype(self) -> str:
        if self.dtype != "auto":
            return self.dtype
        return "bfloat16" if environment.has_bfloat16() else "float32"


def compose(words: list[str]) -> RunConfig:
    """Return the run that `words` (key=value) describe; ConfigErrors with every error and the nearest valid names."""
    errors: list[str] = []
    words = _with_paper(words, errors)
    accepted: dict[str, str] = {}
    known = list(_keys(_composed([], errors)))
    for word in words:
        key, separator, _ = word.partition("=")
        if not separator:
            errors.append(f"{word!r} is not of the form key=value")
        elif key.startswith("~"):
            errors.append(f"{key.lstrip('~')}: a key is set with key=value and cannot be removed")
        elif key == "profile" and word.split("=", 1)[1] not in PROFILES:
            errors.append(
                f"profile {word.split('=', 1)[1]} is unknown; {layout.nearest(word.split('=', 1)[1], list(PROFILES))}"
            )
        elif key.lstrip("+") not in known and not key.startswith("settings.") and key != "profile":
            errors.append(f"key {key} is unknown; {layout.nearest(key, known)}")
        else:
            accepted[key] = f"+{word}" if key.startswith("settings.") else word
    suite = next((word.split("=", 1)[1] for key, word in accepted.items() if key == "suite"), "demo")
    accepted.setdefault("profile", f"profile={'quick' if suite == 'demo' else 'standard'}")
    content = _composed(list(accepted.values()), errors)
    content["profile"] = accepted["profile"].split("=", 1)[1]
    if content.get("data_dir") is None and os.environ.get("HARNESS_DATA_DIR"):
        content["data_dir"] = os.environ["HARNESS_DATA_DIR"]
    errors += _name_errors(content)
    try:
        run = RunConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigErrors(errors + _lines(error)) from None
    if errors:
        raise ConfigErrors(errors)
    return run


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


def _composed(words: list[str], errors: list[str]) -> dict[str, Any]:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    kept = []
    with initialize_config_module("harness.conf", version_base="1.3"):
        for word in words:  # one by one, so that one bad word does not hide the next
            try:
                hydra_compose("config", overrides=[word.replace("+settings", "++settings")])
                kept.append(word.replace("+settings", "++settings"))
            except (HydraException, OmegaConfBaseException) as error:
                errors.append(f"{word}: {str(error).splitlines()[0]}")
        content: Any = OmegaConf.to_container(hydra_compose("config", overrides=kept), resolve=True)
        return content


def _keys(content: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        yield prefix + key
        if isinstance(value, dict) and key != "settings":
            yield from _keys(value, f"{prefix}{key}.")


def _lines(error: ValidationError) -> list[str]:
    """Return a line for each wrong value, without the complaints about a list whose items are wrong already."""
    wrong = [item for item in error.errors() if item["type"] != "too_short" or not item["input"]]
    lines = []
    for item in wrong:
        where = ".".join(str(part) for part in item["loc"] if not isinstance(part, int))
        if where == "budgets" and item["type"] in {"greater_than", "less_than_equal"}:
            lines.append(f"budgets must lie in (0, 1], not {item['input']}")
        else:
            lines.append(f"{where}: {item['msg']}, not {item['input']!r}")
    return lines


def _name_errors(content: dict[str, Any]) -> list[str]:
    """Return what is wrong with names and places: suite, model, data_dir, methods, their fields, quantizers, settings."""
    given = content["settings"] if isinstance(content["settings"], dict) else {}
    settings = {name: fields for name, fields in given.items() if isinstance(fields, dict)}  # others: wrong by type
    checks: list[Callable[[], object]] = [
        partial(suites.read, str(content["suite"])),
        partial(source.check, str(content["model"])),
    ]
    for recipe in _listed(content["methods"]):
        checks += [partial(registry.parse, part, settings) for part in recipes.parts(str(recipe))]
    checks += [partial(registry.quantizer, str(name)) for name in _listed(content["quantizers"]) if name is not None]
    errors = []
    for check in checks:
        try:
            check()
        except ValueError as error:
            errors.append(str(error))
    if content["data_dir"] is not None and not Path(content["data_dir"]).expanduser().is_dir():
        errors.append(f"data_dir={content['data_dir']}: no such folder")
    for name, fields in settings.items():
        if name not in registry.methods():
            errors.append(f"settings.{name}: no such method; {layout.nearest(name, list(registry.methods()))}")
            continue
        allowed = list(registry.methods()[name].model_fields)
        wrong = [field for field in fields if field not in allowed]
        errors += [f"settings.{name}.{field}: no such field; {layout.nearest(field, allowed)}" for field in wrong]
    return errors


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []  # anything else is refused by its type

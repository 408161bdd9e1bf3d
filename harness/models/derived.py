"""Classes of any family's own with ours ahead of them, made when they are asked for.

transformers knows them from then on.

Saved models carry this file beside the one that uses it, so it imports nothing of ours.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING, CONFIG_MAPPING_NAMES
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_MAPPING


class Derivation(NamedTuple):
    """What a module derives.

    `place` are its globals, `name` begins its classes' names, `prefix` its model types.
    """

    place: dict[str, Any]
    name: str
    prefix: str

    def config(self, family: str, mixin: type, **content: Any) -> Any:
        """Return the configuration class of a family, by its name in transformers.

        With `mixin` ahead and further `content`.
        """
        parent: Any = CONFIG_MAPPING[family]
        name = f"{self.name}{parent.__name__}"
        if name not in self.place:
            own = {"model_type": self.prefix + family, "__module__": self.place["__name__"], "__doc__": mixin.__doc__}
            made: Any = strict(type(name, (mixin, parent), own | content))  # collects fields and validators anew
            AutoConfig.register(made.model_type, made, exist_ok=True)
            made.register_for_auto_class()
            self.place[name] = made
        return self.place[name]

    def causal(self, family: str, mixin: type, config: Any, **content: Any) -> Any:
        """Return the model class of a family, of that configuration class.

        With `mixin` ahead and further `content`.
        """
        return self._model(causal_parent(family), AutoModelForCausalLM, mixin, config, **content)

    def base(self, family: str, mixin: type, config: Any) -> Any:
        """Return the class of a family's models without their head, with `mixin` ahead."""
        return self._model(MODEL_MAPPING[CONFIG_MAPPING[family]], AutoModel, mixin, config)

    def _model(self, parent: Any, auto: Any, mixin: type, config: Any, **content: Any) -> Any:
        name = f"{self.name}{parent.__name__}"
        if name not in self.place:
            own = {"config_class": config, "__module__": self.place["__name__"], "__doc__": mixin.__doc__}
            made: Any = type(name, (mixin, parent), own | content)
            auto.register(config, made, exist_ok=True)
            made.register_for_auto_class(auto.__name__)
            self.place[name] = made
        return self.place[name]

    def asked(self, name: str) -> tuple[str, str]:
        """Return the family of the class that an `auto_map` names, and "config", "base" or "causal".

        AttributeError for others.
        """
        for family, config in CONFIG_MAPPING_NAMES.items():
            if name == f"{self.name}{config}":
                return family, "config"
            for kind, ending in (("causal", "ForCausalLM"), ("base", "Model")):
                if name == f"{self.name}{config.removesuffix('Config')}{ending}":
                    return family, kind
        raise AttributeError(f"module {self.place['__name__']} has no attribute {name}")


def causal_parent(family: str) -> Any:
    """Return the family's own causal class."""
    return MODEL_FOR_CAUSAL_LM_MAPPING[CONFIG_MAPPING[family]]

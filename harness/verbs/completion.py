"""`harness completion`: the script with which a shell completes our words."""

from __future__ import annotations

from typing import ClassVar

from harness.command.verb import Verb


class Completion(Verb):
    """Print the script that completes verbs and words in a shell: source <(harness completion bash)."""

    NAME: ClassVar[str] = "completion"
    NAMES: ClassVar[str] = "bash|zsh"

    def __call__(self) -> int:
        from harness.command.all_verbs import verbs
        from harness.command.shell_script import script

        if len(self.names) != 1 or self.names[0] not in ("bash", "zsh"):
            raise ValueError("harness completion takes the name of a shell: bash or zsh")
        print(script(verbs(), self.names[0]), end="")
        return 0

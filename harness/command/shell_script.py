"""The script with which a shell completes verbs, their words and the words' choices. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from harness.command.verb import Verb

BASH = """# bash: source <(harness completion bash)    zsh: source <(harness completion zsh)
_harness() {{
    local line="${{COMP_LINE:0:$COMP_POINT}}" words current known
    read -ra words <<< "$line"
    current=""
    [[ "$line" == *" " ]] || current="${{words[-1]}}"
    case "${{words[1]-}} ${{words[2]-}}" in
{cases}
    *) known={verbs} ;;
    esac
    [[ "${{#words[@]}}" -le 2 && -n "$current" || "${{#words[@]}}" -le 1 ]] && known={verbs}
    COMPREPLY=($(compgen -W "$known" -- "$current"))
    [[ "$current" == *=* ]] && COMPREPLY=("${{COMPREPLY[@]#"${{current%%=*}}="}}")
    [[ "${{COMPREPLY[0]-}}" == *= ]] && compopt -o nospace 2> /dev/null
    return 0
}}
complete -F _harness harness
"""
ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


def script(verbs: Mapping[str, type[Verb]], shell: str) -> str:
    """Return what bash or zsh reads to complete the command's words."""
    first = dict.fromkeys(name.split()[0] for name in verbs)
    cases = []
    for name in sorted(verbs, key=lambda name: -len(name.split())):
        its_words = _words(verbs[name])
        its_words += [each.split()[1] for each in verbs if each.startswith(f"{name} ")]
        pattern = f'"{name}"' if " " in name else f'"{name} "*'
        cases.append(f"    {pattern}) known={shlex.quote(' '.join(its_words))} ;;")
    for name in (name for name in first if name not in verbs):  # the first half of verbs of two words
        halves = [each.split()[1] for each in verbs if each.startswith(f"{name} ")]
        cases.append(f'    "{name} "*) known={shlex.quote(" ".join(halves))} ;;')
    text = BASH.format(cases="\n".join(cases), verbs=shlex.quote(" ".join([*first, "help"])))
    return (ZSH if shell == "zsh" else "") + text


def _words(verb: type[Verb]) -> list[str]:
    words = []
    for word in [*verb.own_words(), *verb.run_keys()]:
        words += [f"{word.name}={choice}" for choice in word.choices] or [f"{word.name}="]
    return words

"""Every verb by name, from harness.verbs and harness.doctor.verbs.

Others bring theirs by entry points.
"""

from __future__ import annotations

from functools import cache

from harness import registry
from harness.command.verb import Verb
from harness.words.nearest import nearest


@cache
def verbs() -> dict[str, type[Verb]]:
    """Return all verbs by name, of one word or two."""
    ours = registry.named("harness.verbs", "harness.verbs", Verb)
    return dict(sorted((ours | registry.named("harness.doctor.verbs", "", Verb)).items()))


def find(words: list[str]) -> tuple[type[Verb], list[str]]:
    """Return the verb that words begin with, of two words where there is one, and the rest.

    ValueError for no verb.
    """
    by_name = verbs()
    second = [name.split()[1] for name in by_name if name.startswith(f"{words[0]} ")]
    length = 2 if second and len(words) > 1 and "=" not in words[1] else 1
    name = " ".join(words[:length])
    if name in by_name:
        return by_name[name], words[length:]
    if length == 2 and words[0] in by_name and by_name[words[0]].NAMES:
        return by_name[words[0]], words[1:]
    if length == 2:
        raise ValueError(f"harness {words[0]} {words[1]} is unknown; {nearest(words[1], second)}")
    if second:
        raise ValueError(f"harness {words[0]} needs one of the words {', '.join(second)} behind it")
    raise ValueError(
        f"verb {words[0]} is unknown; {nearest(words[0], list(dict.fromkeys(n.split()[0] for n in by_name)))}"
    )

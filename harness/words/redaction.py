"""What is recorded and shown holds no secrets.

Tokens and passwords in words, addresses and settings become ***.
"""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "***"
TOKENS = re.compile(r"\b(hf_|sk-|ghp_|gho_|github_pat_|glpat-|xox[abp]-|AKIA)[A-Za-z0-9_-]{8,}")
ADDRESS = re.compile(r"(?<=://)[^/\s@'\"]+(?=@)")  # user:password@ of an address
ASSIGNED = re.compile(
    r"(?i)\b([\w-]*(?:token|secret|password|passwd|api_?key))(\s*[=:]\s*['\"]?)(?!\s)([^\s,;&)\]}'\"]+)"
)
NAMED = re.compile(r"(?i)(^|_)(token|secret|password|passwd|api_?key|credentials?)s?$")
PLAIN = ("search_tokens", "training_tokens", "prompt_tokens", "generate_tokens", "batch_tokens", "tokens", "token")


def redacted(value: Any, name: str = "") -> Any:
    """Return text, or every text in nested lists and mappings.

    With what looks like a secret replaced by ***.
    """
    if isinstance(value, str):
        if NAMED.search(name) and name not in PLAIN and value:
            return HIDDEN
        return ADDRESS.sub(HIDDEN, ASSIGNED.sub(_assigned, TOKENS.sub(HIDDEN, value)))
    if isinstance(value, dict):
        return {key: redacted(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(inner, name) for inner in value]
    return value


def _assigned(match: re.Match[str]) -> str:
    """Return a setting with its value hidden; counts of tokens are no secrets."""
    counted = match[1].lower().endswith("tokens") or match[3].replace(".", "").isdigit()
    return match[0] if counted else f"{match[1]}{match[2]}{HIDDEN}"

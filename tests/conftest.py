"""Fixtures that many tests share: a tiny random model, its checkpoint, and one finished run over it."""

from __future__ import annotations

import os

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

from pathlib import Path

import pytest

from harness.models import checkpoint
from harness.models.random_llama import build

BROWSER, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@pytest.fixture
def tiny():
    """A random 6-layer Llama with grouped-query attention, and its tokenizer."""
    return build()


@pytest.fixture
def tiny_folder(tiny, tmp_path: Path) -> Path:
    """The tiny model as a checkpoint."""
    model, tokenizer = tiny
    folder = tmp_path / "tiny"
    folder.mkdir()
    tokenizer.save_pretrained(folder)
    checkpoint.save(model, folder, folder)
    return folder


@pytest.fixture
def data_dir() -> Path:
    """The folder of real benchmark items; skips elsewhere, never in CI."""
    folder = os.environ.get("HARNESS_DATA_DIR")
    if folder:
        return Path(folder)
    if os.environ.get("CI"):
        pytest.fail("CI must set HARNESS_DATA_DIR")
    pytest.skip("needs the benchmark items: set HARNESS_DATA_DIR to a mirror")


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Headless Chromium; skips where it is missing, fails in CI."""
    if not (BROWSER.exists() and DRIVER.exists()):
        words = f"{BROWSER} and {DRIVER} are needed: apt-get install chromium chromium-driver"
        pytest.fail(words) if os.environ.get("CI") else pytest.skip(words)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()

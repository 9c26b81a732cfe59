"""Fixtures for every test: photographs, the shipped bundle, the labelled data beside a checkout, a browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests import photos

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from shared.bundle import Bundle

# Before anything imports TensorFlow: its banner hides what a test prints.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

# The same examples in every run, so that a change is judged by what it does. Others: --hypothesis-profile exploring
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.register_profile("exploring")
hypothesis.settings.load_profile("repeatable")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test sees the defaults, whatever the person who runs it has set for their own service."""
    for name in [name for name in os.environ if name.startswith("YAOP_") and not name.startswith("YAOP_TEST_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def astronaut() -> photos.Image:
    """One person, head to waist, RGB uint8 [512, 512, 3]."""
    return photos.astronaut()


@pytest.fixture
def grace_hopper() -> photos.Image:
    """One person, head and chest, RGB uint8 [600, 512, 3]."""
    return photos.grace_hopper()


@pytest.fixture
def group() -> photos.Image:
    """Three people side by side, RGB uint8 [480, W, 3]."""
    return photos.group(3)


@pytest.fixture
def nobody() -> photos.Image:
    """A photograph without people, RGB uint8 [400, 600, 3]."""
    return photos.nobody()


@pytest.fixture
def astronaut_jpeg() -> bytes:
    """A JPEG file of one person, 512 x 512."""
    return photos.encode(photos.astronaut(), "jpeg")


@pytest.fixture
def astronaut_file(tmp_path: Path) -> Path:
    """Path of a JPEG file of one person, 512 x 512."""
    path = tmp_path / "astronaut.jpg"
    path.write_bytes(photos.encode(photos.astronaut(), "jpeg"))
    return path


@pytest.fixture(scope="session")
def shipped_bundle() -> Bundle:
    """The bundle that comes with YAOP, verified."""
    from shared.bundle import load_bundle, shipped_models_dir

    return load_bundle(shipped_models_dir() / "mobilenet_fpn")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of labelled photographs beside a developer's checkout (or YAOP_TEST_DATA); skips without it."""
    path = Path(os.environ.get("YAOP_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (path / "coco" / "person_keypoints_val.json").exists():
        pytest.skip(f"no labelled photographs in {path}")
    return path


@pytest.fixture(scope="session")
def chromium() -> Path:
    """Path of a Chromium; skips the test where there is none."""
    from tests.browser import find_chromium

    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium on this machine: install one, or name it with YAOP_TEST_BROWSER")
    return path


# For one module only: Playwright's event loop stays in the thread, where asyncio.run() refuses to start another.
@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Browser]:
    """A headless browser."""
    from tests.browser import open_browser

    with open_browser(chromium) as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page in a context of its own, which reports what goes wrong in the page as the test's failure."""
    context = browser.new_context()
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert not errors, f"errors in the page: {errors}"

"""Where the browser of the end-to-end tests is, and how it is started."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# As root a browser has no sandbox; the rest keeps it from looking for its maker's servers.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def find_chromium() -> Path | None:
    """The browser that YAOP_TEST_BROWSER names, else the machine's, else Playwright's own; None without any."""
    named = os.environ.get("YAOP_TEST_BROWSER")
    installed = (shutil.which(name) for name in ([named] if named else NAMES))
    found = next((path for path in installed if path), None)
    if found or named:
        return Path(found) if found else None
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
    return own if own.exists() else None


@contextmanager
def open_browser(executable: Path, *flags: str) -> Iterator[Browser]:
    """A headless browser with these flags besides the usual ones, closed at the end of the block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=[*FLAGS, *flags])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def another_browser(browser: Browser, executable: Path, *flags: str) -> Iterator[Browser]:
    """One more beside a running one, with other flags: a thread can start Playwright only once."""
    other = browser.browser_type.launch(executable_path=executable, args=[*FLAGS, *flags])
    try:
        yield other
    finally:
        other.close()

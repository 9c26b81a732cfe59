"""What tests of the page in a browser share; `page` is in `tests.conftest`, `server` in each of their modules."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.server_process import Server


@pytest.fixture
def outside(page: Page, server: Server) -> list[str]:
    """URLs of other hosts that the page asked for, and what its security policy stopped."""
    asked: list[str] = []
    page.on(
        "request", lambda request: None if request.url.startswith((server.url, "blob:")) else asked.append(request.url)
    )
    page.on(
        "console", lambda message: asked.append(message.text) if "Content Security Policy" in message.text else None
    )
    return asked

"""The terminal or file that a command writes to, made fit for all that it may say."""

from __future__ import annotations

import importlib
import io
import sys
from contextlib import suppress


def prepare_terminal() -> None:
    """Let no character that its encoding lacks end a command, and have an old console of Windows obey escape codes."""
    if isinstance(sys.stdout, io.TextIOWrapper) and "utf" not in sys.stdout.encoding.lower():
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error is
    with suppress(ImportError, AttributeError):  # old ones lack it
        importlib.import_module("colorama").just_fix_windows_console()  # comes with click, on Windows only

"""Addresses and keys as people give them: what may be shown of them, and what can be sent."""

from __future__ import annotations

import re

import httpx

from shared.errors import YaopError

_USER_OF_ANYTHING = re.compile(r"^([a-z][a-z0-9+.-]*://)?.*@", re.IGNORECASE | re.DOTALL)
_USER_IN_A_TEXT = re.compile(r"//[^/\s]*@")
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")
_KEY = re.compile(r"[!-~]([ -~]*[!-~])?")


def shown_address(url: str | httpx.URL) -> str:
    """An address without the user and the password in it. It need not be a valid one."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        parsed = httpx.URL()
    if parsed.host:
        return str(parsed.copy_with(userinfo=b"") if parsed.userinfo else url)
    return _USER_OF_ANYTHING.sub(r"\1", str(url))


def reason_of(error: BaseException) -> str:
    """What an exception of the network says, without its number, and without passwords of addresses."""
    return _USER_IN_A_TEXT.sub("//", _ERRNO.sub("", str(error))) or type(error).__name__


def checked_key(key: str) -> str:
    """The key, if it can be part of a header.

    Raises:
        YaopError: it cannot; the message doesn't show it.
    """
    if _KEY.fullmatch(key) is None:
        raise YaopError("the key cannot be sent: it has to be of ASCII letters, digits and signs, on one line")
    return key

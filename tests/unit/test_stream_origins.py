"""Whose pages may open streams."""

from __future__ import annotations

import pytest

from service.settings import SettingsError, load_settings
from service.streams.origins import Origin, is_welcome, parse_origin


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "example.com"),
        (None, None),
        ("http://example.com", "example.com"),
        ("https://example.com", "example.com"),
        ("http://example.com", "example.com:80"),
        ("http://example.com:80", "example.com"),
        ("https://example.com:443", "example.com"),
        ("https://example.com", "example.com:443"),
        ("http://EXAMPLE.com", "example.COM"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_pages_of_the_service_itself_are_welcome(origin: str | None, host: str | None) -> None:
    assert is_welcome(origin, host, ())


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://example.com", "example.com:8000"),
        ("http://example.com:8000", "example.com"),
        ("https://example.com", "example.com:80"),
        ("http://example.com:443", "example.com"),
        ("http://evil.com", "example.com"),
        ("http://example.com.evil.com", "example.com"),
        ("http://example.com@evil.com", "example.com"),
        ("http://evil.com", None),
        ("http://None", None),
        ("null", "null"),
        ("", ""),
        ("example.com", "example.com"),
        ("http://", ""),
        ("http://example.com:port", "example.com:port"),
        ("http://example.com/path", "example.com"),
        ("http://[", "["),
    ],
)
def test_other_pages_are_not(origin: str, host: str | None) -> None:
    assert not is_welcome(origin, host, ())


def test_origins_that_are_named_are_welcome() -> None:
    allowed = ("https://app.example.com", "http://localhost:3000/")
    assert is_welcome("https://app.example.com", "api.example.com", allowed)
    assert is_welcome("https://app.example.com:443", "api.example.com", allowed)
    assert is_welcome("http://localhost:3000", "api.example.com", allowed)
    assert not is_welcome("http://app.example.com", "api.example.com", allowed)
    assert not is_welcome("https://app.example.com:8443", "api.example.com", allowed)
    assert is_welcome("null", "api.example.com", ("*",))


def test_schemes_without_a_port_of_their_own_can_be_named() -> None:
    assert parse_origin("chrome-extension://abcdef") == Origin("chrome-extension", "abcdef", None)
    assert is_welcome("chrome-extension://abcdef", "example.com", ("chrome-extension://abcdef",))


def test_the_setting_is_a_list_of_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YAOP_ORIGINS", "https://a.example.com, http://b:3000 ,")
    assert load_settings().origins == ("https://a.example.com", "http://b:3000")
    monkeypatch.setenv("YAOP_ORIGINS", "*")
    assert load_settings().origins == ("*",)
    monkeypatch.setenv("YAOP_ORIGINS", "")
    assert load_settings().origins == ()
    monkeypatch.setenv("YAOP_ORIGINS", "app.example.com")
    with pytest.raises(SettingsError, match=r"^YAOP_ORIGINS=.*app\.example\.com is no origin, such as"):
        load_settings()

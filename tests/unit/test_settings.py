from __future__ import annotations

from pathlib import Path

import pytest

from service.settings import SettingsError, load_settings


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_defaults_are_those_of_the_documentation() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.engine) == ("127.0.0.1", 8000, "auto")
    assert settings.model == ("mobilenet_fpn",)
    assert settings.max_body_bytes == 25_000_000
    assert settings.max_pixels == 50_000_000
    assert settings.header_timeout == 10
    assert (settings.max_streams, settings.max_streams_per_address, settings.origins) == (100, 32, ())
    assert (settings.max_stream_frame_bytes, settings.max_stream_pixels) == (4_000_000, 8_912_896)
    assert (settings.max_stream_fps, settings.stream_idle_timeout, settings.stream_send_timeout) == (60, 60, 10)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOST", ""),
        ("PORT", "70000"),
        ("PORT", "http"),
        ("ENGINE", "onnx"),
        ("MODEL", " , "),
        ("MODELS_DIR", "/no/such/folder"),
        ("THREADS", "-1"),
        ("WORKER_PORT", "65536"),
        ("WORKERS", "0"),
        ("BATCH_SIZE", "0"),
        ("QUEUE_SIZE", "0"),
        ("MAX_STREAM_FRAME_BYTES", "0"),
        ("MAX_STREAM_FPS", "0"),
        ("STREAM_IDLE_TIMEOUT", "inf"),
        ("STREAM_SEND_TIMEOUT", "-1"),
        ("MAX_STREAMS", "-1"),
        ("MAX_STREAMS_PER_ADDRESS", "0"),
        ("ORIGINS", "example.com"),
        ("DEADLINE", "0"),
        ("DEADLINE", "nan"),
        ("MAX_BODY_BYTES", "a lot"),
        ("MAX_BODY_BYTES", "0"),
        ("MAX_PIXELS", "-5"),
        ("MAX_BATCH_IMAGES", "0"),
        ("HEADER_TIMEOUT", "0"),
        ("SHUTDOWN_TIMEOUT", "soon"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_wrong_value_fails_with_the_name_of_its_setting(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"YAOP_{name}", value)
    with pytest.raises(SettingsError) as failure:
        load_settings()
    assert str(failure.value).startswith(f"YAOP_{name}={value}")
    assert "\n" not in str(failure.value)


def test_all_wrong_values_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YAOP_PORT", "x")
    monkeypatch.setenv("YAOP_ENGINE", "y")
    with pytest.raises(SettingsError) as failure:
        load_settings()
    assert "YAOP_PORT=x" in str(failure.value)
    assert "YAOP_ENGINE=y" in str(failure.value)


def test_flags_win_over_the_environment_and_the_environment_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("YAOP_PORT=1001\nYAOP_HOST=0.0.0.0\nYAOP_LOG_LEVEL=debug\nOTHER=1\n")
    monkeypatch.setenv("YAOP_PORT", "1002")
    monkeypatch.setenv("YAOP_HOST", "127.0.0.2")
    settings = load_settings(port=1003, host=None)
    assert (settings.port, settings.host, settings.log_level) == (1003, "127.0.0.2", "debug")


def test_a_flag_is_checked_like_a_variable() -> None:
    with pytest.raises(SettingsError, match="YAOP_PORT=99999"):
        load_settings(port=99999)


def test_sizes_may_have_units_and_choices_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YAOP_MAX_BODY_BYTES", "10MB")
    monkeypatch.setenv("YAOP_LOG_LEVEL", "WARNING")
    settings = load_settings()
    assert (settings.max_body_bytes, settings.log_level) == (10_000_000, "warning")


def test_several_models_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YAOP_MODEL", "a, b,a,")
    assert load_settings().model == ("a", "b")


def test_an_empty_models_dir_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YAOP_MODELS_DIR", "")
    assert load_settings().models_dir is None


def secrets(folder: Path, monkeypatch: pytest.MonkeyPatch, **values: str) -> Path:
    """A folder of secrets, laid out as Kubernetes does: links to files that are swapped all at once."""
    version = folder / "..2026_01_01"
    version.mkdir(parents=True)
    (folder / "..data").symlink_to(version.name)
    for name, value in values.items():
        (version / name).write_text(value)
        (folder / name).symlink_to(f"..data/{name}")
    monkeypatch.setenv("YAOP_SECRETS_DIR", str(folder))
    return folder


def test_secrets_are_read_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets(
        tmp_path / "secrets",
        monkeypatch,
        yaop_admin_key="s3cret\n",
        yaop_database_url="postgresql://yaop:x@db/yaop\n",
        yaop_origins="https://a.example, https://b.example\n",
        other="ignored",
    )
    settings = load_settings()
    assert settings.admin_key is not None and settings.admin_key.get_secret_value() == "s3cret"
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://yaop:x@db/yaop"
    assert settings.origins == ("https://a.example", "https://b.example")


def test_the_environment_wins_over_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets(tmp_path / "secrets", monkeypatch, yaop_admin_key="old", yaop_port="1001")
    monkeypatch.setenv("YAOP_ADMIN_KEY", "new")
    settings = load_settings()
    assert settings.admin_key is not None and settings.admin_key.get_secret_value() == "new"
    assert settings.port == 1001


def test_a_wrong_secret_is_told_by_its_settings_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets(tmp_path / "secrets", monkeypatch, yaop_port="http")
    with pytest.raises(SettingsError, match="YAOP_PORT=http"):
        load_settings()


def test_a_secret_that_is_no_text_is_told_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = secrets(tmp_path / "secrets", monkeypatch)
    (folder / "yaop_admin_key").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError) as failure:
        load_settings()
    assert str(folder) in str(failure.value) and "\n" not in str(failure.value)


@pytest.mark.parametrize("what", ["a folder", "a link to outside"])
def test_a_secret_that_is_no_file_is_not_passed_over(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the service would run without its key. Docker makes a folder where a file to mount is missing."""
    folder = secrets(tmp_path / "secrets", monkeypatch)
    if what == "a folder":
        (folder / "yaop_admin_key").mkdir()
    else:
        (tmp_path / "key").write_text("s3cret")
        (folder / "yaop_admin_key").symlink_to(tmp_path / "key")
    with pytest.raises(SettingsError, match="secret"):
        load_settings()


def test_a_folder_of_secrets_that_was_asked_for_has_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YAOP_SECRETS_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match="YAOP_SECRETS_DIR="):
        load_settings()

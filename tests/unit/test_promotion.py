"""`yaop models`: bundles that appear whole where the service finds them, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from shared import files
from shared.bundle import Bundle, BundleError, Manifest, list_bundles, load_bundle, write_bundle
from shared.models_cli import app
from shared.promotion import previous_of, promote, roll_back


def make_bundle(folder: Path, version: str = "1", name: str = "tiny") -> Bundle:
    source = folder.parent / f"{folder.name}-source"
    source.mkdir(parents=True)
    (source / "model.tflite").write_bytes(b"TFL3" + version.encode() * 500)
    (source / "model_card.md").write_text(f"# {name} {version}\n")
    manifest = Manifest(
        name=name, version=version, skeleton="body_18", stride=4, shapes=((64, 64),), max_peaks=4,
        licence="Apache-2.0", created="2026-01-01T00:00:00Z", architecture="none",
    )  # fmt: skip
    return write_bundle(folder, manifest, source)


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """With version 2 promoted over version 1."""
    folder = tmp_path / "models"
    for version in ("1", "2"):
        promote(make_bundle(tmp_path / f"b{version}", version).path, folder)
    return folder


def versions(models_dir: Path) -> tuple[str, str | None]:
    previous = previous_of(models_dir / "tiny")
    return load_bundle(models_dir / "tiny").manifest.version, previous.manifest.version if previous else None


def test_the_version_before_is_kept_out_of_the_services_sight(models_dir: Path) -> None:
    assert versions(models_dir) == ("2", "1")
    assert list(list_bundles([models_dir])) == ["tiny"]
    assert sorted(path.name for path in models_dir.iterdir()) == [".tiny.previous", "tiny"]


def test_a_rollback_brings_the_version_before_and_undoes_itself(models_dir: Path) -> None:
    assert roll_back(models_dir, "tiny").manifest.version == "1"
    assert versions(models_dir) == ("1", "2")
    roll_back(models_dir, "tiny")
    assert versions(models_dir) == ("2", "1")


def test_it_works_where_the_system_cannot_exchange_at_once(
    models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_exchange_at_once", lambda first, second: False)
    promote(make_bundle(tmp_path / "b3", "3").path, models_dir)
    assert versions(models_dir) == ("3", "2")
    roll_back(models_dir, "tiny")
    assert versions(models_dir) == ("2", "3")


def test_a_bundle_can_be_promoted_under_another_name(models_dir: Path, tmp_path: Path) -> None:
    promoted = promote(tmp_path / "b1", models_dir, "other")
    assert (promoted.path.name, promoted.manifest.name) == ("other", "other")
    assert sorted(list_bundles([models_dir])) == ["other", "tiny"]


def test_a_damaged_bundle_changes_nothing(models_dir: Path, tmp_path: Path) -> None:
    damaged = make_bundle(tmp_path / "b3", "3").path
    (damaged / "model.tflite").write_bytes(b"TFL4" + b"3" * 500)
    with pytest.raises(BundleError, match="altered"):
        promote(damaged, models_dir)
    assert versions(models_dir) == ("2", "1")
    assert sorted(path.name for path in models_dir.iterdir()) == [".tiny.previous", "tiny"]


def test_a_damaged_version_before_is_not_brought_back(models_dir: Path) -> None:
    (models_dir / ".tiny.previous" / "model.tflite").write_bytes(b"TFL4" + b"1" * 500)
    with pytest.raises(BundleError, match="altered"):
        roll_back(models_dir, "tiny")
    assert load_bundle(models_dir / "tiny").manifest.version == "2"


@pytest.mark.parametrize("name", ["other", "../tiny", ""])
def test_there_is_no_way_back_from_what_was_never_promoted(models_dir: Path, name: str) -> None:
    with pytest.raises(BundleError, match="no version before"):
        roll_back(models_dir, name)


@pytest.mark.parametrize("name", ["../up", ".hidden", "a b"])
def test_a_name_that_leads_elsewhere_is_refused(models_dir: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="cannot be a model's name"):
        promote(tmp_path / "b1", models_dir, name)


def test_a_bundle_is_not_promoted_onto_itself(models_dir: Path) -> None:
    with pytest.raises(BundleError, match="is there already"):
        promote(models_dir / "tiny", models_dir)
    assert versions(models_dir) == ("2", "1")


def run(*arguments: Any, **env: str) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=env)


def test_the_command_promotes_a_runs_bundle(tmp_path: Path) -> None:
    make_bundle(tmp_path / "run" / "bundle", "7")
    done = run("promote", tmp_path / "run", "--models-dir", tmp_path / "models")
    assert done.exit_code == 0, done.output
    assert "promoted tiny 7" in done.stdout
    assert load_bundle(tmp_path / "models" / "tiny").manifest.version == "7"


def test_the_commands_list_show_and_roll_back(models_dir: Path) -> None:
    listed = run("list", YAOP_MODELS_DIR=str(models_dir)).stdout
    assert "tiny  2  body_18  AP not measured" in listed
    assert "mobilenet_fpn" in listed
    assert "# tiny 2" in run("show", "tiny", YAOP_MODELS_DIR=str(models_dir)).stdout
    assert "Previous version: 1" in run("show", "tiny", "--models-dir", models_dir).stdout
    assert "tiny is 1 again" in run("rollback", "tiny", "--models-dir", models_dir).stdout


def test_without_a_models_folder_the_command_says_how_to_name_one(tmp_path: Path) -> None:
    make_bundle(tmp_path / "b1")
    done = run("promote", tmp_path / "b1")
    assert isinstance(done.exception, BundleError)
    assert "--models-dir or YAOP_MODELS_DIR" in str(done.exception)


def test_a_run_without_a_bundle_is_refused_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from shared.cli import main

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text("{}")
    assert main(["models", "promote", str(tmp_path / "run"), "--models-dir", str(tmp_path / "models")]) == 2
    assert "yaop train export" in capsys.readouterr().err

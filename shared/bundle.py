"""The model bundle: a folder with a manifest, a SavedModel, a LiteRT file and a model card.

``manifest.json`` holds the size and SHA-256 of every other file, so a damaged bundle is refused at load
with the name of the file that is wrong. A bundle appears under its name complete or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.disk import sync_folder
from shared.errors import YaopError
from shared.geometry import Shape
from shared.skeleton import SKELETONS, Skeleton, get_skeleton

MANIFEST_FILE = "manifest.json"
SAVED_MODEL_DIR = "saved_model"
LITERT_FILE = "model.tflite"
FORMAT_VERSION = 1

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_CHUNK = 1 << 20


LiteRTWeights = Literal["float16", "float32", "int8"]


class BundleError(YaopError):
    """A bundle that is missing or damaged; the message names the file."""


def is_bundle_name(name: str) -> bool:
    """Whether `name` can name a bundle: letters, digits, ``_ . -``, starting with a letter or digit."""
    return _NAME.fullmatch(name) is not None


def _check_name(name: str) -> str:
    if not is_bundle_name(name):
        raise ValueError("a name has 1 to 64 letters, digits, '_', '.' or '-' and starts with a letter or digit")
    return name


def _check_relative(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or ":" in path or path == MANIFEST_FILE:
        raise ValueError(f"{path!r} is not a path inside the bundle")
    return path


class FileRecord(BaseModel):
    """Size and SHA-256 of one file."""

    model_config = ConfigDict(frozen=True)

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class AccuracyRow(BaseModel):
    """Average precision on one data set at one resolution, as COCO's keypoint evaluation gives it (0 to 1)."""

    model_config = ConfigDict(frozen=True)

    dataset: str
    system: str | None = Field(default=None, description="what was measured, if it is not this model, for comparison")
    images: int = Field(ge=1)
    resolution: int = Field(ge=1, description="long side of the network input in pixels")
    ap: float
    ap50: float
    ap75: float
    ap_medium: float
    ap_large: float
    ar: float


class Training(BaseModel):
    """Where a model's weights come from."""

    model_config = ConfigDict(frozen=True)

    data: tuple[str, ...] = Field(description="the data sets it learned from, with their shares")
    initial: str = Field(description="the weights it began with")
    steps: int = Field(ge=0, description="batches")
    command: str = Field(description="what trains it again")


class Manifest(BaseModel):
    """What a bundle says about itself; everything that runs a model reads its facts from here."""

    model_config = ConfigDict(frozen=True)

    format_version: int = Field(default=FORMAT_VERSION, ge=FORMAT_VERSION, le=FORMAT_VERSION)
    name: Annotated[str, AfterValidator(_check_name)]
    version: str = Field(min_length=1)
    skeleton: str = Field(description="name of the skeleton")
    skeleton_definition: dict[str, Any] | None = Field(
        default=None, description="the skeleton itself (`Skeleton.to_json`), where it is not a built-in one"
    )
    stride: int = Field(ge=1, description="network-input pixels per cell of the fields")
    shapes: tuple[Shape, ...] = Field(min_length=1, description="(height, width) of the network inputs to use")
    max_peaks: int = Field(ge=1, description="slots per keypoint type in `peaks`")
    thresholds: dict[str, float] = Field(default={})
    accuracy: tuple[AccuracyRow, ...] = ()
    licence: str
    created: str = Field(description="ISO 8601")
    architecture: str
    training: Training | None = None
    litert_weights: LiteRTWeights = Field(
        default="float16", description="how the weights are stored in the LiteRT file"
    )
    files: dict[Annotated[str, AfterValidator(_check_relative)], FileRecord] = Field(default={})

    @model_validator(mode="after")
    def _check_skeleton(self) -> Manifest:
        if self.skeleton_definition is None:
            get_skeleton(self.skeleton)
        elif Skeleton.from_json(self.skeleton_definition).name != self.skeleton:
            raise ValueError(f"the definition is not that of the skeleton {self.skeleton!r}")
        return self

    @model_validator(mode="after")
    def _check_shapes(self) -> Manifest:
        for height, width in self.shapes:
            if min(height, width) < 1 or height % self.stride or width % self.stride:
                raise ValueError(f"shape {height} x {width} is not a multiple of the stride {self.stride}")
        return self


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk.

    Attributes:
        path: its folder.
        manifest: its content.
    """

    path: Path
    manifest: Manifest

    @cached_property
    def skeleton(self) -> Skeleton:
        """The skeleton the network was trained for."""
        return skeleton_of(self.manifest)

    @property
    def saved_model(self) -> Path:
        """Folder of the TensorFlow SavedModel."""
        return self.path / SAVED_MODEL_DIR

    @property
    def litert(self) -> Path | None:
        """The LiteRT (TFLite) file, or None if the bundle has none."""
        return self.path / LITERT_FILE if LITERT_FILE in self.manifest.files else None


def skeleton_fields(skeleton: Skeleton) -> dict[str, Any]:
    """What a manifest says about a skeleton: its name, and its definition unless it is a built-in one."""
    definition = None if skeleton.name in SKELETONS else skeleton.to_json()
    return {"skeleton": skeleton.name, "skeleton_definition": definition}


def skeleton_of(manifest: Manifest) -> Skeleton:
    """The skeleton that a manifest names or defines."""
    definition = manifest.skeleton_definition
    return get_skeleton(manifest.skeleton) if definition is None else Skeleton.from_json(definition)


def load_bundle(path: Path, verify: bool = True) -> Bundle:
    """Read the bundle in the folder `path`.

    Args:
        path: the folder that holds ``manifest.json``.
        verify: check the SHA-256 of every file; otherwise only that each exists with the right size.

    Raises:
        BundleError: a file is missing, truncated or altered, or the manifest is not valid.
    """
    bundle = Bundle(path, _read_manifest(path))
    if not bundle.manifest.files.keys() & {f"{SAVED_MODEL_DIR}/saved_model.pb", LITERT_FILE}:
        raise BundleError(f"{path / MANIFEST_FILE}: lists neither {SAVED_MODEL_DIR}/saved_model.pb nor {LITERT_FILE}")
    for relative, record in bundle.manifest.files.items():
        _check_file(path, relative, record, verify)
    return bundle


def write_bundle(destination: Path, manifest: Manifest, source_dir: Path, replace: bool = False) -> Bundle:
    """Copy the files of `source_dir` and a manifest with their checksums to the new folder `destination`.

    The folder is built beside its destination, flushed to disk and renamed, so nobody sees half of it.
    With `replace` an existing bundle is moved aside first and deleted after.

    Args:
        destination: the folder to create, usually ``models/NAME``.
        manifest: everything but ``files``, which is filled in here.
        source_dir: holds ``saved_model/``, ``model.tflite``, ``model_card.md``; a manifest in it is ignored.
        replace: overwrite an existing bundle.

    Raises:
        BundleError: `destination` exists (without `replace`), or the files cannot be copied.
    """
    if destination.exists() and not replace:
        raise BundleError(f"{destination}: already exists")
    destination.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        staging.chmod(0o755)
        files = {relative: _copy(source_dir / relative, staging / relative) for relative in _walk(source_dir)}
        complete = manifest.model_copy(update={"files": files})
        _write_synced(staging / MANIFEST_FILE, complete.model_dump_json(indent=2, exclude_none=True).encode() + b"\n")
        _sync_folders(staging)
        load_bundle(staging, verify=False)
        _swap(staging, destination)
    except OSError as error:
        raise BundleError(f"{error.filename or destination}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return load_bundle(destination, verify=False)


def shipped_models_dir() -> Path:
    """The folder of the bundles that come with the product (inside the package, or beside it in a checkout)."""
    package = Path(__file__).resolve().parent
    inside = package / "models"
    return inside if inside.is_dir() else package.parent / "models"


def list_bundles(models_dirs: Iterable[Path]) -> dict[str, Path]:
    """Names and folders of the bundles in `models_dirs`; of two with one name the first is taken."""
    found: dict[str, Path] = {}
    for models_dir in models_dirs:
        for manifest in sorted(models_dir.glob(f"*/{MANIFEST_FILE}")):
            if is_bundle_name(manifest.parent.name):
                found.setdefault(manifest.parent.name, manifest.parent)
    return found


def find_bundle(name: str, models_dirs: Sequence[Path]) -> Path:
    """Folder of the bundle `name` in the first of `models_dirs` that has it.

    Raises:
        BundleError: none has it, or `name` cannot be a bundle's name; the message lists those there are.
    """
    found = list_bundles(models_dirs)
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        searched = ", ".join(str(models_dir) for models_dir in models_dirs)
        raise BundleError(f"no model named {name!r} (there are: {known}; searched: {searched})")
    return found[name]


def _read_manifest(path: Path) -> Manifest:
    manifest = path / MANIFEST_FILE
    try:
        return Manifest.model_validate(json.loads(manifest.read_text("utf-8")))
    except OSError as error:
        raise BundleError(f"{manifest}: {error.strerror or error}") from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise BundleError(f"{manifest}: not a valid manifest: {where}: {problem['msg']}") from error
    except ValueError as error:
        raise BundleError(f"{manifest}: not a valid manifest: {error}") from error


def _check_file(root: Path, relative: str, record: FileRecord, verify: bool) -> None:
    file = root / relative
    if not file.is_file():
        raise BundleError(f"{file}: missing from the bundle")
    if not file.resolve().is_relative_to(root.resolve()):
        raise BundleError(f"{file}: leads out of the bundle")
    size = file.stat().st_size
    if size != record.bytes:
        state = "truncated" if size < record.bytes else "altered"
        raise BundleError(f"{file}: {state} ({size} bytes, the manifest says {record.bytes})")
    if verify and _sha256(file) != record.sha256:
        raise BundleError(f"{file}: altered (its SHA-256 is not the one in the manifest)")


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{file}: {error.strerror or error}") from error


def _walk(source_dir: Path) -> Iterator[str]:
    if not source_dir.is_dir():
        raise BundleError(f"{source_dir}: no such folder")
    for file in sorted(source_dir.rglob("*")):
        relative = file.relative_to(source_dir).as_posix()
        if file.is_file() and relative != MANIFEST_FILE:
            yield relative


def _copy(source: Path, target: Path) -> FileRecord:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    return FileRecord(sha256=digest.hexdigest(), bytes=size)


def _write_synced(target: Path, content: bytes) -> None:
    with target.open("wb") as writer:
        writer.write(content)
        writer.flush()
        os.fsync(writer.fileno())


def _sync_folders(root: Path) -> None:
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        sync_folder(folder)


def _swap(staging: Path, destination: Path) -> None:
    """Put `staging` in the place of `destination`; on failure the old bundle is put back."""
    if not destination.exists():
        staging.rename(destination)
        sync_folder(destination.parent)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{destination.name}.old.", dir=destination.parent))
    destination.rename(aside / destination.name)
    try:
        staging.rename(destination)
    except OSError:
        (aside / destination.name).rename(destination)
        aside.rmdir()
        raise
    sync_folder(destination.parent)
    shutil.rmtree(aside, ignore_errors=True)

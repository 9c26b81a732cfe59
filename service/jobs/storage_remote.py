"""Files of jobs in any file system of fsspec, with a folder of this machine for temporary files and downloads."""

from __future__ import annotations

import hashlib
import uuid
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.jobs.storage_local import LocalFiles
from shared.errors import YaopError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_DOWNLOADS = "downloads"
_PART = ".part-"
# Here a file shows only once it is whole, and renaming one is a copy of all its bytes.
_WHOLE_OR_NOTHING = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "memory"})
_TIME_KEYS = ("mtime", "LastModified", "last_modified", "updated", "created", "modified")


class RemoteFiles:
    """The other kind of place that `service.jobs.storage.Storage` keeps files in."""

    def __init__(self, url: str, scratch: Path) -> None:
        self._fs, self._root = _open(url)
        self._local = LocalFiles(scratch)
        self._rename = url.partition("://")[0] not in _WHOLE_OR_NOTHING

    def scratch(self, job_id: str) -> Path:
        """A folder of this machine."""
        return self._local.scratch(job_id)

    def drop_scratch(self, job_id: str, idle_seconds: float = 0.0) -> None:
        """Remove the files in that folder, downloads included."""
        self._local.drop_scratch(job_id, idle_seconds)

    def put(self, job_id: str, name: str, file: Path) -> None:
        """Upload the file, then remove it here."""
        target = self._path(job_id, name)
        folder, _, last = target.rpartition("/")
        upload = f"{folder}/{_PART}{uuid.uuid4().hex[:8]}-{last}" if self._rename else target
        self._fs.makedirs(folder, exist_ok=True)
        self._fs.put_file(str(file), upload)
        if upload != target:
            self._fs.mv(upload, target)
        self._fs.invalidate_cache()
        file.unlink(missing_ok=True)

    def fetch(self, job_id: str, name: str) -> Path:
        """A copy of this very version of the file; downloaded once."""
        self._fs.invalidate_cache()
        path = self._path(job_id, name)
        version = hashlib.sha256(str(self._fs.ukey(path)).encode()).hexdigest()[:16]
        copy = self._local.scratch(job_id) / _DOWNLOADS / version / name
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            part = copy.with_name(f"{_PART}{uuid.uuid4().hex}")
            try:
                self._fs.get_file(path, str(part))
                part.replace(copy)
            finally:
                part.unlink(missing_ok=True)
        return copy

    def sizes(self, job_id: str) -> dict[str, int]:
        """Bytes by name."""
        return {name: int(info.get("size") or 0) for name, info in self._infos(job_id).items()}

    def size(self, job_id: str, name: str) -> int:
        """Bytes of one file."""
        self._fs.invalidate_cache()
        info = self._fs.info(self._path(job_id, name))
        if info["type"] != "file":
            raise FileNotFoundError(f"the job {job_id} has no {name}")
        return int(info.get("size") or 0)

    def job_bytes(self, job_id: str) -> int:
        """Of all files there, and of the temporary ones here."""
        return sum(self.sizes(job_id).values()) + self._local.job_bytes(job_id)

    def touched(self, job_id: str) -> float:
        """Newest change of any file, there or here."""
        times = [_changed(info) for info in self._infos(job_id).values()]
        return max([self._local.touched(job_id), *times])

    def remove(self, job_id: str) -> None:
        """Remove the files there, then those here."""
        self._fs.invalidate_cache()
        with suppress(FileNotFoundError):
            self._fs.rm(f"{self._root}/{job_id}", recursive=True)
        self._local.remove(job_id)

    def remove_file(self, job_id: str, name: str) -> None:
        """Remove one file."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(self._path(job_id, name))
        self._fs.invalidate_cache()

    def jobs(self) -> list[str]:
        """Names of the folders there and here."""
        self._fs.invalidate_cache()
        try:
            entries: list[Any] = self._fs.ls(self._root, detail=True)
        except FileNotFoundError:
            entries = []
        there = {str(entry["name"]).rstrip("/").rpartition("/")[2] for entry in entries if entry["type"] == "directory"}
        return list(there | set(self._local.jobs()))

    def scratches(self) -> list[str]:
        """Names of the folders here."""
        return self._local.scratches()

    def free_bytes(self) -> int | None:
        """Of the disk here."""
        return self._local.free_bytes()

    def sweep(self) -> None:
        """Finish removals here that were interrupted."""
        self._local.sweep()

    def _infos(self, job_id: str) -> dict[str, dict[str, Any]]:
        self._fs.invalidate_cache()
        folder = f"{self._root}/{job_id}"
        found: Any = self._fs.find(folder, detail=True)
        return {path[len(folder) + 1 :]: info for path, info in found.items() if _PART not in path}

    def _path(self, job_id: str, name: str) -> str:
        return f"{self._root}/{job_id}/{name}"


def _open(url: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a URL, and the path in it.

    Raises:
        YaopError: fsspec knows no such file system, or its package is not installed.
    """
    try:
        from fsspec.core import url_to_fs

        system, root = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise YaopError(f"the place for artifacts, {url.partition('://')[0]}://..., cannot be used: {error}") from error
    return system, root.rstrip("/")


def _changed(info: dict[str, Any]) -> float:
    """When a file was last written, in seconds since the epoch; each file system has its own word for that."""
    value = next((info[key] for key in _TIME_KEYS if info.get(key)), 0.0)
    if isinstance(value, datetime):
        return value.timestamp()
    try:
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else float(value)
    except ValueError:
        return 0.0

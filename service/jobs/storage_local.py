"""Files of jobs in a folder of this machine: a folder for each job, its temporary files in a hidden one inside."""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from shared.disk import sync_file, sync_folder

_SCRATCH = ".scratch"
_REMOVED = ".removed-"


class LocalFiles:
    """One kind of place that `service.jobs.storage.Storage` keeps files in. Moving a file in or away is one rename."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def scratch(self, job_id: str) -> Path:
        """In the job's own folder, so that it is in the artifacts' file system."""
        folder = self._root / job_id / _SCRATCH
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def drop_scratch(self, job_id: str, idle_seconds: float = 0.0) -> None:
        """Remove that folder, unless something in it was written in the last so many seconds."""
        folder = self._root / job_id / _SCRATCH
        if not idle_seconds or time.time() - _newest(folder) > idle_seconds:
            _remove_tree(folder)
            with suppress(OSError):  # artifacts are beside it
                folder.parent.rmdir()

    def put(self, job_id: str, name: str, file: Path) -> None:
        """Sync the file, rename it, sync the folders that lead to it."""
        target = self._root / job_id / name
        target.parent.mkdir(parents=True, exist_ok=True)
        sync_file(file)
        try:
            file.replace(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy_in(job_id, file, target)
        for folder in (target.parent, *target.parent.parents):
            sync_folder(folder)
            if folder == self._root:
                break

    def fetch(self, job_id: str, name: str) -> Path:
        """The file itself."""
        self.size(job_id, name)
        return self._root / job_id / name

    def sizes(self, job_id: str) -> dict[str, int]:
        """Bytes by name."""
        folder = self._root / job_id
        scratch = folder / _SCRATCH
        found = (item for item in _walk(folder) if scratch not in Path(item.path).parents)
        return {Path(item.path).relative_to(folder).as_posix(): size for item in found if (size := _size(item)) >= 0}

    def size(self, job_id: str, name: str) -> int:
        """Bytes of one file."""
        path = self._root / job_id / name
        if not path.is_file():
            raise FileNotFoundError(f"the job {job_id} has no {name}")
        return path.stat().st_size

    def job_bytes(self, job_id: str) -> int:
        """Of all files, temporary ones too."""
        return sum(max(0, _size(item)) for item in _walk(self._root / job_id))

    def touched(self, job_id: str) -> float:
        """Newest change of any file or folder; an upload that is under way changes its file all the time."""
        folder = self._root / job_id
        return max(_newest(folder), _newest(folder / _SCRATCH))

    def remove(self, job_id: str) -> None:
        """Take the folder out of sight at once, then remove it."""
        aside = self._root / f"{_REMOVED}{job_id}-{uuid.uuid4().hex[:8]}"
        try:
            (self._root / job_id).rename(aside)
        except FileNotFoundError:
            return
        except PermissionError:  # Windows, while a file in it is read: what is left goes later, as files of no job do
            if not _shrink(self._root / job_id):
                raise
        else:
            _remove_tree(aside)

    def remove_file(self, job_id: str, name: str) -> None:
        """Remove one file."""
        (self._root / job_id / name).unlink(missing_ok=True)

    def jobs(self) -> list[str]:
        """Names of all folders."""
        try:
            with os.scandir(self._root) as items:
                return [item.name for item in items if item.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []

    def scratches(self) -> list[str]:
        """Names of the folders with temporary files."""
        return [job_id for job_id in self.jobs() if (self._root / job_id / _SCRATCH).is_dir()]

    def free_bytes(self) -> int | None:
        """Of the disk of all that."""
        folder = next((path for path in (self._root, *self._root.parents) if path.exists()), None)
        try:
            return None if folder is None else shutil.disk_usage(folder).free
        except OSError:
            return None

    def sweep(self) -> None:
        """Finish removals that were interrupted."""
        for aside in self._root.glob(f"{_REMOVED}*"):
            _remove_tree(aside)

    def _copy_in(self, job_id: str, file: Path, target: Path) -> None:
        copy = self.scratch(job_id) / f"{uuid.uuid4().hex}.copy"
        shutil.copyfile(file, copy)
        sync_file(copy)
        copy.replace(target)
        file.unlink()


def _shrink(folder: Path) -> bool:
    """Remove what can be removed of a folder; False if that is nothing."""
    before = sum(1 for _ in folder.rglob("*"))
    _remove_tree(folder)
    return not folder.exists() or sum(1 for _ in folder.rglob("*")) < before


def _remove_tree(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    """All files under a folder; what vanishes meanwhile is left out."""
    try:
        with os.scandir(folder) as items:
            entries = list(items)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        else:
            yield entry


def _size(entry: os.DirEntry[str]) -> int:
    """Bytes of a file, -1 if it has just vanished."""
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return -1


def _newest(folder: Path) -> float:
    """When a folder, or a file anywhere in it, was last changed, in seconds since the epoch; 0 if it is not there."""
    return max([_changed(folder), *(_changed(Path(item.path)) for item in _walk(folder))])


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0

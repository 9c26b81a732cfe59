"""Where the files of video jobs are: a folder of this machine, or anywhere that fsspec reaches."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from service.jobs.storage_local import LocalFiles

if TYPE_CHECKING:
    from service.jobs.storage_remote import RemoteFiles

_JOB_ID = re.compile(r"[0-9a-f]{8,64}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_LOCAL_SCHEMES = ("file", "local")


def is_job_id(text: str) -> bool:
    """Whether this can be the id of a job: hexadecimal digits, so that it is safe as the name of a folder."""
    return _JOB_ID.fullmatch(text) is not None


class Storage:
    """The files of jobs by job and name, e.g. ``source``, ``video.mp4`` or ``segments/000012-ab12.nut``.

    All methods block and may be called from any thread and any process at once. They raise OSError if the place
    cannot be written or reached (its ``errno`` is ENOSPC where a disk is full), and ValueError for an id that is
    not hexadecimal or a name that could lead out of the job's folder.

    Args:
        url: a folder, or a URL of any file system of fsspec; None: the folder ``videos`` in `data_dir`.
        data_dir: folder of this machine for everything that the service keeps.
    """

    def __init__(self, url: str | None, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._files = _open_files(url, data_dir)

    @property
    def data_dir(self) -> Path:
        """The folder of this machine."""
        return self._data_dir

    def scratch(self, job_id: str) -> Path:
        """A folder of this machine for a job's temporary files; made if missing.

        It is in the file system that `put` moves files to, if that is one of this machine.
        """
        return self._files.scratch(_checked_id(job_id))

    def drop_scratch(self, job_id: str, idle_seconds: float = 0.0) -> None:
        """Remove a job's temporary files and cached downloads, unless one was written in the last so many seconds."""
        self._files.drop_scratch(_checked_id(job_id), idle_seconds)

    def drop_idle_scratch(self, idle_seconds: float) -> None:
        """The same for every job: what processes that were killed have left on this machine."""
        for job_id in filter(is_job_id, self._files.scratches()):
            self._files.drop_scratch(job_id, idle_seconds)

    def put(self, job_id: str, name: str, file: Path) -> None:
        """Move a finished file in. When this returns it is durable; until then `name` does not show it."""
        self._files.put(_checked_id(job_id), _checked_name(name), file)

    def fetch(self, job_id: str, name: str) -> Path:
        """A path of this machine to read the artifact at: the file itself, or a downloaded copy.

        Raises:
            FileNotFoundError: there is no such artifact.
        """
        return self._files.fetch(_checked_id(job_id), _checked_name(name))

    def exists(self, job_id: str, name: str) -> bool:
        """Whether there is such an artifact."""
        try:
            self.size(job_id, name)
        except FileNotFoundError:
            return False
        return True

    def size(self, job_id: str, name: str) -> int:
        """Bytes of an artifact.

        Raises:
            FileNotFoundError: there is no such artifact.
        """
        return self._files.size(_checked_id(job_id), _checked_name(name))

    def names(self, job_id: str) -> list[str]:
        """The names of a job's artifacts, sorted; none if there is no such job."""
        return sorted(self._files.sizes(_checked_id(job_id)))

    def job_bytes(self, job_id: str) -> int:
        """Bytes of a job's artifacts, and of its temporary files on this machine."""
        return self._files.job_bytes(_checked_id(job_id))

    def total_bytes(self) -> int:
        """The same of all jobs."""
        return sum(self._files.job_bytes(job_id) for job_id in self.jobs())

    def touched(self, job_id: str) -> float:
        """When something of the job was last written, in seconds since the epoch; 0 if it has nothing."""
        return self._files.touched(_checked_id(job_id))

    def remove(self, job_id: str) -> None:
        """Remove all files of a job, temporary ones included; nothing happens if it has none."""
        self._files.remove(_checked_id(job_id))

    def remove_file(self, job_id: str, name: str) -> None:
        """Remove one artifact; nothing happens if there is none."""
        self._files.remove_file(_checked_id(job_id), _checked_name(name))

    def jobs(self) -> list[str]:
        """Ids of all jobs that have artifacts, or temporary files on this machine; sorted."""
        return sorted(job_id for job_id in self._files.jobs() if is_job_id(job_id))

    def sweep(self) -> None:
        """Remove what an interrupted `remove` or `put` left behind."""
        self._files.sweep()

    def free_bytes(self) -> int | None:
        """Free bytes of the disk that uploads are written to; None where that is unknown."""
        return self._files.free_bytes()


def _open_files(url: str | None, data_dir: Path) -> LocalFiles | RemoteFiles:
    if url is None or not url:
        return LocalFiles(data_dir / "videos")
    scheme, separator, rest = url.partition("://")
    if not separator:
        return LocalFiles(Path(url).expanduser())
    if scheme in _LOCAL_SCHEMES:
        return LocalFiles(Path(rest))
    return _remote_files(url, data_dir / "scratch")


def _remote_files(url: str, scratch: Path) -> RemoteFiles:
    from service.jobs.storage_remote import RemoteFiles

    return RemoteFiles(url, scratch)


def _checked_id(job_id: str) -> str:
    if not is_job_id(job_id):
        raise ValueError(f"{job_id[:80]!r} is no id of a job")
    return job_id


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is no name of an artifact")
    return name

"""A folder out of a zip archive, so that the folder appears when it is whole, and a killed run goes on."""

from __future__ import annotations

import os
import shutil
import threading
import zipfile
import zlib
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from shared.disk import sync_files_in
from trainer.data.fetch import DownloadError, StoppedError, disk_error, partial
from trainer.data.meter import Meter

_CHUNK = 1 << 20


def unpack(archive: Path, folder: Path, pattern: str, files: int, *, meter: Meter, stop: threading.Event) -> None:
    """Unpack those files of the archive's folder of the same name whose names fit the pattern.

    They are collected in ``folder.part``, which takes its name when all are there. Files that are there already, of the
    right size and CRC-32, are left alone.

    Args:
        files: how many have to be in the archive.

    Raises:
        DownloadError: the archive is damaged, holds a path that leads out of the folder or the wrong number of files;
            or the disk is full.
        StoppedError: `stop` was set.
    """
    collected = partial(folder)
    try:
        with zipfile.ZipFile(archive) as opened:
            wanted = _wanted(opened, archive, folder.name, pattern)
            if len(wanted) != files:
                raise DownloadError(f"{archive}: has {len(wanted)} files {folder.name}/{pattern}, not {files}")
            _make_room(folder, collected)
            advance = meter.start(f"unpack {archive.name}", sum(entry.file_size for entry in wanted))
            for entry in wanted:
                if stop.is_set():
                    raise StoppedError
                _extract(opened, entry, collected / PurePosixPath(entry.filename).name)
                advance(entry.file_size)
        # One flush for a hundred thousand pictures in place of one for each.
        sync_files_in(collected)
        collected.replace(folder)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise DownloadError(f"{archive}: cannot be unpacked: {error}") from error
    except OSError as error:
        raise disk_error(collected, error) from error


def matching_files(folder: Path, pattern: str) -> list[os.DirEntry[str]]:
    """The files of a folder whose names fit the pattern; none if there is no folder."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [entry for entry in entries if fnmatch(entry.name, pattern) and entry.is_file()]


def _wanted(opened: zipfile.ZipFile, archive: Path, folder: str, pattern: str) -> list[zipfile.ZipInfo]:
    wanted: list[zipfile.ZipInfo] = []
    for entry in opened.infolist():
        path = PurePosixPath(entry.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in entry.filename:
            raise DownloadError(f"{archive}: refused, its entry {entry.filename!r} leads out of the folder")
        if str(path.parent) == folder and fnmatch(path.name, pattern) and not entry.is_dir():
            wanted.append(entry)
    return wanted


def _make_room(folder: Path, collected: Path) -> None:
    """Have the folder to collect in. One that lacks files (of a copy, or somebody deleted them) is completed."""
    if folder.is_dir() and not collected.exists():
        folder.replace(collected)
    elif folder.exists():
        raise DownloadError(f"{folder}: is in the way and lacks files; remove it, or move its files to {collected}")
    collected.mkdir(parents=True, exist_ok=True)


def _extract(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    if _is_whole(target, entry):
        return
    temporary = partial(target)
    with opened.open(entry) as source, temporary.open("wb") as file:
        shutil.copyfileobj(source, file, _CHUNK)
    temporary.replace(target)


def _is_whole(target: Path, entry: zipfile.ZipInfo) -> bool:
    if not target.is_file() or target.stat().st_size != entry.file_size:
        return False
    crc = 0
    with target.open("rb") as file:
        while chunk := file.read(_CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc == entry.CRC

"""COCO 2017 keypoints from their publisher into one folder, however often it is interrupted.

The folder then holds ``annotations/person_keypoints_{train,val}2017.json``, ``train2017/`` and ``val2017/``.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.locks import HeldError, hold
from trainer.data.fetch import DownloadError, Fetcher, Patience, RemoteFile, disk_error, open_client, partial, size_of
from trainer.data.meter import Meter, readable
from trainer.data.unpack import matching_files, unpack

COCO_URL = "http://images.cocodataset.org"


@dataclass(frozen=True)
class Archive:
    """A published zip file, and what is wanted of it.

    Attributes:
        path: below the publisher's address.
        bytes, md5: of the zip file.
        folder: the folder in it that is unpacked, under the same name.
        pattern, files: which files of that folder, and how many they are.
        unpacked: bytes that these take on a disk, rounded up.
    """

    path: str
    bytes: int
    md5: str
    folder: str
    pattern: str
    files: int
    unpacked: int

    @property
    def name(self) -> str:
        """Name of the zip file."""
        return self.path.rpartition("/")[2]


COCO_2017 = (
    Archive(
        path="annotations/annotations_trainval2017.zip",
        bytes=252_907_541,
        md5="f4bbac642086de4f52a3fdda2de5fa2c",
        folder="annotations",
        pattern="person_keypoints_*2017.json",
        files=2,
        unpacked=250_000_000,
    ),
    Archive(
        path="zips/val2017.zip",
        bytes=815_585_330,
        md5="442b8da7639aecaf257c1dceb8ba8c80",
        folder="val2017",
        pattern="*.jpg",
        files=5_000,
        unpacked=840_000_000,
    ),
    Archive(
        path="zips/train2017.zip",
        bytes=19_336_861_798,
        md5="cced6f7f71b7629ddf16f17bbcfab6b2",
        folder="train2017",
        pattern="*.jpg",
        files=118_287,
        unpacked=19_800_000_000,
    ),
)


def free_bytes(folder: Path) -> int:
    """Free space on the disk of an existing folder."""
    return shutil.disk_usage(folder).free


@dataclass(frozen=True)
class DownloadOptions:
    """How to download.

    Attributes:
        url: the publisher's address or a mirror's, without the archives' paths.
        keep_zips: keep the zip files once they are unpacked.
        patience: with broken connections.
        free: gives the free bytes of a folder's disk.
    """

    url: str = COCO_URL
    keep_zips: bool = False
    patience: Patience = Patience()
    free: Callable[[Path], int] = free_bytes


def download(archives: Sequence[Archive], folder: Path, meter: Meter, options: DownloadOptions | None = None) -> bool:
    """Fetch, check and unpack, all archives at a time. Called again it does only what is missing.

    Returns:
        Whether there was anything to do.

    Raises:
        DownloadError: there is no room, the server fails, what it sends is wrong, or another download is running here.
    """
    options = options or DownloadOptions()
    if not options.url.startswith(("http://", "https://")):
        raise DownloadError(f"--url {options.url}: expected an address that begins with http:// or https://")
    with _only_one(folder):
        missing = [archive for archive in archives if not is_complete(archive, folder)]
        if missing:
            _refuse_links(missing, folder)
            _check_space(missing, folder, options)
            _download_all(missing, folder, meter, options)
    return bool(missing)


def is_complete(archive: Archive, folder: Path) -> bool:
    """Whether all wanted files of the archive are in the folder, or in one that it links to."""
    return len(matching_files(folder / archive.folder, archive.pattern)) >= archive.files


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the folder against a second download, until the end of the block or of the process."""
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(hold(folder))
        except HeldError as error:
            raise DownloadError(f"{folder}: another download into this folder is running") from error
        except OSError as error:
            raise disk_error(folder, error) from error
        yield


def _refuse_links(archives: Sequence[Archive], folder: Path) -> None:
    """What a link leads to is somebody's own copy; it is not ours to complete."""
    for place in (folder / archive.folder for archive in archives):
        if place.is_symlink():
            raise DownloadError(
                f"{place}: is a link to {place.readlink()}, which lacks files; mend it or remove the link"
            )


def _check_space(archives: Sequence[Archive], folder: Path, options: DownloadOptions) -> None:
    needed = sum(_needed(archive, folder) for archive in archives)
    free = options.free(folder)
    if needed > free:
        raise DownloadError(
            f"{folder}: {needed} more bytes are needed ({readable(needed)}, zip files and what is in them), "
            f"{free} bytes are free ({readable(free)})"
        )


def _needed(archive: Archive, folder: Path) -> int:
    zipped = folder / archive.name
    unpacked = folder / archive.folder
    there = [
        entry.stat().st_size
        for place in (unpacked, partial(unpacked))
        for entry in matching_files(place, archive.pattern)
    ]
    missing = archive.bytes - max(size_of(zipped), size_of(partial(zipped)))
    return max(missing, 0) + max(archive.unpacked - sum(there), 0)


def _download_all(archives: Sequence[Archive], folder: Path, meter: Meter, options: DownloadOptions) -> None:
    stop = threading.Event()
    with open_client() as client, ThreadPoolExecutor(len(archives)) as pool:
        fetcher = Fetcher(client, meter, stop, options.patience)
        tasks = [pool.submit(_download_one, archive, folder, fetcher, options) for archive in archives]
        try:
            for task in as_completed(tasks):
                task.result()
        except BaseException:
            stop.set()
            raise


def _download_one(archive: Archive, folder: Path, fetcher: Fetcher, options: DownloadOptions) -> None:
    zipped = folder / archive.name
    remote = RemoteFile(f"{options.url.rstrip('/')}/{archive.path}", archive.bytes, archive.md5)
    fetcher.fetch(remote, zipped)
    unpack(zipped, folder / archive.folder, archive.pattern, archive.files, meter=fetcher.meter, stop=fetcher.stop)
    if not options.keep_zips:
        zipped.unlink()

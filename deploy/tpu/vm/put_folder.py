"""Copy a folder of this machine into a bucket: ``put_folder.py FOLDER gs://BUCKET/FOLDER``.

With the trainer's own storage, so that the VM needs no other program that knows buckets.
"""

from __future__ import annotations

import sys
from pathlib import Path

from shared.errors import YaopError
from trainer import storage


def put_folder(folder: Path, address: str) -> int:
    """Write all files of a folder, and of those in it, to an address with the same names.

    Returns:
        how many there were.

    Raises:
        StorageError: one cannot be written.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        target = storage.join(address, path.relative_to(folder).as_posix())
        storage.make_folder(target.rpartition("/")[0])
        storage.write_bytes(target, path.read_bytes())
    return len(files)


def main(arguments: list[str]) -> int:
    """Copy, and say so; 0 or the exit code of a command that cannot."""
    if len(arguments) != 2:
        sys.stderr.write("put_folder.py: needs FOLDER and ADDRESS\n")
        return 2
    folder, address = arguments
    try:
        count = put_folder(Path(folder), address)
    except (OSError, YaopError) as error:
        sys.stderr.write(f"put_folder.py: {error}\n")
        return 1
    sys.stdout.write(f"{address}: {count} files\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

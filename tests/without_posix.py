"""``python -m tests.without_posix MODULE ARGUMENTS``: run a module on a system that is no more than Windows is.

What only POSIX has is taken from the standard library, files that are open can be neither renamed nor removed, folders
cannot be opened, and Python shares no C library with FFmpeg. So do the processes that the module starts.
The packages of others are left as they are: each has a version for Windows. What is not like Windows about it all are
separators of paths, line ends and the console.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import fcntl
import multiprocessing.popen_spawn_posix
import os
import runpy
import select
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil

_MODULES = ("resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix_ipc", "uvloop")
_OF_OS = (
    *("pread", "preadv", "pwrite", "pwritev", "readv", "writev", "sendfile", "set_blocking", "get_blocking"),
    *("O_NONBLOCK", "O_NOCTTY", "O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC", "O_SYNC", "O_TMPFILE"),
    *("sync", "fdatasync", "nice", "sysconf", "sched_getaffinity", "sched_setaffinity", "mkfifo", "mknod"),
    *("geteuid", "getuid", "getgid", "getegid", "chown", "fchown", "chroot", "fork", "forkpty", "killpg", "getpgid"),
    *("setsid", "getsid", "getpriority", "setpriority", "wait", "wait3", "wait4", "waitid", "getloadavg"),
)
_SIGNALS = ("SIGHUP", "SIGQUIT", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGXFSZ", "SIGBUS", "SIGSYS", "SIGTRAP")
# They make use of POSIX where they find it, and of Windows on Windows.
_OF_OTHERS = (
    "getpass",
    "uvicorn",
    "rich.console",
    "tqdm",
    "platform",
    "uuid",
    "concurrent.futures.process",
    "platformdirs",
)


def become_windows() -> None:
    """Take away what Windows does not have, in this process."""
    for name in _OF_OTHERS:
        import_module(name)
    assert asyncio and multiprocessing.popen_spawn_posix  # what these modules need they have
    _forbid_what_windows_forbids()
    shutil._use_fd_functions = shutil._USE_CP_SENDFILE = False  # type: ignore[attr-defined]
    tempfile.TemporaryFile = tempfile.NamedTemporaryFile  # type: ignore[misc]
    for name in _MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    for module, names in ((os, _OF_OS), (signal, _SIGNALS), (select, ("poll", "epoll"))):
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    for name in _SIGNALS:
        signal.Signals._member_map_.pop(name)
    ctypes.CDLL = _Library  # type: ignore[misc]


class _Library(ctypes.CDLL):
    def __init__(self, name: str | None, *arguments: Any, **others: Any) -> None:
        if name is None:
            raise TypeError("argument of type 'NoneType' is not iterable")  # as Windows's own says
        super().__init__(name, *arguments, **others)


def _check_open(path: Any, *_: Any) -> None:
    if isinstance(path, str | bytes | os.PathLike) and Path(os.fsdecode(path)).is_dir():
        raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))


def _check_sync(descriptor: int, get_flags: Callable[[int, int], int] = fcntl.fcntl) -> None:
    if get_flags(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "Bad file descriptor")


def _check_rename(source: Any, target: Any) -> None:
    if Path(target).exists():
        raise FileExistsError(errno.EEXIST, "Cannot create a file when that file already exists", str(target))
    _check_unused(source)


def _check_replace(source: Any, target: Any) -> None:
    if Path(target).is_dir():
        raise PermissionError(errno.EACCES, "Access is denied", str(target))
    _check_unused(source)
    _check_unused(target)


def _check_remove(path: Any, **_: Any) -> None:
    _check_unused(path)


def _forbid_what_windows_forbids() -> None:
    os.open = _checked(os.open, _check_open)
    os.fsync = _checked(os.fsync, _check_sync)
    os.rename = _checked(os.rename, _check_rename)
    os.replace = _checked(os.replace, _check_replace)
    os.remove = _checked(os.remove, _check_remove)
    os.unlink = _checked(os.unlink, _check_remove)


def _checked(function: Callable[..., Any], check: Callable[..., None]) -> Callable[..., Any]:
    def call(*arguments: Any, **others: Any) -> Any:
        check(*arguments, **others)
        return function(*arguments, **others)

    return call


def _check_unused(path: Any) -> None:
    """Nobody of this process's family has the file open, or one in the folder."""
    sought = Path(os.fsdecode(path)).absolute()
    me = psutil.Process()
    for process in (me, *me.children(recursive=True)):
        for link in Path(f"/proc/{process.pid}/fd").glob("*"):
            try:
                used = link.readlink()
            except OSError:
                continue
            if used == sought or sought in used.parents:
                message = "The process cannot access the file because it is being used by another process"
                raise PermissionError(errno.EACCES, message, str(path))


def _have_children_become_it() -> None:
    from service.media import child

    def command(module: str) -> list[str]:
        return [sys.executable, "-P", "-m", "tests.without_posix", module]

    child.module_command = command


def main() -> None:
    """Run the module that the arguments name."""
    become_windows()
    _have_children_become_it()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

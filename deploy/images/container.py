"""A container run by crun as a careful operator would: read-only root, no capabilities, its own user."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

from deploy.images.image import Image, ImageError

_CGROUPS = Path("/sys/fs/cgroup")
# crun refuses a mixture of both versions of control groups, as they are set up on some machines. In a mount namespace
# of its own it sees the newer version only; limits are not what is tried here.
_HIDE = f'umount -R {_CGROUPS} && mount -t cgroup2 none {_CGROUPS} && exec "$@"'
_MASKED = ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"]
_READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


class Container(AbstractContextManager["Container"]):
    """A running container; killed at the end of the block if it still runs.

    Args:
        image: what it is made from.
        root: the image's files.
        work: an empty folder for the container's description and its log.
        arguments: in place of the image's own command.
        volumes: folder in the container -> folder of this machine.
        read_only: those of the volumes that cannot be written to.
        environment: on top of the image's.
    """

    def __init__(
        self,
        image: Image,
        root: Path,
        work: Path,
        *,
        arguments: Sequence[str] | None = None,
        volumes: Mapping[str, Path],
        read_only: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.image = image
        self._name = f"yaop-{uuid.uuid4().hex[:8]}"
        self._state = work / "state"
        self._log = work / "log"
        variables = [*image.environment, *(f"{name}={value}" for name, value in (environment or {}).items())]
        arguments = image.command if arguments is None else arguments
        (work / "hosts").write_text("127.0.0.1 localhost\n", encoding="ascii")  # as every engine gives it
        volumes = {"/etc/hosts": work / "hosts", **volumes}
        description = describe(image, root, [*image.entrypoint, *arguments], variables, volumes, read_only)
        (work / "config.json").write_text(json.dumps(description, indent=2), encoding="utf-8")
        with self._log.open("wb") as log:
            command = self._crun("run", "--bundle", str(work), self._name)
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def __exit__(self, *_: object) -> None:
        """Kill it."""
        subprocess.run(self._crun("delete", "--force", self._name), capture_output=True, check=False)
        self._process.wait(30)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def running(self) -> bool:
        """Whether its first process still runs."""
        return self._process.poll() is None

    @property
    def resident_bytes(self) -> int:
        """Memory of all its processes, as far as it is resident."""
        state = subprocess.run(self._crun("state", self._name), capture_output=True, text=True, check=True)
        pages = [_resident_kib(pid) for pid in _family(json.loads(state.stdout)["pid"])]
        return sum(pages) * 1024

    def execute(self, *command: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as the image's user."""
        user = ":".join(map(str, self.image.user))
        full = self._crun("exec", "--user", user, "--cwd", self.image.folder, self._name, *command)
        return subprocess.run(full, capture_output=True, text=True, timeout=seconds, check=False)

    def signal(self, name: str) -> None:
        """Send its first process a signal, such as TERM."""
        subprocess.run(self._crun("kill", self._name, name), capture_output=True, check=True)

    def wait(self, seconds: float) -> int:
        """Its exit code.

        Raises:
            ImageError: it takes longer than that.
        """
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ImageError(f"{self.image.name}: still runs after {seconds:.0f} s; {self.last_words}") from None

    @property
    def last_words(self) -> str:
        """The end of its log, for messages."""
        return f"the end of its log: {self.log[-2000:].strip() or '(empty)'}"

    def _crun(self, *arguments: str) -> list[str]:
        if shutil.which("crun") is None:
            raise ImageError("crun is missing; on Debian: apt-get install crun")
        command = ["crun", "--cgroup-manager=disabled", "--root", str(self._state), *arguments]
        if (_CGROUPS / "unified").is_dir():
            return ["unshare", "--mount", "sh", "-c", _HIDE, "sh", *command]
        return command


def describe(
    image: Image,
    root: Path,
    arguments: Sequence[str],
    variables: Sequence[str],
    volumes: Mapping[str, Path],
    read_only: Sequence[str],
) -> dict[str, Any]:
    """The OCI runtime's description of such a container. Its network is the machine's: the ports are on loopback."""
    nothing: list[str] = []
    kinds = ("bounding", "effective", "inheritable", "permitted", "ambient")
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": image.user[0], "gid": image.user[1]},
            "args": list(arguments),
            "env": list(variables),
            "cwd": image.folder,
            "capabilities": dict.fromkeys(kinds, nothing),
            "noNewPrivileges": True,
        },
        "root": {"path": str(root), "readonly": True},
        "mounts": [
            _mount("/proc", "proc"),
            _mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
            _mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
            _mount("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
            _mount("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
            _mount("/tmp", "tmpfs", "nosuid", "nodev", "mode=1777", "size=1g"),
            *(_bind(target, source, target in read_only) for target, source in volumes.items()),
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")],
            "maskedPaths": _MASKED,
            "readonlyPaths": _READ_ONLY,
        },
    }


def _mount(target: str, kind: str, *options: str) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": kind, "options": list(options)}


def _bind(target: str, source: Path, read_only: bool) -> dict[str, Any]:
    options = ["rbind", "nosuid", "nodev", "ro" if read_only else "rw"]
    return {"destination": target, "type": "bind", "source": str(source), "options": options}


def _family(pid: int) -> list[int]:
    """A process and all that it started."""
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()
    ]
    return [pid, *(member for child in children for member in _family(child))]


def _resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))

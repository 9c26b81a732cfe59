"""What a build inside a container has to know of the machine it runs on to get packages: `python -m ... FOLDER`.

Writes the settings of the machine's pip and apt to files in FOLDER, and prints the mounts, one `SOURCE:TARGET:ro` a
line, that let a build use them. Standard library only: it runs with whatever Python the build host has.
"""

from __future__ import annotations

import ast
import configparser
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

PIP_TARGET = "/etc/pip.conf"
APT_TARGET = "/etc/apt/apt.conf.d/99build-host"
_ENVIRONMENT = ":env:"
_APT_SETTINGS = re.compile(r"Acquire::(Check-[A-Za-z-]+|Retries|[a-z]+::(Proxy|Timeout|CaInfo)[A-Za-z:.-]*) ")


def pip_settings(listing: str) -> dict[str, dict[str, str]]:
    """Sections and settings out of the output of `pip config list`; those of the environment win."""
    sections: dict[str, dict[str, str]] = {}
    for line in listing.splitlines():
        name, _, literal = line.partition("=")
        section, _, key = name.rpartition(".")
        sections.setdefault(section, {})[key] = str(ast.literal_eval(literal))
    environment = sections.pop(_ENVIRONMENT, {})
    for settings in sections.values():
        for key in environment.keys() & settings.keys():
            del settings[key]
    if environment:
        sections.setdefault("global", {}).update(environment)
    return sections


def named_paths(sections: Mapping[str, Mapping[str, str]]) -> list[Path]:
    """Files and folders of this machine that pip's settings name, and that are there."""
    found = {
        path
        for settings in sections.values()
        for key, value in settings.items()
        for path in _paths(key, value)
        if path.exists()
    }
    return sorted(path for path in found if not found & set(path.parents))


def apt_settings(dump: str) -> str:
    """The lines of `apt-config dump` that say how to reach a mirror."""
    return "".join(f"{line}\n" for line in dump.splitlines() if _APT_SETTINGS.match(line))


def main(folder: Path) -> None:
    """Write the files to `folder` and print the mounts."""
    sections = pip_settings(_output(sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"))
    mounts = [(path, str(path)) for path in named_paths(sections)]
    if sections:
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_dict(sections)
        with (folder / "pip.conf").open("w", encoding="utf-8") as file:
            parser.write(file)
        mounts.append((folder / "pip.conf", PIP_TARGET))
    if shutil.which("apt-config") and (lines := apt_settings(_output("apt-config", "dump"))):
        (folder / "apt.conf").write_text(lines, encoding="utf-8")
        mounts.append((folder / "apt.conf", APT_TARGET))
    for source, target in mounts:
        sys.stdout.write(f"{source}:{target}:ro\n")


def _paths(key: str, value: str) -> Iterator[Path]:
    for word in value.split():
        path = Path(unquote(urlsplit(word).path) if word.startswith("file://") else word)
        if path.is_absolute():
            # The files of an index are beside its folder of pages.
            yield path.parent if key.endswith("index-url") else path


def _output(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]))

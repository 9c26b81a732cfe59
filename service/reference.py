"""Writes the tables of settings and metrics into a document: ``python -m service.reference docs/operations.md``.

Settings come from their class and metrics from the registries, so that neither table can say what the code does not.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import ByteSize
from pydantic.fields import FieldInfo
from typer.models import OptionInfo

from service.cli import serve
from service.metrics import Metrics, ProcessMetrics
from service.settings import PREFIX, Settings
from service.sizes import readable_bytes
from service.worker_cli import worker
from shared.errors import YaopError
from shared.files import atomic_write

GROUPS: Mapping[str, tuple[str, ...]] = {
    "Listening and logs": (
        "host",
        "port",
        "worker_port",
        "header_timeout",
        "shutdown_timeout",
        "log_level",
        "log_format",
    ),
    "Models and engine": ("model", "models_dir", "engine", "threads", "batch_size", "admin_key"),
    "Pictures": ("workers", "queue_size", "deadline", "max_body_bytes", "max_pixels", "max_batch_images"),
    "Video jobs": (
        "videos",
        "data_dir",
        "database_url",
        "artifacts_url",
        "job_concurrency",
        "worker_timeout",
        "max_jobs",
        "max_video_bytes",
        "max_video_pixels",
        "max_video_seconds",
        "max_video_frames",
        "job_retention",
        "max_artifact_bytes",
    ),
    "Live streams": (
        "max_streams",
        "max_streams_per_address",
        "max_stream_frame_bytes",
        "max_stream_pixels",
        "max_stream_fps",
        "stream_idle_timeout",
        "stream_send_timeout",
        "origins",
    ),
}
"""Every setting is in one of these; `settings_table` sees to that."""

_DEFAULTS_IN_WORDS = {"workers": "one for each usable core, 8 at most", "data_dir": "the user's data folder"}
"""What is worked out on each machine."""

_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def settings_table() -> str:
    """All settings by group: variable, flags, default, limits, meaning.

    Raises:
        YaopError: a setting is in no group, or a group has one that is none.
    """
    grouped = [name for names in GROUPS.values() for name in names]
    if sorted(grouped) != sorted(Settings.model_fields):
        odd = sorted(set(grouped) ^ set(Settings.model_fields)) or grouped
        raise YaopError(f"service/reference.py has to have each setting in one group: {', '.join(odd)}")
    flags = _flags()
    parts: list[str] = []
    for title, names in GROUPS.items():
        rows = [_setting(name, flags.get(name, "")) for name in names]
        parts.append(f"**{title}**\n\n" + _table(("variable", "flag", "default", "limits", "what it is"), rows))
    return "\n\n".join(parts)


def metrics_table() -> str:
    """All metrics of the service and of a worker, by name."""
    service, process = Metrics(), ProcessMetrics()
    both = {family.name for family in process.registry.collect()}
    rows: list[tuple[str, ...]] = []
    for family in sorted(service.registry.collect(), key=lambda each: each.name):
        if not family.name.startswith("yaop_"):
            continue
        seen = {label for sample in family.samples for label in sample.labels} - {"le"}
        labels = service.labels.get(family.name) or tuple(sorted(seen))
        name = f"{family.name}_total" if family.type == "counter" else family.name
        where = "service, worker" if family.name in both - _SERVICE_ONLY else "service"
        rows.append((f"`{name}`", family.type, _code(labels), where, family.documentation))
    return _table(("metric", "type", "labels", "of", "what it is"), rows)


_SERVICE_ONLY = {"yaop_artifact_bytes"}  # nobody measures it in a worker

SECTIONS: Mapping[str, Callable[[], str]] = {"settings": settings_table, "metrics": metrics_table}


def rewrite(text: str) -> str:
    """The document with new tables.

    Raises:
        YaopError: it has no place for one of them.
    """
    for name, make in SECTIONS.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise YaopError(f"there has to be one {begin} with one {end} after it")
        replacement = f"{begin}\n\n{make()}\n\n{end}"
        text = pattern.sub(lambda _, new=replacement: new, text)
    return text


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit code."""
    parser = argparse.ArgumentParser(prog="python -m service.reference", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("file", type=Path, help="a document with <!-- settings --> and <!-- metrics -->")
    file: Path = parser.parse_args(arguments).file
    try:
        text = rewrite(file.read_text(encoding="utf-8"))
        with atomic_write(file) as stream:
            stream.write(text.encode())
    except (OSError, YaopError) as error:
        sys.stderr.write(f"error: {file}: {getattr(error, 'strerror', None) or error}\n")
        return 2
    return 0


def _setting(name: str, flag: str) -> tuple[str, ...]:
    field = Settings.model_fields[name]
    text = field.description or ""
    return f"`{PREFIX}{name.upper()}`", flag, _default(name, field), _limits(field), text


def _flags() -> dict[str, str]:
    """How `yaop serve` calls a setting; where only `yaop worker` has a flag for it, that one."""
    own = {name: f"`yaop worker {flag}`" for name, flag in _flags_of(worker)}
    return own | {name: f"`{flag}`" for name, flag in _flags_of(serve)}


def _flags_of(command: Callable[..., None]) -> Iterable[tuple[str, str]]:
    """Setting and flag of each option; its help names the variable."""
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        option = next(item for item in get_args(parameter.annotation) if isinstance(item, OptionInfo))
        found = re.search(rf"env: {PREFIX}(\w+)", option.help or "")
        if found:
            yield found.group(1).lower(), "--" + parameter.name.replace("_", "-")


def _default(name: str, field: FieldInfo) -> str:
    if name in _DEFAULTS_IN_WORDS:
        return _DEFAULTS_IN_WORDS[name]
    value: Any = field.default
    if value is None:
        return "unset"
    if isinstance(value, ByteSize):
        return f"{readable_bytes(value).replace(' ', '')}"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"  # pyright: ignore[reportUnknownArgumentType]
    return (
        str(value).lower() if isinstance(value, bool) else f"{value:.10g}" if isinstance(value, float) else str(value)
    )


def _limits(field: FieldInfo) -> str:
    annotation: Any = field.annotation
    if get_origin(annotation) is Literal:
        return _code(get_args(annotation))
    bounds = {kind: getattr(item, kind) for item in field.metadata for kind in _BOUNDS if hasattr(item, kind)}
    if annotation is bool:
        return "`true`, `false`"
    if {"ge", "le"} <= bounds.keys():
        return f"{bounds['ge']} to {bounds['le']}"
    return ", ".join(f"{_BOUNDS[kind]} {value}" for kind, value in bounds.items())


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())

"""The halves stay apart: service and trainer share only `shared`, and nothing that serves needs TensorFlow to load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = {
    "service": {"trainer", "tests"},
    "shared": {"service", "trainer", "tests"},
    "trainer": {"service", "tests"},
}


def imported_packages(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write imports in full"
            yield (node.module or "").split(".")[0]


def modules(package: str) -> list[str]:
    files = sorted((ROOT / package).rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]
    return [name for name in names if not name.endswith("__main__")]


@pytest.mark.parametrize("package", FORBIDDEN)
def test_package_does_not_import_the_other_half(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {str(f.relative_to(ROOT)): bad for f in files if (bad := FORBIDDEN[package] & set(imported_packages(f)))}
    assert not wrong


@pytest.mark.parametrize("package", ["shared", "service"])
def test_package_loads_without_tensorflow(package: str) -> None:
    script = (
        "import importlib, sys\n"
        f"for name in {modules(package)!r}: importlib.import_module(name)\n"
        "print(sorted({'tensorflow', 'keras', 'matplotlib', 'skimage'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr

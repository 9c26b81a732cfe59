#!/usr/bin/env bash
# Runs in the first stage of an image: installs the source in /app into /opt/yaop. Arguments: the commands of `yaop`
# that this image has.
set -euo pipefail

if [[ $# -eq 0 ]]; then
    echo 'usage: install-yaop.sh COMMAND...' >&2
    exit 2
fi

# Whatever rights the files had where they were checked out: all may read, nobody but root may write.
chmod -R u=rwX,go=rX /app
python - "$@" <<'PYTHON'
import re
import sys
from pathlib import Path

project = Path("/app/pyproject.toml")
head, group, rest = project.read_text("utf-8").partition('[project.entry-points."yaop.commands"]\n')
commands, gap, tail = rest.partition("\n\n")
kept = [line for line in commands.splitlines() if re.split(r"\W", line)[0] in sys.argv[1:]]
if len(kept) != len(sys.argv) - 1:
    sys.exit(f"pyproject.toml: not all of {sys.argv[1:]} are there")
project.write_text(head + group + "\n".join(kept) + gap + tail, "utf-8")
PYTHON
pip=(python -m pip --python /opt/yaop --disable-pip-version-check --quiet)
"${pip[@]}" install --no-cache-dir --no-compile --no-deps --no-build-isolation --editable /app
# They have done their work.
"${pip[@]}" uninstall --yes hatchling pathspec pluggy tomlkit trove-classifiers
"${pip[@]}" check
# Compiled ahead, as a read-only root cannot keep what is compiled at a start; never checked against the sources, as
# these cannot change. What does not compile is a template or for another Python.
/opt/yaop/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/yaop/lib /app >/dev/null || true

"""Ask a health URL and exit with 0 if it says yes, with 1 if not: `python -m service.healthcheck [URL]`.

For the HEALTHCHECK of a container, which has no curl. Only light modules of the standard library, as it starts anew
every few seconds.
"""

from __future__ import annotations

import http.client
import os
import sys
from urllib.parse import urlsplit

SECONDS = 4.0  # less than what the HEALTHCHECK allows, so that the reason is told
_OK = 200


def default_url() -> str:
    """Where the service of this container says that it is alive."""
    return f"http://127.0.0.1:{os.environ.get('YAOP_PORT') or 8000}/health/live"


def why_not(url: str, seconds: float = SECONDS) -> str | None:
    """What is wrong with the process behind `url`, or None if it answers 200 in time."""
    try:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            return "not an http:// URL"
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=seconds)
        connection.request("GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}")
        status = connection.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    return None if status == _OK else f"answered {status}"


def main(arguments: list[str]) -> int:
    """The exit code for these arguments."""
    url = arguments[0] if arguments else default_url()
    reason = why_not(url)
    if reason is not None:
        sys.stderr.write(f"{url}: {reason}\n")
    return int(reason is not None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

# OpenCV's own types say that any array may come back as any dtype, which no caller can use.
# So the package counts as untyped, and strictness stays on for everything around it.
from typing import Any

def __getattr__(name: str) -> Any: ...

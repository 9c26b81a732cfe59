"""``yaop pose``: pictures on this machine, without a server."""

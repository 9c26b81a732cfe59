"""The inference service: HTTP, batching, the page and the commands. Imports `shared`, never `trainer`."""

"""Train a pose network and export the bundle that the service loads. Imports `shared`, never `service`."""

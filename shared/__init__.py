"""What the service and the trainer must agree on. Imports neither, and needs no TensorFlow at import."""

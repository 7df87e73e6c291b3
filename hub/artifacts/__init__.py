"""Content-addressed artifacts: bytes in encrypted blobs, versions that name them, and where each came from."""

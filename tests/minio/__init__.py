"""Tests on a real MinIO: MINIO_BIN names its program, or it is on the PATH."""

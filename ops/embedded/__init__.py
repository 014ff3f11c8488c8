"""The whole pipeline on one machine, from Python packages alone.

moto's S3 and SQS with real bucket notifications, real PostgreSQL, and the same
consumers as elsewhere. It keeps nothing: bucket, queues and database vanish when it ends.
"""

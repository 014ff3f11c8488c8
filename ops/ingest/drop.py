"""Dropping an archive into the bucket."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

from consumers.errors import PermanentError, TransientError
from consumers.network.aws import make_client
from consumers.store import encoded_metadata
from events.keys import BatchId
from ops.wiring.environment import Environment
from ops.wiring.settings import StoreSettings

#: Above this, an archive goes up in parts, some at a time, each of which is tried again by itself.
_PART = 16 << 20


class Dropper:
    """Uploads archives.

    Args:
        environment: Where the store is.
        clock: Tells the time.
        host: This machine's name, kept with the archive.
    """

    def __init__(self, environment: Environment, clock: Callable[[], datetime], host: str) -> None:
        settings = StoreSettings.read(environment)
        self._bucket = settings.bucket
        self._clock = clock
        self._host = host
        self._client: Any = make_client(
            "s3",
            endpoint=settings.endpoint,
            access_key=settings.access_key,
            secret_key=settings.secret_key,
            region=settings.region,
            ca_file=settings.ca_file,
        )

    def drop(self, path: Path, progress: Callable[[int], None]) -> BatchId:
        """Upload an archive as a new batch.

        Args:
            path: The archive.
            progress: Called with the bytes sent since the last call, from any thread.

        Raises:
            PermanentError: The file can't be read, or the store forbids it.
            TransientError: The store can't be reached.
        """
        now = self._clock()
        batch = BatchId.new(now, secrets.token_bytes(3))
        try:
            self._client.upload_file(
                str(path),
                self._bucket,
                batch.archive_key,
                ExtraArgs={
                    "Metadata": encoded_metadata(
                        {
                            # A name need not be UTF-8, nor metadata more than that.
                            "original-name": os.fsencode(path.name).decode(errors="replace"),
                            "transferred-at": now.isoformat(),
                            "source-host": self._host,
                        }
                    )
                },
                Config=TransferConfig(multipart_threshold=_PART, multipart_chunksize=_PART),
                Callback=progress,
            )
        except (S3UploadFailedError, ClientError) as exc:
            raise PermanentError(f"{path} was not stored: {exc}") from exc
        except BotoCoreError as exc:
            raise TransientError(
                f"{path} was not stored, the store can't be reached: {exc}"
            ) from exc
        # Last, as some of botocore's errors are OSErrors, too.
        except OSError as exc:
            raise PermanentError(f"{path}: {exc.strerror or exc}") from exc
        return batch

"""A bucket that speaks S3, through boto3: Amazon's, MinIO's, Ceph's or any other.

Rules kept: credentials come from where boto3 finds them, never from a command line; a bucket is written to with
`If-None-Match: *`, so that no bundle replaces another; what comes back is bounded and verified like any file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from enclave.backup.bundle import BUNDLE_BYTES_MAX
from kms.client.backup.targets import check_name, missing, taken
from kms.client.errors import ConfigurationError, UnavailableError

TIMEOUT_S = 60
"""Longest wait for a connection or an answer."""

ATTEMPTS = 4
"""Tries of one request in all; boto3 waits longer each time."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9._/-]{0,512}")


class BucketTarget:
    """Objects below a prefix."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    @classmethod
    def open(cls, place: str) -> BucketTarget:
        """`s3://bucket/prefix`, with `?endpoint=https://host:port&region=name` for a bucket that is not Amazon's.

        Raises ConfigurationError (`client.backup-place`).
        """
        parts = urlsplit(place)
        options = dict(parse_qsl(parts.query))
        endpoint, region = options.pop("endpoint", None), options.pop("region", None)
        prefix = parts.path.strip("/")
        if options or parts.fragment or not _BUCKET.fullmatch(parts.netloc) or not _PREFIX.fullmatch(prefix):
            raise ConfigurationError(
                f"expected s3://BUCKET/PREFIX?endpoint=URL&region=NAME, found {place[:120]!r}",
                code="client.backup-place",
            )
        try:
            import boto3
            from botocore.config import Config
        except ImportError:
            raise ConfigurationError(
                "buckets need boto3", code="client.backup-place", hint="pip install 'holdfast-kms[backup]'"
            ) from None
        config = Config(
            connect_timeout=TIMEOUT_S,
            read_timeout=TIMEOUT_S,
            retries={"max_attempts": ATTEMPTS, "mode": "standard"},
            # One style that every implementation answers.
            s3={"addressing_style": "path"} if endpoint else {},
        )
        client = boto3.client("s3", endpoint_url=endpoint, region_name=region, config=config)
        return cls(client, parts.netloc, f"{prefix}/" if prefix else "")

    def names(self, prefix: str) -> list[str]:
        """As Target.names."""
        with _told():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return sorted(key.removeprefix(self._prefix) for key in keys)

    def read(self, name: str) -> bytes:
        """As Target.read."""
        check_name(name)
        with _told(name):
            body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"]
            try:
                data: bytes = body.read(BUNDLE_BYTES_MAX + 1)
            finally:
                body.close()
        if len(data) > BUNDLE_BYTES_MAX:
            raise ConfigurationError(f"{name} is larger than any bundle", code="backup.too-large")
        return data

    def write(self, name: str, data: bytes) -> None:
        """As Target.write."""
        check_name(name)
        with _told(name):
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=data, IfNoneMatch="*")

    def delete(self, name: str) -> None:
        """As Target.delete."""
        check_name(name)
        with _told(name):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)


@contextmanager
def _told(name: str = "") -> Iterator[None]:
    """boto3's errors as ours, without what may stand in them."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in ("NoSuchKey", "404"):
            raise missing(name) from None
        if code in ("PreconditionFailed", "412"):
            raise taken(name) from None
        raise UnavailableError(f"the bucket refuses: {code[:64]}", code="backup.target") from None
    except BotoCoreError as error:
        raise UnavailableError(f"the bucket cannot be used: {type(error).__name__}", code="backup.target") from None

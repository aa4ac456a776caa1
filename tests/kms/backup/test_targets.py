"""Places for bundles: one contract for a directory and for a bucket, against a local S3 server."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from attestation.errors import CodedError
from kms.client.backup.targets import Target, open_target

BUCKET = "holdfast-tests"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A server that speaks S3 on the loopback address, with one bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    before = {name: os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    os.environ |= dict.fromkeys(before, "testing")
    url = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=url, region_name="us-east-1").create_bucket(Bucket=BUCKET)
    yield url
    server.stop()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture(params=["directory", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Somewhere to keep bundles, empty."""
    if request.param == "directory":
        return str(tmp_path / "backups")
    endpoint = request.getfixturevalue("endpoint")
    return f"s3://{BUCKET}/{tmp_path.name}?endpoint={endpoint}&region=us-east-1"


@pytest.fixture
def target(place: str) -> Target:
    """The place, opened."""
    return open_target(place)


def test_what_is_written_is_read_and_listed(target: Target, place: str) -> None:
    """Names come back in order and by prefix, also to whoever opens the place anew."""
    assert target.names("") == []
    target.write("c/2/b.bundle", b"two")
    target.write("c/1/a.bundle", b"one")
    again = open_target(place)
    assert again.names("c/") == ["c/1/a.bundle", "c/2/b.bundle"]
    assert again.names("c/2/") == ["c/2/b.bundle"]
    assert again.read("c/1/a.bundle") == b"one"


def test_nothing_is_written_over(target: Target) -> None:
    """A second bundle of the same name is refused, and the first stays."""
    target.write("c/1/a.bundle", b"one")
    with pytest.raises(CodedError) as error:
        target.write("c/1/a.bundle", b"another")
    assert error.value.code == "backup.exists"
    assert target.read("c/1/a.bundle") == b"one"


def test_missing_and_deleted(target: Target) -> None:
    """What is not there has a code; deleting is idempotent."""
    target.write("c/1/a.bundle", b"one")
    target.delete("c/1/a.bundle")
    target.delete("c/1/a.bundle")
    assert target.names("") == []
    with pytest.raises(CodedError) as error:
        target.read("c/1/a.bundle")
    assert error.value.code == "backup.not-found"


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a//b", "a/./b", ".hidden", "a" * 200, "a/b/c/d/e", "ä"])
def test_names_stay_below_their_place(target: Target, name: str) -> None:
    """Slot and set names come from files and servers: none leads elsewhere."""
    for use in (target.read, target.delete, lambda it: target.write(it, b"x")):
        with pytest.raises(CodedError) as error:
            use(name)
        assert error.value.code == "backup.name"


def test_a_directory_shows_nothing_to_others(tmp_path: Path) -> None:
    """Files are 0600, directories 0700, and no draft is left."""
    open_target(str(tmp_path / "kept")).write("c/1/a.bundle", b"one")
    path = tmp_path / "kept" / "c" / "1"
    assert stat.S_IMODE((path / "a.bundle").stat().st_mode) == 0o600
    assert [item.name for item in path.iterdir()] == ["a.bundle"]


def test_a_bucket_that_is_not_there(endpoint: str) -> None:
    """The service's refusal has our code and the service's word."""
    with pytest.raises(CodedError, match="NoSuchBucket") as error:
        open_target(f"s3://elsewhere?endpoint={endpoint}&region=us-east-1").names("")
    assert error.value.code == "backup.target"


@pytest.mark.parametrize("place", ["s3://", "s3://UPPER/x", "s3://bucket/x?other=1", "s3://bucket/a b", "s3://b/x#y"])
def test_places_that_are_none(place: str) -> None:
    """A mistyped place is told before anything is asked of it."""
    with pytest.raises(CodedError) as error:
        open_target(place)
    assert error.value.code == "client.backup-place"

"""The read-only server: tlog-tiles paths, and everything needed to rebuild the root."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from attestation import merkle
from attestation.proof_of_cloud.entries import Entry
from attestation.proof_of_cloud.registry import Registry
from attestation.proof_of_cloud.server import RegistryServer
from attestation.proof_of_cloud.snapshot import RegistrySnapshot
from attestation.proof_of_cloud.tiles import resource, tile_path

from .conftest import MACHINE, NOW, verified
from .test_entries import STATEMENT

SIZE = 256 * 2 + 9


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A registry of two full tiles and nine lines."""
    registry = Registry.development(tmp_path_factory.mktemp("large") / "r", now=NOW)
    registry.propose([Entry.of(STATEMENT | {"commitment": f"{number:064x}"}) for number in range(SIZE)], NOW)
    return registry


@pytest.fixture
def server(registry: Registry) -> Iterator[RegistryServer]:
    """A server on a free port of the loopback interface."""
    with RegistryServer(registry, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _get(server: RegistryServer, path: str) -> tuple[int, bytes, str]:
    try:
        with urllib.request.urlopen(server.url + path, timeout=5) as answer:
            return answer.status, answer.read(), answer.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers["Content-Type"]


def test_the_snapshot_over_http_verifies(server: RegistryServer, registry: Registry) -> None:
    """What is fetched is the file, and it verifies with the registry's keys."""
    status, body, _ = _get(server, "/snapshot")
    config = registry.config
    snapshot = RegistrySnapshot.parse(body).verify(config.members, config.threshold, config.freshness_key, NOW, 60)
    assert status == 200
    assert snapshot.lookup(MACHINE.commitment).listed


def test_a_revocation_is_served_without_a_restart(server: RegistryServer, registry: Registry) -> None:
    """The server reads the directory again when its heads change."""
    before = _get(server, "/checkpoint")[1]
    registry.revoke(MACHINE, "stolen", NOW + 1)
    assert _get(server, "/checkpoint")[1] != before
    assert b"revocation" in _get(server, "/tile/entries/000.p/2")[1]


def test_nothing_else_is_served(server: RegistryServer) -> None:
    """Unknown paths, traversal and overlong paths are 404; writing is not offered."""
    for path in ("/", "/keys/member-1.pem", "/../registry.json", "/tile/0/000", "/checkpoint?x", "/" + "a" * 300):
        assert _get(server, path)[0] == 404
    request = urllib.request.Request(server.url + "/checkpoint", data=b"x", method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=5)
    assert caught.value.code == 501
    caught.value.close()


def test_an_unpublished_registry_answers_503(registry: Registry, server: RegistryServer) -> None:
    """Without a head there is nothing to serve, and the server says so."""
    (registry.directory / "freshness.note").unlink()
    status, body, _ = _get(server, "/checkpoint")
    assert status == 503
    assert b"nothing is published" in body


def test_content_types(server: RegistryServer) -> None:
    """Notes are text, the rest is bytes."""
    assert _get(server, "/checkpoint")[2].startswith("text/plain")
    assert _get(server, "/members")[2].startswith("text/plain")
    assert _get(server, "/tile/0/000.p/1")[2] == "application/octet-stream"


def test_tiles_rebuild_the_root(large: Registry) -> None:
    """Entry bundles give the leaves, tiles the same leaves, and both the signed root."""
    snapshot = verified(large)
    paths = ["000", "001", "002.p/9"]
    hashes = b"".join(_body(snapshot, f"/tile/0/{path}") for path in paths)
    leaves = [hashes[i : i + 32] for i in range(0, len(hashes), 32)]
    assert merkle.tree_root(leaves) == snapshot.root
    lines = [line for path in paths for line in _unbundle(_body(snapshot, f"/tile/entries/{path}"))]
    assert [merkle.leaf_hash(line) for line in lines] == leaves
    upper = _body(snapshot, "/tile/1/000.p/2")
    assert upper == merkle.tree_root(leaves[:256]) + merkle.tree_root(leaves[256:512])


@pytest.mark.parametrize(
    "path",
    [
        "/tile/0/002",
        "/tile/0/002.p/10",
        "/tile/0/000.p/0",
        "/tile/0/000.p/256",
        "/tile/0/0",
        "/tile/0/x000/000",
        "/tile/1/000",
        "/tile/2/000.p/1",
        "/tile/99/000",
        "/tile/entries/003",
        "/tile/entries/002",
        "/tile/-1/000",
        "/tile/0/\u0660\u0660\u0660",
    ],
)
def test_tiles_that_do_not_exist(large: Registry, path: str) -> None:
    """Beyond the tree, in another spelling, or wider than a tile: nothing."""
    assert resource(verified(large), path) is None


def test_full_tiles_never_change(large: Registry) -> None:
    """Only full tiles may be cached for good."""
    snapshot = verified(large)
    for path, immutable in (("/tile/0/000", True), ("/tile/0/002.p/9", False), ("/checkpoint", False)):
        found = resource(snapshot, path)
        assert found is not None
        assert found.immutable is immutable


@pytest.mark.parametrize(("index", "path"), [(0, "000"), (999, "999"), (1000, "x001/000"), (1234067, "x001/x234/067")])
def test_tile_paths(index: int, path: str) -> None:
    """Groups of three digits, as the published specification's example."""
    assert tile_path(index) == path


def _body(snapshot: RegistrySnapshot, path: str) -> bytes:
    found = resource(snapshot, path)
    assert found is not None, path
    return found.body


def _unbundle(data: bytes) -> Iterator[bytes]:
    while data:
        size = int.from_bytes(data[:2], "big")
        yield data[2 : 2 + size]
        data = data[2 + size :]

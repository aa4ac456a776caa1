"""A node that lives twice: its disk put back to an earlier day, or its process copied while it holds nonces."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import msgspec
import pytest

from attestation.errors import CodedError
from enclave import authorise
from enclave.certificate import KeyCertificate
from enclave.verdicts import VerdictTable
from enclave.wire.message import Message
from enclave.wire.reconstruct import AssembleRequest, ReleaseRequest
from tests.enclave.node.codes import code_of
from tests.enclave.node.ecdsa_run import EcdsaRun
from tests.enclave.node.test_schnorr import Asked
from tests.enclave.node.world import World, evm_body, message_body

BODY = message_body(b"hello")
SLOTS = ["node-1", "node-2", "node-3"]


class Rewound:
    """node-1's disk, kept and put back; in between it boots, so that one boot counter is used by two boots."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.kept = world.directory / "kept"

    def keep(self) -> None:
        """Take the snapshot of a stopped node, then boot it."""
        self.world.stop("node-1")
        shutil.copytree(self.world.store_path("node-1").parent, self.kept)
        assert self._boot() == {"trusted"}

    def put_back(self) -> None:
        """Restore the snapshot and boot again; peers know the first boot and believe no second one."""
        self.world.stop("node-1")
        shutil.rmtree(self.world.store_path("node-1").parent)
        shutil.copytree(self.kept, self.world.store_path("node-1").parent)
        assert self._boot() == {"attestation-denied"}

    def _boot(self) -> set[str]:
        """What the others say of node-1, which itself trusts them all."""
        world = self.world
        world.now += 1
        world.start("node-1")
        world.push()
        others = [slot for slot in world.nodes if slot != "node-1"]
        for peer in others:
            assert world.call("node-1", "present", world.evidence(peer, "node-1")).result == "trusted"
        evidence = world.evidence("node-1", *others)
        found = {world.call(verifier, "present", evidence).result for verifier in others}
        world.now += 1
        return found


@pytest.fixture
def rewound(ready: World) -> Rewound:
    """Nothing kept yet."""
    return Rewound(ready)


def fenced(world: World, monkeypatch: pytest.MonkeyPatch, verb: str, request: Message) -> str:
    """Asked of the node whose disk was put back: fenced, since no peer hears it.  The code behind that fence."""
    assert code_of(world.call, "node-1", verb, request) in ("lease-fenced", "attestation-stale")
    with monkeypatch.context() as patch:
        patch.setattr(authorise, "check_working", lambda _node, _now: None)
        patch.setattr(VerdictTable, "require", lambda *_args, **_options: None)
        return code_of(world.call, "node-1", verb, request)


def test_a_disk_put_back_brings_no_nonce_back(ready: World, rewound: Rewound, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both boots have the same counter; a nonce published by the one signs nothing in the other."""
    key = ready.create_key()
    rewound.keep()
    before = ready.nodes["node-1"].identity.public
    old = ready.sign_requests(SLOTS, ready.token(key, BODY), BODY)["node-1"]
    rewound.put_back()
    after = ready.nodes["node-1"].identity.public
    assert (after.boot_counter, after.identity_key == before.identity_key) == (before.boot_counter, False)
    fresh = ready.sign_requests(SLOTS, ready.token(key, BODY), BODY)["node-1"]
    again = msgspec.structs.replace(old, token=fresh.token)
    assert fenced(ready, monkeypatch, "sign", again) == "nonces.unknown"
    mixed = msgspec.structs.replace(fresh, signers=old.signers)
    assert fenced(ready, monkeypatch, "sign", mixed) == "signers.own-commitment"


def test_a_disk_put_back_executes_no_old_token(ready: World, rewound: Rewound, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger of attempts was in memory, so what was signed before the boot is worth nothing after it."""
    key = ready.create_key()
    rewound.keep()
    token = ready.token(key, BODY)
    for _ in range(3):
        ready.call("node-1", "sign", ready.sign_requests(SLOTS, token, BODY)["node-1"])
    rewound.put_back()
    again = ready.sign_requests(SLOTS, token, BODY)["node-1"]
    assert fenced(ready, monkeypatch, "sign", again) == "token.before-boot"


def test_a_disk_put_back_continues_no_attempt(ready: World, rewound: Rewound) -> None:
    """Shares of k and a died with the boot, and the session's name holds its identity key: no second release."""
    key = ready.create_key(spec="secp256k1-ecdsa", usage="evm", shares_needed=2)
    rewound.keep()
    run = EcdsaRun(ready, key, evm_body())
    run.up_to(3)
    session = run.messages[0].session
    released = ready.call("node-1", "ecdsa-round", run.following(4))
    assert released.session == session
    rewound.put_back()
    assert code_of(ready.call, "node-1", "ecdsa-round", run.following(4)) == "ecdsa.unknown"


def test_a_disk_put_back_gets_no_share(ready: World, rewound: Rewound, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever would release to it soon stops, and what was sealed to the first boot is lost to it."""
    key = ready.create_key(spec="secp256k1-ecdsa", usage="evm", custody="reconstruct")
    rewound.keep()
    body = evm_body()
    token = ready.token(key, body)
    request = ReleaseRequest(token=token, body=body, signers=SLOTS, assembler="node-1")
    for slot in SLOTS[1:]:
        ready.open_channel(slot, "node-1")
    shares = [ready.call(slot, "release", request) for slot in SLOTS[1:]]
    rewound.put_back()
    fresh = AssembleRequest(token=ready.token(key, body), body=body, signers=SLOTS, shares=shares)
    assert fenced(ready, monkeypatch, "assemble", fresh) == "channel.unknown"
    # The others' trust is in the first boot, which nobody hears from any more.
    ready.now += 11
    assert code_of(ready.call, "node-2", "release", request) == "attestation-stale"


def in_a_copy(work: Callable[[], Message]) -> str:
    """The code that `work` ends in, in a forked copy of this process; `answered` if it ends in none."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work()
            found = "answered"
        except CodedError as error:
            found = error.code
        except BaseException as error:
            found = type(error).__name__
        os.write(write_end, found.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write_end)
    found = os.read(read_end, 200).decode()
    os.close(read_end)
    return found


def test_a_copied_process_signs_with_no_copied_nonce(ready: World) -> None:
    """A copy of the process finds zeros where nonces and shares were; the original goes on with them."""
    key = ready.create_key()
    ready.now += 1
    other = message_body(b"something else")
    requests = ready.sign_requests(SLOTS, ready.token(key, BODY), BODY)
    changed = msgspec.structs.replace(requests["node-1"], token=ready.token(key, other), body=other)
    node = ready.nodes["node-1"]
    found = in_a_copy(lambda: node.handle(1, "sign", changed, ready.now))
    assert found != "answered"
    assert ready.call("node-1", "sign", requests["node-1"])


def test_a_copied_process_makes_no_bip340_share(ready: World) -> None:
    """The same for Taproot keys."""
    key = ready.create_key(spec="secp256k1-schnorr", usage="generic", session=b"x" * 32)
    ready.now += 1
    asked = Asked(ready, key, BODY)
    node = ready.nodes["node-1"]
    assert in_a_copy(lambda: node.handle(1, "schnorr-sign", asked.requests["node-1"], ready.now)) != "answered"
    assert ready.call("node-1", "schnorr-sign", asked.requests["node-1"])


def test_a_copied_process_releases_no_ecdsa_share(ready: World) -> None:
    """The fourth round of a copied attempt has nothing to release."""
    key: KeyCertificate = ready.create_key(spec="secp256k1-ecdsa", usage="evm", shares_needed=2, session=b"y" * 32)
    ready.now += 1
    run = EcdsaRun(ready, key, evm_body())
    run.up_to(3)
    node, request = ready.nodes["node-1"], run.following(4)
    assert in_a_copy(lambda: node.handle(1, "ecdsa-round", request, ready.now)) != "answered"
    assert ready.call("node-1", "ecdsa-round", request)

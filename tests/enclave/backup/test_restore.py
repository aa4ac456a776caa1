"""From a bundle and mnemonics back to a node that signs; and everything that must not get that far."""

from __future__ import annotations

from pathlib import Path

import nacl.signing
import pytest

from attestation.errors import CodedError
from enclave.roster import Roster
from enclave.seal import SealedStore
from enclave.signing_key import SigningKey
from enclave.state import NodeState
from enclave.wire.backup import BackupRequest, DocumentsReply, DocumentsRequest, RestoreBegin, RestorePiece
from enclave.wire.message import Empty, encode
from tests.enclave.backup.conftest import Kept
from tests.enclave.backup.vault import Vault

FIRST_THREE = ("ann", "ben", "cat")


def code_of(error: pytest.ExceptionInfo[CodedError]) -> str:
    """The stable code."""
    return error.value.code


def restore(kept: Kept, slot: str, data: Path) -> None:
    """All of it, on a fresh disk at `data`."""
    state = kept.vault.restoring(slot, data=data)
    kept.vault.begin(state, kept.bundles[slot], kept.order)
    for name in FIRST_THREE:
        standing = kept.vault.contribute(state, f"{name}-{slot}")
    assert (standing.is_done, standing.keys, standing.missing) == (True, 1, "")
    state.close()


def test_restored_nodes_sign_with_the_old_public_key(kept: Kept, tmp_path: Path) -> None:
    """Three fresh disks, 3-of-5 custodians each, a new incarnation: the same key signs, judged by libsodium."""
    vault = kept.vault
    before, roster = dict(vault.nodes), vault.roster
    for slot in vault.slots:
        restore(kept, slot, tmp_path / slot / "node.db")
    second = vault.next_incarnation()
    try:
        vault.nodes.clear()
        for slot in vault.slots:
            tee = vault.tee(slot)
            store = SealedStore.open(tmp_path / slot / "node.db", cluster=roster.cluster_id, slot=slot, tee=tee)
            vault.nodes[slot] = NodeState(
                roster=roster,
                rosters=_links(roster, second, vault.operator),
                slot=slot,
                store=store,
                tee=tee,
                tls_spki=bytes(32),
                now=vault.now,
                monotonic=lambda: vault.elapsed,
            )
            assert vault.nodes[slot].roster.incarnation == 2
        vault.attest()
        vault.now += 12
        signature = vault.sign(kept.key, b"still here", ["node-1", "node-3"])
        nacl.signing.VerifyKey(kept.key.public_key).verify(b"still here", signature)
    finally:
        vault.stop()
        vault.nodes.update(before)
        vault.relay()


def _links(first: Roster, second: Roster, operator: SigningKey) -> object:
    from enclave.roster_chain import read_chain, write_chain

    return read_chain(write_chain([first.sign(operator), second.sign(operator)]))[1:]


def test_any_three_of_five_do_and_two_do_not(kept: Kept) -> None:
    """Two custodians are told how many are missing; whichever third comes completes it, a fourth changes nothing."""
    vault = kept.vault
    state = vault.restoring("node-2", is_trial=True)
    vault.begin(state, kept.bundles["node-2"], kept.order)
    vault.contribute(state, "eve-node-2")
    standing = vault.contribute(state, "ben-node-2")
    assert (standing.is_done, standing.missing) == (False, "1 more of group 1")
    assert vault.contribute(state, "dan-node-2").is_done
    with pytest.raises(CodedError) as error:
        vault.contribute(state, "cat-node-2")
    assert code_of(error) == "restore.done"


def test_mnemonics_may_come_before_the_bundle(kept: Kept) -> None:
    """Custodians who are quicker than the upload need not come again."""
    vault, bundle = kept.vault, kept.bundles["node-1"]
    state = vault.restoring("node-1", is_trial=True)
    state.begin(1, "restore-begin", RestoreBegin(order=kept.order, header=bundle.header_bytes), vault.now)
    for name in FIRST_THREE:
        standing = vault.contribute(state, f"{name}-node-1")
    assert not standing.is_done
    assert vault.begin(state, bundle, kept.order).is_done


def test_documents_come_back_for_the_gateway(kept: Kept) -> None:
    """Agent and policy, as the operator signed them, the agent first."""
    vault = kept.vault
    state = vault.restoring("node-1", is_trial=True)
    vault.begin(state, kept.bundles["node-1"], kept.order)
    for name in FIRST_THREE:
        vault.contribute(state, f"{name}-node-1")
    reply = state.begin(1, "restore-documents", DocumentsRequest(start=0), vault.now)
    assert isinstance(reply, DocumentsReply)
    assert reply.total == 2
    assert [b"agent" in reply.documents[0], b"policy" in reply.documents[1]] == [True, True]


def test_it_ends_only_when_it_is_done(kept: Kept) -> None:
    """`restore-end` before the restore is refused; afterwards the process is told to stop."""
    vault, ended = kept.vault, []
    state = vault.restoring("node-1", is_trial=True)
    state.on_end = lambda: ended.append(True)
    with pytest.raises(CodedError) as error:
        state.begin(1, "restore-end", Empty(), vault.now)
    assert (code_of(error), ended) == ("restore.not-done", [])
    vault.begin(state, kept.bundles["node-1"], kept.order)
    for name in FIRST_THREE:
        vault.contribute(state, f"{name}-node-1")
    state.begin(1, "restore-end", Empty(), vault.now)
    assert ended == [True]


def test_a_used_store_is_not_written_over(kept: Kept, tmp_path: Path) -> None:
    """A second restore onto the same disk is refused, and what the first one sealed still opens."""
    vault, path = kept.vault, tmp_path / "node.db"
    restore(kept, "node-1", path)
    state = vault.restoring("node-1", data=path)
    vault.begin(state, kept.bundles["node-1"], kept.order)
    vault.contribute(state, "ann-node-1")
    vault.contribute(state, "ben-node-1")
    with pytest.raises(CodedError) as error:
        vault.contribute(state, "cat-node-1")
    assert code_of(error) == "restore.not-empty"
    store = SealedStore.open(path, cluster=vault.roster.cluster_id, slot="node-1", tee=vault.tee("node-1"))
    assert store.verify()["share"] == 1
    store.close()


def test_verbs_of_a_node_are_refused(kept: Kept) -> None:
    """The process neither signs nor takes documents; and a node at work is not restored."""
    with pytest.raises(CodedError) as error:
        kept.vault.restoring("node-1").begin(1, "holdings", Empty(), kept.vault.now)
    assert code_of(error) == "node.restoring"
    with pytest.raises(CodedError) as error:
        kept.vault.call("node-1", "restore-standing")
    assert code_of(error) == "restore.serving"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"cluster": bytes(32)}, "restore.cluster"),
        ({"roster": bytes(32)}, "restore.roster"),
        ({"incarnation": 3}, "restore.roster"),
        ({"issued_at": 1, "expires_at": 3600}, "restore.expired"),
    ],
)
def test_orders_that_do_not_count(kept: Kept, changes: dict[str, object], expected: str) -> None:
    """Another cluster, roster, incarnation, time or slot: each with its own code, before a byte of the bundle."""
    vault, bundle = kept.vault, kept.bundles["node-1"]
    order = vault.restore_order({"node-1": bundle.digest}, **changes)
    with pytest.raises(CodedError) as error:
        vault.begin(vault.restoring("node-1"), bundle, order)
    assert code_of(error) == expected


def test_an_order_for_other_slots_is_none_for_this(kept: Kept) -> None:
    """It has to name a bundle of the slot."""
    vault, bundle = kept.vault, kept.bundles["node-1"]
    with pytest.raises(CodedError) as error:
        vault.begin(vault.restoring("node-1"), bundle, vault.restore_order({"node-2": bytes(32)}))
    assert code_of(error) == "restore.bundle"


def test_an_order_takes_the_operators_quorum(kept: Kept) -> None:
    """Signed by somebody else it is no order."""
    vault, bundle = kept.vault, kept.bundles["node-1"]
    order = vault.restore_order({"node-1": bundle.digest}, SigningKey.generate())
    with pytest.raises(CodedError) as error:
        vault.begin(vault.restoring("node-1"), bundle, order)
    assert code_of(error) == "restore.quorum"


def test_an_older_bundle_than_ordered_is_refused(kept: Kept) -> None:
    """Another export of the same node: authentic, and not the one operators signed for.  The right one still does."""
    vault = kept.vault
    other = vault.export("node-1")
    state = vault.restoring("node-1", is_trial=True)
    with pytest.raises(CodedError) as error:
        vault.begin(state, other, kept.order)
    assert code_of(error) == "restore.bundle"
    assert vault.begin(state, kept.bundles["node-1"], kept.order).is_complete


def test_bundles_exchanged_between_nodes_are_refused(kept: Kept) -> None:
    """The bundle of node-2 does not restore node-1, though the order names it."""
    with pytest.raises(CodedError) as error:
        kept.vault.begin(kept.vault.restoring("node-1"), kept.bundles["node-2"], kept.order)
    assert code_of(error) == "backup.slot"


def test_a_bundle_of_the_same_incarnation_is_refused(kept: Kept) -> None:
    """Without a new incarnation the lost nodes could come back beside the restored ones."""
    vault, bundle = kept.vault, kept.bundles["node-1"]
    state = vault.restoring("node-1")
    state.roster = vault.roster
    order = vault.restore_order({"node-1": bundle.digest}, roster=vault.roster.digest, incarnation=2)
    with pytest.raises(CodedError):
        vault.begin(state, bundle, order)  # the order itself cannot name incarnation 1
    state.roster = vault.next_incarnation()
    header = encode(_with_incarnation(bundle.header, 2))
    with pytest.raises(CodedError) as error:
        state.begin(1, "restore-begin", RestoreBegin(order=kept.order, header=header), vault.now)
    assert code_of(error) == "restore.incarnation"


def test_a_bundle_for_a_stranger_is_refused(kept: Kept) -> None:
    """Sealed to a key no roster ever named for the slot."""
    vault, bundle = kept.vault, kept.bundles["node-1"]
    header = encode(_with_recipient(bundle.header, bytes(32)))
    state = vault.restoring("node-1")
    with pytest.raises(CodedError) as error:
        state.begin(1, "restore-begin", RestoreBegin(order=kept.order, header=header), vault.now)
    assert code_of(error) == "backup.recipient"


def test_parts_come_in_order_and_unaltered(kept: Kept) -> None:
    """A part too early, and one with a flipped bit."""
    vault, bundle = kept.vault, kept.bundles["node-1"]
    state = vault.restoring("node-1")
    state.begin(1, "restore-begin", RestoreBegin(order=kept.order, header=bundle.header_bytes), vault.now)
    with pytest.raises(CodedError) as error:
        state.begin(1, "restore-piece", RestorePiece(number=2, data=b"", is_last=False), vault.now)
    assert code_of(error) == "restore.order-of-pieces"
    damaged = bytearray(bundle.parts[0])
    damaged[40] ^= 1
    state.begin(1, "restore-piece", RestorePiece(number=1, data=bytes(damaged), is_last=False), vault.now)
    last = RestorePiece(number=2, data=encode(bundle.closing), is_last=True)
    with pytest.raises(CodedError) as error:
        state.begin(1, "restore-piece", last, vault.now)
    assert code_of(error) == "backup.altered"


def test_mnemonics_of_another_slot(kept: Kept) -> None:
    """Said to be of this slot they make another key; said to be of theirs refused at once.  Nothing is lost."""
    vault = kept.vault
    state = vault.restoring("node-1", is_trial=True)
    vault.begin(state, kept.bundles["node-1"], kept.order)
    with pytest.raises(CodedError) as error:
        vault.contribute(state, "ann-node-2", slot="node-2")
    assert code_of(error) == "backup.mnemonic-slot"
    for name in ("ann", "ben"):
        vault.contribute(state, f"{name}-node-2", slot="node-2", stated="node-1")
    with pytest.raises(CodedError) as error:
        vault.contribute(state, "cat-node-2", slot="node-2", stated="node-1")
    assert code_of(error) == "backup.wrong-key"
    for name in FIRST_THREE:
        standing = vault.contribute(state, f"{name}-node-1")
    assert standing.is_done


def test_mixed_sets_and_doubles(kept: Kept) -> None:
    """A mnemonic of another set beside good ones, and one brought twice under two names, name the two people."""
    vault = kept.vault
    state = vault.restoring("node-1", is_trial=True)
    vault.begin(state, kept.bundles["node-1"], kept.order)
    vault.contribute(state, "ann-node-1")
    with pytest.raises(CodedError) as error:
        vault.contribute(state, "ben-node-2", slot="node-2", stated="node-1")
    assert code_of(error) == "backup.mnemonic-set"
    assert "ann-node-1" in error.value.detail
    assert "ben-node-2" in error.value.detail
    with pytest.raises(CodedError) as error:
        vault.contribute(state, "ben-node-1", words=vault.mnemonics["node-1"]["ann-node-1"])
    assert code_of(error) == "backup.mnemonic-twice"
    assert state.standing().custodians == ["ann-node-1"]


def test_a_mnemonic_for_another_process_does_not_open(kept: Kept) -> None:
    """Sealed to a process that is gone: the custodian has to verify the new one first."""
    vault = kept.vault
    state, gone = vault.restoring("node-1", is_trial=True), vault.restoring("node-1", is_trial=True)
    vault.begin(state, kept.bundles["node-1"], kept.order)
    vault.begin(gone, kept.bundles["node-1"], kept.order)
    gone_identity, gone.identity.public = gone.identity.public, state.identity.public
    assert gone_identity != state.identity.public
    with pytest.raises(CodedError) as error:
        vault.contribute(gone, "ann-node-1")
    assert code_of(error) == "restore.unreadable"


def test_only_the_rosters_recipient_and_a_node_that_may_work(kept: Kept, tmp_path: Path) -> None:
    """Without a backup key in the roster nothing is exported; nor by a node whose lease is over."""
    vault = kept.vault
    vault.relays = False
    vault.now += 60
    try:
        with pytest.raises(CodedError) as error:
            vault.ask("node-1", "backup-export", BackupRequest())
        assert code_of(error).startswith(("lease-", "attestation-"))
    finally:
        vault.relays = True
        vault.attest()
        vault.relay()
    with pytest.raises(CodedError) as error:
        vault.call("node-1", "backup-export", BackupRequest(export=b"x" * 16, number=1))
    assert code_of(error) == "backup.unknown"


def test_no_recipient_no_export(tmp_path: Path) -> None:
    """A roster without backup terms."""
    from tests.enclave.node.world import World

    world = World(tmp_path, count=3)
    world.ready()
    with pytest.raises(CodedError) as error:
        world.call("node-1", "backup-export", BackupRequest())
    assert code_of(error) == "backup.no-recipient"
    world.stop()


def test_pieces_are_made_once(kept: Kept) -> None:
    """The last piece is given again unchanged, an earlier or later one never: a nonce would repeat."""
    vault = kept.vault
    vault.now += 2
    first = vault.call("node-2", "backup-export", BackupRequest())
    second = vault.call("node-2", "backup-export", BackupRequest(export=first.export, number=1))
    assert vault.call("node-2", "backup-export", BackupRequest(export=first.export, number=1)) == second
    for number in (0, 3):
        with pytest.raises(CodedError) as error:
            vault.call("node-2", "backup-export", BackupRequest(export=first.export, number=number))
        assert code_of(error) == "backup.order"
    vault.now += 2
    vault.call("node-2", "backup-export", BackupRequest())
    with pytest.raises(CodedError) as error:
        vault.call("node-2", "backup-export", BackupRequest())
    assert code_of(error) == "backup.busy"


def _with_incarnation(header: object, number: int) -> object:
    import msgspec

    return msgspec.structs.replace(header, incarnation=number)  # type: ignore[type-var]


def _with_recipient(header: object, recipient: bytes) -> object:
    import msgspec

    return msgspec.structs.replace(header, recipient=recipient)  # type: ignore[type-var]


def test_vault_has_one_set_per_slot(kept: Kept) -> None:
    """What the roster says is what the mnemonics are for."""
    assert isinstance(kept.vault, Vault)
    assert kept.vault.roster.backup is not None
    assert set(kept.vault.roster.backup.slots) == set(kept.vault.slots)

"""Many addresses from one ceremony: child keys whose addresses any wallet computes and foreign libraries verify."""

from __future__ import annotations

from eth_account import Account

from kms.client import Client
from kms.dev.demo_steps import schnorr
from kms.dev.demo_steps.signing import DemoKeys, transaction
from kms.dev.demo_steps.stage import Stage

DEPOSITS = ("m/0/1", "m/0/2")


async def derive(stage: Stage, client: Client, keys: DemoKeys) -> None:
    """Two Ethereum children and a Taproot one, each signing for its own address."""
    stage.act("Child keys: addresses without a ceremony, nothing stored")
    for number, path in enumerate(DEPOSITS, start=50):
        child = await client.keys.derive(keys.ethereum.key, path)
        signed = await client.sign.evm_transaction(keys.ethereum.key, transaction(nonce=number), path=path)
        sender = Account.recover_transaction(signed.raw_transaction)
        stage.require(sender == child.addresses["evm"], f"eth-account recovered {sender}")
        stage.fact(path, f"{sender} (computed here from the certificate; recovered by eth-account)")
    child = await client.keys.derive(keys.bitcoin.key, DEPOSITS[0])
    message = b"the same path of another key"
    signed = await client.sign.message(keys.bitcoin.key, message, path=DEPOSITS[0])
    address = child.addresses["bitcoin"]
    tagged = schnorr.tagged("Holdfast/message", message)
    stage.require(schnorr.verify(schnorr.key_of(address), signed.bip340 or b"", tagged), "the child's signature fails")
    stage.fact("a Taproot child", address)
    await stage.refused(client.keys.derive(keys.vault.key, DEPOSITS[0]), "derive.refused")
    stage.note("decryption keys have none: a child's partial results would open the parent's ciphertexts")

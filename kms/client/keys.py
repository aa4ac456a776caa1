"""Keys: create, look up, switch off and on.  Every record handed out was verified first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from attestation.canonical import canonical_json
from enclave.errors import CallerError
from enclave.ids import check_id, check_name, new_id
from enclave.key_specs import ORDERED_SPECS, SHARES_NEEDED_MIN, SPECS, Custody
from kms.client.attestor import Attestor
from kms.client.caller import Caller
from kms.client.certified import CertificateChecker, CertifiedKey, certified_key
from kms.client.derived import DerivedKey, derived_key
from kms.client.documents import Documents, KeyState, next_sequence
from kms.client.errors import VerificationError
from kms.client.importing.material import KeyMaterial
from kms.client.key_exports import ExportedKey, KeyExport
from kms.client.key_imports import ImportedKey, KeyImports
from kms.client.verification import member

PAGE_SIZE = 100
"""Keys asked for at once."""

SPEC_OF_USAGE = {
    "evm": "secp256k1-ecdsa",
    "solana": "ed25519",
    "bitcoin": "secp256k1-schnorr",
    "generic": "ed25519",
    "decrypt": "hpke-x25519",
}
"""The spec a usage means when none is given."""


class Keys:
    """`client.keys`."""

    def __init__(
        self, caller: Caller, checker: CertificateChecker, documents: Documents, attestor: Attestor | None = None
    ) -> None:
        self._caller = caller
        self._documents = documents
        self._imports = KeyImports(caller, checker, attestor)
        self._checker = checker
        self._certified: dict[str, CertifiedKey] = {}

    async def create(
        self,
        name: str,
        *,
        usage: str,
        policy: str,
        spec: str | None = None,
        custody: str | None = None,
        shares_needed: int | None = None,
        nodes: Sequence[str] | None = None,
        assemblers: Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
        exportable: bool = False,
        idempotency_key: str | None = None,
    ) -> CertifiedKey:
        """Have the nodes generate a key; returns once enough attested nodes certified it.

        `usage` is evm, solana, bitcoin, generic or decrypt and fixed for life; `policy` says who may use it.
        `custody` is threshold unless `reconstruct` is asked for.  `shares_needed` is T: 3 unless given, but 2 for
        threshold ECDSA, where 2T - 1 nodes sign.  `exportable` lets a policy allow `export`; it never
        changes.  Raises VerificationError if the certified key is not the one that was ordered, CallerError
        (`order.spec`, `order.custody`) for a kind of key that does not exist.
        """
        spec = spec or SPEC_OF_USAGE.get(usage, usage)
        held = _custody(spec, custody)
        if shares_needed is None:
            shares_needed = SPECS[spec].shares_needed_default(held)
        order: dict[str, Any] = {
            "name": check_name(name),
            "spec": spec,
            "usage": usage,
            "custody": str(held),
            "shares_needed": shares_needed,
            "policy": check_id(policy, "pol"),
            "labels": dict(labels or {}),
        }
        if exportable:
            order["exportable"] = True
        if nodes is not None:
            order["nodes"] = list(nodes)
        if assemblers is not None:
            order["assemblers"] = list(assemblers)
        answer = await self._caller.call(
            "POST",
            "/v1/keys",
            act="keys.create",
            body=canonical_json(order),
            headers={"Idempotency-Key": idempotency_key or new_id("op")},
        )
        certified = await self._verify(answer, key=None, signers_min=shares_needed)
        _check_order(order, certified)
        return self._keep(certified)

    async def import_key(
        self, name: str, material: KeyMaterial, *, usage: str, policy: str, spec: str | None = None, **terms: Any
    ) -> ImportedKey:
        """Split an existing key on this machine and have its nodes take it in; the record says `origin: imported`.

        `material` comes from `kms.client.importing` and is wiped by its owner; `terms` are `custody`, `shares_needed`,
        `nodes`, `assemblers`, `labels` and `exportable` as for `create`.  Whoever had the key before has it still.
        Raises MaterialError, VerificationError, UnavailableError, RequestRefusedError (`import.duplicate`, ...).
        """
        spec = spec or SPEC_OF_USAGE.get(usage, usage)
        imported = await self._imports.import_key(name, material, spec=spec, usage=usage, policy=policy, **terms)
        self._keep(imported.certified)
        return imported

    async def export(self, key: str) -> ExportedKey:
        """The whole private key, in this process; a context manager that wipes it.

        For keys made `exportable`, where the policy has an `export` rule for this principal.  Raises
        RequestRefusedError (`export.not-exportable`, `policy.denied`), VerificationError (`verify.share`).
        """
        return await KeyExport(self._caller, await self.get(key)).run()

    async def get(self, key: str) -> CertifiedKey:
        """The key's verified record, asked for anew."""
        check_id(key, "key")
        answer = await self._caller.call("GET", f"/v1/keys/{key}", act="keys.get", resource=key)
        return self._keep(await self._verify(answer, key=key))

    async def certified(self, key: str) -> CertifiedKey:
        """As `get`, from memory where possible: what is certified never changes within a key version."""
        return self._certified.get(check_id(key, "key")) or await self.get(key)

    async def derive(self, key: str, path: str) -> DerivedKey:
        """The child of a certified key at `path` (`m/0/5`), computed here.

        Sign for it with `client.sign....(key, ..., path=path)`.  Raises CallerError (`path.invalid`, `derive.refused`).
        """
        return derived_key(await self.certified(key), path)

    async def list(self) -> AsyncIterator[CertifiedKey]:
        """Every key this principal may see, each verified."""
        cursor = ""
        while True:
            query = {"limit": str(PAGE_SIZE)} | ({"cursor": cursor} if cursor else {})
            answer = await self._caller.call("GET", "/v1/keys", act="keys.list", query=query)
            for record in member(answer, "keys", list):
                yield self._keep(await self._verify(record, key=None))
            following = answer.get("next_cursor")
            if following is None:
                return
            if not isinstance(following, str) or not following > cursor:
                raise VerificationError("the next page does not lie after this one", code="verify.malformed")
            cursor = following

    async def disable(self, key: str) -> Any:
        """Stop every use of the key; one operator's signature is enough."""
        return await self._documents.sign_and_put(self.state(key, "disabled"))

    async def enable(self, key: str) -> Any:
        """Allow use of the key again."""
        return await self._documents.sign_and_put(self.state(key, "enabled"))

    def state(self, key: str, state: str) -> KeyState:
        """The document `disable` or `enable` would sign, for several operators to sign."""
        return KeyState(
            cluster=self._caller.cluster,
            key=check_id(key, "key"),
            state=state,
            sequence=next_sequence(),
            issued_at=self._caller.clock(),
        )

    async def _verify(self, record: Any, *, key: str | None, signers_min: int = 0) -> CertifiedKey:
        return await certified_key(
            record,
            key=key,
            checker=self._checker,
            cluster=self._caller.cluster,
            signers_min=max(signers_min, SHARES_NEEDED_MIN),
        )

    def _keep(self, certified: CertifiedKey) -> CertifiedKey:
        known = self._certified.get(certified.key)
        if known is not None:
            _check_continues(known, certified)
        self._certified[certified.key] = certified
        return certified


def _check_continues(known: CertifiedKey, found: CertifiedKey) -> None:
    """What is known of a key bounds what may be said of it: a later epoch has the same public key, a later version its
    own, and neither ever goes back.
    """
    before, after = known.certificate, found.certificate
    if (after.version, after.epoch) < (before.version, before.epoch):
        raise VerificationError(
            f"{found.key} was at version {before.version}, epoch {before.epoch} already", code="verify.epoch"
        )
    if after.version == before.version and known.public_key != found.public_key:
        raise VerificationError(f"{found.key} had another public key before", code="verify.public-key")
    is_renewed = after.version == before.version and after.epoch > before.epoch
    if not is_renewed and len(found.signers) < before.shares_needed:
        # A body that states a lower T must not lower what is asked of it; shares that moved have a T of their own.
        raise VerificationError(
            f"expected {before.shares_needed} attested signers, found {len(found.signers)}", code="verify.certificate"
        )


def _custody(spec: str, wanted: str | None) -> Custody:
    if spec not in ORDERED_SPECS:
        raise CallerError(f"expected a spec of {', '.join(ORDERED_SPECS)}", code="order.spec")
    possible = SPECS[spec].custodies
    if wanted is not None and wanted not in list(possible):
        raise CallerError(f"expected custody {' or '.join(possible)} for a {spec} key", code="order.custody")
    return Custody(wanted) if wanted is not None else possible[0]


def _check_order(order: Mapping[str, Any], certified: CertifiedKey) -> None:
    """A new key must be the one ordered, not another of the cluster's keys with a valid certificate."""
    made = certified.to_json()
    for name in ("name", "spec", "usage", "custody", "shares_needed", "policy", "nodes", "assemblers", "exportable"):
        if name in order and made[name] != order[name] and not _same_slots(made[name], order[name]):
            raise VerificationError(
                f"ordered {name} {order[name]!r}, the certificate says {made[name]!r}", code="verify.order"
            )


def _same_slots(made: Any, ordered: Any) -> bool:
    """Slots come back in roster order."""
    return isinstance(made, list) and isinstance(ordered, list) and sorted(made) == sorted(ordered)

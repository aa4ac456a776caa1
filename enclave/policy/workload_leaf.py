"""Which workloads a rule releases a secret to: by measured registers, each with its allowed values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from attestation.evidence import Tee
from enclave.fields import Fields, is_hex
from enclave.policy.checks import Check, listed
from enclave.workload import WorkloadFacts

MEASUREMENTS_MAX = 64
"""Most values of one register: versions of a workload that may run at once."""

IMAGE_REGISTERS: Mapping[str, Tee] = {"mrtd": Tee.TDX, "mrenclave": Tee.SGX, "measurement": Tee.SEV_SNP}
"""The register of each kind of enclave that measures the code it starts with: a rule names at least one of them."""

REGISTERS = frozenset(
    {
        *IMAGE_REGISTERS, "rtmr0", "rtmr1", "rtmr2", "rtmr3", "mrconfigid", "mrowner", "mrownerconfig", "mrsigner",
        "host_data",
    }
)  # fmt: skip
"""Registers a rule can name."""

TEES = frozenset(str(tee) for tee in IMAGE_REGISTERS.values())
"""Kinds of enclaves whose evidence carries report data, without which nothing binds the recipient."""

REGISTER_BYTES_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadLeaf:
    """Registers with allowed values, all of which must hold."""

    measurements: Mapping[str, frozenset[str]]
    tees: frozenset[str]

    def checks(self, facts: WorkloadFacts) -> Iterator[Check]:
        """Every register named holds an allowed value; one that the evidence lacks does not."""
        claims = facts.claims
        yield listed("tees", str(claims.tee) in self.tees, "enclave of kind", claims.tee)
        for register, allowed in self.measurements.items():
            found = claims.measurements.get(register)
            yield listed("measurements", found in allowed, register, found)


def read_workload(fields: Fields) -> WorkloadLeaf:
    """The member `workload` of a rule; raises the reader's error."""
    names = fields.peek("measurements")
    registers = fields.fields("measurements")
    if not set(names) <= REGISTERS:
        registers.refuse(f"expected registers of {', '.join(sorted(REGISTERS))}")
    images = {str(tee) for register, tee in IMAGE_REGISTERS.items() if register in names}
    if not images:
        registers.refuse("expected a register that measures the code: mrtd, mrenclave or measurement; keep one")
    measurements = {name: frozenset(_values(registers, name)) for name in names}
    tees = frozenset(fields.texts("tees", low=1, high=len(TEES), default=sorted(images)))
    if not tees <= TEES:
        fields.refuse(f"expected kinds of {', '.join(sorted(TEES))}", "tees")
    fields.done()
    return WorkloadLeaf(measurements=measurements, tees=tees)


def _values(registers: Fields, name: str) -> tuple[str, ...]:
    values = registers.texts(name, low=1, high=MEASUREMENTS_MAX)
    if not all(is_hex(value) and 2 <= len(value) <= 2 * REGISTER_BYTES_MAX for value in values):
        registers.refuse("expected lower-case hex", name)
    return values

"""Is this SEV-SNP report genuine?  Report, certificates and their consistency (specs/attestation-verification.md)."""

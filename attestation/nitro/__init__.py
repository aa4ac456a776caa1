"""Is this Nitro attestation document genuine?  CBOR, COSE and the AWS chain (specs/attestation-verification.md)."""

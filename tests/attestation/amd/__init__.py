"""SEV-SNP reports and certificates."""

//! KMS adapters.

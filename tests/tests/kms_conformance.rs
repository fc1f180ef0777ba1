//! Every adapter to a key management system passes the same cases, on the real server wherever there is one that can be started
//! here. What the cases are stands in `src/kms/mod.rs`; which server cannot show one of them, and why, in its own file beside it.

use barnabas_tests::kms;

#[test]
fn local_keystore() {
    kms::run::<kms::local::Local>();
}

#[test]
fn vault_and_openbao() {
    kms::run::<kms::openbao::OpenBao>();
}

#[test]
fn aws() {
    kms::run::<kms::moto::Moto>();
}

#[test]
fn google_cloud_kms() {
    kms::run::<kms::gcp::CloudKms>();
}

#[test]
fn azure_key_vault() {
    kms::run::<kms::azure::Vault>();
}

#[test]
fn azure_managed_hsm() {
    kms::run::<kms::azure::ManagedHsm>();
}

#[test]
fn kmip() {
    kms::run::<kms::pykmip::PyKmip>();
}

#[test]
fn pkcs11() {
    kms::run::<kms::softhsm::SoftHsm>();
}

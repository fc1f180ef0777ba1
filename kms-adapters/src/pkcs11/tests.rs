//! Settings and names; the real token is in the conformance suite.

#![allow(clippy::unwrap_used)]

use super::*;

fn settings() -> Pkcs11Settings {
    Pkcs11Settings::new("/nowhere/module.so", "gateway", SecretSource::Environment("BARNABAS_NO_PIN".into()))
}

#[test]
fn settings_that_cannot_work_are_refused_before_any_call() {
    let refused = |change: &dyn Fn(&mut Pkcs11Settings)| {
        let mut settings = settings();
        change(&mut settings);
        Pkcs11::new(settings).err().map(|e| e.to_string())
    };
    assert_eq!(refused(&|_| ()), None);
    assert!(refused(&|s| s.module = "module.so".into()).unwrap().contains("whole path"));
    assert!(refused(&|s| s.token = String::new()).unwrap().contains("label"));
    assert!(refused(&|s| s.token = "x".repeat(33)).unwrap().contains("label"));
    assert!(refused(&|s| s.sessions = 65).unwrap().contains("1 to 64"));
}

#[tokio::test]
async fn a_module_that_is_not_there_is_an_outage_with_its_path() {
    let token = Pkcs11::new(settings()).unwrap();
    let error = token.ensure_key("orders").await.err().unwrap();
    assert!(error.is_retryable() && error.message.contains("/nowhere/module.so"), "{error}");
    assert_eq!(token.describe(), "pkcs11 token \"gateway\" by /nowhere/module.so");
    let error = token.ensure_key("").await.err().unwrap();
    assert!(!error.is_retryable(), "{error}");
}

#[test]
fn a_version_is_the_id_of_the_key() {
    let blob = [&[1, 1, 2, 0, 0x2a][..], &[0; 60]].concat();
    let token = Pkcs11::new(settings()).unwrap();
    assert_eq!(token.version_of(&blob).as_deref(), Some("002a"));
    assert_eq!(token.version_of(b"vault:v1:"), None);
}

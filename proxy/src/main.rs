//! The gateway binary (placeholder command line).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("devinit") { return devinit(std::env::args().nth(2).unwrap().as_ref()); }
    let path = std::env::args().nth(3).unwrap_or_default();
    let env: Vec<(String, String)> = std::env::vars().collect();
    let config = match barnabas::config::Config::load(path.as_ref(), &env) {
        Ok(config) => config,
        Err(mistakes) => { for m in mistakes { eprintln!("{m:?}"); } std::process::exit(64) }
    };
    let _level = barnabas::logging::install(config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let gateway = match barnabas::gateway::Gateway::build(config).await { Ok(g) => g, Err(e) => { eprintln!("{e}"); std::process::exit(1) } };
        for line in gateway.addresses() { println!("{line}"); }
        gateway.run(async { let mut t = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap(); t.recv().await; }).await;
    });
}

fn devinit(dir: &std::path::Path) {
    use barnabas_crypto::*;
    let key_file = dir.join("key");
    barnabas_kms::create_key_file(&key_file).unwrap();
    let store = barnabas_kms::LocalKeystore::create(dir.join("keystore"), &barnabas_kms::Unlock::KeyFile(key_file)).unwrap();
    let root_seed = Secret::<32>::draw().unwrap();
    let root = SigningKey::from_seed(&root_seed).unwrap();
    let seed = Secret::<32>::draw().unwrap();
    store.put_secret("delegate", &seed).unwrap();
    let key = SigningKey::from_seed(&seed).unwrap();
    let now = barnabas::keyring::now();
    let delegate = Delegate { key: *key.public(), powers: Powers::ALL, not_before: now, not_after: now.plus_millis(90*86400000), scope: None };
    let object = Object::new(Body::Delegate(delegate), 1, now).sign(&root).unwrap();
    std::fs::write(dir.join("delegate.cert"), object.wire()).unwrap();
    println!("{}", hex::encode(root.public().as_bytes()));
}

//! The gateway binary (placeholder command line).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let path = std::env::args().nth(3).unwrap_or_default();
    let env: Vec<(String, String)> = std::env::vars().collect();
    let config = match barnabas::config::Config::load(path.as_ref(), &env) {
        Ok(config) => config,
        Err(mistakes) => {
            for m in mistakes {
                eprintln!("{m:?}");
            }
            std::process::exit(64)
        }
    };
    let _level = barnabas::logging::install(config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let gateway = match barnabas::gateway::Gateway::build(config).await {
            Ok(g) => g,
            Err(e) => {
                eprintln!("{e}");
                std::process::exit(1)
            }
        };
        for line in gateway.addresses() {
            println!("{line}");
        }
        gateway
            .run(async {
                let mut t = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
                t.recv().await;
            })
            .await;
    });
}

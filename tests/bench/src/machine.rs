//! The machine's description: without it a figure means nothing to a later reader.

use std::fs;
use std::process::Command;

/// Lines of Markdown: processor, memory, kernel, versions of what was measured.
pub fn describe() -> Vec<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix(name)?.split_once(':').map(|(_, value)| value.trim().to_owned()))
            .unwrap_or_else(|| "unknown".into())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) >> 20;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let flags = field("flags");
    let extensions: Vec<_> = ["aes", "vaes", "vpclmulqdq", "avx2", "avx512f", "sha_ni"]
        .into_iter()
        .filter(|name| flags.split(' ').any(|flag| flag == *name))
        .collect();
    vec![
        format!(
            "{cores} cores, {} (family {}, model {}), {}",
            field("model name"),
            field("cpu family"),
            cpu_model(&cpuinfo),
            extensions.join(" ")
        ),
        format!("{memory} GiB of memory, Linux {}", kernel.trim()),
        format!("Kafka's JVM: {}", first_line("java", &["-version"])),
        first_line("haproxy", &["-v"]),
    ]
}

/// "model" is also the start of "model name".
fn cpu_model(cpuinfo: &str) -> &str {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(name, value)| (name.trim() == "model").then_some(value.trim()))
        .unwrap_or("unknown")
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else {
        return format!("{program} not found");
    };
    let bytes = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().to_owned()
}

//! What the documents show is real: configurations are loaded, command lines are known to the binary, and the files, links and tests that
//! are named exist. An example that rots is worse than none.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use barnabas_tests::certs::Authority;
use barnabas_tests::gateway::binary;
use barnabas_tests::scratch::{Scratch, root};

#[test]
fn every_configuration_in_a_document_is_free_of_mistakes() {
    let folder = initialised("documents");
    let mut loaded = BTreeSet::new();
    for document in documents() {
        for (name, yaml) in blocks(&text(&document), MARK) {
            let file = folder.write(&format!("gateway/{name}.yaml"), yaml);
            accepted(&file, &format!("configuration {name} in {}", shown(&document)));
            assert!(loaded.insert(name.clone()), "two configurations are called {name}");
        }
    }
    assert!(loaded.contains("readme"), "found only {loaded:?}");
}

#[test]
fn every_addition_in_a_document_fits_the_starter_configuration() {
    let folder = initialised("additions");
    let starter = text(&folder.join("gateway/barnabas.yaml"));
    let needs_pkcs11 = |yaml: &str| yaml.contains("type: pkcs11");
    place_files(&folder);
    let mut loaded = BTreeSet::new();
    for document in documents() {
        for (name, yaml) in blocks(&text(&document), ADDITION) {
            let yaml = yaml.replace(MODULE_FOLDER, "secrets/");
            let file = folder.write(&format!("gateway/{name}.yaml"), format!("{starter}{yaml}"));
            let what = format!("addition {name} in {}", shown(&document));
            if needs_pkcs11(&yaml) {
                accepted_or_without_pkcs11(&file, &what)
            } else {
                accepted(&file, &what)
            }
            assert!(loaded.insert(name.clone()), "two additions are called {name}");
        }
    }
    let vendors = ["kms-vault", "vault", "aws", "kms-gcp", "kms-azure", "kmip", "pkcs11"];
    assert!(vendors.iter().all(|vendor| loaded.contains(*vendor)), "found only {loaded:?}");
}

#[test]
fn what_the_starter_configuration_says_about_a_kms_can_be_switched_on() {
    let folder = initialised("starter");
    let starter = text(&folder.join("gateway/barnabas.yaml"));
    let from = starter.find("# kms:").expect("the starter configuration tells of `kms`");
    let length = starter[from..].find("\n\n").expect("a blank line follows");
    let lines = starter[from..from + length].lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
    let section: String = lines.map(|line| format!("{line}\n")).collect();
    assert!(section.contains("\ncustody:\n"), "{section}");
    folder.write("gateway/vault-token", "a word");
    let file = folder.write("gateway/on.yaml", format!("{starter}{section}"));
    accepted(&file, "the starter configuration with `kms`");
}

#[test]
fn every_block_of_yaml_says_what_it_is() {
    for document in documents() {
        let text = text(&document);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (at, _) in lines.iter().enumerate().filter(|(_, line)| **line == "```yaml") {
            let above = at.checked_sub(1).and_then(|above| lines.get(above)).copied();
            let marked =
                above.is_some_and(|above| above.starts_with(MARK) || above.starts_with(ADDITION) || above == FRAGMENT);
            let place = format!("{} line {}", shown(&document), at + 1);
            assert!(marked, "{place}: write {MARK} name -->, {ADDITION} name --> or {FRAGMENT} above it");
        }
    }
}

#[test]
fn every_example_loads_without_a_mistake_when_its_files_are_there() {
    let folder = initialised("examples");
    place_files(&folder);
    let examples = with_end(&root().join("deploy/examples"), "yaml");
    assert!(!examples.is_empty(), "no examples");
    for example in examples {
        let name = example.file_name().expect("a name").to_string_lossy().into_owned();
        // The module is where its package puts it, on machines that have it.
        let yaml = text(&example).replace(MODULE_FOLDER, "secrets/");
        let file = folder.write(&format!("gateway/{name}"), yaml);
        if name == "kms-pkcs11.yaml" {
            accepted_or_without_pkcs11(&file, &shown(&example));
        } else {
            accepted(&file, &shown(&example));
        }
    }
}

#[test]
fn every_command_line_in_a_document_is_known_to_the_binary() {
    let mut seen = 0;
    for document in documents() {
        for line in command_lines(&text(&document)) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let subcommand: Vec<&str> =
                words.iter().copied().take_while(|word| word.bytes().all(|b| b.is_ascii_lowercase())).collect();
            let help = barnabas(&with_help(&subcommand));
            // A word that is an argument and no subcommand is clap's to refuse: then the command before it is meant.
            let help = if help.status.success() { help } else { barnabas(&with_help(&subcommand[..1])) };
            assert!(help.status.success(), "{}: {line}: {}", shown(&document), said(&help));
            let help = said(&help);
            for option in words.iter().filter(|word| word.starts_with("--")) {
                let option = option.split('=').next().unwrap_or(option);
                assert!(help.contains(option), "{}: {line}: no option {option}", shown(&document));
            }
            seen += 1;
        }
    }
    assert!(seen > 3, "found {seen} command lines");
}

#[test]
fn what_a_document_links_to_exists() {
    for document in documents() {
        let folder = document.parent().expect("a folder");
        for target in text(&document).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or(target);
            if path.is_empty() || path.contains("://") || path.contains(' ') {
                continue;
            }
            assert!(folder.join(path).exists(), "{} links to {target}", shown(&document));
        }
    }
}

#[test]
fn every_file_and_test_of_the_threat_table_exists() {
    let table = text(&root().join("SECURITY.md"));
    let sources: String = ["crypto-lib/src", "kms-adapters/src", "proxy/src", "tests/tests"]
        .iter()
        .flat_map(|folder| with_end(&root().join(folder), "rs"))
        .map(|file| text(&file))
        .collect();
    let (mut files, mut tests) = (0, 0);
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        for quoted in row.split('`').skip(1).step_by(2) {
            if quoted.contains('/') {
                assert!(root().join(quoted).exists(), "SECURITY.md names {quoted}");
                files += 1;
            } else if quoted.matches('_').count() >= 3 {
                assert!(sources.contains(&format!("fn {quoted}(")), "SECURITY.md names the test {quoted}");
                tests += 1;
            }
        }
    }
    assert!(files > 30 && tests > 30, "{files} files, {tests} tests");
}

#[test]
fn every_promise_names_a_test_that_exists() {
    let folder = root().join("tests");
    let text = text(&folder.join("README.md"));
    for quoted in
        text.split('`').skip(1).step_by(2).filter(|quoted| quoted.starts_with("tests/") && quoted.ends_with(".rs"))
    {
        assert!(folder.join(quoted).exists(), "tests/README.md names {quoted}");
    }
    for file in with_end(&folder.join("tests"), "rs") {
        let name = format!("tests/{}", file.file_name().expect("a name").to_string_lossy());
        assert!(text.contains(&name), "tests/README.md does not say what {name} proves");
    }
}

/// A folder with what `barnabas init` makes in `gateway/`.
fn initialised(name: &str) -> Scratch {
    let folder = Scratch::new(name);
    let gateway = folder.join("gateway").display().to_string();
    let made = barnabas(&[
        "init",
        "--dir",
        &gateway,
        "--dev-ca",
        "--host",
        "kafka.example.com",
        "--host",
        "*.kafka.example.com",
    ]);
    assert!(made.status.success(), "{}", said(&made));
    folder
}

/// The files that examples and documents name.
fn place_files(folder: &Scratch) {
    let site = folder.join("gateway");
    let place = |name: &str, from: &Path| {
        let to = site.join(name);
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::copy(from, &to).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
    };
    place("tls/clients.crl", &Authority::new(folder.path()).revoke(&[]));
    for authority in ["clients-ca", "brokers-ca", "kms-ca", "siem-ca"] {
        place(&format!("tls/{authority}.pem"), &site.join("tls/ca.pem"));
    }
    place("tls/kms-client.pem", &site.join("tls/gateway.pem"));
    place("tls/kms-client.key", &site.join("tls/gateway.key"));
    let secrets =
        ["aws-token", "azure-secret", "kafka-password", "libsofthsm2.so", "pin", "vault-secret-id", "vault-token"];
    for secret in secrets {
        place(&format!("secrets/{secret}"), &folder.write("password", "a word"));
    }
    place("secrets/gcp.json", &folder.write("gcp.json", "{}"));
}

fn accepted(configuration: &Path, what: &str) {
    let checked = barnabas(&["check", "--config", &configuration.display().to_string()]);
    assert_eq!(checked.status.code(), Some(0), "{what}: {}", said(&checked));
}

/// A binary without PKCS#11 says so, says how to build one with it, and finds no other mistake.
fn accepted_or_without_pkcs11(configuration: &Path, what: &str) {
    let checked = barnabas(&["check", "--config", &configuration.display().to_string()]);
    let said = said(&checked);
    let mistakes: Vec<&str> = said.lines().filter(|line| line.contains("(line ")).collect();
    let lacks = |line: &&str| line.contains("built without PKCS#11") && line.contains("--features pkcs11");
    match checked.status.code() {
        Some(0) => {}
        Some(64) => assert!(mistakes.len() == 1 && mistakes.iter().all(lacks), "{what}: {said}"),
        _ => panic!("{what}: {said}"),
    }
}

/// The blocks under a mark such as `<!-- configuration: name -->`, without the indentation that they have in a list.
fn blocks(text: &str, mark: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.trim().strip_prefix(mark) else { continue };
        let name = name.trim_end_matches("-->").trim().to_owned();
        let fence = lines.next().expect("a block follows the mark");
        assert_eq!(fence.trim(), "```yaml", "what follows the mark of {name}");
        let indent = fence.len() - fence.trim_start().len();
        let block = lines.by_ref().take_while(|line| line.trim() != "```");
        let yaml = block.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect();
        found.push((name, yaml));
    }
    found
}

/// What follows `$ barnabas` at the start of a line.
fn command_lines(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.trim().strip_prefix("$ barnabas ")).collect()
}

fn with_help<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [words, &["--help"]].concat()
}

fn barnabas(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).output().expect("the binary runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn documents() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(|name| root().join(name)).into();
    for part in ["crypto-lib", "kms-adapters", "proxy", "tests", "deploy"] {
        found.extend(with_end(&root().join(part), "md"));
    }
    assert!(found.len() > 10, "the walk found nothing");
    found
}

/// All files below a folder with this end; build output and what package managers bring are not ours.
fn with_end(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())).flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir()
            && !["target", "node_modules", "corpus", "artifacts", ".venv"].iter().any(|other| name == *other)
        {
            found.extend(with_end(&path, end));
        } else if path.extension().is_some_and(|extension| extension == end) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Where SoftHSM's package puts its module.
const MODULE_FOLDER: &str = "/usr/lib/softhsm/";
/// Stands above a block of YAML that is a whole configuration.
const MARK: &str = "<!-- configuration:";
/// Stands above a block of YAML that makes a whole one with what `barnabas init` writes.
const ADDITION: &str = "<!-- added to the starter configuration:";
/// Stands above a block of YAML that is a part of one.
const FRAGMENT: &str = "<!-- fragment -->";

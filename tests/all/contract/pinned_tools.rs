//! What the scripts install is what was looked at once: every package by its hash, and nothing that it brings along.

use std::fs;
use std::path::PathBuf;

use latchkey_tests::harness::template::root;
use serde_json::Value;

/// The files of a folder that are text.
fn texts(folder: &str) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(root().join(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut texts: Vec<_> = paths
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read_to_string(&path).unwrap()))
        .collect();
    texts.sort();
    texts
}

/// The commands of a script, one a line.
fn commands(script: &str) -> Vec<String> {
    let joined = script.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim);
    let lines = lines.filter(|line| !line.starts_with('#') && !line.starts_with("echo"));
    lines.map(str::to_owned).collect()
}

fn has_words(command: &str, words: &[&str]) -> bool {
    words.iter().all(|word| command.contains(word))
}

#[test]
fn scripts_install_by_hash_alone() {
    let mut seen = [0; 3];
    let mut scripts = texts("infra/scripts");
    scripts.extend(texts(".ci"));
    for (path, script) in scripts {
        for command in commands(&script) {
            let place = format!("{}: {command}", path.display());
            if has_words(&command, &[" pip ", " install "]) {
                let by_hash = has_words(&command, &["--require-hashes", "--only-binary :all:"]);
                assert!(by_hash || command.contains("--no-index"), "{place}");
                seen[0] += 1;
            }
            if has_words(&command, &["npm install"]) {
                assert!(command.contains("--offline"), "{place}");
            }
            seen[1] += usize::from(command.contains("npm ci"));
            if has_words(&command, &["cargo install", "--root"]) && !command.contains("--list") {
                assert!(
                    has_words(&command, &["--locked", "--version \"="]),
                    "{place}"
                );
                seen[2] += 1;
            }
        }
    }
    assert!(seen[0] >= 2 && seen[1] >= 4 && seen[2] >= 1, "{seen:?}");
}

/// A package of a lock file: its name and version, and how many hashes it has.
fn packages(lock: &str) -> Vec<(String, usize)> {
    let mut packages: Vec<(String, usize)> = Vec::new();
    let lines = lock.lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let line = line.trim_end_matches(" \\");
        match line.strip_prefix("--hash=sha256:") {
            Some(hash) => {
                assert_eq!(hash.len(), 64, "{hash}");
                packages.last_mut().unwrap().1 += 1;
            }
            None => packages.push((line.to_owned(), 0)),
        }
    }
    packages
}

#[test]
fn every_lock_file_has_a_hash_for_each_package_and_names_no_registry() {
    let files = texts("infra/scripts/locks");
    let (locks, wanted): (Vec<_>, Vec<_>) = files
        .into_iter()
        .partition(|(path, _)| path.extension().unwrap() == "txt");
    assert_eq!(locks.len(), wanted.len(), "each .in has its .txt");
    for ((path, lock), (_, wanted)) in locks.iter().zip(&wanted) {
        let place = path.display();
        assert!(!lock.contains("://") && !lock.contains("-index"), "{place}");
        let packages = packages(lock);
        for (package, hashes) in &packages {
            assert!(package.contains("==") && *hashes > 0, "{place}: {package}");
        }
        // What is asked for is in it, in the version that is asked for.
        for line in wanted.lines().filter(|line| line.contains("==")) {
            let pin = line.split_whitespace().next().unwrap().to_lowercase();
            let (name, version) = pin.split_once("==").unwrap();
            let found = packages.iter().any(|(package, _)| {
                let (found, at) = package.split_once("==").unwrap();
                let plain = |name: &str| name.split('[').next().unwrap().replace('_', "-");
                plain(found) == plain(name) && at == version
            });
            assert!(found, "{place}: {pin}: run infra/scripts/lock-python");
        }
    }
}

#[test]
fn every_package_from_npm_has_its_hash() {
    let folders = [
        "infra/samples/oauth",
        "infra/samples/verify/node",
        "infra/scripts/check_console",
        "infra/scripts/check_cookies",
        "infra/sdk/typescript",
    ];
    for folder in folders {
        let lock = fs::read_to_string(root().join(folder).join("package-lock.json")).unwrap();
        let lock: Value = serde_json::from_str(&lock).unwrap();
        let packages = lock["packages"].as_object().unwrap();
        assert!(packages.len() > 1, "{folder}");
        for (name, package) in packages {
            // The package itself, also under the name by which it is imported.
            if name.is_empty() || (package["link"] == true && package["resolved"] == "") {
                continue;
            }
            let integrity = package["integrity"].as_str().unwrap_or_default();
            assert!(integrity.starts_with("sha512-"), "{folder}: {name}");
        }
    }
}

//! libFuzzer over one target, which `LATCHKEY_FUZZ_TARGET` names. With `LATCHKEY_FUZZ_SEEDS=<folder>` it writes the
//! target's seeds there and ends; with `LATCHKEY_FUZZ_NAMES` it prints the names of all targets and ends.
#![no_main]

use std::sync::LazyLock;

use latchkey_tests::attack::fuzzing::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("LATCHKEY_FUZZ_TARGET").expect("LATCHKEY_FUZZ_TARGET names a target");
    let target = TARGETS.iter().find(|target| target.name == name);
    *target.unwrap_or_else(|| panic!("{name} is not among the targets"))
});

fn begin() {
    if std::env::var_os("LATCHKEY_FUZZ_NAMES").is_some() {
        for target in &TARGETS {
            println!("{}", target.name);
        }
        std::process::exit(0);
    }
    let Some(folder) = std::env::var_os("LATCHKEY_FUZZ_SEEDS") else {
        return;
    };
    for (place, seed) in (TARGET.seeds)().iter().enumerate() {
        let path = std::path::Path::new(&folder).join(format!("seed-{place:03}"));
        std::fs::write(path, seed).expect("the folder can be written");
    }
    std::process::exit(0);
}

libfuzzer_sys::fuzz_target!(init: begin(), |data: &[u8]| (TARGET.run)(data));

//! What `latchkey_tests::attack::fuzzing` has targets for, without a fuzzer: the seeds, the inputs that are kept in `tests/fuzz`,
//! and random changes of all. `infra/scripts/fuzz` continues from there, guided by coverage.

use std::path::Path;

use latchkey_tests::attack::fuzzing::{TARGETS, Target, answers_to_body_seeds};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{RngSeed, TestRunner};

/// How many changed inputs each target is given, unless `PROPTEST_CASES` says so; fewer where each takes long.
const CASES: u32 = 200;
const CASES_OF_THE_SLOW: u32 = 40;

/// What a change may put in.
const WORDS: [&[u8]; 20] = [
    b"\0",
    b"\xff",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"null",
    b"-1",
    b"1e999",
    b"18446744073709551615",
    b"9223372036854775807",
    b".",
    b"/",
    b"%",
    b"=",
    b"\xc3\xa9",
    b"\xe2\x80\xae",
    b" ",
    b"\n",
];

#[derive(Clone, Debug)]
enum Change {
    Put(Index, usize),
    Byte(Index, u8),
    Remove(Index, usize),
    Repeat(Index, usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), 0..WORDS.len()).prop_map(|(at, word)| Change::Put(at, word)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        (any::<Index>(), 1..20_usize).prop_map(|(at, length)| Change::Remove(at, length)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Change::Repeat(at, length)),
    ]
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let end = bytes.len();
        match change {
            Change::Put(at, word) => {
                let at = at.index(end + 1);
                bytes.splice(at..at, WORDS[*word].iter().copied());
            }
            Change::Byte(at, byte) if end > 0 => bytes[at.index(end)] = *byte,
            Change::Remove(at, length) if end > 0 => {
                let at = at.index(end);
                bytes.drain(at..(at + length).min(end));
            }
            Change::Repeat(at, length) if end > 0 => {
                let at = at.index(end);
                let part = bytes[at..(at + length).min(end)].to_vec();
                bytes.splice(at..at, part);
            }
            Change::Byte(..) | Change::Remove(..) | Change::Repeat(..) => {}
        }
    }
    bytes
}

/// What once made a target fail, in `regressions`, and what reached most of the code, in `corpus`.
fn kept(in_folder: &str, target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let Ok(files) = std::fs::read_dir(folder.join(in_folder).join(target.name)) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "proptest reads its own settings, but has another number of cases and a fixed seed when there are none"
)]
fn config(cases: u32) -> ProptestConfig {
    let settings = ProptestConfig::default();
    let is_set = |name| std::env::var_os(name).is_some();
    ProptestConfig {
        cases: if is_set("PROPTEST_CASES") {
            settings.cases
        } else {
            cases
        },
        rng_seed: if is_set("PROPTEST_RNG_SEED") {
            settings.rng_seed
        } else {
            RngSeed::Fixed(1)
        },
        failure_persistence: None,
        ..settings
    }
}

fn hold(name: &str) {
    hold_for(name, CASES);
}

fn hold_for(name: &str, cases: u32) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let mut inputs = (target.seeds)();
    inputs.extend(kept("regressions", target));
    inputs.extend(kept("corpus", target));
    inputs.iter().for_each(|input| (target.run)(input));
    let strategy = (any::<Index>(), proptest::collection::vec(change(), 1..6));
    let found = TestRunner::new(config(cases)).run(&strategy, |(place, changes)| {
        (target.run)(&changed(place.get(&inputs).clone(), &changes));
        Ok(())
    });
    if let Err(error) = found {
        panic!("{name}: {error}");
    }
}

#[test]
fn tokens_hold() {
    hold("tokens");
}

#[test]
fn tokens_with_a_good_signature_hold() {
    hold("signed_tokens");
}

#[test]
fn bodies_hold() {
    hold("bodies");
}

/// The routes are those of the document, so one that is added is fuzzed; this says whether anything gets past its door.
#[test]
fn every_route_that_reads_a_body_has_a_seed_that_it_accepts() {
    let answers = answers_to_body_seeds();
    assert!(answers.len() >= 16, "{}", answers.len());
    for (operation, reply) in answers {
        assert!(reply.status.is_success(), "{operation}: {}", reply.body);
    }
}

#[test]
fn forms_hold() {
    hold("forms");
}

#[test]
fn basic_credentials_hold() {
    hold("basic_credentials");
}

#[test]
fn urls_hold() {
    hold("urls");
}

#[test]
fn headers_hold() {
    hold_for("headers", CASES_OF_THE_SLOW);
}

#[test]
fn devices_hold() {
    hold("devices");
}

#[test]
fn events_of_api_gateway_hold() {
    hold("events");
}

#[test]
fn broken_items_hold() {
    hold_for("items", CASES_OF_THE_SLOW);
}

#[test]
fn password_hashes_hold() {
    hold("password_hashes");
}

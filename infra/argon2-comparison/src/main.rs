//! Argon2id with the service's parameters, by every implementation that Rust can call without `unsafe`, by turns in one
//! run: `cargo run --release --manifest-path infra/argon2-comparison/Cargo.toml [-- ROUNDS]`, and the same with
//! `--profile small` in place of `--release`. All must make the same hash.

use std::error::Error;
use std::time::Duration;

use argon2_rust::params::{Memory, TagLen};
use dryoc::classic::crypto_pwhash::{PasswordHashAlgorithm, crypto_pwhash};
use libsodium_rs::crypto_pwhash::argon2id;
use rustix::time::{ClockId, clock_gettime};

const PASSWORD: &[u8] = b"correct horse battery staple";
const SALT: &[u8; 16] = b"sixteen bytes :)";
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;

type Tag = [u8; 32];
/// CPU time of this thread, which other processes of a busy machine do not add to. Nothing here uses a second thread.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    Ok(clock_gettime(ClockId::ThreadCPUTime).try_into()?)
}

type Work<'a> = Box<dyn FnMut() -> Result<Tag, Box<dyn Error>> + 'a>;

fn main() -> Result<(), Box<dyn Error>> {
    let rounds = match std::env::args().nth(1) {
        Some(rounds) => rounds.parse::<usize>()?.max(1),
        None => 40,
    };
    libsodium_rs::ensure_init()?;
    let params = argon2::Params::new(MEMORY_KIB, PASSES, 1, Some(32)).map_err(|e| e.to_string())?;
    let rust_crypto =
        argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut memory = vec![argon2::Block::new(); MEMORY_KIB as usize];
    let params = argon2_rust::Params::builder()
        .memory(Memory::kib(MEMORY_KIB.into()))
        .passes(PASSES)
        .lanes(1)
        .tag_len(TagLen::bytes(32))
        .build()?;
    let ours = argon2_rust::Argon2::new(
        argon2_rust::Algorithm::Argon2id,
        argon2_rust::Version::V0x13,
        params,
    );
    let mut hasher = ours.hasher();
    let config = rust_argon2::Config {
        variant: rust_argon2::Variant::Argon2id,
        version: rust_argon2::Version::Version13,
        mem_cost: MEMORY_KIB,
        time_cost: PASSES,
        lanes: 1,
        hash_length: 32,
        ..rust_argon2::Config::default()
    };
    let bytes = MEMORY_KIB as usize * 1024;
    let mut works: Vec<(&str, Work)> = vec![
        (
            "argon2-rust, memory reused",
            Box::new(|| {
                let mut tag = Tag::default();
                hasher.hash_into(PASSWORD, SALT, &mut tag)?;
                Ok(tag)
            }),
        ),
        (
            "argon2-rust",
            Box::new(|| {
                let mut tag = Tag::default();
                ours.hash_into(PASSWORD, SALT, &mut tag)?;
                Ok(tag)
            }),
        ),
        (
            "dryoc",
            Box::new(|| {
                let mut tag = Tag::default();
                let algorithm = PasswordHashAlgorithm::Argon2id13;
                crypto_pwhash(&mut tag, PASSWORD, SALT, PASSES.into(), bytes, algorithm)?;
                Ok(tag)
            }),
        ),
        (
            "RustCrypto argon2, memory reused",
            Box::new(|| {
                let mut tag = Tag::default();
                rust_crypto
                    .hash_password_into_with_memory(PASSWORD, SALT, &mut tag, &mut memory)
                    .map_err(|e| e.to_string())?;
                Ok(tag)
            }),
        ),
        (
            "RustCrypto argon2",
            Box::new(|| {
                let mut tag = Tag::default();
                rust_crypto
                    .hash_password_into(PASSWORD, SALT, &mut tag)
                    .map_err(|e| e.to_string())?;
                Ok(tag)
            }),
        ),
        (
            "libsodium",
            Box::new(|| {
                let tag = argon2id::pwhash(32, PASSWORD, SALT, PASSES.into(), bytes)?;
                Ok(tag.as_slice().try_into()?)
            }),
        ),
        (
            "rust-argon2",
            Box::new(|| {
                let tag = rust_argon2::hash_raw(PASSWORD, SALT, &config)?;
                Ok(tag.as_slice().try_into()?)
            }),
        ),
    ];

    let mut expected = None;
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); works.len()];
    for round in 0..rounds {
        for ((name, work), times) in works.iter_mut().zip(&mut times) {
            let began = cpu_time()?;
            let tag = work()?;
            times.push((cpu_time()? - began).as_secs_f64() * 1e3);
            if *expected.get_or_insert(tag) != tag {
                return Err(format!("{name} makes another hash").into());
            }
        }
        eprint!("\rround {} of {rounds}", round + 1);
    }
    eprintln!();
    println!("argon2-rust runs on {}\n", argon2_rust::detected_backend());
    println!("| implementation | fastest, CPU ms | median, CPU ms |\n|---|---|---|");
    for ((name, _), times) in works.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let (fastest, median) = (times.first(), times.get(times.len() / 2));
        if let (Some(fastest), Some(median)) = (fastest, median) {
            println!("| {name} | {fastest:.2} | {median:.2} |");
        }
    }
    Ok(())
}

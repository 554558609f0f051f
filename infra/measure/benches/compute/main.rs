//! What is computed, in CPU time: tokens, agents, items, passwords, and whole handlers without the network.
//!
//! `cargo bench -p latchkey-measure` runs all of it; `-- <name>` what has that in its name. The handlers are the very
//! router of the service, over the real store and the AWS SDK, whose connector answers with bytes that the embedded
//! DynamoDB gave before: so all of our code and the SDK's is in them, and no network. The last table takes the raw calls
//! of the SDK off each handler, measured by turns in the same run: what is left is ours.
//!
//! `count <handler> <times>`, and `count <handler> <times> sdk` for the SDK's calls alone, run nothing else inside of
//! `compute::counted`: for a profiler that counts instructions (infra/guides/evidence/speed.md).

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run must say so and stop"
)]

mod canned;
mod cpu;

use std::hint::black_box;

use criterion::measurement::Measurement;
use criterion::{BenchmarkGroup, Criterion};
use latchkey_domain::clock::{Clock, SystemClock};
use latchkey_domain::device::{ClientHints, Device};
use latchkey_domain::password::{self, Password, WorkingMemory};
use latchkey_domain::random::{SystemRandom, sixteen_bytes};
use latchkey_domain::token::{Scope, Token, TokenIdentity, TokenSecret, Tokens};
use tokio::runtime::Runtime;

use crate::canned::{Canned, Request};
use crate::cpu::{CpuTime, median_microseconds};

const AGENTS: [(&str, &str); 3] = [
    (
        "Chrome on Windows",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    ),
    (
        "Safari on iPhone",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 \
         Mobile/15E148 Safari/604.1",
    ),
    ("curl", "curl/8.5.0"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [count, handler, times, rest @ ..] = arguments.as_slice()
        && count == "count"
    {
        count_instructions(handler, times.parse().expect("a number"), rest);
        return;
    }
    let mut criterion = Criterion::default()
        .with_measurement(CpuTime)
        .configure_from_args();
    let runtime = runtime();
    let canned = runtime.block_on(Canned::record());
    tokens(&mut criterion.benchmark_group("token"), &canned);
    let mut agents = criterion.benchmark_group("agent");
    for (name, agent) in AGENTS {
        agents.bench_function(name, |b| {
            b.iter(|| Device::describe(None, Some(black_box(agent)), None, ClientHints::default()));
        });
    }
    agents.finish();
    passwords(&mut criterion.benchmark_group("password"));
    handlers(&mut criterion.benchmark_group("handler"), &runtime, &canned);
    criterion.final_summary();
    // With a filter somebody wants one row, and with `--test` none.
    if std::env::args()
        .skip(1)
        .all(|argument| argument == "--bench")
    {
        shares(&runtime, &canned);
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn count_instructions(handler: &str, times: u32, rest: &[String]) {
    let runtime = runtime();
    let canned = runtime.block_on(Canned::record());
    let request = Request::ALL
        .into_iter()
        .find(|request| request.name() == handler)
        .expect("a handler of the tables");
    let mut work: Box<dyn FnMut()> = match rest {
        [] => Box::new(|| runtime.block_on(canned.handle(request))),
        [sdk] if sdk == "sdk" => Box::new(|| runtime.block_on(canned.raw(request))),
        _ => unreachable!("`sdk` or nothing"),
    };
    // What is done once in a process is not what a request costs.
    (0..3).for_each(|_| work());
    counted(work.as_mut(), times);
}

/// What the profiler switches itself on for.
#[inline(never)]
fn counted(work: &mut dyn FnMut(), times: u32) {
    for _ in 0..times {
        work();
    }
}

fn tokens<M: Measurement>(group: &mut BenchmarkGroup<'_, M>, canned: &Canned) {
    let identity = TokenIdentity {
        issuer: "https://id.example.com".to_owned(),
        audience: "latchkey".to_owned(),
        other_audiences: Vec::new(),
        client_id: "latchkey-app".to_owned(),
    };
    let secret =
        TokenSecret::new(b"a secret of benchmarks, 32 bytes".to_vec()).expect("long enough");
    let tokens = Tokens::new(identity, &secret, None).expect("keys");
    let now = SystemClock.now();
    let issue = || {
        let issued = tokens.issue(
            &canned.session,
            Scope::own_account(),
            now,
            &canned.policy,
            &SystemRandom,
        );
        issued.expect("signed")
    };
    let issued = issue();
    group.bench_function("sign both", |b| b.iter(issue));
    group.bench_function("verify access (Ed25519)", |b| {
        b.iter(|| tokens.verify_access(black_box(&issued.access_token), now));
    });
    group.bench_function("verify refresh (HS256)", |b| {
        b.iter(|| tokens.verify_refresh_of_any_age(black_box(&issued.refresh_token), now));
    });
    let forged = Token::new(format!("{}x", issued.refresh_token.expose()));
    group.bench_function("refuse a forged refresh token", |b| {
        b.iter(|| tokens.verify_refresh_of_any_age(black_box(&forged), now));
    });
}

fn passwords<M: Measurement>(group: &mut BenchmarkGroup<'_, M>) {
    group.sample_size(20);
    let password = Password::new("correct horse battery staple".to_owned());
    let mut memory = WorkingMemory::default();
    group.bench_function("hash", |b| {
        b.iter(|| password::hash(&password, sixteen_bytes(&SystemRandom), &mut memory));
    });
}

fn handlers<M: Measurement>(group: &mut BenchmarkGroup<'_, M>, runtime: &Runtime, canned: &Canned) {
    for request in Request::ALL {
        group.bench_function(request.name(), |b| {
            b.iter(|| runtime.block_on(canned.handle(request)));
        });
        group.bench_function(format!("{}: the SDK's calls alone", request.name()), |b| {
            b.iter(|| runtime.block_on(canned.raw(request)));
        });
    }
}

/// What of each handler is ours, in CPU time, the two measured by turns.
fn shares(runtime: &Runtime, canned: &Canned) {
    println!("\nCPU time of a request without the network, in microseconds (medians)\n");
    println!("| handler | whole | the SDK's calls alone | ours |");
    println!("|---|---|---|---|");
    for request in Request::ALL {
        let [whole, sdk] = median_microseconds([
            &mut || runtime.block_on(canned.handle(request)),
            &mut || runtime.block_on(canned.raw(request)),
        ]);
        let ours = whole - sdk;
        println!("| {} | {whole:.1} | {sdk:.1} | {ours:.1} |", request.name());
    }
    let names = ["read 20 sessions and their account", "the same query alone"];
    let [mapped, raw] = median_microseconds([
        &mut || runtime.block_on(canned.read_partition()),
        &mut || runtime.block_on(canned.raw(Request::ListTwenty)),
    ]);
    println!("\n| items | microseconds |\n|---|---|");
    println!(
        "| {} | {mapped:.1} |\n| {} | {raw:.1} |",
        names[0], names[1]
    );
    println!("| one item to a session | {:.2} |", (mapped - raw) / 21.0);
}

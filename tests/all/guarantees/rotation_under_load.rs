//! The keys rotate while requests are in flight: on other threads people refresh, use their access tokens and show them to
//! services with copies of the keys, all the time in which the four steps happen and until the new key signs. There is no
//! 401, nobody is signed out, and no copy lacks a key.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chrono::TimeDelta;
use http::StatusCode;
use latchkey_domain::token::TokenAlgorithm;
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::secrets_manager::{ARN, FakeSecretsManager};
use latchkey_tests::harness::stack::Stack;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinSet;

use super::key_rotation::{STEPS, Verifier, kid, old_secret, rotation};

/// How many people use the service at once, each on two instances, and how many services verify tokens.
const PEOPLE: usize = 4;
const INSTANCES: usize = 4;
const VERIFIERS: usize = 4;
/// How long a service keeps a copy of the published keys.
const LONGEST_COPY: TimeDelta = TimeDelta::hours(2);

/// What goes on while the keys rotate.
struct Traffic {
    stack: Stack,
    /// They read the secret again every five minutes, as instances do.
    instances: Vec<Stack>,
    verifiers: Vec<Mutex<Verifier>>,
    /// Who has how often been through everything.
    rounds: Vec<AtomicUsize>,
    progress: Notify,
    in_flight: AtomicUsize,
    is_over: AtomicBool,
    kids: Mutex<BTreeSet<String>>,
}

impl Traffic {
    async fn new(stack: Stack, secrets: &FakeSecretsManager) -> Arc<Self> {
        let (mut instances, mut verifiers) = (Vec::new(), Vec::new());
        for _ in 0..INSTANCES {
            let keys = secrets.instance(stack.now()).await;
            instances.push(stack.clone().with_tokens(keys));
        }
        for _ in 0..VERIFIERS {
            verifiers.push(Mutex::new(Verifier::fetch(&instances[0]).await));
        }
        Arc::new(Self {
            stack,
            instances,
            verifiers,
            rounds: (0..PEOPLE).map(|_| AtomicUsize::new(0)).collect(),
            progress: Notify::new(),
            in_flight: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            kids: Mutex::default(),
        })
    }

    /// One person's requests, one after the other, until it is over.
    async fn use_service(self: Arc<Self>, person: usize, mut who: SignedIn) -> SignedIn {
        for round in person.. {
            if self.is_over.load(Ordering::SeqCst) {
                break;
            }
            let at = |offset: usize| &self.instances[(round + offset) % INSTANCES];
            self.in_flight.fetch_add(1, Ordering::SeqCst);
            let refreshed = at(0).refresh(&who.refresh_token).await;
            who = SignedIn::from(refreshed.expect(StatusCode::OK));
            let me = at(1).get("/v1/me").bearer(&who.access_token).send().await;
            me.expect(StatusCode::OK);
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
            self.kids.lock().await.insert(kid(&who.access_token));
            let now = self.stack.now();
            let mut verifier = self.verifiers[round % VERIFIERS].lock().await;
            if now - verifier.fetched_at >= LONGEST_COPY {
                *verifier = Verifier::fetch(at(2)).await;
            }
            let age = now - verifier.fetched_at;
            assert!(
                verifier.accepts(&who.access_token, now),
                "a copy of the keys, {age} old, lacks one at {now}"
            );
            self.rounds[person].fetch_add(1, Ordering::SeqCst);
            self.progress.notify_waiters();
        }
        who
    }

    /// Waits until everybody has been through everything since now, and somebody's request is under way.
    async fn goes_on(&self, people: &mut JoinSet<SignedIn>) {
        let since: Vec<usize> = self.counted();
        loop {
            // Asked for before anything is looked at, so that no round is missed.
            let progress = self.progress.notified();
            let has_moved = |(now, since): (usize, &usize)| now > since + 1;
            let all = self.counted().into_iter().zip(&since).all(has_moved);
            if all && self.in_flight.load(Ordering::SeqCst) > 0 {
                return;
            }
            tokio::select! {
                () = progress => {}
                ended = people.join_next() => panic!("somebody's requests have failed: {ended:?}"),
            }
        }
    }

    fn counted(&self) -> Vec<usize> {
        let rounds = self.rounds.iter();
        rounds.map(|one| one.load(Ordering::SeqCst)).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_flight_while_the_steps_of_a_rotation_happen_sign_nobody_out() {
    use TokenAlgorithm::{EdDsa, Rs256};
    let secrets = old_secret().await;
    let stack = Stack::start().await;
    let traffic = Traffic::new(stack.clone(), &secrets).await;
    let mut people = JoinSet::new();
    for person in 0..PEOPLE {
        let email = format!("person{person}@example.com");
        let who = traffic.instances[0].register(&email).await;
        people.spawn(traffic.clone().use_service(person, who));
    }
    let mut signed_by = BTreeSet::new();
    for (number, algorithm) in (0..).zip([Rs256, EdDsa]) {
        let rotation = rotation(&secrets, algorithm, stack.clock.clone(), number);
        let token = format!("rotation-{number}-of-the-keys-0123456789");
        secrets.begin_rotation(&token);
        for step in STEPS {
            traffic.goes_on(&mut people).await;
            rotation.run(step, ARN, &token).await.unwrap();
            // So that instances read the secret between any two steps.
            stack.advance(TimeDelta::minutes(6));
        }
        let newest = || async {
            let keys = Verifier::fetch(&traffic.instances[0]).await.keys.keys;
            let last = keys.last().unwrap();
            last.common.key_id.clone().unwrap()
        };
        // Until the new key has signed and the one that it replaces is over.
        for _ in 0..24 {
            traffic.goes_on(&mut people).await;
            stack.advance(TimeDelta::minutes(10));
        }
        traffic.goes_on(&mut people).await;
        let newest = newest().await;
        assert!(
            traffic.kids.lock().await.contains(&newest),
            "the new key has not signed"
        );
        signed_by.insert(newest);
    }
    assert_eq!(signed_by.len(), 2);
    traffic.is_over.store(true, Ordering::SeqCst);
    let mut still = 0;
    while let Some(who) = people.join_next().await {
        let who = who.unwrap();
        let me = traffic.instances[0].get("/v1/me").bearer(&who.access_token);
        me.send().await.expect(StatusCode::OK);
        still += 1;
    }
    assert_eq!(still, PEOPLE);
    assert_eq!(traffic.kids.lock().await.len(), 3, "each key has signed");
}

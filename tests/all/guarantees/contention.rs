//! Guarantee 7, of a write that meets others: how long it waits between its attempts, and when it gives up.

use std::sync::Arc;
use std::time::Duration;

use latchkey_domain::error::StoreError;
use latchkey_domain::random::SeededRandom;
use latchkey_store::Store;
use latchkey_tests::harness::dynamodb::{EmbeddedDynamoDb, Recorder};
use latchkey_tests::harness::stack::TABLE;
use tokio::time::Instant;

/// The longest pauses, in milliseconds.
const SPANS: [u64; 24] = [
    8, 16, 32, 64, 128, 256, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400,
    400, 400, 400, 400,
];
const REQUESTS: u32 = 200;

/// Tokio's clock stands still but for the pauses.
#[tokio::test(start_paused = true)]
async fn those_who_met_wait_at_random_in_a_doubling_span_and_give_up_after_24_times() {
    let client = EmbeddedDynamoDb::start().client(&Recorder::default());
    let store = Store::new(client, TABLE, Arc::new(SeededRandom::new(1)));
    let mut waited = [Duration::ZERO; SPANS.len()];
    for _ in 0..REQUESTS {
        let mut retries = store.retries();
        for (span, waited) in SPANS.into_iter().zip(&mut waited) {
            let began = Instant::now();
            assert_eq!(retries.pause().await, Ok(()));
            let pause = began.elapsed();
            assert!(pause <= Duration::from_millis(span), "{pause:?} of {span}");
            *waited += pause;
        }
        assert_eq!(retries.pause().await, Err(StoreError::Unavailable));
    }
    for (span, waited) in SPANS.into_iter().zip(waited) {
        let mean = waited.as_secs_f64() * 1e3 / f64::from(REQUESTS);
        let share = mean / Duration::from_millis(span).as_secs_f64() / 1e3;
        assert!((0.4..0.6).contains(&share), "{mean} of {span}");
    }
}

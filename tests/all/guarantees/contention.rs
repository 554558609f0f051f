//! Guarantee 7: the pauses between the attempts of a write that meets others, and how many there are.

use std::sync::Arc;

use latchkey_domain::error::StoreError;
use latchkey_domain::random::SeededRandom;
use latchkey_store::Store;
use latchkey_tests::harness::dynamodb::{EmbeddedDynamoDb, Recorder};
use latchkey_tests::harness::stack::TABLE;
use tokio::time::Instant;

/// The longest pauses, in milliseconds.
const SPANS: [u32; 24] = [
    8, 16, 32, 64, 128, 256, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400,
    400, 400, 400, 400,
];
const REQUESTS: u32 = 200;

/// Tokio's clock stands still but for the pauses.
#[tokio::test(start_paused = true)]
async fn those_who_met_wait_at_random_in_a_doubling_span_and_give_up_after_24_times() {
    let client = EmbeddedDynamoDb::start().client(&Recorder::default());
    let store = Store::new(client, TABLE, Arc::new(SeededRandom::new(1)));
    let mut pauses = [const { Vec::new() }; SPANS.len()];
    for _ in 0..REQUESTS {
        let mut retries = store.retries();
        for (span, pauses) in SPANS.into_iter().zip(&mut pauses) {
            let began = Instant::now();
            assert_eq!(retries.pause().await, Ok(()));
            let pause = began.elapsed();
            pauses.push(pause.as_secs_f64() * 1e3 / f64::from(span));
        }
        assert_eq!(retries.pause().await, Err(StoreError::Unavailable));
    }
    // Those who met and waited equally long would meet again.
    for (span, pauses) in SPANS.into_iter().zip(pauses) {
        let (least, most) = (
            pauses.iter().copied().fold(f64::MAX, f64::min),
            pauses.iter().copied().fold(0.0, f64::max),
        );
        assert!(
            least < 0.2 && most > 0.8 && most <= 1.0,
            "{least}, {most} of {span}"
        );
        let mean = pauses.iter().sum::<f64>() / f64::from(REQUESTS);
        assert!((0.3..0.7).contains(&mean), "{mean} of {span}");
    }
}

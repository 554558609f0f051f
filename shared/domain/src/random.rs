//! Randomness, passed in: ids, salts and the jitter of retries come from here.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};

/// A source of random bytes.
pub trait RandomSource: Debug + Send + Sync {
    /// Fills the buffer.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's cryptographic generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl RandomSource for SystemRandom {
    #[expect(
        clippy::panic,
        reason = "without entropy no id, salt or key is safe, so the request must not go on"
    )]
    #[expect(
        clippy::disallowed_methods,
        reason = "the adapter that the ban points to"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        if let Err(error) = getrandom::fill(bytes) {
            panic!("the operating system gives no random bytes: {error}");
        }
    }
}

/// A repeatable sequence (`SplitMix64`), for tests and benchmarks only: it is predictable.
#[derive(Debug)]
pub struct SeededRandom {
    state: AtomicU64,
}

impl SeededRandom {
    /// The sequence that belongs to `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            state: AtomicU64::new(seed),
        }
    }

    fn next(&self) -> u64 {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self
            .state
            .fetch_add(GAMMA, Ordering::Relaxed)
            .wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl RandomSource for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            for (byte, random) in chunk.iter_mut().zip(self.next().to_le_bytes()) {
                *byte = random;
            }
        }
    }
}

/// Sixteen random bytes: an id, or a salt as long as RFC 9106 section 3.1 recommends.
#[must_use]
pub fn sixteen_bytes(random: &dyn RandomSource) -> [u8; 16] {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seeded_sequence_is_that_of_the_reference_implementation() {
        let mut bytes = [0; 20];
        SeededRandom::new(1_234_567).fill(&mut bytes);
        let words = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973_u64];
        assert_eq!(bytes[..16], words.map(u64::to_le_bytes).concat());
        assert_eq!(
            bytes[16..],
            9_817_491_932_198_370_423_u64.to_le_bytes()[..4]
        );
    }

    #[test]
    fn the_systems_bytes_are_new_each_time() {
        let [one, other] = [(); 2].map(|()| sixteen_bytes(&SystemRandom));
        assert_ne!(one, other);
    }
}

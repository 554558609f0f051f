//! How many of the requests for each operation were answered for certain: a service that answers 503 to everything does
//! nothing wrong, and nothing else.

use std::collections::BTreeMap;

use super::browser::Tally;
use super::user::lock;

/// Operations with fewer requests are judged together: of five, one 503 is chance.
const FEWEST: u64 = 100;

/// The answers to one operation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Share {
    pub(crate) requests: u64,
    pub(crate) definite: u64,
}

impl Share {
    /// In per cent.
    pub(crate) fn percent(self) -> f64 {
        100.0 * self.definite as f64 / self.requests.max(1) as f64
    }

    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.definite += other.definite;
    }
}

/// The share of each operation until now.
pub(crate) fn shares(tally: &Tally) -> BTreeMap<&'static str, Share> {
    let mut shares: BTreeMap<&'static str, Share> = BTreeMap::new();
    for ((operation, column), count) in lock(&tally.answers).iter() {
        shares.entry(operation).or_default().add(Share {
            requests: *count,
            definite: if column == "503" { 0 } else { *count },
        });
    }
    shares
}

/// Which operations had too small a share, in per cent.
pub(crate) fn too_small(shares: &BTreeMap<&'static str, Share>, least: f64) -> Vec<String> {
    let mut judged: BTreeMap<&str, Share> = BTreeMap::new();
    for (operation, share) in shares {
        let name = match share.requests < FEWEST {
            true => "what was rarely asked for",
            false => operation,
        };
        judged.entry(name).or_default().add(*share);
    }
    let too_small = judged
        .into_iter()
        .filter(|(_, share)| share.percent() < least);
    too_small
        .map(|(operation, share)| {
            format!(
                "{operation}: {:.1} % of {} requests had a definite answer, not {least} %",
                share.percent(),
                share.requests
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_is_judged_and_those_that_are_rare_together() {
        let share = |requests, definite| Share { requests, definite };
        let shares = BTreeMap::from([
            ("list", share(1000, 950)),
            ("sign-in", share(1000, 899)),
            ("deletion", share(10, 8)),
            ("purge", share(90, 85)),
        ]);
        let found = too_small(&shares, 90.0);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("sign-in: 89.9 %"), "{found:?}");
        assert_eq!(too_small(&shares, 94.0).len(), 2);
        assert_eq!(too_small(&shares, 100.1).len(), 3);
    }
}

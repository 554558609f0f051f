//! How much a run may take.

use chrono::{DateTime, Utc};

/// How much a run may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// No page is begun after this.
    pub until: DateTime<Utc>,
    /// No page is begun after this many read units.
    pub read_units: f64,
    /// How fast the table is read. The run waits between pages, so that it never takes what requests need.
    pub read_units_per_second: f64,
    /// How many items a page has at most.
    pub page_items: i32,
}

impl Budget {
    /// What a scheduled run may take: 800,000 read units are some 6 GB of items, and 10 cents in us-east-1. A thousand
    /// a second are a third of what one partition of DynamoDB serves, and a small table is one partition.
    #[must_use]
    pub fn until(until: DateTime<Utc>) -> Self {
        Self {
            until,
            read_units: 800_000.0,
            read_units_per_second: 1_000.0,
            page_items: 500,
        }
    }
}

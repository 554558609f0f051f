//! How long to wait for DynamoDB, how often to ask again, and that it is counted.

use std::time::Duration;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{Builder, StalledStreamProtectionConfig};
use aws_sdk_dynamodb::types::ReturnConsumedCapacity;

use crate::metering::Meter;

/// What every request asks for, so that its cost can be counted.
pub(crate) const COUNT_CAPACITY: ReturnConsumedCapacity = ReturnConsumedCapacity::Total;

/// Sets timeouts and retries on a client's configuration, and counts its requests ([`crate::metering`]). The SDK has no timeouts
/// by default.
///
/// DynamoDB answers within some 10 ms; a second without an answer is a lost request. Three attempts take 3.5 seconds
/// at worst. That bounds one request to DynamoDB; a request of a client, which may make four and decide again, is
/// bounded by the HTTP side, at 12 of the function's 15 seconds.
#[must_use]
pub fn with_limits(builder: Builder) -> Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(800))
        .operation_attempt_timeout(Duration::from_secs(1))
        .operation_timeout(Duration::from_millis(3_500))
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(3)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_millis(300));
    builder
        .timeout_config(timeouts)
        .retry_config(retries)
        // For streamed bodies; these replies come in one piece, and the attempt has its timeout.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .interceptor(Meter)
}

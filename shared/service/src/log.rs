//! One way to log what became of a request and to count it.

use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::session::Session;

use crate::metric::Metric;

/// Logs something that was done for a session, and counts it.
pub(crate) fn log_done(what: &'static str, metric: Metric, user: UserId, session: SessionId) {
    tracing::info!(user_id = %user, session_id = %session, "{what}");
    metric.count(1);
}

/// The same for a refresh, with the rotation that its session has now.
pub(crate) fn log_refresh(what: &'static str, metric: Metric, session: &Session) {
    let (user_id, session_id) = (session.user_id, session.id);
    tracing::info!(%user_id, %session_id, rotation = session.rotation, "{what}");
    metric.count(1);
}

/// Logs that something was refused and why, and counts it. User and session are named if they are known.
pub(crate) fn log_refusal(
    what: &'static str,
    reason: &str,
    metric: Metric,
    user: Option<UserId>,
    session: Option<SessionId>,
) {
    let user_id = user.map(tracing::field::display);
    let session_id = session.map(tracing::field::display);
    tracing::info!(user_id, session_id, reason, "{what}");
    metric.count(1);
}

/// Some words in one field.
pub(crate) fn in_words<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(" ")
}

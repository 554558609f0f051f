//! What can go wrong in a use case.

use latchkey_domain::error::StoreError;
use latchkey_domain::throttle::Throttled;

use crate::passwords::PasswordsError;

/// A use case was refused by the rules, or could not be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure<E> {
    /// The rules refused it.
    #[error(transparent)]
    Refused(E),
    /// It was tried too often. Nothing was checked or done.
    #[error(transparent)]
    Throttled(Throttled),
    /// Storage or processors are busy or out of reach. What was asked for may or may not have been done: try again.
    #[error("not available for the moment")]
    Unavailable,
    /// Something is broken on our side; it was logged. Trying again does not help.
    #[error("something is broken")]
    Internal,
}

impl<E> Failure<E> {
    /// Other requests changed the same account meanwhile, again and again. It is counted apart, because whoever has an
    /// account can bring it about.
    pub(crate) fn contended() -> Self {
        metrics::counter!(latchkey_store::metering::CONTENTION).increment(1);
        Self::Unavailable
    }

    /// The same failure of a larger use case, whose refusals are others.
    pub(crate) fn map_refusal<F>(self, map: impl FnOnce(E) -> F) -> Failure<F> {
        match self {
            Self::Refused(refusal) => Failure::Refused(map(refusal)),
            Self::Throttled(throttled) => Failure::Throttled(throttled),
            Self::Unavailable => Failure::Unavailable,
            Self::Internal => Failure::Internal,
        }
    }
}

impl<E> From<StoreError> for Failure<E> {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable => Self::Unavailable,
            StoreError::Corrupt => Self::Internal,
        }
    }
}

impl<E> From<PasswordsError> for Failure<E> {
    fn from(error: PasswordsError) -> Self {
        match error {
            PasswordsError::Busy => Self::Unavailable,
            PasswordsError::HashingFailed => Self::Internal,
        }
    }
}

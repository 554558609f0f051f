//! Step-up: what asks its caller for a recent proof of who they are (OWASP ASVS 5.0, 7.5.1; RFC 9470).

use latchkey_domain::error::ReauthenticationRequired;

use crate::{Caller, Core};

impl Core {
    /// Refuses a caller whose proof is older than the policy's `reauthenticate_within`. One of another instance whose clock is
    /// ahead is young.
    ///
    /// # Errors
    /// [`ReauthenticationRequired`]
    pub fn require_recent_authentication(
        &self,
        caller: Caller,
    ) -> Result<(), ReauthenticationRequired> {
        if self.now() - caller.authenticated_at > self.policy.reauthenticate_within {
            return Err(ReauthenticationRequired);
        }
        Ok(())
    }
}

//! The command that lets a user be signed in to again, after a hundred wrong passwords in a row.

use clap::Args;
use latchkey_service::{Administrator, Service};
use serde_json::json;

use super::error::AdminError;
use super::output::Output;
use super::users::resolve;

/// Whose failed sign-ins are forgotten.
#[derive(Clone, Debug, Args)]
pub(super) struct Unblock {
    /// The user.
    user: String,

    /// The secret of the service whose table it is: TokenSecretArn among the stack's outputs.
    #[arg(long, value_name = "ARN", requires = "table")]
    pub(super) secret: Option<String>,
}

impl Unblock {
    pub(super) async fn execute(
        &self,
        service: &Service,
        who: &Administrator,
    ) -> Result<Output, AdminError> {
        let user = resolve(service, who, &self.user).await?;
        let forgotten = service.unblock_user(who, user).await;
        let forgotten = forgotten.map_err(AdminError::about(&self.user))?;
        let text = if forgotten {
            format!("the failed sign-ins of {} are forgotten", self.user)
        } else {
            format!(
                "no failed sign-ins of {} are counted, so there is nothing to forget; if people say otherwise, this command may have another secret than the service: --secret names it",
                self.user
            )
        };
        Ok(Output::new(
            json!({"user_id": user, "forgotten": forgotten}),
            text,
        ))
    }
}

//! `sign-everybody-out`: for when the secret has leaked, or nobody knows who is signed in.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use latchkey_domain::id::UserId;
use latchkey_service::{Administrator, Failure, Service, UserCursor};
use serde_json::json;
use tokio::time::Instant;

use super::confirm::confirm;
use super::error::AdminError;
use super::output::{Output, sessions_ended, users_signed_out};

/// How often a page of users is asked for, and the users of it, when DynamoDB is busy.
const ATTEMPTS: usize = 3;

/// Sign every user out everywhere; they can sign in again.
///
/// Every account is written once, so that a sign-in under way decides again. The command may be repeated, and continued where it was broken off: it says from where.
#[derive(Clone, Debug, Args)]
pub(crate) struct Everybody {
    /// Without a question.
    #[arg(long)]
    yes: bool,

    /// How many users a second, at most: each costs 1 write unit and some read units.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    rate: u16,

    /// Continue where an earlier run has stopped, by the word that it has printed.
    #[arg(long, value_name = "CURSOR")]
    from: Option<UserCursor>,
}

/// How far a run has come.
#[derive(Debug, Default)]
struct Progress {
    users: usize,
    sessions: usize,
    failed: usize,
}

impl Everybody {
    pub(super) async fn execute(
        &self,
        service: &Service,
        who: &Administrator,
        place: &str,
    ) -> Result<Output, AdminError> {
        confirm(
            self.yes,
            &format!("This signs every user of {place} out everywhere."),
        )?;
        let mut progress = Progress::default();
        let mut from = self.from.clone();
        loop {
            let page = browse(service, who, from.clone()).await;
            let page = page.inspect_err(|_| tell(&progress, from.as_ref()))?;
            let users: Vec<UserId> = page.users.iter().map(|account| account.id).collect();
            self.sign_out(service, who, users, &mut progress).await;
            from = page.next;
            if from.is_none() {
                break;
            }
            tell(&progress, from.as_ref());
        }
        let Progress {
            users,
            sessions,
            failed,
        } = progress;
        let json = json!({"users": users, "sessions": sessions, "failed": failed});
        let text = format!("{}; {}", users_signed_out(users), sessions_ended(sessions));
        let failure = (failed > 0).then_some(AdminError::Incomplete(failed));
        Ok(Output::new(json, text).failing(failure))
    }

    /// Signs some users out, at the rate. One whose account is busy is tried again.
    async fn sign_out(
        &self,
        service: &Service,
        who: &Administrator,
        users: Vec<UserId>,
        progress: &mut Progress,
    ) {
        let mut left = users;
        for _ in 0..ATTEMPTS {
            let mut busy = Vec::new();
            for some in left.chunks(usize::from(self.rate)) {
                let began = Instant::now();
                for revocation in service.revoke_all_of_many(who, some.to_vec()).await {
                    match revocation.result {
                        Ok(revoked) => {
                            progress.users += 1;
                            progress.sessions += revoked;
                        }
                        // Deleted since the page was read.
                        Err(Failure::Refused(_)) => {}
                        Err(Failure::Throttled(_) | Failure::Unavailable) => {
                            busy.push(revocation.user);
                        }
                        Err(Failure::Internal) => progress.failed += 1,
                    }
                }
                let share = Duration::from_secs(1) * u32::try_from(some.len()).unwrap_or(u32::MAX)
                    / u32::from(self.rate);
                tokio::time::sleep_until(began + share).await;
            }
            left = busy;
        }
        progress.failed += left.len();
    }
}

async fn browse(
    service: &Service,
    who: &Administrator,
    from: Option<UserCursor>,
) -> Result<latchkey_service::UserPage, AdminError> {
    let mut attempt = 1;
    loop {
        match service.browse_users(who, from.clone()).await {
            Err(Failure::Unavailable) if attempt < ATTEMPTS => attempt += 1,
            page => return page.map_err(AdminError::about("")),
        }
    }
}

/// Tells people how far it has come, and from where it can be continued.
fn tell(progress: &Progress, next: Option<&UserCursor>) {
    let users = users_signed_out(progress.users);
    let from = next.map(|next| format!("; to continue from here: --from {next}"));
    // Nobody may be reading: the work goes on all the same.
    let _ = writeln!(io::stderr(), "{users}{}", from.unwrap_or_default());
}

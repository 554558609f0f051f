//! The command that makes an account readable again which somebody has written by hand in another form.

use clap::{ArgGroup, Args};
use latchkey_domain::email::EmailAddress;
use latchkey_domain::id::UserId;
use latchkey_domain::identity::Identity;
use latchkey_service::{Administrator, Damage, LeadsToUser, Repair, Service};
use serde_json::json;

use super::error::AdminError;
use super::output::{Output, number_of, sessions_ended};
use super::users::identity_part;

const USAGE: &str = "\
latchkey admin repair [OPTIONS] <USER>
       latchkey admin repair [OPTIONS] --issuer <ISSUER> --subject <SUBJECT>";

/// Whose account is repaired. clap would write the two ways as one line, in which issuer and subject stand apart.
#[derive(Clone, Debug, Args)]
#[command(override_usage = USAGE, group = ArgGroup::new("whose").required(true).args(["user", "issuer"]))]
pub(super) struct RepairAccount {
    /// The user.
    user: Option<String>,

    /// The identity provider of somebody who signs in elsewhere. Together with --subject.
    #[arg(long, requires = "subject", value_parser = identity_part)]
    issuer: Option<String>,

    /// Who they are there.
    #[arg(long, requires = "issuer", conflicts_with = "user", value_parser = identity_part)]
    subject: Option<String>,

    /// Write it. Without this, the command says what it would do.
    #[arg(long)]
    apply: bool,
}

impl RepairAccount {
    pub(super) async fn execute(
        &self,
        service: &Service,
        who: &Administrator,
    ) -> Result<Output, AdminError> {
        let (user, named) = self.resolve(service, who).await?;
        let repair = if self.apply {
            service.repair_account(who, user).await
        } else {
            service.inspect_account(who, user).await
        };
        Ok(output(user, &repair.map_err(AdminError::about(&named))?))
    }

    /// The user, by what leads to the account: it cannot be read itself.
    async fn resolve(
        &self,
        service: &Service,
        who: &Administrator,
    ) -> Result<(UserId, String), AdminError> {
        let (leads, named) = match (&self.user, &self.issuer, &self.subject) {
            (Some(user), ..) => {
                if let Ok(id) = UserId::parse_any_case(user.trim()) {
                    return Ok((id, user.clone()));
                }
                let email = EmailAddress::parse_existing(user);
                let email = email.map_err(|_| AdminError::NotAUser(user.clone()))?;
                (LeadsToUser::Address(email), user.clone())
            }
            (None, issuer, subject) => {
                let [issuer, subject] = [issuer, subject].map(|part| part.as_deref().unwrap_or(""));
                let named = format!("{subject} of {issuer}");
                let identity = Identity::new(issuer, subject);
                let identity = identity.map_err(|_| AdminError::NoSuchUser(named.clone()))?;
                (LeadsToUser::Identity(identity), named)
            }
        };
        let found = service.find_user_id(who, leads).await;
        let found = found.map_err(AdminError::about(&named))?;
        match found {
            Some(user) => Ok((user, named)),
            None => Err(AdminError::NoSuchUser(named)),
        }
    }
}

fn output(user: UserId, repair: &Repair) -> Output {
    let (state, damage, text, failure) = match repair {
        Repair::NotNeeded => (
            "readable",
            None,
            format!("the account of user {user} can be read: there is nothing to repair"),
            None,
        ),
        Repair::Possible(damage) => (
            "repairable",
            Some(damage),
            format!(
                "the account of user {user} cannot be read: {}\n--apply writes it in today's form and ends {}; nothing else of it changes",
                broken(damage),
                number_of(damage.sessions, "session"),
            ),
            None,
        ),
        Repair::Done(damage) => (
            "repaired",
            Some(damage),
            format!(
                "the account of user {user} is repaired ({}); {}",
                broken(damage),
                sessions_ended(damage.sessions)
            ),
            None,
        ),
        Repair::Beyond => (
            "beyond_repair",
            None,
            format!(
                "the account of user {user} cannot be read, and what is broken is kept nowhere else"
            ),
            Some(AdminError::BeyondRepair(user)),
        ),
    };
    let json = json!({
        "user_id": user,
        "state": state,
        "broken": damage.map(|damage| &damage.attributes),
        "sessions": damage.map(|damage| damage.sessions),
    });
    Output::new(json, text).failing(failure)
}

fn broken(damage: &Damage) -> String {
    let is = if damage.attributes.len() == 1 {
        "is"
    } else {
        "are"
    };
    format!(
        "{} {is} not in the form that it should have",
        damage.attributes.join(" and ")
    )
}

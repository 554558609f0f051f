//! Commands about one user, or some.

use clap::Subcommand;
use latchkey_api::admin::resource::{
    AdminRevocationsResource, AdminSessionListResource, AdminSessionOfUserResource,
    AdminUserPageResource, AdminUserResource,
};
use latchkey_domain::account::Account;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::identity::{Identity, InvalidIdentity};
use latchkey_domain::role::Role;
use latchkey_service::{AccountUpdate, Administrator, Chosen, Service, UserPage, UserRevocation};
use serde_json::{Value, json};

use super::confirm::confirm;
use super::error::AdminError;
use super::output::{Output, session_text, sessions_ended, user_line, user_text};

const USAGE_OF_FIND: &str = "\
latchkey admin find [OPTIONS] [USER]
       latchkey admin find [OPTIONS] --session <SESSION>
       latchkey admin find [OPTIONS] --issuer <ISSUER> --subject <SUBJECT>";

/// What is done about users.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Give a user a role: administration, unless another is named.
    ///
    /// It is in the access tokens of the user's next refresh or sign-in. No account has the role of administration until it is granted.
    Grant {
        /// The user.
        user: String,
        /// The role.
        #[arg(long, default_value = "admin")]
        role: Role,
    },
    /// Take a role from a user: administration, unless another is named.
    ///
    /// It allows nothing any more from the next request on.
    Withdraw {
        /// The user.
        user: String,
        /// The role.
        #[arg(long, default_value = "admin")]
        role: Role,
    },
    /// Show a user, the user of a session or of a sign-in made elsewhere, or without these all users.
    ///
    /// Who signs in elsewhere (Google, SAML) is not found by an address: the list without a user shows issuer and subject, by which they are found.
    #[command(override_usage = USAGE_OF_FIND)]
    Find {
        /// The user.
        user: Option<String>,
        /// A session, whose user and description are shown.
        #[arg(long, value_name = "SESSION", conflicts_with = "user", value_parser = session_id)]
        session: Option<SessionId>,
        /// The identity provider of somebody who signs in elsewhere, as `identity.issuer` names it. Together with --subject.
        #[arg(long, requires = "subject", conflicts_with_all = ["user", "session"], value_parser = identity_part)]
        issuer: Option<String>,
        /// Who they are there.
        #[arg(long, requires = "issuer", conflicts_with_all = ["user", "session"], value_parser = identity_part)]
        subject: Option<String>,
    },
    /// List where a user is signed in.
    Sessions {
        /// The user.
        user: String,
        /// Those that have ended or expired too, as long as they are kept.
        #[arg(long)]
        all: bool,
    },
    /// End one session.
    Revoke {
        /// The session.
        #[arg(value_parser = session_id)]
        session: SessionId,
        /// Whose it is, for a session that `find --session` does not find: its item is gone, and the account admits it.
        #[arg(long, value_name = "USER")]
        user: Option<String>,
    },
    /// Sign users out everywhere. They can sign in again.
    ///
    /// Each has its own result: one that is not found leaves the others alone.
    ///
    /// The exit code is 0 if all were signed out. Otherwise it is that of the first who was not: 3 if there is no such user, 2 for what is neither an address nor an id, 1 if it could not be done, so that the command is to be run again.
    RevokeAll {
        /// The users.
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Close an account: all its sessions end, and nobody can sign in.
    Disable {
        /// The user.
        user: String,
    },
    /// Open a closed account again. Sessions that have ended stay ended.
    Enable {
        /// The user.
        user: String,
    },
    /// Send a user a link to choose another password.
    ///
    /// The link goes to the address of the account, verified or not, and is valid for 10 minutes from when the mail is sent. Until
    /// it is opened nothing changes; then the user chooses the password, all sessions end, and the address is verified. Of several
    /// links the first that is opened makes the others invalid.
    ///
    /// This command asks for the link; the service sends it: on AWS where MAIL_FROM is set, otherwise your own service that hears
    /// the event password_reset.requested. The local stack shows it at /local/mail.
    PasswordReset {
        /// The user.
        user: String,
    },
    /// Delete a user and everything that is kept of them. It cannot be undone.
    Delete {
        /// The user.
        user: String,
        /// Without a question.
        #[arg(long)]
        yes: bool,
        /// The secret of the service whose table it is: with it the marks of refused sign-ins go too.
        #[arg(long, value_name = "ARN", requires = "table")]
        secret: Option<String>,
    },
}

fn session_id(text: &str) -> Result<SessionId, latchkey_domain::id::MalformedId> {
    SessionId::parse_any_case(text)
}

pub(super) fn identity_part(text: &str) -> Result<String, InvalidIdentity> {
    Identity::check(text).map(|()| text.to_owned())
}

impl UserCommand {
    pub(super) async fn execute(
        &self,
        service: &Service,
        who: &Administrator,
        place: &str,
    ) -> Result<Output, AdminError> {
        match self {
            Self::Grant { user, role } => {
                let id = resolve(service, who, user).await?;
                let account = service.grant_role(who, id, role.clone()).await;
                Ok(user_output(&account.map_err(AdminError::about(user))?))
            }
            Self::Withdraw { user, role } => {
                let id = resolve(service, who, user).await?;
                let account = service.withdraw_role(who, id, role.clone()).await;
                Ok(user_output(&account.map_err(AdminError::about(user))?))
            }
            Self::Find {
                user: Some(user), ..
            } => {
                let id = resolve(service, who, user).await?;
                let account = service.show_user(who, id).await;
                Ok(user_output(&account.map_err(AdminError::about(user))?))
            }
            Self::Find {
                session: Some(session),
                ..
            } => {
                let named = session.to_string();
                let found = service.find_session(who, *session).await;
                let found = found.map_err(AdminError::about(&named))?;
                let shown = AdminSessionOfUserResource::new(&found, None);
                let described = session_text(&found.described);
                let text = format!("{}\n\n{described}", user_text(&found.account));
                Ok(Output::new(json!(shown), text))
            }
            Self::Find {
                issuer: Some(issuer),
                subject: Some(subject),
                ..
            } => {
                let named = format!("{subject} of {issuer}");
                let identity = Identity::new(issuer, subject);
                let identity = identity.map_err(|_| AdminError::NoSuchUser(named.clone()))?;
                let found = service.find_user_of_identity(who, &identity).await;
                let found = found.map_err(AdminError::about(&named))?;
                Ok(user_output(&found.ok_or(AdminError::NoSuchUser(named))?))
            }
            Self::Find { .. } => all_users(service, who).await,
            Self::Sessions { user, all } => {
                let id = resolve(service, who, user).await?;
                let chosen = if *all { Chosen::All } else { Chosen::Live };
                let sessions = service.list_sessions_of(who, id, chosen).await;
                let sessions = sessions.map_err(AdminError::about(user))?;
                let shown = AdminSessionListResource::new(&sessions, None);
                let text: Vec<String> = sessions.iter().map(session_text).collect();
                let text = if text.is_empty() {
                    format!("{user} is not signed in anywhere")
                } else {
                    text.join("\n\n")
                };
                Ok(Output::new(json!(shown), text))
            }
            Self::Revoke { session, user } => {
                let named = session.to_string();
                let user = match user {
                    Some(user) => resolve(service, who, user).await?,
                    None => {
                        let found = service.find_session(who, *session).await;
                        found.map_err(AdminError::about(&named))?.account.id
                    }
                };
                let revoked = service.revoke_of(who, user, *session).await;
                revoked.map_err(AdminError::about(&named))?;
                let json = json!({"user_id": user, "session_id": session});
                Ok(Output::new(
                    json,
                    format!("session {session} of user {user} has ended"),
                ))
            }
            Self::RevokeAll { users } => revoke_all(service, who, users).await,
            Self::Disable { user } => set_active(service, who, user, false).await,
            Self::Enable { user } => set_active(service, who, user, true).await,
            Self::PasswordReset { user } => {
                let id = resolve(service, who, user).await?;
                let sent = service.send_password_reset(who, id).await;
                sent.map_err(AdminError::about(user))?;
                let json = json!({"user_id": id, "requested": true});
                Ok(Output::new(
                    json,
                    format!("a link was asked for, to be sent to user {id}"),
                ))
            }
            Self::Delete { user, yes, .. } => {
                let id = resolve(service, who, user).await?;
                let account = service.show_user(who, id).await;
                account.map_err(AdminError::about(user))?;
                confirm(
                    *yes,
                    &format!(
                        "This deletes {user} and all that is kept of them in {place}, for good."
                    ),
                )?;
                let deleted = service.delete_user(who, id).await;
                deleted.map_err(AdminError::about(user))?;
                let json = json!({"user_id": id, "deleted": true});
                Ok(Output::new(json, format!("user {id} is deleted")))
            }
        }
    }
}

/// The user that an operator names by an address or an id.
pub(super) async fn resolve(
    service: &Service,
    who: &Administrator,
    named: &str,
) -> Result<UserId, AdminError> {
    if let Ok(id) = UserId::parse_any_case(named.trim()) {
        return Ok(id);
    }
    let email =
        EmailAddress::parse_existing(named).map_err(|_| AdminError::NotAUser(named.to_owned()))?;
    let found = service.find_user(who, &email).await;
    let found = found.map_err(AdminError::about(named))?;
    let account = found.ok_or_else(|| AdminError::NoSuchUser(named.to_owned()))?;
    Ok(account.id)
}

async fn set_active(
    service: &Service,
    who: &Administrator,
    user: &str,
    active: bool,
) -> Result<Output, AdminError> {
    let id = resolve(service, who, user).await?;
    let update = AccountUpdate {
        active: Some(active),
        roles: None,
    };
    let account = service.update_account(who, id, update).await;
    Ok(user_output(&account.map_err(AdminError::about(user))?))
}

async fn all_users(service: &Service, who: &Administrator) -> Result<Output, AdminError> {
    let (mut users, mut from) = (Vec::new(), None);
    loop {
        let page = service.browse_users(who, from).await;
        let page = page.map_err(AdminError::about(""))?;
        users.extend(page.users);
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    users.sort_by_key(|account| (account.created_at, account.id));
    let lines: Vec<String> = users.iter().map(user_line).collect();
    let text = if lines.is_empty() {
        "no users yet".to_owned()
    } else {
        lines.join("\n")
    };
    let page = UserPage { users, next: None };
    Ok(Output::new(json!(AdminUserPageResource::from(&page)), text))
}

async fn revoke_all(
    service: &Service,
    who: &Administrator,
    named: &[String],
) -> Result<Output, AdminError> {
    // Each has its own result: one that is misspelt does not keep the others signed in.
    let mut users: Vec<Result<UserId, AdminError>> = Vec::new();
    for (place, user) in named.iter().enumerate() {
        if named.iter().take(place).any(|before| before == user) {
            continue;
        }
        let user = resolve(service, who, user).await;
        let is_new = |id: &UserId| !users.iter().flatten().any(|known| known == id);
        if user.as_ref().map_or(true, is_new) {
            users.push(user);
        }
    }
    let found: Vec<UserId> = users.iter().flatten().copied().collect();
    let revocations: Vec<UserRevocation> = service.revoke_all_of_many(who, found).await;
    let shown = json!(AdminRevocationsResource::from(revocations.as_slice()));
    let shown = shown.get("results").and_then(Value::as_array);
    let shown = shown.cloned().unwrap_or_default();
    let mut revocations = revocations.iter().zip(shown);
    let (mut lines, mut results) = (Vec::new(), Vec::new());
    let (mut failed, mut first) = (0, None);
    for user in users {
        let error = match user {
            Err(error) => {
                lines.push(error.to_string());
                results.push(json!({"error": error.to_string()}));
                error
            }
            Ok(_) => {
                let Some((UserRevocation { user, result }, shown)) = revocations.next() else {
                    continue;
                };
                results.push(shown);
                match result {
                    Ok(revoked) => {
                        lines.push(format!("user {user}: {}", sessions_ended(*revoked)));
                        continue;
                    }
                    Err(error) => {
                        let error = AdminError::about(&user.to_string())(*error);
                        lines.push(error.to_string());
                        error
                    }
                }
            }
        };
        failed += 1;
        first.get_or_insert(error);
    }
    let failure = first.map(|first| AdminError::NotAll {
        failed,
        of: lines.len(),
        first: Box::new(first),
    });
    Ok(Output::new(json!({"results": results}), lines.join("\n")).failing(failure))
}

fn user_output(account: &Account) -> Output {
    Output::new(json!(AdminUserResource::from(account)), user_text(account))
}

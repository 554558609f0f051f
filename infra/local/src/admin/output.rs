//! What a command prints: JSON in the form of the API's replies, or text for people.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use latchkey_domain::account::{Account, Liveness};
use latchkey_domain::text::is_control;
use latchkey_service::DescribedSession;
use serde_json::Value;

use super::error::AdminError;

/// What came of a command, for programs and for people.
#[derive(Debug)]
pub(crate) struct Output {
    json: Value,
    text: String,
    failure: Option<AdminError>,
}

impl Output {
    pub(super) fn new(json: Value, text: String) -> Self {
        Self {
            json,
            text,
            failure: None,
        }
    }

    /// The same of a command that has not done all of it.
    pub(super) fn failing(mut self, failure: Option<AdminError>) -> Self {
        self.failure = failure;
        self
    }

    pub(super) fn to_json(&self) -> String {
        format!("{:#}", self.json)
    }

    pub(super) fn into_result(self) -> Result<(), AdminError> {
        self.failure.map_or(Ok(()), Err)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// What a client has sent, as a terminal may show it: a control character could do there what nobody wants.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if is_control(c) { '\u{fffd}' } else { c })
        .collect()
}

fn roles(account: &Account) -> String {
    let roles: Vec<&str> = account.roles.iter().map(|role| role.as_str()).collect();
    if roles.is_empty() {
        "none".to_owned()
    } else {
        roles.join(" ")
    }
}

fn status(account: &Account) -> &'static str {
    if account.is_active() {
        "active"
    } else {
        "disabled"
    }
}

/// The address, and whether its owner has opened a link that was sent there.
fn address(account: &Account) -> String {
    let Some(email) = account.email() else {
        return "none".to_owned();
    };
    let verified = if account.is_email_verified() {
        "verified"
    } else {
        "not verified"
    };
    format!("{} ({verified})", plain(email.as_typed()))
}

/// What the user signs in with. `find` takes issuer and subject.
fn way_in(account: &Account) -> String {
    match &account.identity {
        None => "with a password".to_owned(),
        Some(identity) => format!(
            "elsewhere: issuer {}, subject {}",
            plain(identity.issuer()),
            plain(identity.subject())
        ),
    }
}

/// So many of something: "1 user", "2 users".
pub(super) fn number_of(count: usize, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    }
}

/// "1 session has ended", "2 sessions have ended".
pub(super) fn sessions_ended(count: usize) -> String {
    let has = if count == 1 { "has" } else { "have" };
    format!("{} {has} ended", number_of(count, "session"))
}

/// "1 user is signed out", "2 users are signed out".
pub(super) fn users_signed_out(count: usize) -> String {
    let is = if count == 1 { "is" } else { "are" };
    format!("{} {is} signed out", number_of(count, "user"))
}

/// A user, on some lines. What stands there of another provider is no command: a shell would read what it holds.
pub(super) fn user_text(account: &Account) -> String {
    let found_by = match account.identity {
        Some(_) => "\nfound by    find --issuer and --subject, not by the address",
        None => "",
    };
    format!(
        "user        {}\nemail       {}\nsigns in    {}{found_by}\nstatus      {}\nroles       {}\nsessions    {}\nregistered  {}",
        account.id,
        address(account),
        way_in(account),
        status(account),
        roles(account),
        account.sessions.len(),
        time(account.created_at)
    )
}

/// A user, on one line of a list.
pub(super) fn user_line(account: &Account) -> String {
    format!(
        "{}  {:8}  {}  {}  roles: {}  signs in {}",
        account.id,
        status(account),
        time(account.created_at),
        address(account),
        roles(account),
        way_in(account)
    )
}

/// A session, on some lines.
pub(super) fn session_text(described: &DescribedSession) -> String {
    let session = &described.session;
    let state = match described.liveness {
        Liveness::Live => "live",
        Liveness::AccountNotActive | Liveness::NotAdmitted => "ended",
        Liveness::IdleExpired | Liveness::AbsolutelyExpired => "expired",
    };
    let ip = session.location.ip_address.map(|ip| ip.to_string());
    let mut text = format!(
        "session     {}\nstate       {state}\ndevice      {}\naddress     {}\nsigned in   {}\nlast used   {}\nexpires     {}",
        session.id,
        plain(session.device.shown_name()),
        ip.as_deref().unwrap_or("unknown"),
        time(session.created_at),
        time(session.last_used_at),
        time(session.expires_at())
    );
    let marks = [
        (session.new_device, "new device"),
        (session.unusual_location, "unusual place"),
    ];
    let marks = marks.into_iter().filter(|(is_marked, _)| *is_marked);
    let marks: Vec<&str> = marks.map(|(_, mark)| mark).collect();
    if !marks.is_empty() {
        text = format!("{text}\nmarked      {}", marks.join(", "));
    }
    if let Some(name) = &session.name {
        text = format!("{text}\nname        {}", plain(name));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_told_as_many() {
        let told: Vec<String> = (0..3).map(sessions_ended).collect();
        assert_eq!(
            told,
            [
                "0 sessions have ended",
                "1 session has ended",
                "2 sessions have ended"
            ]
        );
        let told: Vec<String> = (1..3).map(users_signed_out).collect();
        assert_eq!(told, ["1 user is signed out", "2 users are signed out"]);
    }
}

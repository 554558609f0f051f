//! How often something may be tried: passwords for an account, passwords from an address, requests on a session.
//!
//! A wrong password is one **failure** of whoever gave it. The failures of clients that hold a device token of the
//! account are counted for each such client, and those of all other clients together (OWASP, "Device cookies"), so a
//! stranger's guesses never keep an owner out of a device on which they have signed in before. The count is of attempts,
//! taken before the password is checked: of any number at once, no more are checked than one after the other.
//!
//! Whoever has a password can collect device tokens, one at each sign-in. They are of no use until it is changed, because a
//! password that one knows need not be guessed; then all tokens from before share one count. So such a person gets as many
//! guesses at the next password as one stranger, and can keep the owner out of nothing but devices that were last used
//! before the change. We do not make those strangers' at once: their owner may still be among them.

use std::fmt;
use std::net::IpAddr;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};

use crate::email::EmailAddress;
use crate::id::{DeviceNonce, UserId};

/// After how many failures in a row no more are checked (NIST SP 800-63B-4, 3.2.2).
pub const HARD_STOP: u32 = 100;

/// How many wrong passwords a session survives: the fifth ends it. Without a bound, whoever has an access token for a
/// moment could guess the password for as long as it is valid.
pub const MAX_WRONG_PASSWORDS: u32 = 5;

/// The longest wait between two attempts before the [`HARD_STOP`].
pub const LONGEST_WAIT: TimeDelta = TimeDelta::minutes(15);

/// How long after its last attempt a counter is kept. Then the count begins again, after a hard stop too.
pub const COUNTER_LIFETIME: TimeDelta = TimeDelta::days(30);

/// The window in which the attempts of an address and the requests on a session are counted.
pub const WINDOW: TimeDelta = TimeDelta::minutes(1);

/// The window in which the links for an address are counted.
pub const LINK_WINDOW: TimeDelta = TimeDelta::hours(1);

/// How often something may be tried; 0 turns a limit off. The defaults are those of the template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many wrong passwords in a row are checked without a wait; at most [`HARD_STOP`].
    pub free_failures: u32,
    /// How many requests with a password an address may send in a minute.
    pub address_attempts: u32,
    /// How many mails of one kind may be asked for in an hour for one e-mail address, known or not.
    pub links: u32,
    /// How often sessions may be listed on one session in a minute.
    pub lists: u32,
    /// How often sessions may be revoked or renamed on one session in a minute.
    pub changes: u32,
    /// How often ended sessions may be purged, and data exported, on one session in a minute.
    pub purges: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            free_failures: 10,
            address_attempts: 60,
            links: 5,
            lists: 30,
            changes: 10,
            purges: 5,
        }
    }
}

impl Limits {
    /// None of them: for a load test, which comes from one address and one user.
    #[must_use]
    pub fn off() -> Self {
        Self {
            free_failures: 0,
            address_attempts: 0,
            links: 0,
            lists: 0,
            changes: 0,
            purges: 0,
        }
    }
}

/// A limit that was reached, as a client is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Wrong passwords in a row.
    Guesses,
    /// Passwords that are checked at once on one session.
    Passwords,
    /// Requests with a password, from one address.
    SignIn,
    /// Links that are sent to one e-mail address, and new addresses that one user asks for.
    Links,
    /// Lists on one session.
    List,
    /// Revocations and renames on one session.
    Change,
    /// Purges and exports on one session.
    Purge,
}

impl Limit {
    /// Its name, which never changes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guesses => "guesses",
            Self::Passwords => "passwords",
            Self::SignIn => "signin",
            Self::Links => "links",
            Self::List => "list",
            Self::Change => "change",
            Self::Purge => "purge",
        }
    }

    /// How many attempts it allows: in its window, or before the first wait.
    #[must_use]
    pub const fn quota(self, limits: &Limits) -> u32 {
        match self {
            Self::Guesses => limits.free_failures,
            Self::Passwords => MAX_WRONG_PASSWORDS,
            Self::SignIn => limits.address_attempts,
            Self::Links => limits.links,
            Self::List => limits.lists,
            Self::Change => limits.changes,
            Self::Purge => limits.purges,
        }
    }

    /// Its window. Failures in a row have none: each makes the next wait longer.
    #[must_use]
    pub const fn window(self) -> Option<TimeDelta> {
        match self {
            Self::Guesses | Self::Passwords => None,
            Self::Links => Some(LINK_WINDOW),
            Self::SignIn | Self::List | Self::Change | Self::Purge => Some(WINDOW),
        }
    }
}

/// A limit that was exceeded, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub limit: Limit,
    /// What it allows.
    pub quota: u32,
    /// How long until it may be tried again; more than nothing.
    pub wait: TimeDelta,
}

impl Violation {
    /// A violation of a limit that ends at `until`.
    #[must_use]
    pub fn new(limit: Limit, limits: &Limits, until: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self {
            limit,
            quota: limit.quota(limits),
            // By another instance's clock it may be over; by this one's it is not.
            wait: (until - now).max(TimeDelta::milliseconds(1)),
        }
    }
}

/// A request that exceeds one limit or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests")]
pub struct Throttled {
    /// One.
    pub one: Violation,
    /// Another one.
    pub other: Option<Violation>,
}

impl Throttled {
    /// What was exceeded, if anything was.
    #[must_use]
    pub fn by(one: Option<Violation>, other: Option<Violation>) -> Option<Self> {
        match (one, other) {
            (Some(one), other) => Some(Self { one, other }),
            (None, Some(one)) => Some(one.into()),
            (None, None) => None,
        }
    }

    /// What was exceeded.
    pub fn violations(&self) -> impl Iterator<Item = Violation> {
        std::iter::once(self.one).chain(self.other)
    }

    /// How long until nothing is exceeded any more.
    #[must_use]
    pub fn wait(&self) -> TimeDelta {
        let other = self.other.map_or(TimeDelta::zero(), |other| other.wait);
        self.one.wait.max(other)
    }
}

impl From<Violation> for Throttled {
    fn from(one: Violation) -> Self {
        Self { one, other: None }
    }
}

/// How long after the last attempt the next one is checked, when so many were counted in a row: nothing for the free ones,
/// then 1 s, 2 s, 4 s and so on up to [`LONGEST_WAIT`]; after [`HARD_STOP`] as long as the counter is kept.
#[must_use]
pub fn wait_after(counted: u32, free_failures: u32) -> TimeDelta {
    if counted >= HARD_STOP {
        return COUNTER_LIFETIME;
    }
    match counted.checked_sub(free_failures) {
        None => TimeDelta::zero(),
        Some(further) => {
            let seconds = 1_i64.checked_shl(further.min(32)).unwrap_or(i64::MAX);
            TimeDelta::try_seconds(seconds).map_or(LONGEST_WAIT, |wait| wait.min(LONGEST_WAIT))
        }
    }
}

/// One step of [`wait_after`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The step holds when fewer than this were counted; the last one always does.
    pub fewer_than: Option<u32>,
    /// How long the last attempt must be past.
    pub wait: TimeDelta,
}

/// [`wait_after`] as the steps of a condition: an attempt is checked if one of them holds and its wait is over. Waits only
/// become longer, so an earlier step that holds too asks for less than a later one and cannot let through more.
#[must_use]
pub fn steps(free_failures: u32) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for counted in 0..=HARD_STOP {
        let wait = wait_after(counted, free_failures);
        let fewer_than = (counted < HARD_STOP).then_some(counted + 1);
        match steps.last_mut() {
            Some(last) if last.wait == wait => last.fewer_than = fewer_than,
            Some(_) | None => steps.push(Step { fewer_than, wait }),
        }
    }
    steps
}

/// The beginning and the end of the [`WINDOW`] that `now` is in.
#[must_use]
pub fn window_of(now: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
    window_around(now, WINDOW)
}

/// The beginning and the end of the [`LINK_WINDOW`] that `now` is in.
#[must_use]
pub fn link_window_of(now: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
    window_around(now, LINK_WINDOW)
}

fn window_around(now: DateTime<Utc>, length: TimeDelta) -> (DateTime<Utc>, DateTime<Utc>) {
    let into = now.timestamp_millis().rem_euclid(length.num_milliseconds());
    let begin = now - TimeDelta::milliseconds(into);
    (begin, begin + length)
}

/// For what a mail to an address is asked for. Each is counted apart: whoever asks for one of them, uses up no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailReason {
    /// Another password.
    Reset,
    /// That the user's address is to be verified.
    Verification,
    /// That it is to be the user's address.
    NewAddress,
    /// That somebody has registered with it.
    Registration,
    /// What has happened to its account, which nobody has asked to hear.
    Notice,
    /// What has changed its account, likewise: no number of sign-ins hides that.
    Change,
    /// That an account was created with it.
    Creation,
}

/// What attempts are counted for.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// An e-mail address, whether or not it has an account: the attempts of clients without a device token of it.
    Account(&'a EmailAddress),
    /// An e-mail address, whether or not it has an account: the mails that are sent to it.
    Mailbox(MailReason, &'a EmailAddress),
    /// A user: the new addresses that they ask for. Each answer tells whether one is taken.
    NewAddresses(UserId),
    /// A client with a device token of the password in use.
    Device(DeviceNonce),
    /// All clients of a user with device tokens of replaced passwords.
    FormerDevices(UserId),
    /// An address of the network. All requests whose address is not known are counted together: a limit that is off for
    /// them would be off for everybody, when what hands requests over forgets the address.
    Address(Option<IpAddr>),
}

impl Subject<'_> {
    /// Where it stands among the subjects.
    const fn kind(self) -> &'static str {
        match self {
            Self::Account(_) => "account",
            Self::Mailbox(MailReason::Reset, _) => "resets",
            Self::Mailbox(MailReason::Verification, _) => "verifications",
            Self::Mailbox(MailReason::NewAddress, _) => "moves",
            Self::Mailbox(MailReason::Registration, _) => "registrations",
            Self::Mailbox(MailReason::Notice, _) => "notices",
            Self::Mailbox(MailReason::Change, _) => "notices-of-changes",
            Self::Mailbox(MailReason::Creation, _) => "notices-of-creation",
            Self::NewAddresses(_) => "new-addresses",
            Self::Device(_) => "device",
            Self::FormerDevices(_) => "former-devices",
            Self::Address(_) => "address",
        }
    }

    fn text(self) -> String {
        match self {
            Self::Account(email) | Self::Mailbox(_, email) => email.normalized().to_owned(),
            Self::Device(nonce) => nonce.to_string(),
            Self::FormerDevices(user) | Self::NewAddresses(user) => user.to_string(),
            Self::Address(address) => address.map(network_of).unwrap_or_default(),
        }
    }
}

/// The network that is one client to us: an IPv4 address, or the /64 of an IPv6 address, which is one customer's (RFC
/// 6177). An IPv4 address that is written as IPv6 is IPv4.
pub(crate) fn network_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}/64")
        }
    }
}

/// Where the attempts of a subject are counted: a keyed digest, from which nobody who reads the table finds the subject.
#[derive(Clone, PartialEq, Eq)]
pub struct Counter {
    kind: &'static str,
    digest: String,
}

impl Counter {
    pub(crate) fn new(subject: Subject<'_>, key: &hmac::Key) -> Self {
        // The kind is part of what is signed, so that an address and an account never share a counter.
        let text = format!("{}\0{}", subject.kind(), subject.text());
        let digest = hmac::sign(key, text.as_bytes());
        let half = digest.as_ref().iter().copied().take(16).collect::<Vec<_>>();
        Self {
            kind: subject.kind(),
            digest: URL_SAFE_NO_PAD.encode(half),
        }
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.kind, self.digest)
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Counter({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    fn seconds(counted: u32, free: u32) -> i64 {
        wait_after(counted, free).num_seconds()
    }

    #[test]
    fn the_free_failures_wait_for_nothing_and_each_further_one_doubles_the_wait() {
        for free in [1, 5, 10, 50] {
            assert!(
                (0..free).all(|counted| seconds(counted, free) == 0),
                "{free}"
            );
            let waits: Vec<i64> = (free..free + 12).map(|n| seconds(n, free)).collect();
            let expected = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900];
            assert_eq!(waits, expected, "{free}");
            assert_eq!(seconds(99, free), 900);
            assert_eq!(wait_after(100, free), COUNTER_LIFETIME);
        }
        assert_eq!(seconds(99, 100), 0);
        assert_eq!(wait_after(u32::MAX, 10), COUNTER_LIFETIME);
    }

    #[test]
    fn the_steps_are_the_rule() {
        for free in [1, 2, 10, 99, 100] {
            let steps = steps(free);
            assert!(steps.len() <= 13, "{free}: {steps:?}");
            for counted in 0..=300 {
                let holds = |step: &&Step| step.fewer_than.is_none_or(|most| counted < most);
                let wait = steps.iter().filter(holds).map(|step| step.wait).min();
                assert_eq!(wait, Some(wait_after(counted, free)), "{counted} of {free}");
            }
        }
    }

    /// Whoever tries at the first moment that is allowed.
    #[test]
    fn a_day_of_guessing_gets_fewer_than_two_hundred_tries() {
        let (mut counted, mut now) = (0, TimeDelta::zero());
        loop {
            now += wait_after(counted, Limits::default().free_failures);
            if now >= TimeDelta::days(1) {
                break;
            }
            counted += 1;
        }
        assert_eq!(counted, 100);
    }

    #[test]
    fn a_window_is_a_minute_of_the_clock() {
        let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        for (now, begin) in [
            ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z"),
            ("2026-03-01T12:00:59.999Z", "2026-03-01T12:00:00Z"),
            ("1969-12-31T23:59:30Z", "1969-12-31T23:59:00Z"),
        ] {
            let begin = time(begin);
            assert_eq!(window_of(time(now)), (begin, begin + WINDOW));
        }
    }

    #[test]
    fn an_ipv6_client_is_its_64_and_a_mapped_address_is_the_ipv4_one() {
        let network = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(network("2001:db8:1:2::7"), network("2001:db8:1:2:ffff::1"));
        assert_ne!(network("2001:db8:1:2::7"), network("2001:db8:1:3::7"));
        assert_eq!(network("::ffff:203.0.113.7"), network("203.0.113.7"));
        assert_ne!(network("203.0.113.7"), network("203.0.113.8"));
    }

    #[test]
    fn subjects_have_counters_of_their_own_and_the_key_matters() {
        let key = |byte: u8| hmac::Key::new(hmac::HMAC_SHA256, &[byte; 32]);
        let email = EmailAddress::parse("ada@example.com").unwrap();
        let same = EmailAddress::parse("ADA@example.com").unwrap();
        let of = |subject| Counter::new(subject, &key(1)).to_string();
        assert_eq!(of(Subject::Account(&email)), of(Subject::Account(&same)));
        let address = Subject::Address(Some("203.0.113.7".parse().unwrap()));
        let all = [
            of(Subject::Account(&email)),
            of(address),
            of(Subject::Address(None)),
        ];
        assert!(all[0] != all[1] && all[1] != all[2]);
        assert!(
            all.iter()
                .all(|one| !one.contains("ada") && !one.contains("203"))
        );
        assert_ne!(all[1], Counter::new(address, &key(2)).to_string());
    }

    /// Clients read these words, and dashboards count by them.
    #[test]
    fn each_limit_has_its_word_its_setting_and_its_window() {
        let limits = Limits {
            free_failures: 2,
            address_attempts: 3,
            links: 4,
            lists: 6,
            changes: 7,
            purges: 8,
        };
        let (minute, hour) = (Some(TimeDelta::minutes(1)), Some(TimeDelta::hours(1)));
        for (limit, name, quota, window) in [
            (Limit::Guesses, "guesses", 2, None),
            (Limit::Passwords, "passwords", 5, None),
            (Limit::SignIn, "signin", 3, minute),
            (Limit::Links, "links", 4, hour),
            (Limit::List, "list", 6, minute),
            (Limit::Change, "change", 7, minute),
            (Limit::Purge, "purge", 8, minute),
        ] {
            assert_eq!(limit.name(), name);
            assert_eq!(limit.quota(&limits), quota, "{name}");
            assert_eq!(limit.window(), window, "{name}");
            if limit != Limit::Passwords {
                assert_eq!(limit.quota(&Limits::off()), 0, "{name}");
            }
        }
    }

    #[test]
    fn what_is_counted_for_different_reasons_is_counted_apart() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]);
        let email = EmailAddress::parse("ada@example.com").unwrap();
        let user = UserId::random(&SeededRandom::new(1));
        let nonce = DeviceNonce::random(&SeededRandom::new(2));
        let subjects = [
            (Subject::Account(&email), "account"),
            (Subject::Mailbox(MailReason::Reset, &email), "resets"),
            (
                Subject::Mailbox(MailReason::Verification, &email),
                "verifications",
            ),
            (Subject::Mailbox(MailReason::NewAddress, &email), "moves"),
            (
                Subject::Mailbox(MailReason::Registration, &email),
                "registrations",
            ),
            (Subject::Mailbox(MailReason::Notice, &email), "notices"),
            (Subject::NewAddresses(user), "new-addresses"),
            (Subject::FormerDevices(user), "former-devices"),
            (Subject::Device(nonce), "device"),
            (Subject::Address(None), "address"),
        ];
        let mut digests = std::collections::BTreeSet::new();
        for (subject, kind) in subjects {
            let counter = Counter::new(subject, &key);
            // Both are in the table's key, where those of other users and devices are not the same.
            assert!(
                counter.to_string().starts_with(&format!("{kind}#")),
                "{counter}"
            );
            assert!(digests.insert(counter.digest), "{kind}");
        }
        let other = UserId::random(&SeededRandom::new(3));
        for (one, another) in [
            (Subject::FormerDevices(user), Subject::FormerDevices(other)),
            (Subject::NewAddresses(user), Subject::NewAddresses(other)),
            (
                Subject::Device(nonce),
                Subject::Device(DeviceNonce::random(&SeededRandom::new(4))),
            ),
        ] {
            assert!(Counter::new(one, &key) != Counter::new(another, &key));
        }
    }

    #[test]
    fn the_longer_wait_counts() {
        let limits = Limits::default();
        let now = DateTime::UNIX_EPOCH;
        let one = Violation::new(Limit::SignIn, &limits, now + TimeDelta::seconds(17), now);
        let other = Violation::new(Limit::Guesses, &limits, now + TimeDelta::seconds(99), now);
        assert_eq!(Throttled::by(None, None), None);
        assert_eq!(Throttled::by(None, Some(one)), Some(one.into()));
        let both = Throttled::by(Some(one), Some(other)).unwrap();
        assert_eq!(both.wait(), TimeDelta::seconds(99));
        assert_eq!(both.violations().count(), 2);
        let late = Violation::new(Limit::SignIn, &limits, now, now);
        assert!(late.wait > TimeDelta::zero());
    }
}

//! A session: what is known of one sign-in. Whether it still counts is the account's to say.

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::whole_seconds;
use crate::device::Device;
use crate::geography::Coordinates;
use crate::id::{SessionId, UserId};
use crate::identity::{AuthenticationMethods, UNKNOWN_PROOF};
use crate::policy::SessionPolicy;

/// Where a client calls from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientLocation {
    /// Its address.
    pub ip_address: Option<IpAddr>,
    /// The city that the address is in.
    pub city: Option<String>,
    /// The country that the address is in, as two letters (ISO 3166-1).
    pub country: Option<String>,
    /// Roughly where that is: for distances, and for the export of one's own data.
    pub coordinates: Option<Coordinates>,
}

impl ClientLocation {
    /// Whether anything is known of the place.
    #[must_use]
    pub fn has_place(&self) -> bool {
        self.city.is_some() || self.country.is_some() || self.coordinates.is_some()
    }
}

impl From<IpAddr> for ClientLocation {
    fn from(address: IpAddr) -> Self {
        Self {
            ip_address: Some(address),
            ..Self::default()
        }
    }
}

/// The description of one sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The session, and the lineage of its refresh tokens.
    pub id: SessionId,
    /// Whose session it is.
    pub user_id: UserId,
    /// How often its refresh token has been replaced. The one refresh token that is good carries this number.
    pub rotation: u64,
    /// When that happened last (at first: when the session began).
    pub rotated_at: DateTime<Utc>,
    /// What its owner called it.
    pub name: Option<String>,
    /// When its owner did so, or cleared the name. Unknown where an earlier version wrote it.
    pub renamed_at: Option<DateTime<Utc>>,
    /// What it runs on, as told at sign-in.
    pub device: Device,
    /// Where the client was at the latest refresh or at sign-in.
    pub location: ClientLocation,
    /// Whether the account did not know the device at sign-in.
    pub new_device: bool,
    /// Whether the place was too far from that of the last session at sign-in.
    pub unusual_location: bool,
    /// The client's address at sign-in.
    pub created_ip_address: Option<IpAddr>,
    /// When the user signed in.
    pub created_at: DateTime<Utc>,
    /// When the user last proved who they are, at first by signing in, or [`UNKNOWN_PROOF`]; the `auth_time` of its access
    /// tokens.
    pub authenticated_at: DateTime<Utc>,
    /// How; the `amr` of its access tokens.
    pub methods: AuthenticationMethods,
    /// When it was last refreshed, or began.
    pub last_used_at: DateTime<Utc>,
    /// Ends here unless it is refreshed before; whole seconds.
    pub idle_expires_at: DateTime<Utc>,
    /// Ends here whatever happens; whole seconds.
    pub absolute_expires_at: DateTime<Utc>,
    /// When DynamoDB may delete the item. Never a check: deletion comes hours or days late.
    pub delete_after: DateTime<Utc>,
}

impl Session {
    /// A session that begins now.
    #[must_use]
    pub fn begin(
        id: SessionId,
        user_id: UserId,
        device: Device,
        location: ClientLocation,
        now: DateTime<Utc>,
        policy: &SessionPolicy,
    ) -> Self {
        let absolute_expires_at = after(now, policy.absolute_lifetime);
        Self {
            id,
            user_id,
            rotation: 0,
            rotated_at: now,
            name: None,
            renamed_at: None,
            device,
            new_device: false,
            unusual_location: false,
            created_ip_address: location.ip_address,
            location,
            created_at: now,
            authenticated_at: now,
            methods: AuthenticationMethods::password(),
            last_used_at: now,
            idle_expires_at: idle_expiry(now, policy),
            absolute_expires_at,
            delete_after: after(absolute_expires_at, policy.retention),
        }
    }

    /// When the user last proved who they are, if it is known.
    #[must_use]
    pub fn proved_at(&self) -> Option<DateTime<Utc>> {
        Some(self.authenticated_at).filter(|at| *at > UNKNOWN_PROOF)
    }

    /// The same session of a user who has proved who they are elsewhere, then and so.
    #[must_use]
    pub fn authenticated_elsewhere(
        mut self,
        at: DateTime<Utc>,
        methods: AuthenticationMethods,
    ) -> Self {
        self.authenticated_at = at;
        self.methods = methods;
        self
    }

    /// The session that takes this one's place: on the same device, under the same name. Its client continues, so nothing
    /// about it is new or unusual.
    #[must_use]
    pub fn succeed(
        &self,
        id: SessionId,
        location: ClientLocation,
        now: DateTime<Utc>,
        policy: &SessionPolicy,
    ) -> Self {
        let device = self.device.clone();
        let mut session = Self::begin(id, self.user_id, device, location, now, policy);
        session.name.clone_from(&self.name);
        session
    }

    /// When it ends unless it is refreshed: the earlier of the idle and the absolute expiry. The session is over *at* this moment.
    #[must_use]
    pub fn expires_at(&self) -> DateTime<Utc> {
        self.idle_expires_at.min(self.absolute_expires_at)
    }

    /// Whether its refresh token is old enough to be replaced. The first rotation is exempt from the interval.
    #[must_use]
    pub fn is_rotation_due(&self, now: DateTime<Utc>, policy: &SessionPolicy) -> bool {
        self.rotation == 0 || self.rotated_at <= now - policy.rotation_interval()
    }

    /// Whether time has ended it. Once true it stays true: a refresh needs a session that has not expired.
    #[must_use]
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        now >= self.expires_at()
    }
}

/// The idle expiry of a session used at `now`.
#[must_use]
pub fn idle_expiry(now: DateTime<Utc>, policy: &SessionPolicy) -> DateTime<Utc> {
    after(now, policy.idle_lifetime)
}

fn after(start: DateTime<Utc>, lifetime: TimeDelta) -> DateTime<Utc> {
    whole_seconds(
        start
            .checked_add_signed(lifetime)
            .unwrap_or(DateTime::<Utc>::MAX_UTC),
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::device::ClientHints;
    use crate::random::SeededRandom;

    pub(crate) fn noon() -> DateTime<Utc> {
        "2026-03-01T12:00:00.250Z".parse().unwrap()
    }

    pub(crate) fn session(seed: u64, now: DateTime<Utc>) -> Session {
        let random = SeededRandom::new(seed);
        let user = UserId::random(&SeededRandom::new(0));
        let device = Device::describe(None, None, None, ClientHints::default());
        Session::begin(
            SessionId::random(&random),
            user,
            device,
            ClientLocation::default(),
            now,
            &SessionPolicy::default(),
        )
    }

    #[test]
    fn expiries_are_whole_seconds_and_the_earlier_one_counts() {
        let mut session = session(1, noon());
        assert_eq!(
            session.idle_expires_at.to_rfc3339(),
            "2026-03-08T12:00:00+00:00"
        );
        assert_eq!(
            session.absolute_expires_at.to_rfc3339(),
            "2026-03-31T12:00:00+00:00"
        );
        assert_eq!(session.expires_at(), session.idle_expires_at);
        session.idle_expires_at += TimeDelta::days(365);
        assert_eq!(session.expires_at(), session.absolute_expires_at);
    }

    #[test]
    fn a_token_is_due_at_its_interval_to_the_millisecond_and_the_first_one_at_once() {
        let policy = SessionPolicy::default();
        let mut session = session(1, noon());
        assert!(session.is_rotation_due(noon(), &policy));
        session.rotation = 1;
        let due = noon() + policy.rotation_interval();
        assert!(!session.is_rotation_due(due - TimeDelta::milliseconds(1), &policy));
        assert!(session.is_rotation_due(due, &policy));
        assert!(session.is_rotation_due(due + TimeDelta::milliseconds(1), &policy));
    }

    #[test]
    fn a_proof_is_known_unless_it_is_the_mark_of_an_unknown_one() {
        let mut session = session(1, noon());
        assert_eq!(session.proved_at(), Some(noon()));
        session.authenticated_at = UNKNOWN_PROOF;
        assert_eq!(session.proved_at(), None);
        let next = UNKNOWN_PROOF + TimeDelta::milliseconds(1);
        session.authenticated_at = next;
        assert_eq!(session.proved_at(), Some(next));
    }

    #[test]
    fn a_city_a_country_or_a_point_is_a_place() {
        let nowhere = ClientLocation::default();
        assert!(!nowhere.has_place());
        let somewhere = [
            ClientLocation {
                city: Some("Berlin".to_owned()),
                ..nowhere.clone()
            },
            ClientLocation {
                country: Some("DE".to_owned()),
                ..nowhere.clone()
            },
            ClientLocation {
                coordinates: crate::geography::Coordinates::new(52.5, 13.4),
                ..nowhere
            },
        ];
        for place in somewhere {
            assert!(place.has_place(), "{place:?}");
        }
    }

    #[test]
    fn a_session_is_over_at_its_expiry_to_the_millisecond() {
        let session = session(1, noon());
        let end = session.expires_at();
        let millisecond = TimeDelta::milliseconds(1);
        assert!(!session.is_expired(end - millisecond));
        assert!(session.is_expired(end));
        assert!(session.is_expired(end + millisecond));
    }
}

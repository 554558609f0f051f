//! What is out of the ordinary about a sign-in: a device that the account does not know, or a place too far from the
//! last one.
//!
//! Both are hints for the person and for a team's other systems. They refuse nothing.

use chrono::{DateTime, TimeDelta, Utc};

use crate::account::Account;
use crate::device::Device;
use crate::geography::{Coordinates, TravelLimits, is_public};
use crate::policy::SessionPolicy;
use crate::session::{ClientLocation, Session};

/// What a client has shown of having signed in to the account before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownDevice {
    /// A genuine device token of this user. It may name a password that was replaced: it still proves that the client has
    /// signed in before, and which password it gave matters only to the limits.
    OfUser,
    /// None, or one that is not genuine or of another user.
    Unknown,
}

/// How long the place of a session stays one where its user usually is.
pub const FAMILIAR_PLACE: TimeDelta = TimeDelta::days(30);

/// A session of a sign-in, marked with what is out of the ordinary about it. `account` and `kept` are what the user had
/// before: the account, and the items of its sessions that are kept, live or ended.
#[must_use]
pub fn mark_novelty(
    session: Session,
    shown: ShownDevice,
    account: &Account,
    kept: &[Session],
    policy: &SessionPolicy,
) -> Session {
    let known: Vec<&Session> = kept
        .iter()
        .filter(|session| tells_of_its_user(session, account))
        .collect();
    let is_first =
        account.devices_since.is_none() && account.sessions.is_empty() && kept.is_empty();
    let is_known = |device| known.iter().any(|one| is_same(device, &one.device));
    let (now, travel) = (session.created_at, policy.travel);
    Session {
        new_device: shown == ShownDevice::Unknown && !is_first && !is_known(&session.device),
        unusual_location: is_unusual_location(&session.location, &known, now, travel),
        ..session
    }
}

/// Whether a session tells of a device and a place that are its user's: it is admitted, or has ended and nothing since it
/// began says that it might have been a stranger's.
fn tells_of_its_user(session: &Session, account: &Account) -> bool {
    let since = account.devices_since;
    account.sessions.contains(&session.id) || since.is_none_or(|since| session.created_at >= since)
}

/// Whether two devices are one, as far as they say. Where both have an id, that decides. What says nothing of itself equals
/// nothing.
fn is_same(one: &Device, other: &Device) -> bool {
    match (&one.device_id, &other.device_id) {
        (Some(one), Some(other)) => one == other,
        (None, _) | (_, None) => {
            let same_name = one.device_name.is_some() && one.device_name == other.device_name;
            same_name && one.device_type == other.device_type
        }
    }
}

/// Whether the place is too far from that of the most recently used session whose place is known, and not near that of any
/// other one that was used of late: who is in two places at once, on a phone and behind a VPN, is told so once.
fn is_unusual_location(
    location: &ClientLocation,
    known: &[&Session],
    now: DateTime<Utc>,
    limits: TravelLimits,
) -> bool {
    let Some(to) = known_place(location) else {
        return false;
    };
    let placed = || {
        known.iter().filter_map(|session| {
            let from = known_place(&session.location)?;
            Some((session.last_used_at, session.id, from))
        })
    };
    let is_familiar = placed()
        .any(|(used_at, _, from)| now - used_at <= FAMILIAR_PLACE && limits.are_near(from, to));
    let last = placed().max_by_key(|(used_at, id, _)| (*used_at, *id));
    !is_familiar
        && last.is_some_and(|(used_at, _, from)| limits.are_exceeded(from, to, now - used_at))
}

/// Where a client is, if its address is of a place. A private address may be anywhere, whatever is told of it.
fn known_place(location: &ClientLocation) -> Option<Coordinates> {
    location.ip_address.filter(|address| is_public(*address))?;
    location.coordinates
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::account::tests::account_of;
    use crate::cause::EndReason;
    use crate::device::{ClientHints, DeviceType};
    use crate::policy::CLOCK_DIFFERENCE;
    use crate::session::tests::{noon, session};

    fn device(name: Option<&str>, id: Option<&str>) -> Device {
        Device::describe(name, None, id, ClientHints::default())
    }

    fn on(seed: u64, device: Device) -> Session {
        let mut session = session(seed, noon());
        session.device = device;
        session
    }

    /// An account that has been signed in to before. Sessions of today tell of it.
    fn account() -> Account {
        let mut account = account_of(&[]);
        account.devices_since = Some(noon() - TimeDelta::days(90));
        account
    }

    /// One that nobody has signed in to: registered and verified, imported, reset, given roles, whatever.
    fn untouched() -> Account {
        let mut account = account_of(&[]);
        (account.devices_since, account.version) = (None, 7);
        account
    }

    fn is_new(device: Device, shown: ShownDevice, account: &Account, known: &[Session]) -> bool {
        let policy = SessionPolicy::default();
        mark_novelty(on(1, device), shown, account, known, &policy).new_device
    }

    #[test]
    fn a_device_is_known_by_its_token_its_id_or_its_name_and_type() {
        let known = [on(2, device(Some("Ada's phone"), Some("c0ffee")))];
        let judge = |device: Device, shown| is_new(device, shown, &account(), &known);
        use ShownDevice::{OfUser, Unknown};
        assert!(judge(device(Some("Ada's laptop"), Some("beef")), Unknown));
        assert!(judge(device(None, None), Unknown));
        assert!(!judge(device(None, None), OfUser));
        assert!(!judge(
            device(Some("Ada's laptop"), Some("c0ffee")),
            Unknown
        ));
        assert!(!judge(device(Some("Ada's phone"), None), Unknown));
        let other_id = device(Some("Ada's phone"), Some("beef"));
        assert!(
            judge(other_id, Unknown),
            "where both have an id, it decides"
        );
        let mut tablet = device(Some("Ada's phone"), None);
        tablet.device_type = DeviceType::Tablet;
        assert!(judge(tablet, Unknown));
    }

    #[test]
    fn an_unknown_device_equals_nothing_not_even_another_one() {
        let known = [on(2, device(None, None))];
        let unknown = || device(None, None);
        assert!(is_new(unknown(), ShownDevice::Unknown, &account(), &known));
    }

    #[test]
    fn the_first_session_of_an_account_is_not_new_and_the_first_that_is_kept_may_be() {
        let judge = |account: &Account, known: &[Session]| {
            is_new(device(None, None), ShownDevice::Unknown, account, known)
        };
        assert!(!judge(&untouched(), &[]));
        // Somebody has signed in, whose sessions are gone.
        assert!(judge(&account(), &[]));
        // An account of an earlier version, which does not say so: somebody is still there, or an item is.
        let two = session(2, noon());
        let mut signed_in = untouched();
        signed_in.sessions = account_of(&[&two]).sessions;
        assert!(judge(&signed_in, &[]) && judge(&untouched(), &[two]));
    }

    #[test]
    fn a_session_that_has_ended_tells_of_its_device_until_one_ends_that_may_be_a_strangers() {
        use EndReason::*;
        let phone = || device(Some("phone"), None);
        let before = on(2, phone());
        let other = session(3, noon());
        for (reason, is_forgotten) in [
            (LoggedOut, false),
            (Replaced, false),
            (Evicted, false),
            (Expired, false),
            (PasswordChanged, false),
            (Revoked, true),
            (RevokedAll, true),
            (TokenReuse, true),
            (WrongPassword, true),
            (PasswordReset, true),
            (AccountDisabled, true),
            (Admin, true),
            (Other, true),
        ] {
            let mut account = account();
            account.sessions.insert(other.id);
            let ending = account.end_one(other.id, reason);
            let after = ending.account_at(noon());
            let judge =
                |account: &Account, known| is_new(phone(), ShownDevice::Unknown, account, &[known]);
            assert_eq!(judge(&after, before.clone()), is_forgotten, "{reason:?}");
            // One that is still signed in tells of it all the same, and so does one that began after.
            let mut live = after.clone();
            live.sessions.insert(before.id);
            assert!(!judge(&live, before.clone()), "{reason:?}");
            let mut later = before.clone();
            later.created_at += CLOCK_DIFFERENCE;
            assert!(!judge(&after, later.clone()), "{reason:?}");
            later.created_at -= TimeDelta::milliseconds(1);
            assert_eq!(judge(&after, later), is_forgotten, "the clock may be ahead");
            let shown = ShownDevice::OfUser;
            assert!(!is_new(
                phone(),
                shown,
                &after,
                std::slice::from_ref(&before)
            ));
        }
    }

    #[test]
    fn sessions_of_an_earlier_version_tell_of_their_devices_and_no_clock_takes_an_end_back() {
        let phone = || device(Some("phone"), None);
        let ended = on(2, phone());
        let kept = std::slice::from_ref(&ended);
        assert!(!is_new(phone(), ShownDevice::Unknown, &untouched(), kept));
        let other = session(3, noon());
        let revoked_at = |account: &Account, at| {
            let mut account = account.clone();
            account.sessions.insert(other.id);
            account.end_one(other.id, EndReason::Revoked).account_at(at)
        };
        let once = revoked_at(&account(), noon());
        let behind = revoked_at(&once, noon() - TimeDelta::minutes(1));
        assert_eq!(behind.devices_since, once.devices_since);
        assert!(is_new(phone(), ShownDevice::Unknown, &behind, kept));
    }

    #[test]
    fn who_is_in_two_places_at_once_is_told_so_once() {
        let limits = TravelLimits::default();
        let judge = |to, known: &[Session]| is_unusual(&at(PUBLIC, to), known, limits);
        let phone = used(2, 0, at(PUBLIC, LONDON));
        assert!(judge(NEW_YORK, std::slice::from_ref(&phone)));
        let vpn = used(3, 1, at(PUBLIC, NEW_YORK));
        assert!(!judge(NEW_YORK, &[phone.clone(), vpn.clone()]));
        assert!(!judge(LONDON, &[phone.clone(), vpn]));
        // Until the place was not used for so long.
        let days = |days: i64, off| {
            let mut session = used(3, 24 * days, at(PUBLIC, NEW_YORK));
            session.last_used_at -= off;
            judge(NEW_YORK, &[phone.clone(), session])
        };
        assert!(!days(30, TimeDelta::zero()));
        assert!(days(30, TimeDelta::milliseconds(1)));
        // The place of a session that may have been a stranger's is none of its user's.
        let mut session = session(1, noon());
        session.location = at(PUBLIC, NEW_YORK);
        let mut account = account();
        account.sessions.insert(phone.id);
        account.devices_since = Some(noon());
        let known = [phone, used(3, 1, at(PUBLIC, NEW_YORK))];
        let policy = SessionPolicy::default();
        let marked = mark_novelty(session, ShownDevice::OfUser, &account, &known, &policy);
        assert!(marked.unusual_location);
    }

    const LONDON: (f64, f64) = (51.5, -0.1);
    const PARIS: (f64, f64) = (48.9, 2.4);
    const NEW_YORK: (f64, f64) = (40.7, -74.0);

    fn at(address: &str, (latitude, longitude): (f64, f64)) -> ClientLocation {
        ClientLocation {
            coordinates: Coordinates::new(latitude, longitude),
            ..ClientLocation::from(address.parse::<std::net::IpAddr>().unwrap())
        }
    }

    fn used(seed: u64, hours_ago: i64, location: ClientLocation) -> Session {
        let mut session = session(seed, noon() - TimeDelta::hours(hours_ago));
        session.location = location;
        session
    }

    const PUBLIC: &str = "81.2.69.160";

    fn is_unusual(location: &ClientLocation, known: &[Session], travel: TravelLimits) -> bool {
        let mut session = session(1, noon());
        session.location = location.clone();
        let policy = SessionPolicy {
            travel,
            ..SessionPolicy::default()
        };
        let shown = ShownDevice::OfUser;
        mark_novelty(session, shown, &account(), known, &policy).unusual_location
    }

    #[test]
    fn a_place_that_nobody_reaches_in_time_is_unusual() {
        let limits = TravelLimits::default();
        let judge = |hours, to| {
            is_unusual(
                &at(PUBLIC, to),
                &[used(2, hours, at(PUBLIC, LONDON))],
                limits,
            )
        };
        assert!(judge(6, NEW_YORK));
        assert!(!judge(7, NEW_YORK));
        assert!(!judge(0, PARIS), "too near to count");
        assert!(!judge(0, LONDON));
        assert!(judge(-5, NEW_YORK), "another clock is ahead");
    }

    #[test]
    fn distance_and_speed_are_exact_at_their_bounds() {
        let (from, to) = (
            Coordinates::new(0.0, 0.0).unwrap(),
            Coordinates::new(9.0, 0.0).unwrap(),
        );
        let kilometres = from.distance_km(to);
        assert!((1_000.0..1_001.0).contains(&kilometres));
        let exceeded = |speed_kmh, distance_km, milliseconds: f64| {
            let limits = TravelLimits {
                speed_kmh,
                distance_km,
            };
            let within = TimeDelta::nanoseconds(0)
                + TimeDelta::from_std(std::time::Duration::from_secs_f64(milliseconds / 1_000.0))
                    .unwrap();
            limits.are_exceeded(from, to, within)
        };
        // So many milliseconds it takes at 1,000 km/h.
        let takes = kilometres * 3_600.0;
        assert!(exceeded(1_000, 1_000, takes - 1.0));
        assert!(!exceeded(1_000, 1_000, takes + 1.0));
        assert!(exceeded(1_000, 1_000, 0.0) && !exceeded(1_000, 1_001, 0.0));
        let same = TravelLimits {
            speed_kmh: 900,
            distance_km: 500,
        };
        assert!(!same.are_exceeded(from, from, TimeDelta::zero()));
        let any = TravelLimits {
            distance_km: 0,
            ..same
        };
        assert!(same.are_near(from, from) && !any.are_near(from, from));
        assert!(!exceeded(0, 500, 0.0) && !exceeded(900, 0, 0.0), "0 is off");
    }

    #[test]
    fn the_place_is_compared_with_that_of_the_session_used_last() {
        let judge =
            |known: &[Session]| is_unusual(&at(PUBLIC, NEW_YORK), known, TravelLimits::default());
        let (away, here) = (
            used(2, 2, at(PUBLIC, LONDON)),
            used(3, 1, at(PUBLIC, NEW_YORK)),
        );
        assert!(!judge(&[away.clone(), here.clone()]) && !judge(&[here, away.clone()]));
        let unplaced = used(
            3,
            1,
            ClientLocation::from("81.2.69.160".parse::<std::net::IpAddr>().unwrap()),
        );
        assert!(
            judge(&[away.clone(), unplaced.clone()]),
            "its place is not known"
        );
        let private = used(4, 0, at("10.1.2.3", NEW_YORK));
        assert!(judge(&[away, private.clone()]), "it may be anywhere");
        assert!(!judge(&[unplaced, private]) && !judge(&[]));
    }

    #[test]
    fn what_has_no_place_is_not_unusual() {
        let known = [used(2, 0, at(PUBLIC, LONDON))];
        let limits = TravelLimits::default();
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "169.254.1.1",
            "100.64.0.1",
            "203.0.113.7",
            "fe80::1",
        ] {
            assert!(
                !is_unusual(&at(address, NEW_YORK), &known, limits),
                "{address}"
            );
        }
        assert!(!is_unusual(&ClientLocation::default(), &known, limits));
        let nobody = ClientLocation {
            ip_address: None,
            ..at(PUBLIC, NEW_YORK)
        };
        assert!(!is_unusual(&nobody, &known, limits));
    }

    fn some_device() -> impl Strategy<Value = Device> {
        let names = prop::option::of(prop::sample::select(vec!["a", "b", "c"]));
        let ids = prop::option::of(prop::sample::select(vec!["1", "2", "3"]));
        let types = prop::sample::select(vec![DeviceType::Desktop, DeviceType::Mobile]);
        (names, ids, types).prop_map(|(name, id, device_type)| {
            let mut device = device(name, id);
            device.device_type = device_type;
            device
        })
    }

    proptest! {
        /// Whatever the user's sessions are: a device that says anything of itself is new at most once, in whatever order
        /// the sessions are read; one that says nothing always is; and who shows a device token never is.
        #[test]
        fn a_device_is_new_once(
            devices in prop::collection::vec(some_device(), 0..8), device in some_device(), turn in 0_usize..8,
        ) {
            let mut known: Vec<Session> = (2..).zip(devices).map(|(seed, device)| on(seed, device)).collect();
            let judge = |known: &[Session], shown| is_new(device.clone(), shown, &account(), known);
            let new = judge(&known, ShownDevice::Unknown);
            prop_assert!(!judge(&known, ShownDevice::OfUser));
            let middle = turn.min(known.len());
            known.rotate_left(middle);
            prop_assert_eq!(judge(&known, ShownDevice::Unknown), new);
            known.push(on(99, device.clone()));
            let says_nothing = device.device_name.is_none() && device.device_id.is_none();
            prop_assert_eq!(judge(&known, ShownDevice::Unknown), says_nothing);
            prop_assert!(new || !says_nothing);
        }
    }
}

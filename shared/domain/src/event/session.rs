//! What the images of a session's item before and after a write tell. That a session has ended is the account's to say.

use super::{Event, NewSession, Occurrence, ShownSession};
use crate::session::{ClientLocation, Session};
use crate::throttle::network_of;

/// What has happened between two images of a session's item. Images that are alike tell nothing, and neither does the end
/// of an item: the session had ended before.
#[must_use]
pub fn session_events_between(before: Option<&Session>, after: Option<&Session>) -> Vec<Event> {
    let Some(after) = after else {
        return Vec::new();
    };
    let Some(before) = before else {
        let begun = Occurrence::SessionCreated(Box::new(NewSession::of(after)));
        return vec![Event::new(after.user_id, "0", after.created_at, begun)];
    };
    let (user, session_id) = (after.user_id, after.id);
    let shown = || Box::new(ShownSession::of(after));
    let mut events = Vec::new();
    if before.name != after.name {
        // An item that an earlier version has written does not say when.
        let at = after.renamed_at.unwrap_or(after.last_used_at);
        let version = format!("{}\n{:?}", at.timestamp_millis(), after.name);
        let session = shown();
        let renamed = Occurrence::SessionRenamed {
            session_id,
            session,
        };
        events.push(Event::new(user, &version, at, renamed));
    }
    if has_moved(&before.location, &after.location) {
        let moved = Occurrence::SessionMoved {
            session_id,
            session: shown(),
            from: before.location.clone(),
        };
        let version = after.rotation.to_string();
        events.push(Event::new(user, &version, after.rotated_at, moved));
    }
    if before.authenticated_at != after.authenticated_at {
        let at = after.authenticated_at;
        let version = at.timestamp_millis().to_string();
        let proved = Occurrence::UserReauthenticated { session_id };
        events.push(Event::new(user, &version, at, proved));
    }
    events
}

/// Whether the place is another one, or the network. A client of IPv6 changes its address within its network all the time.
fn has_moved(from: &ClientLocation, to: &ClientLocation) -> bool {
    let network = |location: &ClientLocation| location.ip_address.map(network_of);
    from.city != to.city || from.country != to.country || network(from) != network(to)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::session::tests::{noon, session};

    fn at(address: &str) -> ClientLocation {
        let address: std::net::IpAddr = address.parse().unwrap();
        ClientLocation::from(address)
    }

    #[test]
    fn a_new_item_is_a_session_that_has_begun_and_the_end_of_one_is_nothing() {
        let one = session(1, noon());
        let events = session_events_between(None, Some(&one));
        let [event] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!(event.occurrence.event_type(), "session.created");
        assert_eq!((event.at, event.user_id), (one.created_at, one.user_id));
        let data = event.data();
        assert_eq!(data["device_name"], "Unknown device");
        assert_eq!(data["amr"], serde_json::json!(["pwd"]));
        assert_eq!(session_events_between(Some(&one), None), []);
        assert_eq!(session_events_between(Some(&one), Some(&one)), []);
    }

    #[test]
    fn a_rotation_alone_is_no_event_and_another_network_is_one() {
        let mut before = session(1, noon());
        before.location = at("2001:db8:1:2::7");
        let mut after = before.clone();
        after.rotation += 1;
        after.rotated_at += TimeDelta::hours(1);
        after.location = at("2001:db8:1:2:ffff::1");
        assert_eq!(session_events_between(Some(&before), Some(&after)), []);
        after.location = at("2001:db8:1:3::7");
        let events = session_events_between(Some(&before), Some(&after));
        assert_eq!(events[0].occurrence.event_type(), "session.moved");
        assert_eq!(events[0].at, after.rotated_at);
        assert_eq!(
            events[0].data()["previous"]["ip_address"],
            "2001:db8:1:2::7"
        );
        let mut later = after.clone();
        later.location.city = Some("Lisbon".to_owned());
        assert_eq!(session_events_between(Some(&after), Some(&later)).len(), 1);
    }

    #[test]
    fn each_renaming_has_its_own_id_back_and_forth() {
        let name = |name: Option<&str>, minutes: i64| {
            let mut session = session(1, noon());
            session.name = name.map(str::to_owned);
            session.renamed_at = Some(noon() + TimeDelta::minutes(minutes));
            session
        };
        let steps = [
            name(None, 0),
            name(Some("desk"), 1),
            name(None, 2),
            name(Some("desk"), 3),
        ];
        let mut ids = Vec::new();
        for pair in steps.windows(2) {
            let events = session_events_between(Some(&pair[0]), Some(&pair[1]));
            assert_eq!(events[0].at, pair[1].renamed_at.unwrap());
            ids.extend(events.into_iter().map(|event| event.id));
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 3);
        let same = name(Some("desk"), 4);
        assert_eq!(session_events_between(Some(&steps[3]), Some(&same)), []);
    }

    #[test]
    fn a_new_proof_is_told_of_the_user() {
        let before = session(1, noon());
        let mut after = before.clone();
        after.authenticated_at += TimeDelta::hours(1);
        let events = session_events_between(Some(&before), Some(&after));
        assert_eq!(events[0].occurrence.event_type(), "user.reauthenticated");
        assert_eq!(events[0].occurrence.session_id(), Some(before.id));
    }
}

//! What a sign-in is marked with: a device that the account does not know, a place too far from the last one; and where
//! the place of an address comes from.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use futures::future::join_all;
use http::{Method, StatusCode};
use latchkey_api::edge::EdgeSecret;
use latchkey_domain::client::ClientScope;
use latchkey_domain::geography::{Coordinates, TravelLimits};
use latchkey_domain::policy::{CLOCK_DIFFERENCE, SessionPolicy};
use latchkey_runtime::places::{LocationDatabase, LocationDatabaseError};
use latchkey_tests::harness::call::Call;
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::{PASSWORD, Stack, test_places, without_limits};
use serde_json::{Value, json};

const ADA: &str = "ada@example.com";
const NEW: &str = "wrong donkey charger paperclip";

/// A sign-in of Ada's, on a device of this name.
fn login<'a>(stack: &'a Stack, device_name: Option<&str>) -> Call<'a> {
    let body = json!({"email": ADA, "password": PASSWORD, "device_name": device_name});
    stack.post("/v1/auth/login").json(&body)
}

async fn sign_in(call: Call<'_>) -> SignedIn {
    SignedIn::from(call.send().await.expect(StatusCode::OK))
}

async fn is_new(call: Call<'_>) -> bool {
    let signed_in = sign_in(call).await;
    signed_in.body["session"]["new_device"].as_bool().unwrap()
}

#[tokio::test]
async fn a_device_is_new_that_no_token_no_id_and_no_name_makes_known() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    assert_eq!(
        ada.body["session"]["new_device"], false,
        "the first session"
    );
    assert!(is_new(login(&stack, Some("Phone"))).await);
    assert!(!is_new(login(&stack, Some("Phone"))).await, "name and type");
    assert!(is_new(login(&stack, None)).await, "nothing is known of it");
    assert!(is_new(login(&stack, None)).await, "and it equals nothing");
    let iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                  Version/18.5 Mobile/15E148 Safari/604.1";
    let other_type = login(&stack, Some("Phone")).user_agent(iphone);
    assert!(is_new(other_type).await, "another type of that name");
    let by = |name, id: &[u8]| login(&stack, Some(name)).header("x-device-id", id);
    assert!(is_new(by("Tablet", b"c0ffee")).await);
    assert!(!is_new(by("Another name", b"c0ffee")).await, "the id");
    assert!(
        is_new(by("Tablet", b"beef")).await,
        "another id of that name"
    );
    let no_id = login(&stack, Some("Tablet"));
    assert!(
        !is_new(no_id).await,
        "where one has no id, the name decides"
    );
}

/// Whoever may have been a stranger leaves no device and no place behind that are known, however the session was ended.
#[tokio::test]
async fn a_session_that_may_have_been_a_strangers_makes_nothing_known() {
    for ending in [
        "revoked",
        "revoked_all",
        "token_reuse",
        "wrong_password",
        "password_reset",
        "admin",
        "account_disabled",
        "logged_out",
        "password_changed",
    ] {
        let stack = Stack::with_policy(without_limits()).await;
        let stack = stack.with_places(test_places());
        let body = json!({"email": ADA, "password": PASSWORD});
        let register = from(stack.post("/v1/auth/register").json(&body), LONDON);
        let ada = SignedIn::from(register.send().await.expect(StatusCode::CREATED));
        let root = stack.administrator("root@example.com").await;
        stack.advance(TimeDelta::minutes(5));
        let thief = from(login(&stack, Some("Thief")), MILTON);
        let thief = sign_in(thief).await;
        assert_eq!(thief.body["session"]["new_device"], true, "{ending}");
        assert_eq!(thief.body["session"]["unusual_location"], true, "{ending}");
        stack.pass_interval();
        let ended = end(&stack, ending, &ada, &thief, &root).await;
        stack.advance(CLOCK_DIFFERENCE);
        let is_ordinary = ["logged_out", "password_changed"].contains(&ending);
        let body = json!({"email": ADA, "password": ended, "device_name": "Thief"});
        let again = from(stack.post("/v1/auth/login").json(&body), MILTON);
        let again = sign_in(again).await;
        let session = &again.body["session"];
        assert_eq!(session["new_device"], !is_ordinary, "{ending}");
        // After a reset or a disabling there is no place left to compare with.
        let none_left = ["password_reset", "account_disabled", "revoked_all"].contains(&ending);
        let unusual = !is_ordinary && !none_left;
        assert_eq!(session["unusual_location"], unusual, "{ending}");
    }
}

/// Ends the thief's session. Returns the password that is right from then on.
async fn end(
    stack: &Stack,
    reason: &str,
    ada: &SignedIn,
    thief: &SignedIn,
    root: &SignedIn,
) -> &'static str {
    let user = ada.user_id.unwrap();
    let (own, admin) = (&ada.access_token, &root.access_token);
    let (of_user, id) = (format!("/v1/admin/users/{user}"), thief.session_id);
    match reason {
        "revoked" => {
            let call = stack.delete(&format!("/v1/sessions/{id}")).bearer(own);
            call.send().await.expect(StatusCode::NO_CONTENT);
        }
        "revoked_all" => {
            let call = stack.post("/v1/sessions/revoke-all?keep_current=false");
            call.bearer(own).send().await.expect(StatusCode::OK);
        }
        "token_reuse" => {
            stack.refresh_session(thief).await;
            stack.pass_interval();
            let reused = stack.refresh(&thief.refresh_token).await;
            reused.expect_problem(401, "refresh_token_reused");
        }
        "wrong_password" => {
            for _ in 0..5 {
                let wrong = stack.reauthenticate(thief, "not the password").await;
                wrong.expect_problem(403, "wrong_password");
            }
        }
        "password_reset" => {
            let token = stack.reset_token(user).await;
            let reset = stack.reset_password(&token, NEW).await;
            assert_eq!(reset.status, StatusCode::NO_CONTENT);
            return NEW;
        }
        "admin" => {
            let call = stack.delete(&format!("{of_user}/sessions/{id}"));
            let ended = call.bearer(admin).send().await;
            ended.expect(StatusCode::NO_CONTENT);
        }
        "account_disabled" => {
            for status in ["disabled", "active"] {
                let call = stack.request(Method::PATCH, &of_user).bearer(admin);
                let updated = call.json(&json!({"status": status})).send().await;
                updated.expect(StatusCode::OK);
            }
        }
        "logged_out" => {
            let call = stack.post("/v1/auth/logout");
            let call = call.json(&json!({"refresh_token": thief.refresh_token}));
            call.send().await.expect(StatusCode::NO_CONTENT);
        }
        "password_changed" => {
            let changed = stack.change_password(ada, PASSWORD, NEW).await;
            changed.expect(StatusCode::OK);
            return NEW;
        }
        other => panic!("{other}"),
    }
    PASSWORD
}

/// Whatever has written the account before.
#[tokio::test]
async fn the_first_session_is_not_new_after_a_verification_and_after_a_reset() {
    for resets in [0, 1, 2] {
        let policy = SessionPolicy {
            require_verified_email: true,
            ..without_limits()
        };
        let stack = Stack::with_policy(policy).await;
        let body = json!({"email": ADA, "password": PASSWORD});
        let registered = stack.post("/v1/auth/register").json(&body).send().await;
        assert_eq!(registered.status, StatusCode::ACCEPTED);
        let items = stack.items().await;
        let account = items.iter().find(|item| item["sk"] == "ACCOUNT").unwrap();
        let user = account["pk"].as_str().unwrap().strip_prefix("USER#");
        let user = user.unwrap().parse().unwrap();
        let verified = stack.verify_email(&stack.verify_token(user).await).await;
        assert_eq!(verified.status, StatusCode::NO_CONTENT);
        let mut password = PASSWORD;
        for chosen in [NEW, PASSWORD].into_iter().take(resets) {
            let reset = stack
                .reset_password(&stack.reset_token(user).await, chosen)
                .await;
            assert_eq!(reset.status, StatusCode::NO_CONTENT);
            password = chosen;
        }
        let enter = |name: &str, token: Option<&str>| {
            let body = json!({"email": ADA, "password": password, "device_name": name, "device_token": token});
            stack.post("/v1/auth/login").json(&body)
        };
        let first = sign_in(enter("Phone", None)).await;
        assert_eq!(first.body["session"]["new_device"], false, "{resets}");
        assert!(is_new(enter("Laptop", None)).await, "{resets}");
        // After a reset of an account that was used, the token alone makes a device known.
        let last = "the last of all passwords";
        let reset = stack
            .reset_password(&stack.reset_token(user).await, last)
            .await;
        assert_eq!(reset.status, StatusCode::NO_CONTENT);
        let enter = |token: Option<&str>| {
            let body = json!({"email": ADA, "password": last, "device_name": "Phone", "device_token": token});
            stack.post("/v1/auth/login").json(&body)
        };
        assert!(is_new(enter(None)).await);
        assert!(!is_new(enter(first.device_token.as_deref())).await);
    }
}

#[tokio::test]
async fn who_is_in_two_places_at_once_hears_of_it_once() {
    let stack = behind_edge(without_limits()).await;
    register_through(&stack, LONDON).await;
    let from = |place| through(login(&stack, Some("Phone")), place);
    assert!(is_unusual(from(MILTON)).await);
    for _ in 0..3 {
        stack.advance(TimeDelta::hours(1));
        assert!(!is_unusual(from(LONDON)).await);
        assert!(!is_unusual(from(MILTON)).await);
    }
}

#[tokio::test]
async fn a_device_token_of_this_user_makes_a_device_known_whichever_password_it_names() {
    let stack = Stack::with_policy(without_limits()).await;
    let ada = stack.register(ADA).await;
    let bob = stack.register("bob@example.com").await;
    let show = |token: &Option<String>, password: &str| {
        let body = json!({"email": ADA, "password": password, "device_token": token});
        stack.post("/v1/auth/login").json(&body)
    };
    assert!(!is_new(show(&ada.device_token, PASSWORD)).await);
    assert!(
        is_new(show(&bob.device_token, PASSWORD)).await,
        "of somebody else"
    );
    let forged = ada.device_token.clone().map(|token| format!("{token}A"));
    assert!(is_new(show(&forged, PASSWORD)).await, "not genuine");

    let new = "wrong donkey charger paperclip";
    let changed = stack.change_password(&ada, PASSWORD, new).await;
    let changed = changed.expect(StatusCode::OK);
    assert_eq!(changed["session"]["new_device"], false);
    assert!(
        !is_new(show(&ada.device_token, new)).await,
        "of a replaced password"
    );
}

#[tokio::test]
async fn sessions_that_ended_ordinarily_make_a_device_known_as_long_as_they_are_kept() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let phone = sign_in(login(&stack, Some("Phone"))).await;
    let logout = stack.post("/v1/auth/logout");
    let logout = logout.json(&json!({"refresh_token": phone.refresh_token}));
    logout.send().await.expect(StatusCode::NO_CONTENT);
    let again = sign_in(login(&stack, Some("Phone"))).await;
    assert_eq!(again.body["session"]["new_device"], false);
    let user = ada.user_id.unwrap();
    for session in [phone.session_id, again.session_id] {
        stack.table().session(user, session).delete().await;
    }
    assert!(is_new(login(&stack, Some("Phone"))).await);
}

#[tokio::test]
async fn the_first_session_is_not_new_after_an_import_and_is_when_the_others_are_gone() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let user = ada.user_id.unwrap();
    // As an import makes an account.
    stack.table().session(user, ada.session_id).delete().await;
    for attribute in ["sessions", "devices_since"] {
        stack.table().account(user).remove(attribute).await;
    }
    let first = sign_in(login(&stack, Some("Phone"))).await;
    assert_eq!(first.body["session"]["new_device"], false);
    stack.table().session(user, first.session_id).delete().await;
    stack.table().account(user).remove("sessions").await;
    assert!(is_new(login(&stack, Some("Phone"))).await);
}

#[tokio::test]
async fn of_sign_ins_at_the_same_moment_on_one_device_one_is_new() {
    let stack = Stack::with_policy(without_limits()).await;
    stack.register(ADA).await;
    let at_once = join_all((0..4).map(|_| is_new(login(&stack, Some("Phone"))))).await;
    let new = at_once.iter().filter(|new| **new).count();
    assert_eq!(new, 1, "{at_once:?}");
    // What was answered is what was written.
    let items = stack.items().await;
    let marked = items.iter().filter(|item| item["new_device"] == true);
    assert_eq!(marked.count(), 1);
}

/// A client that may issue sessions, and what it says of a visitor.
async fn issue(stack: &Stack, secret: &str, client: Value) -> Value {
    let body = json!({
        "identity": {"issuer": "https://accounts.google.com", "subject": "110169484474386276334"},
        "amr": ["pwd"], "client": client,
    });
    let call = stack.post("/v1/service/sessions").basic("web", secret);
    let reply = call.json(&body).send().await;
    reply.expect(StatusCode::CREATED)["session"].clone()
}

#[tokio::test]
async fn a_sign_in_made_elsewhere_is_marked_too() {
    let stack = Stack::start().await.with_places(test_places());
    let secret = stack.add_client("web", &[ClientScope::IssueSessions]).await;
    let visit = |device: &str, address: &str| json!({"device_id": device, "ip_address": address});
    let marks = |session: &Value| {
        (
            session["new_device"].clone(),
            session["unusual_location"].clone(),
        )
    };
    let first = issue(&stack, &secret, visit("one", LONDON.0)).await;
    assert_eq!(marks(&first), (json!(false), json!(false)));
    assert_eq!(first["location_city"], "London");
    let same = issue(&stack, &secret, visit("one", LONDON.0)).await;
    assert_eq!(marks(&same), (json!(false), json!(false)));
    let far = issue(&stack, &secret, visit("two", MILTON.0)).await;
    assert_eq!(marks(&far), (json!(true), json!(true)));
}

#[tokio::test]
async fn the_marks_are_in_the_list_the_admin_view_and_the_event_and_the_coordinates_in_none() {
    let stack = Stack::start().await.with_places(test_places());
    let mut stream = stack.stream();
    stack.register(ADA).await;
    sign_in(from(login(&stack, Some("Phone")), LONDON)).await;
    let far = sign_in(from(login(&stack, Some("Laptop")), MILTON)).await;
    let admin = stack.administrator("root@example.com").await;
    let path = format!("/v1/admin/users/{}/sessions", far.user_id.unwrap());
    for (path, who) in [("/v1/sessions", &far), (path.as_str(), &admin)] {
        let list = stack.get(path).bearer(&who.access_token).send().await;
        let list = list.expect(StatusCode::OK);
        let sessions = list["sessions"].as_array().unwrap();
        let id = far.session_id.to_string();
        let found = sessions.iter().find(|session| session["id"] == id).unwrap();
        assert_eq!(found["new_device"], true);
        assert_eq!(found["unusual_location"], true);
        assert!(!list.to_string().contains("47.2"), "{list}");
    }
    stream.drain().await;
    let created: Vec<Value> = stream.bus.take();
    let created = created
        .iter()
        .filter(|event| event["type"] == "session.created");
    let of_ada = created.filter(|event| event["subject"] == json!(far.user_id));
    let marks: Vec<(bool, bool)> = of_ada
        .map(|event| {
            assert!(!event.to_string().contains("47.2"), "{event}");
            let mark = |name: &str| event["data"][name].as_bool().unwrap();
            (mark("new_device"), mark("unusual_location"))
        })
        .collect();
    assert_eq!(marks, [(false, false), (true, false), (true, true)]);
    let items = stack.items().await;
    let degrees: BTreeSet<&str> = items
        .iter()
        .filter_map(|item| item["degrees"].as_str())
        .collect();
    assert_eq!(degrees, BTreeSet::from(["51.5,-0.1", "47.3,-122.3"]));
}

// Addresses of the test database, with their coordinates there.
const LONDON: (&str, f64, f64) = ("81.2.69.160", 51.5142, -0.0931);
const MILTON: (&str, f64, f64) = ("216.160.83.56", 47.2513, -122.3149);
/// No network of it.
const NOWHERE: &str = "8.8.8.8";

fn test_data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("data/places")
        .join(file)
}

/// A request from the address of a place.
fn from<'a>(call: Call<'a>, place: (&str, f64, f64)) -> Call<'a> {
    call.from_address(place.0.parse::<IpAddr>().unwrap())
}

const EDGE_SECRET: &str = "the-edge-shows-this-value-0123456789";

/// A request that came through the edge, which says where the client is.
fn through<'a>(call: Call<'a>, (address, latitude, longitude): (&str, f64, f64)) -> Call<'a> {
    call.header("x-latchkey-edge", EDGE_SECRET.as_bytes())
        .header(
            "cloudfront-viewer-address",
            format!("{address}:443").as_bytes(),
        )
        .header(
            "cloudfront-viewer-latitude",
            latitude.to_string().as_bytes(),
        )
        .header(
            "cloudfront-viewer-longitude",
            longitude.to_string().as_bytes(),
        )
}

async fn behind_edge(policy: SessionPolicy) -> Stack {
    let edge = EdgeSecret::parse(EDGE_SECRET).unwrap();
    Stack::with_policy(policy).await.behind(&edge)
}

async fn register_through(stack: &Stack, place: (&str, f64, f64)) -> SignedIn {
    let body = json!({"email": ADA, "password": PASSWORD});
    let call = through(stack.post("/v1/auth/register").json(&body), place);
    SignedIn::from(call.send().await.expect(StatusCode::CREATED))
}

async fn is_unusual(call: Call<'_>) -> bool {
    let session = &sign_in(call).await.body["session"];
    session["unusual_location"].as_bool().unwrap()
}

/// How long it takes from London to Milton at this speed, and the kilometres.
fn flight(speed_kmh: u32) -> (TimeDelta, f64) {
    let at = |place: (&str, f64, f64)| Coordinates::new(place.1, place.2).unwrap();
    let kilometres = at(LONDON).distance_km(at(MILTON));
    let seconds = kilometres * 3_600.0 / f64::from(speed_kmh);
    let took = std::time::Duration::from_secs_f64(seconds);
    (TimeDelta::from_std(took).unwrap(), kilometres)
}

#[tokio::test]
async fn a_place_is_unusual_until_a_flight_could_have_taken_the_person_there() {
    let (flight, _) = flight(900);
    let millisecond = TimeDelta::milliseconds(1);
    // The clock has milliseconds: the first that is not before the landing.
    let landed = TimeDelta::milliseconds(flight.num_milliseconds() + 1);
    for (after, unusual) in [
        (TimeDelta::zero(), true),
        (landed - millisecond, true),
        (landed, false),
        (landed + millisecond, false),
    ] {
        let stack = behind_edge(SessionPolicy::default()).await;
        let ada = register_through(&stack, LONDON).await;
        assert_eq!(ada.body["session"]["unusual_location"], false);
        stack.advance(after);
        let call = through(login(&stack, Some("Phone")), MILTON);
        assert_eq!(is_unusual(call).await, unusual, "{after}");
    }
}

#[tokio::test]
async fn a_place_is_unusual_from_the_distance_of_the_setting_on_and_0_turns_it_off() {
    let (_, kilometres) = flight(900);
    let whole: u32 = format!("{}", kilometres.floor()).parse().unwrap();
    for (speed_kmh, distance_km, unusual) in [
        (900, whole, true),
        (900, whole + 1, false),
        (0, 500, false),
        (900, 0, false),
        (1, 1, true),
    ] {
        let policy = SessionPolicy {
            travel: TravelLimits {
                speed_kmh,
                distance_km,
            },
            ..SessionPolicy::default()
        };
        let stack = behind_edge(policy).await;
        register_through(&stack, LONDON).await;
        let call = through(login(&stack, Some("Phone")), MILTON);
        assert_eq!(is_unusual(call).await, unusual, "{speed_kmh} {distance_km}");
    }
}

#[tokio::test]
async fn a_session_that_travels_takes_its_place_along() {
    let stack = behind_edge(SessionPolicy::default()).await;
    let ada = register_through(&stack, LONDON).await;
    stack.advance(TimeDelta::hours(12));
    let body = json!({"refresh_token": ada.refresh_token});
    let refresh = through(stack.post("/v1/auth/refresh").json(&body), MILTON);
    refresh.send().await.expect(StatusCode::OK);
    let here = through(login(&stack, Some("Phone")), MILTON);
    assert!(!is_unusual(here).await);
    let there = through(login(&stack, Some("Phone")), LONDON);
    assert!(is_unusual(there).await);
}

#[tokio::test]
async fn addresses_that_are_in_no_place_and_places_that_are_not_known_never_count() {
    let stack = behind_edge(without_limits()).await;
    register_through(&stack, LONDON).await;
    for address in [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.1.1",
        "169.254.1.1",
        "100.64.0.1",
        "198.51.100.1",
        "2001:db8::7",
        "fe80::1",
        "fd12::1",
    ] {
        let call = through(login(&stack, Some("Phone")), (address, MILTON.1, MILTON.2));
        assert!(!is_unusual(call).await, "{address}");
    }
    let unknown = login(&stack, Some("Phone")).header("x-latchkey-edge", EDGE_SECRET.as_bytes());
    let unknown = unknown.header("cloudfront-viewer-address", b"216.160.83.56:1");
    assert!(!is_unusual(unknown).await, "no coordinates");
    // None of them has taken the place of London.
    let far = through(login(&stack, Some("Phone")), MILTON);
    assert!(is_unusual(far).await);
}

#[tokio::test]
async fn without_the_secret_of_the_edge_nobody_says_where_they_are() {
    let stack = Stack::start().await;
    let ada = register_through(&stack, LONDON).await;
    assert_eq!(ada.body["session"]["ip_address"], "203.0.113.7");
    let call = through(login(&stack, Some("Phone")), MILTON);
    assert!(!is_unusual(from(call, MILTON)).await);
    let items = stack.items().await;
    assert!(items.iter().all(|item| item.get("degrees").is_none()));
}

#[tokio::test]
async fn the_location_database_shows_city_and_country_where_the_edge_says_nothing() {
    let stack = Stack::start().await.with_places(test_places());
    stack.register(ADA).await;
    let place = |signed_in: &SignedIn| {
        let session = &signed_in.body["session"];
        (
            session["location_city"].clone(),
            session["location_country"].clone(),
        )
    };
    let london = sign_in(from(login(&stack, None), LONDON)).await;
    assert_eq!(place(&london), (json!("London"), json!("GB")));
    let mapped = ("::ffff:81.2.69.160", 0.0, 0.0);
    let mapped = sign_in(from(login(&stack, None), mapped)).await;
    assert_eq!(place(&mapped), (json!("London"), json!("GB")));
    let nowhere = sign_in(from(login(&stack, None), (NOWHERE, 0.0, 0.0))).await;
    assert_eq!(place(&nowhere), (json!(null), json!(null)));
    assert_eq!(nowhere.body["session"]["ip_address"], NOWHERE);
    // A refresh moves it, also one that a service makes for its visitor.
    stack.pass_interval();
    let body = json!({"refresh_token": london.refresh_token});
    let refresh = from(stack.post("/v1/auth/refresh").json(&body), MILTON);
    let moved = SignedIn::from(refresh.send().await.expect(StatusCode::OK));
    assert_eq!(place(&moved), (json!("Milton"), json!("US")));
    stack.pass_interval();
    let secret = stack.add_client("web", &[ClientScope::IssueSessions]).await;
    let body = json!({"refresh_token": moved.refresh_token, "client": {"ip_address": LONDON.0}});
    let refresh = from(stack.post("/v1/auth/refresh").json(&body), MILTON);
    let moved = refresh.basic("web", &secret).send().await;
    let moved = SignedIn::from(moved.expect(StatusCode::OK));
    assert_eq!(place(&moved), (json!("London"), json!("GB")));

    let edge = EdgeSecret::parse(EDGE_SECRET).unwrap();
    let stack = stack.behind(&edge);
    let call = through(login(&stack, None), (LONDON.0, 48.1, 11.6));
    let said = call.header("cloudfront-viewer-city", b"Munich");
    assert_eq!(
        place(&sign_in(said).await),
        (json!("Munich"), json!(null)),
        "one source"
    );
    let silent = login(&stack, None).header("x-latchkey-edge", EDGE_SECRET.as_bytes());
    let silent = silent.header("cloudfront-viewer-address", b"81.2.69.160:1");
    assert_eq!(
        place(&sign_in(silent).await),
        (json!("London"), json!("GB"))
    );
}

#[test]
fn a_file_that_knows_no_places_is_refused_with_its_name() {
    let whole = std::fs::read(test_data("GeoIP2-City-Test.mmdb")).unwrap();
    let folder = std::env::temp_dir().join(format!("latchkey-places-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let refusal = |path: PathBuf| {
        let refused = LocationDatabase::open(&path).unwrap_err();
        let (said, name) = (refused.to_string(), path.display().to_string());
        assert!(said.contains(&name) && said.lines().count() == 1, "{said}");
        refused
    };
    use LocationDatabaseError::{Broken, NoPlaces, Unreadable};
    assert!(matches!(refusal(folder.join("missing")), Unreadable { .. }));
    assert!(matches!(refusal(folder.clone()), Unreadable { .. }));
    for (name, content) in [
        ("empty", &b""[..]),
        ("text", b"not a database"),
        ("half", &whole[..whole.len() / 2]),
        ("tail", &whole[whole.len() / 2..]),
    ] {
        assert!(
            matches!(refusal(file(name, content)), Broken { .. }),
            "{name}"
        );
    }
    let networks = test_data("GeoLite2-ASN-Test.mmdb");
    assert!(matches!(refusal(networks), NoPlaces { kind, .. } if kind == "GeoLite2-ASN"));
    std::fs::remove_dir_all(folder).unwrap();
}

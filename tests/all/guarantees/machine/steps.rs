//! The steps that are tried, and how they are drawn.

use latchkey_tests::proof::model::Rules;
use proptest::prelude::*;
use proptest::sample::select;

pub(super) const EMAILS: [&str; 3] = ["ada@example.com", "bob@example.com", "cyd@example.com"];
pub(super) const PASSWORDS: [&str; 3] = [
    "correct horse battery staple",
    "wrong donkey charger paperclip",
    "fair weather umbrella stand",
];
pub(super) const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// A session, by its place among those that were ever begun, counted from the newest, round and round.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pick {
    Live(usize),
    Ended(usize),
    /// Nobody's.
    Unknown,
}

/// What the bearer of a token names in a path.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    Any(Pick),
    /// One of their own that was ended before its time: a mistake in a check lets just these through.
    OwnEnded(usize),
    /// One of their own that has expired and still is in the account's set.
    OwnExpired(usize),
}

/// A token of a session, so many before its newest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) of: Pick,
    pub(super) before_newest: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Moment {
    GraceOver,
    /// The newest refresh token is old enough to be replaced.
    Due,
    Idle,
    Absolute,
    AccessToken,
    Removal,
}

/// A password: the right one, or one of the others.
#[derive(Clone, Copy, Debug)]
pub(super) enum Guess {
    Right,
    Wrong(usize),
}

/// A device token among those that were given out, counted from the newest, round and round; or none.
pub(super) type Device = Option<usize>;

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Register(usize, usize),
    SignIn(usize, Guess, Device),
    /// Some wrong passwords in a row.
    GuessOften(usize, Device, usize),
    /// Until so many milliseconds after (before, if negative) a stranger's password is checked again, and then the right one.
    SignInWhenChecked(usize, i64),
    Unblock(usize),
    Refresh(Held),
    /// The newest token of a live session, so many milliseconds after (before, if negative) it may be replaced.
    RefreshDue(Pick, i64),
    /// A replaced token of a live session that has one, so many milliseconds after (before, if negative) its grace is
    /// over.
    RefreshLate(Held, i64),
    /// Until so many milliseconds after (before, if negative) a session ends, while another one of its user is refreshed:
    /// somebody is there to see it.
    Outlive(Pick, i64),
    LogOut(Held),
    List(Held),
    Current(Held),
    Me(Held),
    Rename(Held, Target, Option<usize>),
    Revoke(Held, Target),
    RevokeAll(Held, Option<bool>),
    Purge(Held),
    ChangePassword(Held, Guess, usize),
    DeleteAccount(Held, Guess),
    Reauthenticate(Held, Guess),
    /// The transaction of a deletion, and then nothing, as if the function had been stopped.
    InterruptedDeletion(Held),
    /// A link is made that resets the password of whoever has an address.
    SendReset(usize),
    /// A link is made to a new address, asked for on a session.
    SendMove(Pick, usize),
    /// A link is opened, counted from the newest, round and round; with a password, if it is for one.
    OpenLink(usize, usize),
    SetDisabled(usize, bool),
    /// An administrator ends a session, which may be somebody else's than the user whom they name.
    AdminRevoke(usize, Pick),
    AdminRevokeAll(usize),
    CleanUp,
    SweepTtl,
    Wait(i64),
    /// Until so many milliseconds after (before, if negative) something of a session happens.
    WaitUntil(Moment, Pick, i64),
}

fn rules() -> impl Strategy<Value = Rules> {
    const SECOND: i64 = 1000;
    const HOUR: i64 = 3600 * SECOND;
    const DAY: i64 = 24 * HOUR;
    let access = select(vec![15 * 60 * SECOND, 20 * SECOND, 60 * DAY]);
    let lifetimes = select(vec![
        (7 * DAY, 10 * DAY),
        (HOUR, 90 * 60 * SECOND),
        (45 * SECOND, 70 * SECOND),
        (DAY, 6 * HOUR),
    ]);
    let grace = select(vec![30 * SECOND, 30 * SECOND, 0]);
    let retention = select(vec![DAY, HOUR, 0]);
    let free_guesses = select(vec![10, 3, 2, 1, 0]);
    (
        1..=3_usize,
        access,
        lifetimes,
        grace,
        retention,
        free_guesses,
    )
        .prop_map(
            |(limit, access, (idle, absolute), grace, retention, free_guesses)| Rules {
                access,
                idle,
                absolute,
                grace,
                retention,
                limit,
                free_guesses,
            },
        )
}

fn pick() -> impl Strategy<Value = Pick> {
    prop_oneof![
        12 => (0..6_usize).prop_map(Pick::Live),
        4 => (0..12_usize).prop_map(Pick::Ended),
        1 => Just(Pick::Unknown),
    ]
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        4 => pick().prop_map(Target::Any),
        6 => (0..6_usize).prop_map(Target::OwnEnded),
        3 => (0..3_usize).prop_map(Target::OwnExpired),
    ]
}

fn held(older: bool) -> impl Strategy<Value = Held> {
    let before_newest = if older {
        prop_oneof![6 => Just(0_usize), 5 => Just(1), 3 => 2..5_usize].boxed()
    } else {
        prop_oneof![9 => Just(0_usize), 1 => 1..3_usize].boxed()
    };
    (pick(), before_newest).prop_map(|(of, before_newest)| Held { of, before_newest })
}

fn guess() -> impl Strategy<Value = Guess> {
    prop_oneof![4 => Just(Guess::Right), 1 => (0..2_usize).prop_map(Guess::Wrong)]
}

fn device() -> impl Strategy<Value = Device> {
    proptest::option::of(0..5_usize)
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let who = || 0..EMAILS.len();
    let password = || 0..PASSWORDS.len();
    let moment = select(vec![
        Moment::GraceOver,
        Moment::GraceOver,
        Moment::Due,
        Moment::Idle,
        Moment::Absolute,
        Moment::AccessToken,
        Moment::Removal,
    ]);
    let millis = prop_oneof![
        4 => 1..2_000_i64,
        3 => 2_000..40_000_i64,
        2 => 40_000..4_000_000_i64,
        1 => 4_000_000..400_000_000_i64,
    ];
    prop_oneof![
        4 => (who(), password()).prop_map(|(who, password)| Register(who, password)),
        14 => (who(), guess(), device()).prop_map(|(who, guess, device)| SignIn(who, guess, device)),
        6 => (who(), device(), 1..5_usize)
            .prop_map(|(who, device, times)| GuessOften(who, device, times)),
        4 => (who(), -1..=1_i64).prop_map(|(who, off)| SignInWhenChecked(who, off)),
        2 => who().prop_map(Unblock),
        22 => held(true).prop_map(Refresh),
        12 => (pick(), prop_oneof![1 => Just(-1_i64), 3 => 0..=1_i64])
            .prop_map(|(of, off)| RefreshDue(of, off)),
        9 => (pick(), 1..3_usize, -1..=1_i64).prop_map(|(of, before_newest, off)| {
            RefreshLate(Held { of, before_newest }, off)
        }),
        4 => held(true).prop_map(LogOut),
        3 => held(false).prop_map(List),
        3 => held(false).prop_map(Current),
        3 => held(false).prop_map(Me),
        16 => (held(false), target(), proptest::option::of(0..9_usize))
            .prop_map(|(by, of, name)| Rename(by, of, name)),
        10 => (held(false), target()).prop_map(|(by, of)| Revoke(by, of)),
        3 => (held(false), proptest::option::of(any::<bool>()))
            .prop_map(|(by, keep)| RevokeAll(by, keep)),
        4 => held(false).prop_map(Purge),
        3 => (held(false), guess(), password())
            .prop_map(|(by, guess, new)| ChangePassword(by, guess, new)),
        2 => (held(false), guess()).prop_map(|(by, guess)| DeleteAccount(by, guess)),
        6 => (held(false), guess()).prop_map(|(by, guess)| Reauthenticate(by, guess)),
        1 => held(false).prop_map(InterruptedDeletion),
        3 => who().prop_map(SendReset),
        4 => (pick(), who()).prop_map(|(of, who)| SendMove(of, who)),
        9 => (prop_oneof![3 => Just(0_usize), 2 => 1..4_usize], password())
            .prop_map(|(place, password)| OpenLink(place, password)),
        3 => (who(), prop_oneof![2 => Just(true), 3 => Just(false)])
            .prop_map(|(who, disabled)| SetDisabled(who, disabled)),
        4 => (who(), pick()).prop_map(|(who, of)| AdminRevoke(who, of)),
        2 => who().prop_map(AdminRevokeAll),
        4 => Just(CleanUp),
        3 => Just(SweepTtl),
        8 => millis.prop_map(Wait),
        14 => (moment, pick(), -1..=1_i64)
            .prop_map(|(moment, of, off)| WaitUntil(moment, of, off)),
        6 => (pick(), -1..=1_i64).prop_map(|(of, off)| Outlive(of, off)),
    ]
}

/// The rules, the part of a second that the day begins with, and the steps: two users are there at first.
pub(super) fn case() -> impl Strategy<Value = (Rules, i64, Vec<Step>)> {
    let steps = proptest::collection::vec(step(), 30..=60).prop_map(|steps| {
        let first = [Step::Register(0, 0), Step::Register(1, 0)];
        first.into_iter().chain(steps).collect()
    });
    (rules(), 0..1000_i64, steps)
}

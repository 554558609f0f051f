//! What is held against the table: each user after each round, and the whole of it at the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use cleanup::{Budget, Report};
use latchkey_domain::clock::Clock as _;
use latchkey_store::ScannedItem;

use super::StormError;
use super::earlier::Told;
use super::history::{Event, StoredUser};
use super::judge::{Round, Rules, Violation, judge};
use super::report::Violations;
use super::stack::Stack;
use super::user::{Known, People, lock};

/// Compares what was answered in a round, and what the table holds after it, with the rules.
pub(crate) async fn compare(
    stack: &Stack,
    people: &[Arc<People>],
    round: usize,
    violations: &mut Violations,
) -> Result<(), StormError> {
    let rules = Rules::from(&stack.policy);
    let users = people
        .iter()
        .flat_map(|people| lock(&people.accounts).clone());
    stack.pump.lock().await.drain().await?;
    for user in users {
        let after = user.stored(&stack.behind, &stack.clock).await?;
        let id = user.known().user.or(after.as_ref().map(|after| after.user));
        let told = id.map(|id| stack.bus.told(id)).unwrap_or_default();
        let ended = stack.clock.moment();
        let mut known = user.known();
        let events = std::mem::take(&mut known.events);
        let found = judge(&Round {
            rules,
            before: known.before.as_ref(),
            after: after.as_ref(),
            events: &events,
            earlier: &known.earlier,
            told: &told,
            ended,
        });
        for violation in found {
            let (before, after) = (known.before.as_ref(), after.as_ref());
            violations.add(violation, &user.email, round, |violation| {
                history(violation, &events, before, after, &told)
            });
        }
        known.earlier.add(&events, told);
        settle(&mut known, after);
    }
    Ok(())
}

/// From here on the clients know what is, not what may be.
fn settle(known: &mut Known, after: Option<StoredUser>) {
    match &after {
        Some(stored) => {
            known.passwords = stored.password.clone().into_iter().collect();
            known.sessions.clone_from(&stored.admitted);
            known.leaving = false;
        }
        None => known.leaving = known.registered,
    }
    known.before = after;
}

fn history(
    violation: &Violation,
    events: &[Event],
    before: Option<&StoredUser>,
    after: Option<&StoredUser>,
    told: &Told,
) -> Vec<String> {
    let zero = events.iter().map(|event| event.start).min();
    // Of all sessions: which of them must make room depends on the others.
    let mut sorted: Vec<&Event> = events.iter().collect();
    sorted.sort_by_key(|event| event.start);
    let table = |when: &str, stored: Option<&StoredUser>| {
        let Some(stored) = stored else {
            return format!("{when}: no account");
        };
        let of_session = violation.session.map(|session| {
            let item = stored.sessions.get(&session);
            let admitted = stored.admitted.contains(&session);
            format!("session admitted: {admitted}, item: {item:?}")
        });
        format!(
            "{when}: account at version {} with {} sessions; {}",
            stored.version,
            stored.admitted.len(),
            of_session.unwrap_or_default()
        )
    };
    let lines = sorted
        .into_iter()
        .map(|event| event.line(zero.unwrap_or_default()));
    let ended = violation.session.and_then(|id| told.ended.get(&id));
    let reasons = ended
        .into_iter()
        .flat_map(BTreeMap::values)
        .map(|reason| format!("told of its end: {reason:?}"));
    std::iter::once(table("before", before))
        .chain(lines)
        .chain([table("after", after)])
        .chain(reasons)
        .collect()
}

/// Cleans up, and compares the whole table with what is known of all users.
pub(crate) async fn whole_table(
    stack: &Stack,
    people: &[Arc<People>],
) -> Result<(Vec<String>, Report), StormError> {
    let until = stack.clock.now() + TimeDelta::minutes(10);
    let report = cleanup::run(&stack.behind, stack.clock.as_ref(), Budget::until(until)).await?;
    let (mut accounts, mut sessions, mut others) = (0, 0, 0);
    let mut wrong = Vec::new();
    let mut from = None;
    loop {
        let page = stack.behind.scan_page(0, 1, from, 1000).await?;
        for scanned in page.items {
            match scanned.item {
                ScannedItem::Account(_) => accounts += 1,
                ScannedItem::Session(_) => sessions += 1,
                ScannedItem::Other => others += 1,
                // Marks of refused sign-ins: how many there are, only their TTL decides.
                ScannedItem::LeftToTtl => {}
                ScannedItem::Broken => wrong.push("a broken item".to_owned()),
            }
        }
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    let (mut users, mut items, mut live) = (0, 0, 0);
    let now = stack.clock.moment();
    for user in people
        .iter()
        .flat_map(|people| lock(&people.accounts).clone())
    {
        let Some(stored) = user.stored(&stack.behind, &stack.clock).await? else {
            continue;
        };
        users += 1;
        items += stored.sessions.len();
        live += stored
            .sessions
            .iter()
            .filter(|(id, session)| {
                stored.admitted.contains(id) && session.idle_end.min(session.absolute_end) > now
            })
            .count();
    }
    let mut same = |what: &str, in_table: usize, expected: usize| {
        if in_table != expected {
            wrong.push(format!("{in_table} {what} in the table, not {expected}"));
        }
    };
    same("accounts", accounts, users);
    same("sessions", sessions, items);
    // A credential for each account, and the cleanup's own note.
    same("other items", others, users + 1);
    same(
        "live sessions by the cleanup's count",
        usize::try_from(report.sessions_live).unwrap_or_default(),
        live,
    );
    same(
        "orphaned sessions",
        usize::try_from(report.removed_orphaned).unwrap_or_default(),
        0,
    );
    if !report.complete || report.broken > 0 {
        wrong.push(format!("the cleanup: {report}"));
    }
    Ok((wrong, report))
}

//! `load`: registers, signs in, refreshes, lists and revokes against a running local stack, and says how long each took.
//!
//! Every reply's status is checked: one that was not expected is counted, shown, and makes the command fail.

mod client;
mod floor;
mod phase;
mod server;
mod users;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use clap::Args;
use http::{Method, StatusCode};

use crate::load::client::{Api, Call};
use crate::load::floor::Floor;
use crate::load::phase::{Lasting, Measured, Phase, table};
use crate::load::server::Server;
use crate::load::users::User;

/// How many clients ask at once: first one, then these.
const MANY: usize = 16;
/// The rows that are compared.
const EMPTY: &str = "no such route (HTTP alone)";
const REFRESH: &str = "refresh";
const DYNAMODB: &str = "a refresh's two DynamoDB calls alone";
/// How long a client waits after a 503.
const COME_BACK: Duration = Duration::from_millis(100);
/// How many sign-ins wait at once in the flood: more than the threads and the queue of passwords take.
const FLOOD: usize = 192;
/// How many sign-ins each user gets, below the limit of sessions.
const SIGN_INS_OF_A_USER: usize = 4;

/// What is measured, and against what.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A running stack to measure, such as http://127.0.0.1:3000; without it one is started, in a temporary folder. Start it
    /// with `REFRESH_GRACE_SECONDS=0`, or most refreshes give the same token again.
    #[arg(long, value_name = "URL", value_parser = local_url)]
    url: Option<http::Uri>,
    /// How many users register at each concurrency; each signs in four times, and ends what it began.
    #[arg(long, default_value_t = 160, value_parser = clap::value_parser!(u32).range(1..))]
    users: u32,
    /// How many refreshes, lists and empty requests there are at each concurrency.
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(1..))]
    requests: u32,
    /// How long refreshes are measured during a flood of sign-ins; 0 leaves the flood out.
    #[arg(long, value_name = "SECONDS", default_value_t = 8)]
    flood_seconds: u64,
}

/// Why there is no measurement.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The stack could not be started.
    #[error("the local stack could not be started: {0}")]
    Start(#[from] std::io::Error),
    /// The stack ended before it was ready.
    #[error("the local stack ended before it was ready")]
    NotReady,
    /// The database of the comparison could not be used.
    #[error("the embedded DynamoDB could not be used: {0}")]
    Floor(String),
    /// Replies were not as expected.
    #[error("{0} replies were not as expected")]
    Unexpected(u64),
}

/// Only this machine's own addresses: a load is for nobody else.
fn local_url(text: &str) -> Result<http::Uri, String> {
    let url: http::Uri = text.parse().map_err(|_| "not a URL".to_owned())?;
    let host = url.host().unwrap_or_default();
    let here = host == "localhost"
        || host
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback());
    if url.scheme_str() == Some("http") && here {
        Ok(url)
    } else {
        Err("an address of this machine is needed, such as http://127.0.0.1:3000".to_owned())
    }
}

/// Measures, and prints a table.
pub(crate) async fn run(options: &Options) -> Result<(), LoadError> {
    let server = match &options.url {
        Some(_) => None,
        None => Some(Server::start().await?),
    };
    let url = match (&options.url, &server) {
        (Some(url), _) => url.to_string(),
        (None, Some(server)) => server.url().to_owned(),
        (None, None) => return Err(LoadError::NotReady),
    };
    let api = Api::new(&url);
    let (users, requests) = (options.users as usize, options.requests as usize);
    let mut rows = Vec::new();
    let floor = Floor::open().await?;
    for clients in [1, MANY] {
        rows.extend(measure(&api, &floor, clients, users, requests).await?);
    }
    println!(
        "\nTimes in milliseconds, as a client sees them.\n\n{}",
        table(&rows)
    );
    compare(&rows);

    let mut mixed = Vec::new();
    if options.flood_seconds > 0 {
        let before = server.as_ref().and_then(Server::peak_memory);
        mixed = flood_of_sign_ins(&api, Duration::from_secs(options.flood_seconds)).await;
        println!("\n{}", table(&mixed));
        let after = server.as_ref().and_then(Server::peak_memory);
        if let (Some(before), Some(after)) = (before, after) {
            println!(
                "Peak memory of the server: {before} MB before the flood, {after} MB after it."
            );
        }
    }
    if let Some(server) = server {
        server.stop().await;
    }
    floor.close().await;
    let unexpected = rows.iter().chain(&mixed).map(Measured::unexpected).sum();
    if unexpected > 0 {
        return Err(LoadError::Unexpected(unexpected));
    }
    Ok(())
}

/// Every operation, with so many clients at once.
async fn measure(
    api: &Api,
    floor: &Floor,
    clients: usize,
    users: usize,
    requests: usize,
) -> Result<Vec<Measured>, LoadError> {
    let each = |total: usize| Lasting::Turns(total.div_ceil(clients));
    let phase = |name| Phase::new(name, clients);
    let mut rows = Vec::new();

    let nobody = vec![(); clients];
    let empty = phase(EMPTY).run(nobody, each(requests), async |_: &mut (), turn| {
        let call = Call::new(Method::GET, "/v1/nothing");
        turn.send(api, call, &[StatusCode::NOT_FOUND]).await;
    });
    rows.push(empty.await.0);

    let nobody: Vec<Vec<User>> = (0..clients).map(|_| Vec::new()).collect();
    let registering = phase("register").run(nobody, each(users), async |made, turn| {
        made.extend(User::register(api, &turn).await);
    });
    let (row, made) = registering.await;
    rows.push(row);

    let sign_ins = each(users * SIGN_INS_OF_A_USER);
    let signing_in = phase("sign-in").run(made, sign_ins, async |made, turn| {
        if let Some(user) = one_of(made, turn.number) {
            user.sign_in(api, &turn).await;
        }
    });
    let (row, made) = signing_in.await;
    rows.push(row);

    let refreshing = phase(REFRESH).run(made, each(requests), async |made, turn| {
        if let Some(user) = one_of(made, turn.number) {
            user.refresh(api, &turn).await;
        }
    });
    let (row, made) = refreshing.await;
    rows.push(row);

    let items = floor.items(clients).await?;
    let rotating = phase(DYNAMODB).run(items, each(requests), async |item, turn| {
        let began = Instant::now();
        let rotated = floor.rotate(item).await;
        turn.note(began, rotated.is_ok(), || rotated.err().unwrap_or_default());
    });
    rows.push(rotating.await.0);

    let listing = phase("list, 5 sessions").run(made, each(requests), async |made, turn| {
        if let Some(user) = one_of(made, turn.number) {
            user.list(api, &turn).await;
        }
    });
    let (row, made) = listing.await;
    rows.push(row);

    // One of the four sessions stays for the last row.
    let revocations = each(users * (SIGN_INS_OF_A_USER - 1));
    let revoking = phase("revoke").run(made, revocations, async |made, turn| {
        if let Some(user) = one_of(made, turn.number) {
            user.revoke(api, &turn).await;
        }
    });
    let (row, made) = revoking.await;
    rows.push(row);

    let revoking = phase("revoke-all").run(made, each(users), async |made, turn| {
        if let Some(user) = one_of(made, turn.number) {
            user.revoke_all_others(api, &turn).await;
        }
    });
    rows.push(revoking.await.0);
    Ok(rows)
}

/// Each user in turn.
fn one_of(users: &mut [User], turn: usize) -> Option<&mut User> {
    let index = turn.checked_rem(users.len())?;
    users.get_mut(index)
}

/// Refreshes alone, then the same during more sign-ins than the service takes at once.
async fn flood_of_sign_ins(api: &Api, lasting: Duration) -> Vec<Measured> {
    let register = async |users: &mut Vec<User>, turn| {
        users.extend(User::register(api, &turn).await);
    };
    let refresh = async |users: &mut Vec<User>, turn| {
        if let Some(user) = users.first_mut() {
            user.refresh(api, &turn).await;
        }
    };
    let nobody = (0..MANY).map(|_| Vec::new()).collect();
    let preparing = Phase::new("users of the flood", MANY);
    let (_, users) = preparing.run(nobody, Lasting::Turns(1), register).await;

    let alone = Phase::new("refresh, nothing beside it", MANY);
    let (alone, users) = alone.run(users, Lasting::For(lasting), refresh).await;

    let victims = (0..MANY).map(|_| Vec::new()).collect();
    let (_, victims) = preparing.run(victims, Lasting::Turns(1), register).await;
    let victims: Vec<User> = victims.into_iter().flatten().collect();
    let guessers: Vec<usize> = (0..FLOOD).collect();
    let guess = async |guesser: &mut usize, turn| {
        let victim = guesser
            .checked_rem(victims.len())
            .and_then(|index| victims.get(index));
        if let Some(victim) = victim
            && victim.guess(api, &turn).await
        {
            tokio::time::sleep(COME_BACK).await;
        }
    };
    let during = Phase::new("refresh, beside the flood", MANY);
    let flood = Phase::new("the flood: sign-ins, wrong password", FLOOD);
    let ((during, _), (flood, _)) = tokio::join!(
        during.run(users, Lasting::For(lasting), refresh),
        flood.run(guessers, Lasting::For(lasting), guess)
    );
    vec![alone, during, flood]
}

/// How much of a refresh is DynamoDB's.
fn compare(rows: &[Measured]) {
    for clients in [1, MANY] {
        let find = |name| rows.iter().find(|row| row.is(name, clients));
        if let (Some(refresh), Some(dynamodb), Some(empty)) =
            (find(REFRESH), find(DYNAMODB), find(EMPTY))
        {
            let [refresh, dynamodb, empty] = [refresh, dynamodb, empty].map(|row| row.at(0.5));
            println!(
                "{clients} at once: the median refresh takes {:.2} times its two DynamoDB calls alone, {:.2} times these \
                 and an empty HTTP request.",
                refresh / dynamodb,
                refresh / (dynamodb + empty),
            );
        }
    }
}

//! Bytes that nobody chose, fed to everything that reads what others wrote: tokens, bodies, URLs, headers, events of API
//! Gateway, items of the table, password hashes. Nothing may panic, no reply may be a 5xx, and each must be one that the
//! OpenAPI document knows, with a stable code.
//!
//! A [`Target`] makes something of its bytes and checks what comes of it. `tests/all/adversary/fuzzing.rs` feeds the seeds,
//! what was found once, and some thousand random changes of these to each; `tests/fuzz` has libFuzzer do it, guided by
//! coverage.

mod events;
mod items;
mod password_hashes;
mod requests;
mod tokens;

pub use requests::answers_to_body_seeds;

use std::cell::{Cell, RefCell};
use std::sync::Once;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderName, HeaderValue, Method};
use latchkey_domain::client::{Client, ClientScope, ClientSecret};
use latchkey_domain::policy::SessionPolicy;
use serde_json::{Value, json};

use crate::attack::faults::{self, Faults};
use crate::attack::forgery::Forger;
use crate::harness::conformity;
use crate::harness::operations::Operation;
use crate::harness::reply::{Reply, SignedIn};
use crate::harness::stack::{Stack, client_bounds};

/// Something that reads bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Reads them, and panics when something is wrong.
    pub run: fn(&[u8]),
    /// What to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 11] = [
    Target {
        name: "tokens",
        run: tokens::tokens,
        seeds: tokens::token_seeds,
    },
    Target {
        name: "signed_tokens",
        run: tokens::signed_tokens,
        seeds: tokens::signed_token_seeds,
    },
    Target {
        name: "bodies",
        run: requests::bodies,
        seeds: requests::body_seeds,
    },
    Target {
        name: "forms",
        run: requests::forms,
        seeds: requests::form_seeds,
    },
    Target {
        name: "basic_credentials",
        run: requests::basic_credentials,
        seeds: requests::basic_credentials_seeds,
    },
    Target {
        name: "urls",
        run: requests::urls,
        seeds: requests::url_seeds,
    },
    Target {
        name: "headers",
        run: requests::headers,
        seeds: requests::header_seeds,
    },
    Target {
        name: "devices",
        run: requests::devices,
        seeds: requests::device_seeds,
    },
    Target {
        name: "events",
        run: events::events,
        seeds: events::event_seeds,
    },
    Target {
        name: "items",
        run: items::items,
        seeds: items::item_seeds,
    },
    Target {
        name: "password_hashes",
        run: password_hashes::password_hashes,
        seeds: password_hashes::password_hash_seeds,
    },
];

/// A hash of [`PASSWORD`] that is quick to verify, so that most tries do not wait for argon2.
const QUICK_HASH: &str =
    "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$E/9XOcEJe3mPXG7g015mjI/Ptw7gpcl7bw+7BNqI9bQ";

/// The secret of the one client.
const CLIENT_SECRET: &str = "lks_a-secret-of-the-fuzzing";

/// A service with one user, who is an administrator and signed in, always the same.
struct World {
    runtime: tokio::runtime::Runtime,
    stack: Stack,
    faults: Faults,
    items: Vec<Value>,
    ada: SignedIn,
    phone: SignedIn,
    /// The `Authorization` of a client that may do everything.
    client: String,
    forger: Forger,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let (stack, faults, ada, phone) = runtime.block_on(async {
            let policy = SessionPolicy::default();
            let (stack, faults) = faults::stack_with(policy, 1, Vec::new()).await;
            let ada = stack.administrator("ada@example.com").await;
            let phone = stack.login("ada@example.com").await;
            let secret = ClientSecret::new(CLIENT_SECRET.to_owned());
            let may = (ClientScope::ALL.into(), client_bounds(&ClientScope::ALL));
            let client = Client::register("orders-api", "Orders", may, &secret, stack.now());
            let made = stack.store.create_client(&client.expect("a client")).await;
            assert_eq!(made, Ok(true));
            let grace = stack
                .post("/v1/service/sessions")
                .basic("orders-api", CLIENT_SECRET);
            let grace = grace.json(&items::grace()).send().await;
            assert_eq!(grace.status.as_u16(), 201);
            (stack, faults, ada, phone)
        });
        let mut items = faults::raw_items(&stack);
        for item in &mut items {
            if item.get("password_hash").is_some() {
                item["password_hash"] = json!({"S": QUICK_HASH});
            }
        }
        faults::restore(&stack, &items);
        drop(faults.disarm());
        Self {
            runtime,
            stack,
            faults,
            items,
            ada,
            phone,
            client: format!(
                "Basic {}",
                BASE64_STANDARD.encode(format!("orders-api:{CLIENT_SECRET}"))
            ),
            forger: Forger::default(),
        }
    }

    /// A path of the document about the user of this world.
    fn fill_in(&self, operation: &Operation) -> String {
        let [user, session] = self.about();
        operation.path_about(&user, &session)
    }

    /// The user, and a session that is not the caller's.
    fn about(&self) -> [String; 2] {
        let user = self.ada.user_id.map(|user| user.to_string());
        [user.unwrap_or_default(), self.phone.session_id.to_string()]
    }

    /// Sends a request, if HTTP can carry it: the reply must be as documented.
    async fn send(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&str, &[u8])],
        body: Option<(&str, &[u8])>,
    ) -> Option<Reply> {
        let uri: http::Uri = path.parse().ok()?;
        let path = uri.path_and_query()?.as_str().to_owned();
        let mut call = self.stack.request(method.clone(), &path);
        for (name, value) in headers {
            HeaderName::from_bytes(name.as_bytes()).ok()?;
            HeaderValue::from_bytes(value).ok()?;
            call = call.header(name, value);
        }
        if let Some((kind, body)) = body {
            call = call.bytes(kind, body);
        }
        Some(checked(method, &path, call.send_unchecked().await))
    }
}

/// A reply that nothing a client sends may exceed.
fn checked(method: &Method, path: &str, reply: Reply) -> Reply {
    conformity::check(method, path, &reply);
    let status = reply.status.as_u16();
    assert!(status < 500, "{method} {path}: {} {}", status, reply.body);
    if status >= 400 {
        let kind = reply.header("content-type").unwrap_or_default();
        let as_oauth = reply.body["error"].is_string();
        let known = if as_oauth {
            "application/json"
        } else {
            "application/problem+json"
        };
        assert!(
            kind == known || *method == Method::HEAD,
            "{method} {path}: {kind}"
        );
        let has_code = as_oauth || reply.code() != "none" || *method == Method::HEAD;
        assert!(has_code, "{method} {path}");
    }
    reply
}

/// Gives the world to a run, and makes it what it was afterwards. A panic that was turned into a reply is one too.
fn with_world(run: impl AsyncFnOnce(&World)) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.with(|count| count.set(count.get() + 1));
            before(panic);
        }));
    });
    WORLD.with_borrow_mut(|slot| {
        // Taken out, so that the next run makes a new one if this one panics.
        let world = slot.take().unwrap_or_else(World::new);
        let panics = PANICS.get();
        world.runtime.block_on(run(&world));
        assert_eq!(PANICS.get(), panics, "something panicked");
        let reads = ["GetItem", "Query", "Scan"];
        let calls = world.faults.disarm();
        if calls
            .iter()
            .any(|(name, _)| !reads.contains(&name.as_str()))
        {
            faults::restore(&world.stack, &world.items);
        }
        *slot = Some(world);
    });
}

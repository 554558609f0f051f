//! The operations of the OpenAPI document, which is made from the routers: a test that takes its routes from here covers
//! one that is added tomorrow, or fails until it can.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use super::call::Call;
use super::conformity;
use super::reply::SignedIn;
use super::stack::{PASSWORD, Stack};

/// An operation of the document.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its method.
    pub method: Method,
    /// Its path, with the parameters in braces.
    pub path: &'static str,
    /// What the document says of it.
    pub described: &'static Value,
}

/// All operations, in the order of their paths.
///
/// # Panics
/// When the document has none.
#[must_use]
pub fn operations() -> Vec<Operation> {
    let paths = conformity::document()["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&'static String, &'static Value)| {
        let methods = item.as_object().into_iter().flatten();
        methods.map(move |(method, described)| Operation {
            method: method.to_ascii_uppercase().parse().expect("a method"),
            path,
            described,
        })
    };
    paths.iter().flat_map(of_path).collect()
}

impl Operation {
    /// The operation that a request reaches.
    #[must_use]
    pub fn of_request(method: &Method, path: &str) -> Option<Self> {
        let pointer = conformity::operation(method, path)?;
        let described = conformity::document().pointer(&pointer)?;
        let is_it = |one: &Self| std::ptr::eq(one.described, described);
        operations().into_iter().find(is_it)
    }

    /// Method and path.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Whether the document names a way to say who calls.
    #[must_use]
    pub fn takes(&self, scheme: &str) -> bool {
        let ways = self.described["security"].as_array().into_iter().flatten();
        ways.into_iter().any(|way| way.get(scheme).is_some())
    }

    /// The example of a body in JSON, if there is a body.
    #[must_use]
    pub fn example(&self) -> Option<&'static Value> {
        let content = &self.described["requestBody"]["content"]["application/json"];
        (!content.is_null()).then(|| &content["example"])
    }

    /// The path about somebody's account and session.
    ///
    /// # Panics
    /// When it has a parameter that is unknown here.
    #[must_use]
    pub fn path_about(&self, user: &str, session: &str) -> String {
        let path = self.path.replace("{user_id}", user);
        let path = path.replace("{session_id}", session);
        let path = path.replace("{id}", session);
        assert!(
            !path.contains('{'),
            "a parameter that is not known here: {path}"
        );
        path
    }

    /// A request as the document's example has it, about somebody, from somebody with an access token.
    #[must_use]
    pub fn call<'a>(&self, stack: &'a Stack, about: [&str; 2], caller: &Caller) -> Call<'a> {
        let [user, session] = about;
        let path = self.path_about(user, session);
        let call = stack.request(self.method.clone(), &path);
        let call = call.bearer(&caller.access_token);
        match self.example() {
            Some(example) => call.json(&caller.body(example, about)),
            None => call,
        }
    }
}

/// Who calls, and what they know: in place of the examples that are nobody's.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What they prove themselves with.
    pub access_token: String,
    /// What stands in fields of these names.
    pub known: BTreeMap<&'static str, Value>,
}

impl Caller {
    /// Somebody with [`PASSWORD`].
    #[must_use]
    pub fn new(who: &SignedIn) -> Self {
        let known = [
            ("password", json!(PASSWORD)),
            ("current_password", json!(PASSWORD)),
            ("refresh_token", json!(who.refresh_token)),
        ];
        Self {
            access_token: who.access_token.clone(),
            known: known.into_iter().collect(),
        }
    }

    /// The same, who knows one thing more.
    #[must_use]
    pub fn knowing(mut self, field: &'static str, value: impl Into<Value>) -> Self {
        self.known.insert(field, value.into());
        self
    }

    /// A body as in the example, with what the caller knows, about a user and a session.
    #[must_use]
    pub fn body(&self, example: &Value, [user, session]: [&str; 2]) -> Value {
        let mut body = example.clone();
        for (name, value) in body.as_object_mut().into_iter().flatten() {
            match name.as_str() {
                "user_ids" => *value = json!([user]),
                "user_id" => *value = json!(user),
                "session_id" => *value = json!(session),
                name => {
                    if let Some(known) = self.known.get(name) {
                        *value = known.clone();
                    }
                }
            }
        }
        body
    }
}

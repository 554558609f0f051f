//! What a message of serde's says is wrong, in our words. It names our own fields and what we expect there, and never what
//! was sent: that may be a password.

use std::borrow::Cow;

/// What is wrong with a body or a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mistake<'a> {
    /// A field that is needed is not there.
    Missing(&'a str),
    /// A field is there more than once.
    Twice(&'a str),
    /// A value is of another type or form than this.
    Expected(Cow<'a, str>),
}

impl<'a> Mistake<'a> {
    /// Reads a message; none for one that is about something else, such as malformed JSON.
    pub(crate) fn in_message(message: &'a str) -> Option<Self> {
        let between_ticks = |prefix| message.strip_prefix(prefix)?.split('`').next();
        if let Some(field) = between_ticks("missing field `") {
            return Some(Self::Missing(field));
        }
        if let Some(field) = between_ticks("duplicate field `") {
            return Some(Self::Twice(field));
        }
        // The errors of bool and of whole numbers, when they are read from text.
        if message.starts_with("provided string was not `true` or `false`") {
            return Some(Self::Expected("true or false".into()));
        }
        if message.contains("invalid digit found in string")
            || message.contains("to fit in target type")
            || message.contains("cannot parse integer from empty string")
        {
            return Some(Self::Expected("a whole number within its bounds".into()));
        }
        // The last one is ours: what comes before it may repeat what was sent.
        let (_, expected) = message.rsplit_once(", expected ")?;
        let expected = match expected.rsplit_once(" at line ") {
            Some((expected, _)) => expected,
            None => expected,
        };
        Some(Self::Expected(in_words(expected)))
    }
}

/// The name of a type of JSON for what serde calls one of Rust.
fn in_words(expected: &str) -> Cow<'_, str> {
    match expected {
        "a boolean" => "true or false".into(),
        "a map" => "an object".into(),
        "a sequence" => "an array".into(),
        "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" | "isize" => {
            "a whole number within its bounds".into()
        }
        "f32" | "f64" => "a number".into(),
        _ if expected.starts_with("struct ") => "an object".into(),
        _ => expected.replace('`', "").into(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its errors are looked at")]
    struct Sent {
        name: String,
        many: Option<Vec<u8>>,
        yes: Option<bool>,
        state: Option<State>,
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its errors are looked at")]
    struct Inner {
        count: u32,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum State {
        Live,
        All,
    }

    fn mistake(json: &str) -> String {
        let error = serde_json::from_str::<Sent>(json).unwrap_err().to_string();
        format!("{:?}", Mistake::in_message(&error))
    }

    /// The library may change its words: then this fails, not only the messages.
    #[test]
    fn the_words_of_the_library_are_understood() {
        for (json, said) in [
            ("{}", "Some(Missing(\"name\"))"),
            (r#"{"name": "a", "name": "b"}"#, "Some(Twice(\"name\"))"),
            (r#"{"name": 7}"#, "Some(Expected(\"a string\"))"),
            (r#"{"name": null}"#, "Some(Expected(\"a string\"))"),
            (r#"{"yes": "no"}"#, "Some(Expected(\"true or false\"))"),
            (r#"{"many": 1}"#, "Some(Expected(\"an array\"))"),
            (
                r#"{"many": [256]}"#,
                "Some(Expected(\"a whole number within its bounds\"))",
            ),
            (r#"{"inner": 1}"#, "Some(Expected(\"an object\"))"),
            (r#"{"inner": {}}"#, "Some(Missing(\"count\"))"),
            (
                r#"{"inner": {"count": -1}}"#,
                "Some(Expected(\"a whole number within its bounds\"))",
            ),
            (r#"{"state": "dead"}"#, "Some(Expected(\"live or all\"))"),
            (r#"{"name": "#, "None"),
            (r#"{"name": 1e999}"#, "None"),
        ] {
            assert_eq!(mistake(json), said, "{json}");
        }
    }

    #[test]
    fn what_was_sent_is_not_repeated_even_if_it_looks_like_a_message() {
        for sent in [
            "secret",
            ", expected secret",
            "`, expected `secret` at line 1 column 1",
            "missing field `secret`",
        ] {
            let json = serde_json::json!({"name": "a", "state": sent}).to_string();
            assert_eq!(mistake(&json), "Some(Expected(\"live or all\"))", "{sent}");
            let json = serde_json::json!({"name": "a", "yes": sent}).to_string();
            assert_eq!(
                mistake(&json),
                "Some(Expected(\"true or false\"))",
                "{sent}"
            );
        }
    }

    #[test]
    fn values_of_a_query_are_understood_too() {
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "only its errors are looked at")]
        struct Query {
            yes: Option<bool>,
            limit: Option<u8>,
            state: Option<State>,
        }
        for (query, said) in [
            ("yes=1", "true or false"),
            ("limit=x", "a whole number within its bounds"),
            ("limit=", "a whole number within its bounds"),
            ("limit=256", "a whole number within its bounds"),
            ("limit=-1", "a whole number within its bounds"),
            ("state=secret", "live or all"),
        ] {
            let error = serde_urlencoded::from_str::<Query>(query).unwrap_err();
            assert_eq!(
                Mistake::in_message(&error.to_string()),
                Some(Mistake::Expected(said.into())),
                "{query}"
            );
        }
    }
}

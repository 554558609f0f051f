//! Secrets Manager, as far as a function uses it: one secret.

use axum::http::HeaderMap;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::stack::SECRET;

/// Holds the secret of tests, and one before it.
#[derive(Clone, Debug)]
pub struct EmbeddedSecret {
    endpoint: String,
}

impl EmbeddedSecret {
    /// Starts it on a free port. It ends with the runtime that it is started on.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let router = axum::Router::new().fallback(secret_value);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { endpoint }
    }

    /// Where it is.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The ARN of the secret.
    #[must_use]
    pub fn arn(&self) -> &'static str {
        ARN
    }
}

const ARN: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:latchkey";

async fn secret_value(headers: HeaderMap, body: String) -> impl IntoResponse {
    assert_eq!(headers["x-amz-target"], "secretsmanager.GetSecretValue");
    let asked: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(asked, json!({"SecretId": ARN}));
    let secret = json!({
        "current": String::from_utf8_lossy(SECRET),
        "previous": "the secret before this one, also long",
    });
    axum::Json(json!({
        "ARN": ARN, "Name": "latchkey", "VersionId": "1", "SecretString": secret.to_string(),
    }))
}

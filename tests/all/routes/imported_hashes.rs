//! Users who were brought along with the hashes of another system sign in with their old passwords.

use http::{Method, StatusCode};
use latchkey_domain::email::EmailAddress;
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::{OLD_PARAMETERS_HASH, PASSWORD, Stack, without_limits};
use serde_json::json;

/// Hashes of [`PASSWORD`], by Python's bcrypt, passlib and Django, converted as the operations guide says.
const IMPORTED: [&str; 11] = [
    OLD_PARAMETERS_HASH,
    "$argon2id$v=19$m=102400,t=2,p=8$Wng4Y1RtcUNrelRxVm5LWjB0SngxYQ$xp9aK/sPc2EGXQEG9koGTkuxzR29m/9IrGtC47kPWVo",
    "$2a$04$fsCzX1lFFTRYq7WNUIRR0OD93GdAnd52BUd4qqsC2b1QwvKZy/WpK",
    "$2b$04$/GKmVVVSsjJwklAjTlDF5OGspY3sv4GMZfqYtEs.DX.B/GWhgQnmW",
    "$2y$04$.JnpGjCJbzD7wJd/wD5i0OWBVEyol0jpL.n9YHy3DxJKlxpA2iOa6",
    "$pbkdf2-sha256$1000$.//.IHNhbHRzYWx0$1QCfbhowAA2Nu2/vtUn/EwpWMuXK9YE0aYt8umaoPIU",
    "$pbkdf2-sha512$1000$M.YcY2wtRSgFIAQAYCzFuA$iRG356hu7rgWLPAUiAeRmy5O7A/A9omtdJT81rf33svy5yJWSNNAYeMjauydxwebNa3YkxuDVcZhdfRhoBqFVQ",
    "$pbkdf2$1000$mfNei/F.752zltIaY2wtpQ$HD7CQF6IYslOIJLYw0L3wGznFkE",
    "$pbkdf2-sha256$i=1000,l=32$Wng4Y1RtcUNrelRxVm5LWjB0SngxYQ$ysSFKN0VXydfsyDgxAJxp6MfTOyBIisdlGtShJVNIf8",
    "$scrypt$ln=8,r=8,p=1$a825NyYkxFhrTUnJ+d/buw$yk/SvRYW6gD8PrzHE7/pOSsg2FDpLAz5qVAWdgVt1Pg",
    "$scrypt$ln=14,r=8,p=5$Wng4Y1RtcUNrelRxVm5LWjB0SngxYQ$w/ogxYQh5+LWYXS5+moVUdD1T457oEnth9QzY+BCBqe3fp6vtFi1n5XpGoGf7CKwIYsc2v/ncv8pzQzB0oli6w",
];

/// What no password meets: unknown, damaged, or too much work.
const UNUSABLE: [&str; 9] = [
    "",
    "plain text of a password",
    "$2b$31$/GKmVVVSsjJwklAjTlDF5OGspY3sv4GMZfqYtEs.DX.B/GWhgQnmW",
    "$2b$04$/GKmVVVSsjJwklAjTlDF5OGspY3sv4GMZfqYtEs.DX.B/GWhgQnm",
    "$scrypt$ln=30,r=8,p=1$a825NyYkxFhrTUnJ+d/buw$yk/SvRYW6gD8PrzHE7/pOSsg2FDpLAz5qVAWdgVt1Pg",
    "$pbkdf2-sha256$10000000000$.//.IHNhbHRzYWx0$1QCfbhowAA2Nu2/vtUn/EwpWMuXK9YE0aYt8umaoPIU",
    "$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$xwP/sUpncRUpT63+0aadhrYrW8PTzYL8TrQp/6Tj9lA",
    "$firebase-scrypt$jSrwlu4cM9Q$9W3QBPgU",
    "pbkdf2_sha256$1000$Zx8cTmqCkzTqVnKZ0tJx1a$ysSFKN0VXydfsyDgxAJxp6MfTOyBIisdlGtShJVNIf8=",
];

const EMAIL: &str = "ada@example.com";

async fn store_hash(stack: &Stack, hash: &str) {
    let credential = stack.table().credential(EMAIL);
    credential.set("password_hash", hash).await;
}

async fn stored_hash(stack: &Stack) -> String {
    let email = EmailAddress::parse(EMAIL).unwrap();
    let credential = stack.store.read_credential(&email).await.unwrap();
    credential.unwrap().password_hash.as_phc().to_owned()
}

#[tokio::test]
async fn an_imported_hash_is_verified_and_replaced_at_the_first_sign_in() {
    let stack = Stack::with_policy(without_limits()).await;
    let mut ada = stack.register(EMAIL).await;
    for hash in IMPORTED {
        store_hash(&stack, hash).await;
        for wrong in ["correct horse battery stapl", "", "another password"] {
            let reply = stack.try_login(EMAIL, wrong).await;
            reply.expect_problem(401, "invalid_credentials");
        }
        assert_eq!(
            stored_hash(&stack).await,
            hash,
            "only a success replaces it"
        );
        stack.login(EMAIL).await;
        let replaced = stored_hash(&stack).await;
        assert!(
            replaced.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        stack.login(EMAIL).await;
        assert_eq!(stored_hash(&stack).await, replaced);
        let reply = stack.try_login(EMAIL, "another password").await;
        reply.expect_problem(401, "invalid_credentials");
        // Nothing about who is signed in has changed.
        ada = stack.refresh_session(&ada).await;
    }
}

#[tokio::test]
async fn an_imported_hash_confirms_a_password_change_and_a_deletion() {
    let new = "wrong donkey charger paperclip";
    for hash in IMPORTED {
        let stack = Stack::start().await;
        let ada = stack.register(EMAIL).await;
        store_hash(&stack, hash).await;
        let change = async |current: &str| {
            let body = json!({"current_password": current, "new_password": new});
            let call = stack.request(Method::PUT, "/v1/me/password");
            call.bearer(&ada.access_token).json(&body).send().await
        };
        let refused = change("another password").await;
        refused.expect_problem(403, "wrong_password");
        let changed = SignedIn::from(change(PASSWORD).await.expect(StatusCode::OK));
        assert!(
            stored_hash(&stack)
                .await
                .starts_with("$argon2id$v=19$m=19456,t=2,p=1$")
        );

        store_hash(&stack, hash).await;
        let body = json!({"password": PASSWORD});
        let delete = stack.post("/v1/me/delete").bearer(&changed.access_token);
        assert_eq!(
            delete.json(&body).send().await.status,
            StatusCode::NO_CONTENT
        );
    }
}

#[tokio::test]
async fn a_hash_that_cannot_be_used_is_met_by_no_password_after_the_same_work_and_is_logged() {
    let stack = Stack::start().await;
    let ada = stack.register(EMAIL).await;
    let user = format!("user_id={}", ada.user_id.unwrap());
    let good = stored_hash(&stack).await;
    for hash in UNUSABLE {
        // A session survives four wrong passwords only.
        store_hash(&stack, &good).await;
        let ada = stack.login(EMAIL).await;
        store_hash(&stack, hash).await;
        let before = stack.items().await;
        let log = Log::capture();
        let worked = stack.core.passwords.jobs_done();
        let reply = stack.try_login(EMAIL, PASSWORD).await;
        reply.expect_problem(401, "invalid_credentials");
        assert_eq!(stack.core.passwords.jobs_done(), worked + 1);
        assert_eq!(stack.items().await, before);
        let body = json!({"password": PASSWORD});
        let delete = stack.post("/v1/me/delete").bearer(&ada.access_token);
        let reply = delete.json(&body).send().await;
        reply.expect_problem(403, "wrong_password");
        let log = log.end();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
        assert_eq!(lines.len(), 2, "{hash}: {log}");
        for line in lines {
            assert!(
                line.contains("a stored password hash cannot be used"),
                "{line}"
            );
            assert!(line.contains(&user) && line.contains("reason="), "{line}");
        }
        for part in hash.split('$').filter(|part| part.len() > 8) {
            assert!(!log.contains(part), "{part} in {log}");
        }
    }
}

#[tokio::test]
async fn a_password_that_its_former_system_did_not_normalize_is_normalized_from_then_on() {
    let (decomposed, composed) = (
        "cre\u{300}me bru\u{302}le\u{301}e",
        "cr\u{E8}me br\u{FB}l\u{E9}e",
    );
    let stack = Stack::start().await;
    stack.register(EMAIL).await;
    // Of the decomposed form.
    let hash = "$2b$04$6ZUvyfwMKTRyozcvezaa9uhT6Fe2E0FNRJct2/1S8OuSt9r.6OMGa";
    store_hash(&stack, hash).await;
    let reply = stack.try_login(EMAIL, composed).await;
    reply.expect_problem(401, "invalid_credentials");
    for typed in [decomposed, composed, decomposed] {
        let reply = stack.try_login(EMAIL, typed).await;
        reply.expect(StatusCode::OK);
    }
}

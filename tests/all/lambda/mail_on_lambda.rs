//! The function that sends mail as Lambda runs it, with a service that answers as SES does.

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use latchkey_domain::clock::{Clock as _, SystemClock};
use latchkey_domain::notice::Language;
use latchkey_tests::harness::dynamodb::ListeningDynamoDb;
use latchkey_tests::harness::lambda::{Answer, Function, sample_event};
use latchkey_tests::harness::stack::TABLE;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

const OPERATION: &str = "/v2/email/outbound-emails";

/// An SES that answers by the mailbox of an address, and tells what it was sent.
async fn ses() -> (String, tokio::sync::mpsc::UnboundedReceiver<Value>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sent, requests) = tokio::sync::mpsc::unbounded_channel();
    let router = axum::Router::new().fallback(
        move |uri: axum::http::Uri, Json(request): Json<Value>| async move {
            assert_eq!(uri.path(), OPERATION);
            let to = request["Destination"]["ToAddresses"][0]
                .as_str()
                .unwrap()
                .to_owned();
            sent.send(request).unwrap();
            let no = |status: u16, code: &str| {
                let body = json!({"message": format!("{code} for {to}")});
                let status = StatusCode::from_u16(status).unwrap();
                (status, [("x-amzn-errortype", code.to_owned())], Json(body))
            };
            let answer = match to.split('@').next().unwrap() {
                "rejected" => no(400, "MessageRejected"),
                "malformed" => no(400, "BadRequestException"),
                "limit" => no(429, "TooManyRequestsException"),
                "paused" => no(400, "SendingPausedException"),
                "broken" => no(500, "InternalFailure"),
                "busy" => no(503, "ServiceUnavailable"),
                // What stands before SES, and may have passed the mail on.
                "proxy" => return (StatusCode::SERVICE_UNAVAILABLE, "busy").into_response(),
                _ => (
                    StatusCode::OK,
                    [("x-amzn-requestid", "1".to_owned())],
                    Json(json!({"MessageId": "1"})),
                ),
            };
            answer.into_response()
        },
    );
    tokio::spawn(async move { axum::serve(listener, router).await });
    (endpoint, requests)
}

/// The sample, of an event that has just happened.
fn sample() -> Value {
    sample_event("notify", &json!({"now": SystemClock.now()}))
}

/// The same, of another event and to another address.
fn sample_to(to: &str, number: usize) -> Value {
    let mut batch = sample();
    let body = batch["Records"][0]["body"].as_str().unwrap();
    let body = body.replace("ada@example.com", to);
    let body = body.replace("5a35-9d3c-1f6f0a3f5c11", &format!("5a35-9d3c-{number:012}"));
    batch["Records"][0]["body"] = json!(body);
    batch
}

/// The function, with a table and this SES.
async fn start(dynamodb: &ListeningDynamoDb, endpoint: &str) -> Function {
    let client = dynamodb.client();
    latchkey_store::table::create_if_missing(&client, TABLE)
        .await
        .unwrap();
    let settings = [
        ("AWS_ENDPOINT_URL_SESV2", endpoint),
        ("MAIL_FROM", "Example <no-reply@example.com>"),
        ("MAIL_LANGUAGE", "de"),
    ];
    Function::start("notify", &dynamodb.endpoint, &settings).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sample_becomes_one_request_to_ses() {
    let dynamodb = ListeningDynamoDb::start().await;
    let (endpoint, mut requests) = ses().await;
    let mut function = start(&dynamodb, &endpoint).await;
    let nothing_failed = Answer::Response(json!({"batchItemFailures": []}));
    let happened = SystemClock.now();
    let batch = sample_event("notify", &json!({"now": happened}));
    // Brought twice.
    for _ in 0..2 {
        assert_eq!(function.invoke(&batch).await, nothing_failed);
    }
    let request = requests.try_recv().unwrap();
    assert!(requests.try_recv().is_err(), "one mail");
    assert_eq!(
        request["FromEmailAddress"],
        "=?UTF-8?B?RXhhbXBsZQ==?= <no-reply@example.com>"
    );
    assert_eq!(
        request["Destination"],
        json!({"ToAddresses": ["ada@example.com"]})
    );
    let message = &request["Content"]["Simple"];
    assert_eq!(
        message["Subject"]["Data"],
        "Ihr Konto bei Example wurde gelöscht"
    );
    for part in ["Text", "Html"] {
        let part = &message["Body"][part];
        assert_eq!(part["Charset"], "UTF-8");
        assert!(
            part["Data"]
                .as_str()
                .unwrap()
                .contains(&Language::De.write_time(happened))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ses_answers_decides() {
    let dynamodb = ListeningDynamoDb::start().await;
    let (endpoint, mut requests) = ses().await;
    let mut function = start(&dynamodb, &endpoint).await;
    for (number, mailbox, is_refused) in [
        (1, "rejected", true),
        (2, "malformed", true),
        (3, "limit", false),
        (4, "paused", false),
        // These may have been taken, so they are not handed over again at once.
        (5, "broken", false),
        (5, "broken", false),
        (6, "proxy", false),
        (6, "proxy", false),
        (7, "busy", false),
        (7, "busy", false),
        (8, "用户", true),
        (9, "=?utf-8?q?ada?=", true),
    ] {
        let batch = sample_to(&format!("{mailbox}@example.com"), number);
        let Answer::Response(answer) = function.invoke(&batch).await else {
            panic!("it is answered");
        };
        let failures = answer["batchItemFailures"].as_array().unwrap();
        assert_eq!(failures.is_empty(), is_refused, "{mailbox}: {answer}");
        if !is_refused {
            assert_eq!(
                failures[0]["itemIdentifier"],
                batch["Records"][0]["messageId"]
            );
        }
    }
    let mut sent = 0;
    while requests.try_recv().is_ok() {
        sent += 1;
    }
    assert_eq!(sent, 8, "all but those to mailboxes that SES never takes");
    let log = function.log().join("\n");
    assert!(log.contains("takes no such address"), "{log}");
    assert!(
        log.contains("MessageRejected") && log.contains("MailsRefused"),
        "{log}"
    );
    assert!(!log.contains("@example.com"), "{log}");
}

/// Its mail may be on its way, so it waits; a mail that nobody can have got is tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ses_that_hangs_up_without_an_answer_gets_no_second_mail_at_once() {
    let dynamodb = ListeningDynamoDb::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sent, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let hanging_up = tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 1024];
            let read = connection.read(&mut bytes).await.unwrap();
            sent.send(read).unwrap();
        }
    });
    let mut function = start(&dynamodb, &endpoint).await;
    let failures = async |function: &mut Function, batch: &Value| {
        let Answer::Response(answer) = function.invoke(batch).await else {
            panic!("it is answered");
        };
        answer["batchItemFailures"].as_array().unwrap().len()
    };
    let batch = sample_to("ada@example.com", 1);
    for _ in 0..4 {
        assert_eq!(failures(&mut function, &batch).await, 1);
    }
    let handed_over = std::iter::from_fn(|| requests.try_recv().ok()).count();
    assert_eq!(handed_over, 1);
    hanging_up.abort();
    assert!(hanging_up.await.is_err());
    let batch = sample_to("grace@example.com", 2);
    for _ in 0..5 {
        assert_eq!(failures(&mut function, &batch).await, 1);
    }
    let log = function.log().join("\n");
    let tried_again = log.matches("could not be sent; it is tried again");
    assert_eq!(tried_again.count(), 5, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_sender_the_function_does_nothing() {
    let dynamodb = ListeningDynamoDb::start().await;
    let (endpoint, mut requests) = ses().await;
    let settings = [
        ("AWS_ENDPOINT_URL_SESV2", endpoint.as_str()),
        ("AWS_LAMBDA_LOG_LEVEL", "DEBUG"),
    ];
    let mut function = Function::start("notify", &dynamodb.endpoint, &settings).await;
    let answer = function.invoke(&sample()).await;
    assert_eq!(answer, Answer::Response(json!({"batchItemFailures": []})));
    assert!(requests.try_recv().is_err());
    assert!(function.log().join("\n").contains("mail is off"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_that_cannot_be_used_keeps_the_function_from_starting() {
    let dynamodb = ListeningDynamoDb::start().await;
    let folder = std::env::temp_dir().join(format!("latchkey-texts-{}-lambda", std::process::id()));
    std::fs::create_dir_all(folder.join("en")).unwrap();
    std::fs::write(
        folder.join("en/new_device.txt"),
        "Subject: x\n\n{{ devise }}",
    )
    .unwrap();
    let texts = folder.to_str().unwrap();
    let settings = [("MAIL_FROM", "no-reply@example.com"), ("MAIL_TEXTS", texts)];
    let function = Function::start_alone("notify", &dynamodb.endpoint, &settings).await;
    let (_, message) = function.end();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(
        message.contains("en/new_device.txt") && message.contains("devise"),
        "{message}"
    );
}

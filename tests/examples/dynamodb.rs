//! An empty DynamoDB on this machine with Latchkey's table, for functions that run alone. Prints the variables that
//! make a function use it, and runs until it is stopped.
#![expect(clippy::expect_used, reason = "what cannot start ends with the reason")]

use latchkey_tests::harness::dynamodb::ListeningDynamoDb;
use latchkey_tests::harness::stack::{DEVICE_SECRET, SECRET, TABLE, identity};

#[tokio::main]
async fn main() {
    let dynamodb = ListeningDynamoDb::start().await;
    let client = dynamodb.client();
    latchkey_store::table::create_if_missing(&client, TABLE)
        .await
        .expect("the table");
    let identity = identity();
    for (name, value) in [
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.endpoint.as_str()),
        ("TABLE_NAME", TABLE),
        ("TOKEN_SECRET", &String::from_utf8_lossy(SECRET)),
        ("DEVICE_SECRET", &String::from_utf8_lossy(DEVICE_SECRET)),
        ("ISSUER", &identity.issuer),
        ("AUDIENCE", &identity.audience),
        ("CLIENT_ID", &identity.client_id),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ] {
        println!("{name}=\"{value}\"");
    }
    std::future::pending::<()>().await;
}

//! Runs [`rotate_keys::on_rotation`] on Lambda, for the rotation events of Secrets Manager.

use latchkey_runtime::environment::{Fatal, run_rotation};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    run_rotation(rotate_keys::on_rotation).await
}

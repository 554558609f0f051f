//! The rotation of the signing keys: a rotation function of Secrets Manager.
//!
//! Secrets Manager calls it four times for each rotation, by its schedule or when somebody asks for one, and tries again
//! what has failed. What each step does is in [`latchkey_service::key_rotation`].

use lambda_runtime::Diagnostic;
use latchkey_runtime::environment::SecretRotationEvent;
use latchkey_service::key_rotation::{KeyRotation, RotationError};

/// Why a step failed, as Lambda tells Secrets Manager.
#[derive(Debug)]
pub struct StepFailed(RotationError);

impl From<StepFailed> for Diagnostic {
    fn from(StepFailed(error): StepFailed) -> Self {
        Self {
            error_type: "KeyRotationFailed".to_owned(),
            error_message: error.to_string(),
        }
    }
}

/// One step of a rotation.
///
/// # Errors
/// [`StepFailed`]; whatever was current still is.
pub async fn on_rotation(
    rotation: &KeyRotation,
    event: SecretRotationEvent,
) -> Result<(), StepFailed> {
    let SecretRotationEvent {
        step,
        secret_id,
        client_request_token,
        ..
    } = event;
    // Boxed, because the compiler gives up on futures that are nested as deep as these.
    let done = Box::pin(rotation.run(&step, &secret_id, &client_request_token)).await;
    done.map_err(|error| {
        tracing::error!(step, version = client_request_token, %error, "the rotation of the keys failed");
        StepFailed(error)
    })
}

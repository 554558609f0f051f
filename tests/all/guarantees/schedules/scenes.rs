//! What is asked for.

use latchkey_tests::harness::stack::PASSWORD;
use latchkey_tests::proof::schedules::request::{Number, Request, Target};

/// What a password is changed to.
pub(super) const NEW_PASSWORD: &str = "plumbago teapot on a tricycle";
/// What it is changed to by somebody else.
pub(super) const OTHER_PASSWORD: &str = "marmalade lighthouse in november";

pub(super) fn refresh(session: Number, presented: u64) -> Request {
    Request::Refresh { session, presented }
}

pub(super) fn sign_in() -> Request {
    Request::SignIn { password: PASSWORD }
}

pub(super) fn revoke(caller: Number, target: Number) -> Request {
    let target = Target::Of(target);
    Request::Revoke { caller, target }
}

pub(super) fn revoke_all(caller: Number, keep_current: bool) -> Request {
    Request::RevokeAll {
        caller,
        keep_current,
    }
}

pub(super) fn logout(session: Number) -> Request {
    Request::Logout { session }
}

pub(super) fn change_password(caller: Number) -> Request {
    let new = NEW_PASSWORD;
    Request::ChangePassword { caller, new }
}

pub(super) fn reset_password() -> Request {
    Request::ResetPassword {
        new: OTHER_PASSWORD,
    }
}

pub(super) fn change_email(asked_on: Number) -> Request {
    Request::ChangeEmail { asked_on }
}

pub(super) fn delete(caller: Number) -> Request {
    Request::Delete { caller }
}

pub(super) fn reauthenticate(caller: Number) -> Request {
    Request::Reauthenticate { caller }
}

pub(super) fn purge(caller: Number) -> Request {
    Request::Purge { caller }
}

/// By the index, which lags.
pub(super) fn find(target: Target) -> Request {
    Request::FindSession { target }
}

pub(super) fn list(caller: Number) -> Request {
    Request::List { caller }
}

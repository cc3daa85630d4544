//! What an error of lapin means to us.

use lapin::ErrorKind;

/// Whether only somebody else can mend it (a wrong password, a missing vhost or queue, something declared otherwise), so
/// that trying again at a network fault's pace is of no use.
pub(super) fn is_lasting(error: &lapin::Error) -> bool {
    match error.kind() {
        // 402 invalid path, 403 access refused, 404 not found, 406 precondition failed, 530 not allowed (vhost).
        ErrorKind::ProtocolError(error) => matches!(error.get_id(), 402 | 403 | 404 | 406 | 530),
        ErrorKind::AuthProviderError(_) | ErrorKind::InvalidProtocolVersion(_) => true,
        _ => false,
    }
}

/// The error in the broker's own words where it has any.
pub(super) fn describe(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => {
            format!("{} ({})", error.get_message().as_str().trim(), error.get_id())
        }
        ErrorKind::IOError(error) => error.to_string(),
        ErrorKind::MissingHeartbeatError => "the broker stopped answering heartbeats".into(),
        _ => error.to_string(),
    }
}

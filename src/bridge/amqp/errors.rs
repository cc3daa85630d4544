//! What an error of lapin means to us.

use std::io;

use lapin::ErrorKind;

/// Whether only somebody else can mend it (a wrong password, a missing vhost or queue, something declared otherwise), so
/// that trying again at a network fault's pace is of no use.
pub(super) fn is_lasting(error: &lapin::Error) -> bool {
    match error.kind() {
        // 402 invalid path, 403 access refused, 404 not found, 406 precondition failed, 530 not allowed (vhost).
        ErrorKind::ProtocolError(error) => matches!(error.get_id(), 402 | 403 | 404 | 406 | 530),
        // A certificate that does not fit, on either side.
        ErrorKind::IOError(error) => error.get_ref().is_some_and(|inner| {
            matches!(
                inner.downcast_ref(),
                Some(rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_))
            )
        }),
        ErrorKind::AuthProviderError(_) | ErrorKind::InvalidProtocolVersion(_) => true,
        _ => false,
    }
}

/// Whether the connection just ended.
pub(super) fn is_hangup(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::IOError(error) => {
            matches!(
                error.kind(),
                io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
            )
        }
        _ => false,
    }
}

/// AMQP's code of it, if the broker gave one.
pub(super) fn code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
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

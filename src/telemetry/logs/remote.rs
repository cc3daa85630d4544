//! syslog (RFC 5424) over a datagram socket, and systemd's journal by its own protocol.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::clock;

/// Where the journal takes lines (systemd, "Native Journal Protocol").
const JOURNAL: &str = "/run/systemd/journal/socket";
/// What is sent in one datagram at most, bytes.
const LINE_MAX: usize = 8192;

/// Where syslog takes lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogOptions {
    /// `host:port` of a server, by UDP, or the path of a socket such as `/dev/log`.
    pub address: String,
    /// syslog's number of the facility, 0 to 23.
    pub facility: u8,
    /// The program's name in each line.
    pub tag: String,
}

enum Wire {
    Udp(UdpSocket, SocketAddr),
    Unix(UnixDatagram, PathBuf),
}

/// See the module's description.
pub(super) struct Syslog {
    options: SyslogOptions,
    wire: Wire,
    hostname: String,
}

impl Syslog {
    pub(super) fn open(options: SyslogOptions) -> io::Result<Self> {
        let wire = if options.address.contains('/') {
            Wire::Unix(UnixDatagram::unbound()?, options.address.clone().into())
        } else {
            let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            let address = options.address.to_socket_addrs()?.next().ok_or_else(none)?;
            let own: SocketAddr = if address.is_ipv4() {
                (Ipv4Addr::UNSPECIFIED, 0).into()
            } else {
                (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
            };
            Wire::Udp(UdpSocket::bind(own)?, address)
        };
        let hostname = gethostname::gethostname().to_string_lossy().into_owned();
        Ok(Self { options, wire, hostname })
    }

    pub(super) fn write(&self, severity: u8, line: &[u8]) -> io::Result<()> {
        let datagram =
            syslog_line(&self.options, &self.hostname, clock::unix_nanos(), severity, line);
        match &self.wire {
            Wire::Udp(socket, to) => socket.send_to(&datagram, to).map(drop),
            Wire::Unix(socket, to) => socket.send_to(&datagram, to).map(drop),
        }
    }
}

/// `<PRI>1 TIME HOST TAG PID - - LINE`.
fn syslog_line(
    options: &SyslogOptions,
    hostname: &str,
    nanos: i64,
    severity: u8,
    line: &[u8],
) -> Vec<u8> {
    let priority = u16::from(options.facility) * 8 + u16::from(severity);
    let time = jiff::Timestamp::from_microsecond(nanos / 1000).unwrap_or_default();
    let time = time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ");
    let pid = std::process::id();
    let head = format!("<{priority}>1 {time} {hostname} {} {pid} - - ", options.tag);
    let line = line.trim_ascii_end();
    let mut datagram = head.into_bytes();
    datagram.extend_from_slice(line.get(..LINE_MAX).unwrap_or(line));
    datagram
}

/// systemd's journal.
pub(super) struct Journal {
    socket: UnixDatagram,
}

impl Journal {
    pub(super) fn open() -> io::Result<Self> {
        if !Path::new(JOURNAL).exists() {
            let words = format!("{JOURNAL} is not there: systemd's journal does not run here");
            return Err(io::Error::new(io::ErrorKind::NotFound, words));
        }
        Ok(Self { socket: UnixDatagram::unbound()? })
    }

    pub(super) fn write(&self, severity: u8, line: &[u8]) -> io::Result<()> {
        self.socket.send_to(&journal_entry(severity, line), JOURNAL).map(drop)
    }
}

/// Fields one a line; a value with line feeds has its length before it.
fn journal_entry(severity: u8, line: &[u8]) -> Vec<u8> {
    let line = line.trim_ascii_end();
    let line = line.get(..LINE_MAX).unwrap_or(line);
    let mut entry = format!("PRIORITY={severity}\nSYSLOG_IDENTIFIER=leveret\n").into_bytes();
    if line.contains(&b'\n') {
        entry.extend_from_slice(b"MESSAGE\n");
        entry.extend_from_slice(&(line.len() as u64).to_le_bytes());
    } else {
        entry.extend_from_slice(b"MESSAGE=");
    }
    entry.extend_from_slice(line);
    entry.push(b'\n');
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_the_rfc_says() {
        let options = SyslogOptions { address: "a:1".into(), facility: 16, tag: "leveret".into() };
        let line = syslog_line(&options, "host", 1_700_000_000_123_456_789, 4, b"text\n");
        let wanted = format!(
            "<132>1 2023-11-14T22:13:20.123456Z host leveret {} - - text",
            std::process::id()
        );
        assert_eq!(String::from_utf8(line).unwrap(), wanted);
    }

    #[test]
    fn an_entry_of_the_journal_may_have_several_lines() {
        assert_eq!(
            journal_entry(6, b"one\n"),
            b"PRIORITY=6\nSYSLOG_IDENTIFIER=leveret\nMESSAGE=one\n"
        );
        let two = journal_entry(3, b"a\nb");
        assert!(two.ends_with(b"MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n"), "{two:?}");
    }

    #[test]
    fn lines_arrive_at_a_unix_socket_and_over_udp() {
        let path = std::env::temp_dir().join(format!("leveret-syslog-{}", std::process::id()));
        drop(std::fs::remove_file(&path));
        let unix = UnixDatagram::bind(&path).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut heard = [0; 1000];
        for address in [path.display().to_string(), udp.local_addr().unwrap().to_string()] {
            let options = SyslogOptions { address: address.clone(), facility: 1, tag: "t".into() };
            Syslog::open(options).unwrap().write(3, b"hello\n").unwrap();
            let count =
                if address.contains('/') { unix.recv(&mut heard) } else { udp.recv(&mut heard) };
            let text = String::from_utf8_lossy(&heard[..count.unwrap()]).into_owned();
            assert!(text.starts_with("<11>1 20") && text.ends_with(" - - hello"), "{text}");
        }
        std::fs::remove_file(&path).unwrap();
    }
}

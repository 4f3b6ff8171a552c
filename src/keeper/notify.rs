//! What a service manager is told (sd_notify(3)): READY, STOPPING, WATCHDOG, a line of status.
//! Datagrams to the socket that `NOTIFY_SOCKET` names; without one nothing is said.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// The way to the service manager.
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    last: Instant,
}

impl Notifier {
    /// From the environment. The watchdog is fed at half of `WATCHDOG_USEC`.
    pub fn from_environment() -> Notifier {
        let text = |name| std::env::var(name).ok();
        let watchdog = text("WATCHDOG_USEC").and_then(|usec| usec.parse().ok());
        Notifier::new(text("NOTIFY_SOCKET").as_deref(), watchdog)
    }

    fn new(path: Option<&str>, watchdog_usec: Option<u64>) -> Notifier {
        let address = path.and_then(|path| match path.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name).ok(),
            None => SocketAddr::from_pathname(path).ok(),
        });
        Notifier {
            socket: address.and_then(|address| {
                let socket = UnixDatagram::unbound().ok()?;
                socket.set_nonblocking(true).ok()?;
                Some((socket, address))
            }),
            watchdog: watchdog_usec
                .filter(|usec| *usec > 0)
                .map(|usec| Duration::from_micros(usec) / 2),
            last: Instant::now(),
        }
    }

    /// Says something, e.g. `READY=1`. That nobody hears it changes nothing, and who does not listen
    /// is not waited for.
    pub fn tell(&self, what: &str) {
        if let Some((socket, address)) = &self.socket {
            let _ = socket.send_to_addr(what.as_bytes(), address);
        }
    }

    /// Feeds the watchdog when it is time; to be called while all is well.
    pub fn feed(&mut self) {
        if let Some(interval) = self.watchdog
            && self.last.elapsed() >= interval
        {
            self.last = Instant::now();
            self.tell("WATCHDOG=1");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_manager_hears_ready_and_the_watchdog() {
        let path = std::env::temp_dir().join(format!("sluice-notify-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let manager = UnixDatagram::bind(&path).unwrap();
        let mut notifier = Notifier::new(path.to_str(), Some(2000));
        notifier.tell("READY=1");
        std::thread::sleep(Duration::from_millis(5));
        notifier.feed();
        let mut heard = [0; 64];
        for expected in ["READY=1", "WATCHDOG=1"] {
            let count = manager.recv(&mut heard).unwrap();
            assert_eq!(&heard[..count], expected.as_bytes());
        }
        let _ = std::fs::remove_file(&path);
        Notifier::new(None, None).tell("nobody hears it");
    }

    #[test]
    fn a_manager_that_does_not_listen_is_not_waited_for() {
        let path = std::env::temp_dir().join(format!("sluice-deaf-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let _manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::new(path.to_str(), None);
        // More than any queue of datagrams holds.
        (0..10_000).for_each(|_| notifier.tell("WATCHDOG=1"));
        let _ = std::fs::remove_file(&path);
    }
}

//! The small records of TLS: alerts (RFC 8446 6), and heartbeats (RFC 6520) that ask for more than
//! there is.

use super::{Output, Tls, event, seen};
use crate::app::protocol::Broken;
use crate::packet::Direction;

impl Tls {
    pub(super) fn alert(
        &mut self,
        body: &[u8],
        direction: Direction,
        out: &mut Output<'_>,
    ) -> Result<(), Broken> {
        const FATAL: u8 = 2;
        match body {
            // Longer ones are encrypted.
            [FATAL, _] => out.complete(self.tx),
            [_] | [] => {
                self.event(out, direction, event::ALERT);
                return Err(Broken);
            }
            _ => {}
        }
        Ok(())
    }

    /// RFC 6520; finds what CVE-2014-0160 was used with.
    pub(super) fn heartbeat(
        &mut self,
        body: &[u8],
        direction: Direction,
        out: &mut Output<'_>,
    ) -> Result<(), Broken> {
        const PADDING_MIN: usize = 16;
        let [kind, high, low, ..] = body else {
            return Ok(());
        };
        let [client, server] = &self.sides;
        let encrypted = (client.seen | server.seen) & seen::CHANGE_CIPHER != 0;
        let payload = usize::from(*high) << 8 | usize::from(*low);
        let place = if !encrypted && !matches!(kind, 1 | 2) {
            event::HEARTBEAT
        } else if self.heartbeat == Some(direction) {
            // Two at once.
            event::HEARTBEAT
        } else if self.heartbeat.take().is_some() {
            let asked = usize::from(std::mem::take(&mut self.heartbeat_length));
            if !encrypted || asked == 0 || asked >= body.len() {
                return Ok(());
            }
            event::HEARTBEAT_LEAK
        } else {
            self.heartbeat = Some(direction);
            if encrypted {
                self.heartbeat_length = body.len() as u16;
                return Ok(());
            }
            if payload + 3 > body.len() {
                event::HEARTBEAT_OVERFLOW
            } else if body.len() - payload - 3 < PADDING_MIN {
                event::HEARTBEAT
            } else {
                return Ok(());
            }
        };
        self.event(out, direction, place);
        Err(Broken)
    }
}

//! FTP's data connections: ftp.rs foretells them, with the command and the name of the file. One
//! transaction a flow; what it carries is a file, unless it is a directory's listing.

use super::field::{Field, Progress};
use super::file::FileId;
use super::output::{Output, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use crate::packet::Direction::{self, ToClient, ToServer};

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::FtpData,
    probe,
    over: &[Transport::Tcp],
    fields: &[
        Field::FtpdataCommand,
        Field::FileData,
        Field::FileName,
        Field::Filesize,
        Field::Filemd5,
        Field::Filesha1,
        Field::Filesha256,
    ],
    events: &[],
};

/// No bytes look like it: it is known from the control connection only.
fn probe(_: &Probe<'_>) -> Guess {
    Guess::No
}

/// Commands that open a data connection; their numbers are what `ftpdata_command` compares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Transfer {
    /// Upload.
    Stor = 1,
    /// Upload to the end of a file.
    Appe = 2,
    /// Upload under a name of the server's choice.
    Stou = 3,
    /// Download.
    Retr = 4,
    /// Names.
    Nlst = 5,
    /// Listing.
    List = 6,
    /// Listing for machines.
    Mlsd = 7,
}

/// All of them with their names in rules.
pub const TRANSFERS: [(&str, Transfer); 7] = [
    ("stor", Transfer::Stor),
    ("appe", Transfer::Appe),
    ("stou", Transfer::Stou),
    ("retr", Transfer::Retr),
    ("nlst", Transfer::Nlst),
    ("list", Transfer::List),
    ("mlsd", Transfer::Mlsd),
];

impl Transfer {
    /// The transfer that a command begins.
    pub(super) fn of(command: &[u8]) -> Option<Transfer> {
        let known = TRANSFERS
            .iter()
            .find(|(name, _)| command.eq_ignore_ascii_case(name.as_bytes()));
        known.map(|(_, transfer)| *transfer)
    }

    pub(super) fn is_list(self) -> bool {
        matches!(self, Transfer::Nlst | Transfer::List | Transfer::Mlsd)
    }

    pub(super) fn needs_name(self) -> bool {
        matches!(self, Transfer::Stor | Transfer::Appe | Transfer::Retr)
    }

    fn is_upload(self) -> bool {
        matches!(self, Transfer::Stor | Transfer::Appe | Transfer::Stou)
    }

    /// The command and the direction of the bytes, to be remembered with the flow that is
    /// expected. Who opens the connection is its client: in active mode the server of FTP.
    pub(super) fn tag(self, active: bool) -> u64 {
        self as u64 | u64::from(self.is_upload() == active) << 8
    }
}

/// A parser of a data connection.
#[derive(Debug, Default)]
pub struct FtpData {
    tx: TxId,
    begun: bool,
    file: Option<FileId>,
    size: u64,
    over: bool,
}

impl Parse for FtpData {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let Some(expected) = out.expected().copied() else {
            return Err(Broken);
        };
        let direction = match expected.tag >> 8 & 1 {
            0 => ToServer,
            _ => ToClient,
        };
        if direction != input.direction || self.over {
            return Ok(Taken::all(input.bytes.len()));
        }
        if !self.begun && !input.bytes.is_empty() {
            self.begun = true;
            let name = expected.text.get(..usize::from(expected.text_length));
            self.begin(expected.tag & 0xff, name.unwrap_or(&[]), direction, out);
        }
        self.size += input.bytes.len() as u64;
        if let Some(file) = self.file {
            let limit = out.shared.limits.file;
            if input.gap > 0 {
                out.file_gap(file);
            }
            out.file_bytes(self.tx, file, limit, input.bytes);
        }
        if input.end && self.begun {
            self.finish(direction, out);
        }
        Ok(Taken::all(input.bytes.len()))
    }
}

impl FtpData {
    fn begin(&mut self, command: u64, name: &[u8], direction: Direction, out: &mut Output<'_>) {
        self.tx = out.open();
        for side in [ToServer, ToClient] {
            out.number(self.tx, Field::FtpdataCommand, side, command);
        }
        if !name.is_empty() {
            out.field(self.tx, Field::FileName, direction, name);
            if out.wants(Field::FtpDataName) {
                out.field(self.tx, Field::FtpDataName, direction, name);
            }
            self.file = Some(out.begin_file(self.tx, direction));
        }
        out.progress(self.tx, direction.opposite(), Progress::Complete);
    }

    fn finish(&mut self, direction: Direction, out: &mut Output<'_>) {
        self.over = true;
        if let Some(file) = self.file.take() {
            out.end_file(self.tx, file);
            out.number(self.tx, Field::Filesize, direction, self.size);
        }
        out.complete(self.tx);
    }
}

#[cfg(test)]
mod tests {
    use super::super::flows::Piece;
    use super::super::testing::apps;
    use super::*;

    fn piece<'a>(
        ports: [u16; 2],
        hosts: [u8; 2],
        direction: Direction,
        bytes: &'a [u8],
        end: bool,
    ) -> Piece<'a> {
        Piece {
            transport: Transport::Tcp,
            direction,
            bytes,
            gap: 0,
            end,
            client_port: ports[0],
            server_port: ports[1],
            client_addr: [hosts[0]; 16],
            server_addr: [hosts[1]; 16],
            time_ns: 5,
        }
    }

    /// What the data connection gives, as direction, name and bytes.
    fn transfer(talk: &[(Direction, &[u8])], from: u8, port: u16, sends: Direction) -> Vec<String> {
        let mut apps = apps();
        let first = piece([9, 21], [1, 2], ToServer, b"", false);
        let control = apps.open(&first).unwrap();
        for (direction, bytes) in talk {
            apps.feed(control, &piece([9, 21], [1, 2], *direction, bytes, false));
        }
        let hosts = [from, 3 - from];
        let opened = piece([20, port], hosts, ToServer, b"", false);
        let data = apps.open(&opened).unwrap();
        apps.feed(data, &piece([20, port], hosts, sends, b"by", false));
        apps.feed(data, &piece([20, port], hosts, sends, b"tes", true));
        let state = apps.state(data).unwrap();
        assert_eq!(state.protocol, AppProtocol::FtpData);
        let tx = apps.transaction(state.first).unwrap();
        let told = |instance: &super::super::Instance| instance.field != Field::FileInfo;
        let lines = tx
            .instances(&apps.shared.heap)
            .filter(told)
            .map(|instance| {
                let bytes = tx.bytes(&apps.shared.heap, &instance);
                let shown = String::from_utf8_lossy(bytes);
                let name = instance.field.name();
                format!(
                    "{:?} {name} {} {shown}",
                    instance.direction,
                    instance.number()
                )
            });
        let lines = lines
            .map(|line| {
                line.split(' ')
                    .filter(|w| !w.is_empty())
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        assert!(tx.is_complete());
        lines
    }

    #[test]
    fn a_passive_download_is_a_file_to_the_client() {
        let talk: &[(Direction, &[u8])] = &[
            (ToClient, b"220 ready\r\n"),
            (ToServer, b"PASV\r\n"),
            (ToClient, b"227 Entering Passive Mode (2,2,2,2,4,1).\r\n"),
            (ToServer, b"RETR a.exe\r\n"),
        ];
        let lines = transfer(talk, 1, 1025, ToClient);
        assert!(
            lines[0].starts_with("ToServer ftpdata_command 4"),
            "{lines:?}"
        );
        assert!(lines[2].starts_with("ToClient file.name") && lines[2].ends_with(" a.exe"));
        assert!(lines[3].starts_with("ToClient file.data") && lines[3].ends_with(" bytes"));
        assert_eq!(lines[4], "ToClient filesize 5");
    }

    #[test]
    fn an_active_upload_goes_to_the_client_of_the_data_connection() {
        let talk: &[(Direction, &[u8])] = &[
            (ToClient, b"220 ready\r\n"),
            (ToServer, b"PORT 1,1,1,1,4,2\r\n"),
            (ToClient, b"200 fine\r\n"),
            (ToServer, b"STOR b\r\n"),
        ];
        // The server of FTP opens the connection: the file flows to who was asked.
        let lines = transfer(talk, 2, 1026, ToClient);
        assert!(lines[3].starts_with("ToClient file.data"), "{lines:?}");
    }
}

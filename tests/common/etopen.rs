//! Emerging Threats Open with the variables of the run whose alerts ../shared/captures/expected.jsonl
//! records: for the test that compares with it, and for benches over the same captures and rules.

use std::path::Path;
use std::process::Command;

use sluice::cli::rules::{Loaded, load_text};

/// Variables of the recorded run (README of the shared folder).
const VARIABLES: &[(&str, &str)] = &[
    ("HOME_NET", "[192.168.0.0/16,10.0.0.0/8,172.16.0.0/12]"),
    ("EXTERNAL_NET", "any"),
    ("HTTP_SERVERS", "$HOME_NET"),
    ("SMTP_SERVERS", "$HOME_NET"),
    ("SQL_SERVERS", "$HOME_NET"),
    ("DNS_SERVERS", "$HOME_NET"),
    ("TELNET_SERVERS", "$HOME_NET"),
    ("AIM_SERVERS", "$HOME_NET"),
    ("DC_SERVERS", "$HOME_NET"),
    ("DNP3_SERVER", "$HOME_NET"),
    ("DNP3_CLIENT", "$HOME_NET"),
    ("MODBUS_CLIENT", "$HOME_NET"),
    ("MODBUS_SERVER", "$HOME_NET"),
    ("ENIP_CLIENT", "$HOME_NET"),
    ("ENIP_SERVER", "$HOME_NET"),
    ("HTTP_PORTS", "80"),
    ("SHELLCODE_PORTS", "!80"),
    ("ORACLE_PORTS", "1521"),
    ("SSH_PORTS", "22"),
    ("FILE_DATA_PORTS", "[$HTTP_PORTS,110,143]"),
    ("FTP_PORTS", "21"),
    ("SIP_PORTS", "[5060,5061]"),
    ("DNP3_PORTS", "20000"),
    ("MODBUS_PORTS", "502"),
    ("GENEVE_PORTS", "6081"),
    ("VXLAN_PORTS", "4789"),
    ("TEREDO_PORTS", "3544"),
];

/// The rules, unpacked by the `xz` of the machine; `None` after a loud word.
pub fn load(shared: &Path) -> Option<Loaded> {
    compiled(&unpacked(shared)?)
}

/// About so many of the rules, taken at even distances.
pub fn load_some(shared: &Path, count: usize) -> Option<Loaded> {
    let text = unpacked(shared)?;
    let rules = text.lines().filter(|line| line.starts_with("alert"));
    let every = (rules.clone().count() / count).max(1);
    let some: Vec<&str> = rules.step_by(every).take(count).collect();
    compiled(&some.join("\n"))
}

fn unpacked(shared: &Path) -> Option<String> {
    let path = shared.join("etopen/etopen-all.rules.xz");
    let output = Command::new("xz").arg("-dc").arg(&path).output();
    match output {
        Ok(output) if output.status.success() => Some(String::from_utf8(output.stdout).unwrap()),
        _ => {
            assert!(
                std::env::var_os("SLUICE_REQUIRE_SHARED").is_none(),
                "xz does not unpack {}",
                path.display()
            );
            eprintln!("SKIPPED: xz does not unpack {}", path.display());
            None
        }
    }
}

fn compiled(text: &str) -> Option<Loaded> {
    let variables: Vec<(String, String)> = VARIABLES
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    let loaded = load_text("etopen-all.rules", text, &variables);
    Some(loaded.unwrap_or_else(|failure| panic!("{}", failure.text)))
}

//! Headers of mails as EVE lists them.

/// The entries of a list of mailboxes (RFC 5322 section 3.4): what commas part that stand in no quotes.
pub fn mailboxes(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let parts = header.split(move |byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    });
    let trimmed = parts.map(|part| {
        let blanks = part.iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
        part.get(blanks.count()..).unwrap_or(&[])
    });
    trimmed.filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_within_quotes_part_nothing() {
        let header = b"\"Doe, J.\" <a@b>,\tc@d, ,e@f";
        let found: Vec<_> = mailboxes(header).collect();
        assert_eq!(found, [&b"\"Doe, J.\" <a@b>"[..], b"c@d", b"e@f"]);
    }
}

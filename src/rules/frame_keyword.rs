//! `frame:NAME`: which unit of a protocol the contents that follow look at. Its row is
//! keyword_table.rs's, the list that it opens parse.rs's.

use crate::app::{AppProtocol, Field, registry};
use crate::rules::argument::Argument;
use crate::rules::diagnostic::Problem;
use crate::rules::lex::shorten;
use crate::rules::parse::Builder;
use crate::rules::signature::{PacketTest, Protocol, Spoken};

/// The frame of a rule: its full name, or the name within the protocol of the header.
pub fn frame(
    builder: &mut Builder<'_, '_>,
    argument: Argument<'_>,
) -> Result<Option<Field>, Problem> {
    let filled = |name: String| Field::by_name(&name).filter(|field| registry::fills(*field));
    let name = argument.text.to_ascii_lowercase();
    let (protocol, within) = name.split_once('.').unwrap_or(("", &name));
    if within == "stream" && matches!(protocol, "http1" | "http") {
        builder.need_protocol("http", argument.name)?;
    } else if within == "stream" && !protocol.is_empty() {
        let Some(known) = AppProtocol::ALL
            .iter()
            .find(|known| known.name() == protocol)
        else {
            return Err(argument.bad(format!("`{}` is not a protocol", shorten(protocol))));
        };
        builder.need_protocol(known.name(), argument.name)?;
    }
    let header = match &builder.signature.header.protocol {
        Protocol::App(word) if matches!(&**word, "http" | "http1") => "http1".to_string(),
        Protocol::App(word) => word.to_string(),
        _ => String::new(),
    };
    if within == "stream" {
        if protocol.is_empty() && header.is_empty() {
            return Err(argument
                .bad("the stream of which protocol?")
                .help("write frame:PROTOCOL.stream, or name the protocol in the header"));
        }
        if header.is_empty() {
            // All protocols have this frame, so the rule says itself whose it means.
            let names = vec![Box::from(protocol)];
            builder.signature.packet.push(PacketTest::AppProtocol {
                names,
                negated: false,
                of: Spoken::Final,
                exact: false,
            });
        }
        return Ok(Some(Field::FrameStream));
    }
    // `smb.nbss.pdu` is the long name of `nbss.pdu`.
    let known = filled(format!("frame:{name}"))
        .or_else(|| filled(format!("frame:{header}.{name}")))
        .or_else(|| filled(format!("frame:{within}")));
    Ok(known)
}

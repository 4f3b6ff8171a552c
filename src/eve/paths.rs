//! Where the fields of a transaction stand in EVE's objects: keys from the protocol's object inwards.
//! Names are Suricata's; fields without a row here stand under their rule name without the protocol's.

use crate::app::{AppProtocol, Field};
use crate::packet::Direction;

/// Begins the paths of what stands in an object of its own, `email`.
pub const EMAIL: &str = "@email.";
/// The same of `rpc`.
pub const RPC: &str = "@rpc.";

const REPLY_RECEIVED: &str = "reply_received^";
const REPLY_TRUNCATED: &str = "reply_truncated?";

/// What stands in an object of its own accord, unless a field says otherwise.
#[derive(Clone, Copy)]
pub enum Always {
    /// A text.
    Text(&'static str),
    /// `false`.
    False,
}

/// The keys of a protocol's object, or of one within, that stand there always, as `path` writes them.
pub fn defaults(protocol: AppProtocol, within: &str) -> &'static [(&'static str, Always)] {
    match (protocol, within) {
        (_, EMAIL) => &[("status", Always::Text("PARSE_DONE"))],
        (AppProtocol::Ftp, "") => &[
            (REPLY_RECEIVED, Always::Text("no")),
            (REPLY_TRUNCATED, Always::False),
        ],
        (AppProtocol::Krb5, "") => &[
            ("cname/", Always::Text("<empty>")),
            ("realm", Always::Text("<empty>")),
            ("sname/", Always::Text("<empty>")),
            ("encryption", Always::Text("<none>")),
        ],
        (AppProtocol::Nfs, "") => &[
            ("type", Always::Text("response")),
            ("filename", Always::Text("")),
            ("status", Always::Text("OK")),
            ("file_tx?", Always::False),
        ],
        (AppProtocol::Smb, "") => &[("dialect", Always::Text("unknown"))],
        (AppProtocol::Dcerpc, "") | (AppProtocol::Smb, "dcerpc.") => &[
            ("request", Always::Text("REQUEST_LOST")),
            ("response", Always::Text("UNREPLIED")),
        ],
        (AppProtocol::Http2 | AppProtocol::Doh2, "") => &[("version", Always::Text("2"))],
        _ => &[],
    }
}

/// Where a field stands: keys from the protocol's object inwards, joined by dots. A key holds the first
/// value, but one that ends in `[]` a list of all, in `^` the last, in `/` all with slashes between
/// them; one that ends in `?` holds whether the number is not 0. "" leaves the field out.
pub fn path(field: Field, direction: Direction, of: AppProtocol) -> &'static str {
    let to_server = direction == Direction::ToServer;
    match field {
        Field::HttpHost => "hostname",
        Field::HttpUriRaw => "url",
        // What stands behind a body, too, comes again with both values.
        Field::HttpUserAgent => "http_user_agent^",
        Field::HttpReferer => "http_refer^",
        Field::HttpMethod => "http_method",
        Field::HttpStatCode => "status",
        Field::HttpLocation => "redirect^",
        Field::HttpXff => "xff^",
        Field::HttpContentRange => "content_range^",
        Field::HttpContentType if !to_server => "http_content_type^",
        Field::HttpPort => "http_port",
        Field::HttpProtocol if to_server => "protocol",
        Field::TlsCertSubject if to_server => "client.subject",
        Field::TlsCertSubject => "subject",
        Field::TlsCertIssuer if to_server => "client.issuerdn",
        Field::TlsCertIssuer => "issuerdn",
        Field::TlsCertSerial if to_server => "client.serial",
        Field::TlsCertSerial => "serial",
        Field::TlsCertFingerprint if to_server => "client.fingerprint",
        Field::TlsCertFingerprint => "fingerprint",
        Field::TlsCertNotbefore if to_server => "client.notbefore",
        Field::TlsCertNotbefore => "notbefore",
        Field::TlsCertNotafter if to_server => "client.notafter",
        Field::TlsCertNotafter => "notafter",
        Field::TlsSni => "sni",
        // The server's, if it is known: it comes behind the client's.
        Field::TlsVersion => "version^",
        Field::TlsSessionResumed => "session_resumed?",
        Field::TlsAlpn if to_server => "client_alpns[]",
        Field::TlsAlpn => "server_alpns[]",
        Field::TlsSubjectaltname => "subjectaltname[]",
        Field::Ja3Hash => "ja3.hash",
        Field::Ja3String => "ja3.string",
        Field::Ja3sHash => "ja3s.hash",
        Field::Ja3sString => "ja3s.string",
        Field::Ja4Hash => "ja4",
        Field::DnsQueriesRrname | Field::DnsQuery => "rrname",
        Field::FileName => "filename",
        _ => of_sessions(field, to_server, of),
    }
}

/// Files, logins and calls.
fn of_sessions(field: Field, to_server: bool, of: AppProtocol) -> &'static str {
    match field {
        Field::FtpdataCommand => "command",
        Field::FtpDataName => "filename",
        Field::FtpCompletionCode => "completion_code[]",
        Field::FtpReply => "reply[]",
        // A preliminary reply is not the last one.
        Field::FtpReplyReceived => REPLY_RECEIVED,
        Field::FtpCommandTruncated => "command_truncated?",
        Field::FtpReplyTruncated => REPLY_TRUNCATED,
        Field::SshProto if to_server => "client.proto_version",
        Field::SshProto => "server.proto_version",
        Field::SshSoftware if to_server => "client.software_version",
        Field::SshSoftware => "server.software_version",
        Field::SshHassh => "client.hassh.hash",
        Field::SshHasshString => "client.hassh.string",
        Field::SshHasshServer => "server.hassh.hash",
        Field::SshHasshServerString => "server.hassh.string",
        Field::SmtpRcptTo => "rcpt_to[]",
        Field::SmbNtlmsspUser => "ntlmssp.user",
        Field::SmbNtlmsspDomain => "ntlmssp.domain",
        Field::SmbClientDialects | Field::SmbDialectName => "client_dialects[]",
        Field::SmbNativeOs if to_server => "request.native_os",
        Field::SmbNativeOs => "response.native_os",
        Field::SmbNativeLm if to_server => "request.native_lm",
        Field::SmbNativeLm => "response.native_lm",
        Field::SmbService if to_server => "service.request",
        Field::SmbService => "service.response",
        Field::SmbSname => "kerberos.snames[]",
        Field::DcerpcIface => "",
        Field::DcerpcInterface if of == AppProtocol::Smb => "dcerpc.interfaces[]",
        Field::DcerpcInterface => "interfaces[]",
        Field::DcerpcFragments | Field::DcerpcStubSize => counts_of_call(field, to_server, of),
        Field::DcerpcOpnum if of == AppProtocol::Smb && to_server => "dcerpc.opnum",
        Field::DcerpcRequest if of == AppProtocol::Smb => "dcerpc.request",
        Field::DcerpcResponse if of == AppProtocol::Smb => "dcerpc.response",
        Field::DcerpcCallId if of == AppProtocol::Smb => "dcerpc.call_id",
        Field::DcerpcOpnum if to_server => "req.opnum",
        Field::DcerpcOpnum => "",
        Field::WebsocketFlags => "fin",
        Field::WebsocketPayload => "",
        Field::Krb5Cname => "cname/",
        Field::Krb5Sname => "sname/",
        Field::Krb5ErrCode => "error_code",
        Field::Krb5MsgType => "msg_type",
        Field::Krb5Realm => "realm",
        Field::Krb5Encryption => "encryption",
        Field::Krb5TicketEncryption => "ticket_encryption",
        _ => of_multiplexed(field, to_server),
    }
}

/// Fragments of a call of DCERPC, and bytes in them.
fn counts_of_call(field: Field, to_server: bool, of: AppProtocol) -> &'static str {
    match (field, to_server, of == AppProtocol::Smb) {
        (Field::DcerpcFragments, true, false) => "req.frag_cnt",
        (Field::DcerpcFragments, false, false) => "res.frag_cnt",
        (Field::DcerpcFragments, true, true) => "dcerpc.req.frag_cnt",
        (Field::DcerpcFragments, false, true) => "dcerpc.res.frag_cnt",
        (_, true, false) => "req.stub_data_size",
        (_, false, false) => "res.stub_data_size",
        (_, true, true) => "dcerpc.req.stub_data_size",
        (_, false, true) => "dcerpc.res.stub_data_size",
    }
}

/// HTTP/2 and QUIC.
fn of_multiplexed(field: Field, to_server: bool) -> &'static str {
    match field {
        Field::Http2Priority if to_server => "http2.request.priority",
        Field::Http2Priority => "http2.response.priority",
        Field::Http2Errorcode if to_server => "http2.request.error_code",
        Field::Http2Errorcode => "http2.response.error_code",
        Field::Http2StreamId => "http2.stream_id",
        Field::Http2Settings if to_server => "http2.request.settings[]",
        Field::Http2Settings => "http2.response.settings[]",
        Field::Http2SizeUpdate if to_server => "request_headers[]",
        Field::Http2SizeUpdate => "response_headers[]",
        Field::QuicExtension => "extensions[]",
        Field::Http2Header if to_server => "request_headers[]",
        Field::Http2Header => "response_headers[]",
        Field::QuicCyuHash => "cyu[].hash",
        Field::QuicCyuString => "cyu[].string",
        _ => of_messages(field),
    }
}

/// Paths of protocols whose objects are one for each kind of message.
fn of_messages(field: Field) -> &'static str {
    match field {
        Field::SipMethod => "method",
        Field::SipStatCode => "code",
        Field::SipStatMsg => "reason",
        Field::SipProtocol => "version",
        Field::SipContentType
        | Field::SipContentLength
        | Field::SipFrom
        | Field::SipTo
        | Field::SipVia
        | Field::SipUserAgent => "",
        Field::RfbSectype => "authentication.security_type",
        Field::RfbSecresult => "authentication.security_result",
        Field::RfbServerVersion => "server_protocol_version",
        Field::RfbClientVersion => "client_protocol_version",
        Field::RfbChallenge => "authentication.vnc.challenge",
        Field::RfbResponse => "authentication.vnc.response",
        Field::RfbReason => "server_security_failure_reason",
        Field::RfbShared => "screen_shared?",
        // The object is made of both.
        Field::RfbInit => "framebuffer",
        Field::RfbName => "",
        Field::SnmpVar => "vars[]",
        Field::SnmpEncrypted => "pdu_type",
        Field::SnmpTrapType => "trap_type",
        Field::EmailFrom => "@email.from",
        Field::EmailTo => "@email.to[]",
        Field::EmailCc => "@email.cc[]",
        Field::EmailSubject => "@email.subject",
        Field::EmailAttachment => "@email.attachment[]",
        Field::EmailUrl => "@email.url[]",
        Field::EmailDate => "@email.date",
        Field::EmailMessageId => "@email.message_id",
        Field::EmailXMailer => "@email.x_mailer",
        Field::EmailReceived => "@email.received[]",
        _ => of_calls(field),
    }
}

/// NFS, and what SIP describes.
fn of_calls(field: Field) -> &'static str {
    match field {
        Field::NfsCall => "procedure",
        Field::NfsProcedure => "",
        Field::NfsHandle => "hhash^",
        Field::NfsFile => "file_tx?",
        Field::NfsRenameFrom => "rename.from",
        Field::NfsRenameTo => "rename.to",
        Field::NfsXid => "@rpc.xid",
        Field::NfsRpcStatus => "@rpc.status",
        Field::NfsAuth => "@rpc.auth_type",
        Field::NfsUid => "@rpc.creds.uid",
        Field::NfsGid => "@rpc.creds.gid",
        Field::NfsMachine => "@rpc.creds.machine_name",
        Field::SdpSessionName => "sdp.session_name",
        Field::SdpSessionInfo => "sdp.session_info",
        Field::SdpOrigin => "sdp.origin",
        Field::SdpUri => "sdp.uri",
        Field::SdpEmail => "sdp.email",
        Field::SdpPhoneNumber => "sdp.phone_number",
        Field::SdpConnectionData => "sdp.connection_data",
        Field::SdpBandwidth => "sdp.bandwidths[]",
        Field::SdpTime => "sdp.time_descriptions[].time",
        Field::SdpRepeatTime => "sdp.time_descriptions[].repeat_time",
        Field::SdpTimezone => "sdp.timezone",
        Field::SdpEncryptionKey => "sdp.encryption_key",
        Field::SdpAttribute => "sdp.attributes[]",
        Field::SdpMediaBandwidth => "sdp.media_descriptions[].bandwidths[]",
        Field::SdpMediaAttribute => "sdp.media_descriptions[].attributes[]",
        Field::SdpMediaMedia => "sdp.media_descriptions[].media",
        Field::SdpMediaMediaInfo => "sdp.media_descriptions[].media_info",
        Field::SdpMediaConnectionData => "sdp.media_descriptions[].connection_data",
        Field::SdpMediaEncryptionKey => "sdp.media_descriptions[].encryption_key",
        _ => of_others(field),
    }
}

fn of_others(field: Field) -> &'static str {
    match field {
        // Views of what stands there already, or too long for a log.
        Field::HttpUri
        | Field::HttpHeader
        | Field::HttpHeaderRaw
        | Field::HttpHeaderNames
        | Field::HttpRequestLine
        | Field::HttpResponseLine
        | Field::HttpStart
        | Field::HttpHostRaw
        | Field::HttpStatMsg
        | Field::HttpRequestHeader
        | Field::HttpResponseHeader
        | Field::HttpCookie
        | Field::HttpAccept
        | Field::HttpAcceptEnc
        | Field::HttpAcceptLang
        | Field::HttpConnection
        | Field::HttpContentLen
        | Field::HttpContentType
        | Field::HttpProtocol
        | Field::HttpServer
        | Field::TlsCerts
        | Field::TlsRandom
        | Field::TlsRandomTime
        | Field::TlsRandomBytes
        | Field::DcerpcStubData
        | Field::DcerpcLittleEndian
        | Field::DnsMessage
        | Field::DhcpMessage
        | Field::Http2Frametype
        | Field::Http2Window
        | Field::Http2HeaderName
        | Field::IkeMessage
        | Field::IkeSaid
        | Field::IkeChosen
        | Field::IkeDoi
        | Field::PgsqlMessage
        | Field::PgsqlQuery
        | Field::Dnp3Data
        | Field::Dnp3Obj
        | Field::Dnp3Message
        | Field::Dnp3Limits
        | Field::Modbus
        | Field::ModbusMessage
        | Field::EnipMessage
        | Field::SmbVersion
        | Field::FileInfo
        | Field::EmailBodyMd5
        | Field::HttpPath
        | Field::TxProgress
        | Field::FileSid
        | Field::AppLayerEvent => "",
        field if field.is_frame() || is_for_rules(field) => "",
        field => {
            let name = field.name();
            name.split_once('.').map_or(name, |(_, key)| key)
        }
    }
}

/// Whether a field says nothing to a reader that others do not say.
fn is_for_rules(field: Field) -> bool {
    matches!(
        field,
        Field::TlsCertExpired
            | Field::TlsCertValid
            | Field::TlsCertChainLen
            | Field::SslState
            | Field::SslVersion
            | Field::SshProtoversion
            | Field::SshSoftwareversion
            | Field::Ftpbounce
            | Field::Hook
            | Field::DohMessage
    )
}

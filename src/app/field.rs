//! Fields: the parts of a transaction that rules and events can name, under the names that the
//! rule language gives them. Which of them a parser fills stands in its own `FIELDS`; what a rule
//! may ask of them is rules/'s. No bytes live here.

use crate::packet::Direction;

macro_rules! fields {
    (bytes { $($bytes:ident = $bytes_name:literal,)+ } numbers { $($number:ident = $number_name:literal,)+ }) => {
        /// A part of a transaction. Bytes come first, numbers after them.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u16)]
        #[allow(missing_docs)]
        pub enum Field { $($bytes,)+ $($number,)+ }

        impl Field {
            /// All fields, in the order of their numbers.
            pub const ALL: &'static [Field] = &[$(Field::$bytes,)+ $(Field::$number,)+];
            const BYTES: usize = [$(Field::$bytes,)+].len();

            /// Its name in rules; those that start with `-` are for events alone.
            pub const fn name(self) -> &'static str {
                match self { $(Field::$bytes => $bytes_name,)+ $(Field::$number => $number_name,)+ }
            }
        }
    };
}

fields! {
    bytes {
    HttpUri = "http.uri",
    HttpUriRaw = "http.uri.raw",
    HttpMethod = "http.method",
    HttpHeader = "http.header",
    HttpHeaderRaw = "http.header.raw",
    HttpRequestHeader = "http.request_header",
    HttpResponseHeader = "http.response_header",
    HttpCookie = "http.cookie",
    HttpUserAgent = "http.user_agent",
    HttpHost = "http.host",
    HttpHostRaw = "http.host.raw",
    HttpRequestBody = "http.request_body",
    HttpResponseBody = "http.response_body",
    HttpStatCode = "http.stat_code",
    HttpStatMsg = "http.stat_msg",
    HttpRequestLine = "http.request_line",
    HttpResponseLine = "http.response_line",
    HttpProtocol = "http.protocol",
    HttpStart = "http.start",
    HttpHeaderNames = "http.header_names",
    HttpAccept = "http.accept",
    HttpAcceptEnc = "http.accept_enc",
    HttpAcceptLang = "http.accept_lang",
    HttpConnection = "http.connection",
    HttpContentLen = "http.content_len",
    HttpContentType = "http.content_type",
    HttpReferer = "http.referer",
    HttpLocation = "http.location",
    HttpServer = "http.server",
    HttpPath = "-http.path",
    HttpXff = "-http.xff",
    HttpContentRange = "-http.content_range",
    DohMessage = "-doh.message",
    Http2HeaderName = "http2.header_name",
    FileData = "file.data",
    FileName = "file.name",
    FileMagic = "file.magic",
    FileInfo = "-file.info",
    Filemd5 = "filemd5",
    Filesha1 = "filesha1",
    Filesha256 = "filesha256",
    DnsMessage = "-dns.message",
    DhcpMessage = "-dhcp.message",
    DnsQuery = "dns.query",
    DnsQueryName = "dns.query.name",
    DnsAnswerName = "dns.answer.name",
    DnsQueriesRrname = "dns.queries.rrname",
    DnsAnswersRrname = "dns.answers.rrname",
    DnsAdditionalsRrname = "dns.additionals.rrname",
    DnsAuthoritiesRrname = "dns.authorities.rrname",
    DnsResponseRrname = "dns.response.rrname",
    MdnsQueriesRrname = "mdns.queries.rrname",
    MdnsAnswersRrname = "mdns.answers.rrname",
    MdnsAdditionalsRrname = "mdns.additionals.rrname",
    MdnsAuthoritiesRrname = "mdns.authorities.rrname",
    MdnsResponseRrname = "mdns.response.rrname",
    LlmnrQueriesRrname = "llmnr.queries.rrname",
    LlmnrAnswersRrname = "llmnr.answers.rrname",
    LlmnrAdditionalsRrname = "llmnr.additionals.rrname",
    LlmnrAuthoritiesRrname = "llmnr.authorities.rrname",
    LlmnrResponseRrname = "llmnr.response.rrname",
    TlsSni = "tls.sni",
    TlsCertSubject = "tls.cert_subject",
    TlsCertIssuer = "tls.cert_issuer",
    TlsCertSerial = "tls.cert_serial",
    TlsCertFingerprint = "tls.cert_fingerprint",
    TlsCerts = "tls.certs",
    TlsAlpn = "tls.alpn",
    TlsSubjectaltname = "tls.subjectaltname",
    TlsRandom = "tls.random",
    TlsRandomTime = "tls.random_time",
    TlsRandomBytes = "tls.random_bytes",
    Ja3Hash = "ja3.hash",
    Ja3String = "ja3.string",
    Ja3sHash = "ja3s.hash",
    Ja3sString = "ja3s.string",
    Ja4Hash = "ja4.hash",
    QuicSni = "quic.sni",
    QuicUa = "quic.ua",
    QuicVersion = "quic.version",
    QuicCyuHash = "quic.cyu.hash",
    QuicCyuString = "quic.cyu.string",
    QuicExtension = "-quic.extension",
    SshProto = "ssh.proto",
    SshSoftware = "ssh.software",
    SshHassh = "ssh.hassh",
    SshHasshString = "ssh.hassh.string",
    SshHasshServer = "ssh.hassh.server",
    SshHasshServerString = "ssh.hassh.server.string",
    SmbNamedPipe = "smb.named_pipe",
    SmbShare = "smb.share",
    SmbNtlmsspUser = "smb.ntlmssp_user",
    SmbNtlmsspDomain = "smb.ntlmssp_domain",
    SmbFilename = "-smb.filename",
    SmbAccess = "-smb.access",
    SmbSetInfoClass = "-smb.set_info.class",
    SmbSetInfoLevel = "-smb.set_info.info_level",
    SmbRenameFrom = "-smb.rename.from",
    SmbRenameTo = "-smb.rename.to",
    SmbDialectName = "-smb.client_dialects.name",
    SmbDirectory = "-smb.directory",
    SmbFuid = "-smb.fuid",
    SmbClientGuid = "-smb.client_guid",
    SmbServerGuid = "-smb.server_guid",
    SmbNtlmsspHost = "-smb.ntlmssp.host",
    SmbNtlmsspVersion = "-smb.ntlmssp.version",
    SmbRealm = "-smb.kerberos.realm",
    SmbSname = "-smb.kerberos.snames",
    SmbNativeOs = "-smb.native_os",
    SmbNativeLm = "-smb.native_lm",
    SmbService = "-smb.service",
    SmbSubcommand = "-smb.subcmd",
    SmbLevel = "-smb.level_of_interest",
    DcerpcIface = "dcerpc.iface",
    DcerpcStubData = "dcerpc.stub_data",
    DcerpcActivity = "-dcerpc.activityuuid",
    DcerpcInterface = "-dcerpc.interfaces",
    SmtpHelo = "smtp.helo",
    SmtpMailFrom = "smtp.mail_from",
    SmtpRcptTo = "smtp.rcpt_to",
    EmailFrom = "email.from",
    EmailSubject = "email.subject",
    EmailTo = "email.to",
    EmailCc = "email.cc",
    EmailDate = "email.date",
    EmailMessageId = "email.message_id",
    EmailXMailer = "email.x_mailer",
    EmailUrl = "email.url",
    EmailReceived = "email.received",
    EmailBodyMd5 = "email.body_md5",
    EmailAttachment = "-email.attachment",
    FtpCommand = "ftp.command",
    FtpCommandData = "ftp.command_data",
    FtpCompletionCode = "ftp.completion_code",
    FtpReply = "ftp.reply",
    FtpDataName = "-ftp.data.filename",
    Dnp3Data = "dnp3.data",
    Dnp3Message = "-dnp3.message",
    Modbus = "modbus",
    ModbusMessage = "-modbus.message",
    EnipMessage = "-enip.message",
    Http2Header = "-http2.header",
    IkeInitSpi = "ike.init_spi",
    IkeRespSpi = "ike.resp_spi",
    IkeKeyExchangePayload = "ike.key_exchange_payload",
    IkeNoncePayload = "ike.nonce_payload",
    IkeVendor = "ike.vendor",
    IkeMessage = "-ike.message",
    IkeSaid = "-ike.said",
    IkeChosen = "-ike.chosen",
    Krb5Cname = "krb5.cname",
    Krb5Sname = "krb5.sname",
    Krb5Realm = "-krb5.realm",
    NfsFilename = "-nfs.filename",
    NfsRenameFrom = "-nfs.rename.from",
    NfsRenameTo = "-nfs.rename.to",
    NfsMachine = "-nfs.machine_name",
    NtpReferenceId = "ntp.reference_id",
    PgsqlQuery = "pgsql.query",
    PgsqlMessage = "-pgsql.message",
    Pop3Command = "-pop3.command",
    Pop3Argument = "-pop3.args",
    Pop3Header = "-pop3.header",
    Pop3Data = "-pop3.data",
    BittorrentDhtMessage = "-bittorrent_dht.message",
    RdpMessage = "-rdp.message",
    RdpSerial = "-rdp.x509_serials",
    RfbName = "rfb.name",
    RfbServerVersion = "-rfb.server_version",
    RfbClientVersion = "-rfb.client_version",
    RfbChallenge = "-rfb.challenge",
    RfbResponse = "-rfb.response",
    RfbInit = "-rfb.init",
    RfbReason = "-rfb.reason",
    SnmpCommunity = "snmp.community",
    SnmpUsm = "snmp.usm",
    SnmpTrapOid = "snmp.trap_oid",
    SnmpTrapAddress = "snmp.trap_address",
    SnmpVar = "-snmp.var",
    EnipProductName = "enip.product_name",
    EnipServiceName = "enip.service_name",
    TemplateBuffer = "template.buffer",
    TftpFile = "-tftp.file",
    TftpMode = "-tftp.mode",
    WebsocketPayload = "websocket.payload",
    LdapMessage = "-ldap.message",
    LdapRequestDn = "ldap.request.dn",
    LdapResponsesDn = "ldap.responses.dn",
    LdapResponsesMessage = "ldap.responses.message",
    LdapRequestAttributeType = "ldap.request.attribute_type",
    LdapResponsesAttributeType = "ldap.responses.attribute_type",
    MqttSubscribeTopic = "mqtt.subscribe.topic",
    MqttUnsubscribeTopic = "mqtt.unsubscribe.topic",
    MqttPublishTopic = "mqtt.publish.topic",
    MqttPublishMessage = "mqtt.publish.message",
    MqttConnectWilltopic = "mqtt.connect.willtopic",
    MqttConnectWillmessage = "mqtt.connect.willmessage",
    MqttConnectUsername = "mqtt.connect.username",
    MqttConnectPassword = "mqtt.connect.password",
    MqttConnectClientid = "mqtt.connect.clientid",
    MqttConnectProtocolString = "mqtt.connect.protocol_string",
    MqttMessage = "-mqtt.message",
    SipMethod = "sip.method",
    SipUri = "sip.uri",
    SipProtocol = "sip.protocol",
    SipStatCode = "sip.stat_code",
    SipStatMsg = "sip.stat_msg",
    SipRequestLine = "sip.request_line",
    SipResponseLine = "sip.response_line",
    SipFrom = "sip.from",
    SipTo = "sip.to",
    SipVia = "sip.via",
    SipUserAgent = "sip.user_agent",
    SipContentType = "sip.content_type",
    SipContentLength = "sip.content_length",
    SdpSessionName = "sdp.session_name",
    SdpSessionInfo = "sdp.session_info",
    SdpOrigin = "sdp.origin",
    SdpUri = "sdp.uri",
    SdpEmail = "sdp.email",
    SdpPhoneNumber = "sdp.phone_number",
    SdpConnectionData = "sdp.connection_data",
    SdpBandwidth = "sdp.bandwidth",
    SdpTime = "sdp.time",
    SdpRepeatTime = "sdp.repeat_time",
    SdpTimezone = "sdp.timezone",
    SdpEncryptionKey = "sdp.encryption_key",
    SdpAttribute = "sdp.attribute",
    SdpMediaBandwidth = "-sdp.media.bandwidth",
    SdpMediaAttribute = "-sdp.media.attribute",
    SdpMediaMedia = "sdp.media.media",
    SdpMediaMediaInfo = "sdp.media.media_info",
    SdpMediaConnectionData = "sdp.media.connection_data",
    SdpMediaEncryptionKey = "sdp.media.encryption_key",
        FrameStream = "frame:stream",
        FrameHttp1Request = "frame:http1.request",
        FrameHttp1Response = "frame:http1.response",
        FrameHttp2Hdr = "frame:http2.hdr",
        FrameHttp2Data = "frame:http2.data",
        FrameHttp2Pdu = "frame:http2.pdu",
        FrameNbssPdu = "frame:nbss.pdu",
        FrameNbssHdr = "frame:nbss.hdr",
        FrameNbssData = "frame:nbss.data",
        FrameSmb1Pdu = "frame:smb1.pdu",
        FrameSmb1Hdr = "frame:smb1.hdr",
        FrameSmb1Data = "frame:smb1.data",
        FrameSmb2Pdu = "frame:smb2.pdu",
        FrameSmb2Hdr = "frame:smb2.hdr",
        FrameSmb2Data = "frame:smb2.data",
        FrameSmb3Pdu = "frame:smb3.pdu",
        FrameSmb3Hdr = "frame:smb3.hdr",
        FrameSmb3Data = "frame:smb3.data",
        FrameDcerpcPdu = "frame:dcerpc.pdu",
        FrameDcerpcHdr = "frame:dcerpc.hdr",
        FrameDcerpcData = "frame:dcerpc.data",
        FrameSmtpCommandLine = "frame:smtp.command_line",
        FrameSmtpResponseLine = "frame:smtp.response_line",
        FrameSmtpData = "frame:smtp.data",
        FrameSshRecordHdr = "frame:ssh.record.hdr",
        FrameSshRecordData = "frame:ssh.record.data",
        FrameSshRecordPdu = "frame:ssh.record.pdu",
        FrameWebsocketPdu = "frame:websocket.pdu",
        FrameWebsocketHeader = "frame:websocket.header",
        FrameWebsocketData = "frame:websocket.data",
        FrameMqttPdu = "frame:mqtt.pdu",
        FrameMqttHeader = "frame:mqtt.header",
        FrameMqttData = "frame:mqtt.data",
        FrameSipPdu = "frame:sip.pdu",
        FrameSipRequestLine = "frame:sip.request.line",
        FrameSipRequestHeaders = "frame:sip.request.headers",
        FrameSipRequestBody = "frame:sip.request.body",
        FrameSipResponseLine = "frame:sip.response.line",
        FrameSipResponseHeaders = "frame:sip.response.headers",
        FrameSipResponseBody = "frame:sip.response.body",
        FrameDnsPdu = "frame:dns.pdu",
        FrameTlsPdu = "frame:tls.pdu",
        FrameTlsHdr = "frame:tls.hdr",
        FrameTlsData = "frame:tls.data",
        FrameTlsAlert = "frame:tls.alert",
        FrameTlsHeartbeat = "frame:tls.heartbeat",
        FrameTlsSsl2Hdr = "frame:tls.ssl2.hdr",
        FrameTlsSsl2Pdu = "frame:tls.ssl2.pdu",
        FrameLdapPdu = "frame:ldap.pdu",
        FramePgsqlRequest = "frame:pgsql.request",
        FramePgsqlResponse = "frame:pgsql.response",
        FrameRfbPdu = "frame:rfb.pdu",
        FrameEnipHdr = "frame:enip.hdr",
        FrameEnipData = "frame:enip.data",
        FrameEnipPdu = "frame:enip.pdu",
        FrameEnipCip = "frame:enip.cip",
        FrameEnipItem = "frame:enip.enip.item",
        FrameNfsRpcPdu = "frame:nfs.rpc.pdu",
        FrameNfsRpcHdr = "frame:nfs.rpc.hdr",
        FrameNfsRpcData = "frame:nfs.rpc.data",
        FrameNfsRpcCreds = "frame:nfs.rpc.creds",
        FrameNfsPdu = "frame:nfs.pdu",
        FrameNfsStatus = "frame:nfs.status",
        FrameNfs4Pdu = "frame:nfs4.pdu",
        FrameNfs4Hdr = "frame:nfs4.hdr",
        FrameNfs4Ops = "frame:nfs4.ops",
        FrameNfs4Status = "frame:nfs4.status",
        FrameSnmpPdu = "frame:snmp.pdu",
        FrameTelnetPdu = "frame:telnet.pdu",
        FrameTelnetCtl = "frame:telnet.ctl",
        FrameTelnetData = "frame:telnet.data",
        FrameRdpPdu = "frame:rdp.pdu",
        FrameQuicPdu = "frame:quic.pdu",
        FrameKrb5Pdu = "frame:krb5.pdu",
        FrameFtpCommandLine = "frame:ftp.command_line",
        FrameFtpResponseLine = "frame:ftp.response_line",
    }
    numbers {
    AppLayerEvent = "app-layer-event",
    Hook = "-hook",
    TxBit = "-tx_bit",
    TxProgress = "-tx_progress",
    FileSid = "-file.sid",
    HttpLength = "-http.length",
    HttpPort = "-http.http_port",
    Http2Frametype = "http2.frametype",
    Http2Errorcode = "http2.errorcode",
    Http2Priority = "http2.priority",
    Http2Window = "http2.window",
    Http2SizeUpdate = "http2.size_update",
    Http2Settings = "http2.settings",
    Http2StreamId = "-http2.stream_id",
    DnsOpcode = "dns.opcode",
    DnsRcode = "dns.rcode",
    DnsRrtype = "dns.rrtype",
    DhcpLeasetime = "dhcp.leasetime",
    DhcpRebindingTime = "dhcp.rebinding_time",
    DhcpRenewalTime = "dhcp.renewal_time",
    DcerpcOpnum = "dcerpc.opnum",
    DcerpcRequest = "-dcerpc.request",
    DcerpcResponse = "-dcerpc.response",
    DcerpcCallId = "-dcerpc.call_id",
    DcerpcFragments = "-dcerpc.frag_cnt",
    DcerpcStubSize = "-dcerpc.stub_data_size",
    DcerpcRpcVersion = "-dcerpc.rpc_version",
    DcerpcSequence = "-dcerpc.seqnum",
    DcerpcLittleEndian = "-dcerpc.little_endian",
    Dnp3Func = "dnp3_func",
    Dnp3Limits = "-dnp3.limits",
    Dnp3Ind = "dnp3_ind",
    Dnp3Obj = "dnp3_obj",
    CipService = "cip_service",
    EnipCommand = "enip_command",
    EnipCapabilities = "enip.capabilities",
    EnipCipAttribute = "enip.cip_attribute",
    EnipCipClass = "enip.cip_class",
    EnipCipExtendedstatus = "enip.cip_extendedstatus",
    EnipCipInstance = "enip.cip_instance",
    EnipCipStatus = "enip.cip_status",
    EnipDeviceType = "enip.device_type",
    EnipIdentityStatus = "enip.identity_status",
    EnipProductCode = "enip.product_code",
    EnipProtocolVersion = "enip.protocol_version",
    EnipRevision = "enip.revision",
    EnipSerial = "enip.serial",
    EnipState = "enip.state",
    EnipStatus = "enip.status",
    EnipVendorId = "enip.vendor_id",
    Filesize = "filesize",
    FtpdataCommand = "ftpdata_command",
    FtpDynamicPort = "ftp.dynamic_port",
    FtpMode = "ftp.mode",
    FtpReplyReceived = "ftp.reply_received",
    FtpCommandTruncated = "-ftp.command_truncated",
    FtpReplyTruncated = "-ftp.reply_truncated",
    IkeChosenSaAttribute = "ike.chosen_sa_attribute",
    IkeExchtype = "ike.exchtype",
    IkeDoi = "-ike.doi",
    IkeKeyExchangePayloadLength = "ike.key_exchange_payload_length",
    IkeNoncePayloadLength = "ike.nonce_payload_length",
    Krb5ErrCode = "krb5_err_code",
    Krb5MsgType = "krb5_msg_type",
    Krb5TicketEncryption = "krb5.ticket_encryption",
    Krb5Encryption = "-krb5.encryption",
    Krb5FailedRequest = "-krb5.failed_request",
    LdapRequestOperation = "ldap.request.operation",
    LdapResponsesOperation = "ldap.responses.operation",
    LdapResponsesCount = "ldap.responses.count",
    LdapResponsesResultCode = "ldap.responses.result_code",
    MqttType = "mqtt.type",
    MqttReasonCode = "mqtt.reason_code",
    MqttConnackReturnCode = "mqtt.connack.return_code",
    MqttConnackSessionPresent = "mqtt.connack.session_present",
    MqttQos = "mqtt.qos",
    MqttFlags = "mqtt.flags",
    MqttProtocolVersion = "mqtt.protocol_version",
    MqttConnectFlags = "mqtt.connect.flags",
    NfsProcedure = "nfs_procedure",
    NfsCall = "-nfs_call",
    NfsXid = "-nfs.xid",
    NfsHandle = "-nfs.hhash",
    NfsStatus = "-nfs.status",
    NfsRpcStatus = "-nfs.rpc_status",
    NfsAuth = "-nfs.auth_type",
    NfsUid = "-nfs.uid",
    NfsGid = "-nfs.gid",
    NfsFile = "-nfs.file_tx",
    NfsVersion = "nfs.version",
    NtpVersion = "ntp.version",
    NtpMode = "ntp.mode",
    NtpStratum = "ntp.stratum",
    Pop3Status = "-pop3.status",
    RfbSectype = "rfb.sectype",
    RfbSecresult = "rfb.secresult",
    RfbShared = "-rfb.shared",
    SmbVersion = "smb.version",
    SmbCommand = "-smb.command",
    SmbStatus = "-smb.status",
    SmbStatusCode = "-smb.status_code",
    SmbDialect = "-smb.dialect",
    SmbClientDialects = "-smb.client_dialects",
    SmbSessionId = "-smb.session_id",
    SmbTreeId = "-smb.tree_id",
    SmbDisposition = "-smb.disposition",
    SmbCreated = "-smb.created",
    SmbAccessed = "-smb.accessed",
    SmbModified = "-smb.modified",
    SmbChanged = "-smb.changed",
    SmbSize = "-smb.size",
    SmbMaxRead = "-smb.max_read_size",
    SmbMaxWrite = "-smb.max_write_size",
    SmbShareType = "-smb.share_type",
    SmbFunction = "-smb.function",
    SnmpVersion = "snmp.version",
    SnmpPduType = "snmp.pdu_type",
    SnmpTrapType = "snmp.trap_type",
    SnmpError = "-snmp.error",
    SnmpEncrypted = "-snmp.encrypted",
    SshProtoversion = "ssh.protoversion",
    SshSoftwareversion = "ssh.softwareversion",
    SslState = "ssl_state",
    SslVersion = "ssl_version",
    TlsVersion = "tls.version",
    TlsCertNotbefore = "tls_cert_notbefore",
    TlsCertNotafter = "tls_cert_notafter",
    TlsCertChainLen = "tls.cert_chain_len",
    TftpPacket = "-tftp.packet",
    TlsFromProto = "-tls.from_proto",
    TlsSessionResumed = "-tls.session_resumed",
    WebsocketOpcode = "websocket.opcode",
    WebsocketMask = "websocket.mask",
    WebsocketFlags = "websocket.flags",
    Ftpbounce = "ftpbounce",
    TlsCertExpired = "tls_cert_expired",
    TlsCertValid = "tls_cert_valid",
    }
}

impl Field {
    /// The field of this name.
    pub fn by_name(name: &str) -> Option<Field> {
        Field::ALL
            .iter()
            .copied()
            .find(|field| field.name() == name)
    }

    /// Whether its values are numbers.
    pub const fn is_number(self) -> bool {
        self as usize >= Field::BYTES
    }

    /// Whether it is a frame: a unit of its protocol that is a transaction of its own for rules.
    pub fn is_frame(self) -> bool {
        self.name().starts_with("frame:")
    }

    /// The field of this number.
    pub fn from_number(number: u16) -> Option<Field> {
        Field::ALL.get(usize::from(number)).copied()
    }

    /// When it is known that a direction of a transaction has no (further) instance of it.
    pub const fn known_at(self) -> Progress {
        match self {
            Field::HttpRequestBody
            | Field::HttpResponseBody
            | Field::FileData
            | Field::FileName
            | Field::FileMagic
            | Field::FileInfo
            | Field::Filemd5
            | Field::Filesha1
            | Field::Filesha256
            | Field::Filesize
            | Field::TxBit
            | Field::EmailBodyMd5
            // The keys follow the hello.
            | Field::SslState
            | Field::DohMessage => Progress::Complete,
            _ => Progress::Head,
        }
    }

    /// The same of one direction: a client of TLS shows its certificate long after its hello, and frames
    /// of a stream of HTTP/2 follow its headers.
    pub const fn known_from(self, direction: Direction) -> Progress {
        match (self, direction) {
            (
                Field::TlsCertSubject
                | Field::TlsCertIssuer
                | Field::TlsCertSerial
                | Field::TlsCertFingerprint
                | Field::TlsCerts
                | Field::TlsCertNotbefore
                | Field::TlsCertNotafter
                | Field::TlsCertExpired
                | Field::TlsCertValid,
                Direction::ToServer,
            ) => Progress::Complete,
            (
                Field::Http2Frametype
                | Field::Http2Errorcode
                | Field::Http2Priority
                | Field::Http2Window,
                _,
            ) => Progress::Complete,
            _ => self.known_at(),
        }
    }
}

/// How far a direction of a transaction has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[repr(u8)]
pub enum Progress {
    /// Something may have been seen.
    #[default]
    Open = 0,
    /// Everything but bodies and files is known.
    Head = 1,
    /// Nothing more will come.
    Complete = 2,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_numbers_round_trip() {
        let mut names: Vec<_> = Field::ALL.iter().map(|field| field.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Field::ALL.len());
        for field in Field::ALL {
            assert_eq!(Field::from_number(*field as u16), Some(*field));
            assert_eq!(Field::by_name(field.name()), Some(*field));
        }
        assert!(Field::AppLayerEvent.is_number() && !Field::HttpUri.is_number());
    }
}

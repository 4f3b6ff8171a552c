//! The tables: rules that are wrong, what is said of them, and where.

use sluice::rules::diagnostic::Code;

/// Rule (or options), code, message.
pub type Case = (&'static str, Code, &'static str);

/// Errors in the header and in the way options are written.
pub const SYNTAX: &[Case] = &[
    (
        "«alrt» tcp any any -> any any (sid:1;)",
        Code::BadAction,
        "`alrt` is not an action",
    ),
    (
        "«accept» tcp any any -> any any (sid:1;)",
        Code::BadAction,
        "`accept` belongs to firewall rules",
    ),
    (
        "«alert:packet» tcp any any -> any any (sid:1;)",
        Code::BadAction,
        "`packet` is not a scope of `alert`",
    ),
    (
        "alert «tpc» any any -> any any (sid:1;)",
        Code::BadProtocol,
        "`tpc` is not a protocol",
    ),
    (
        "alert «tcp:nohook» any any -> any any (sid:1;)",
        Code::BadProtocol,
        "`nohook` is not a hook of `tcp`",
    ),
    (
        "alert «http2:request_started» any any -> any any (sid:1;)",
        Code::BadProtocol,
        "`request_started` is not a hook of this protocol",
    ),
    (
        "alert «dns:client_hello_done» any any -> any any (sid:1;)",
        Code::BadProtocol,
        "`client_hello_done` is not a hook of this protocol",
    ),
    (
        "alert tcp any any «<-» any any (sid:1;)",
        Code::BadDirection,
        "`<-` is not a direction",
    ),
    (
        "alert tcp «1.2.3» any -> any any (sid:1;)",
        Code::BadAddress,
        "`1.2.3` is not a valid address",
    ),
    (
        "alert tcp [1.1.1.1,«1.1.1.300»] any -> any any (sid:1;)",
        Code::BadAddress,
        "`1.1.1.300` is not a valid address",
    ),
    (
        "alert tcp any «70000» -> any any (sid:1;)",
        Code::BadPort,
        "`70000` is not a valid port",
    ),
    (
        "alert tcp any any -> any [80,«90:80»] (sid:1;)",
        Code::BadPort,
        "`90:80` is not a valid port",
    ),
    (
        "alert tcp any any -> any [80]«]» (sid:1;)",
        Code::BadPort,
        "`]` without `[`",
    ),
    (
        "alert tcp «$HOME_NTE» any -> any any (sid:1;)",
        Code::UndefinedVariable,
        "the variable $HOME_NTE is not defined",
    ),
    (
        "alert tcp «!any» any -> any any (sid:1;)",
        Code::NegatedAny,
        "every address is excluded",
    ),
    (
        "alert tcp any any -> any «!any» (sid:1;)",
        Code::NegatedAny,
        "every port is excluded",
    ),
    (
        "alert tcp «[10.0.0.1,!10.0.0.1]» any -> any any (sid:1;)",
        Code::EmptySet,
        "no address is left",
    ),
    (
        "alert tcp any any -> any any «sid:1;»",
        Code::NoOptions,
        "expected `(` and the options after the destination port",
    ),
    (
        "alert tcp any any -> any any (sid:1; rev:«2»)",
        Code::MissingSemicolon,
        "no `;` after `rev:2`",
    ),
    (
        r#"msg:"abc" «content»:"x";"#,
        Code::SwallowedOption,
        "the option `content` became part of the value of `msg`",
    ),
    (
        r#"msg:"ab«"»c";"#,
        Code::SwallowedOption,
        "an unescaped quote inside the value of `msg`",
    ),
    (
        r#"content:"ab«"»c";"#,
        Code::SwallowedOption,
        "an unescaped quote inside the value of `content`",
    ),
    (r#"pcre:"/a/" «nocase»;";"#, Code::BadQuotes, ""),
    (
        r#"«contnet»:"x";"#,
        Code::UnknownKeyword,
        "unknown keyword `contnet`",
    ),
    (r#"http.«»;"#, Code::UnknownKeyword, ""),
    (
        r#"«http.url»; content:"x";"#,
        Code::UnknownKeyword,
        "unknown keyword `http.url`",
    ),
    ("«depth»;", Code::MissingValue, "`depth` needs a value"),
    (
        r#"content:"a"; «nocase:1»;"#,
        Code::UnexpectedValue,
        "`nocase` takes no value, found `1`",
    ),
    (
        r#"content:«abc»;"#,
        Code::QuotesNeeded,
        "the value of `content` is not in double quotes",
    ),
    (
        r#"«dsize:"5"»;"#,
        Code::QuotesRefused,
        "the value of `dsize` is not quoted",
    ),
    (
        r#"content:«"a»;b";"#,
        Code::BadQuotes,
        "the value of `content` starts with a quote and does not end with one",
    ),
    (
        "alert tcp any any -> any any (content:\"a«\u{1}»b\"; sid:1;)",
        Code::ControlCharacter,
        "control character in a rule",
    ),
];

/// Values that are not of the form their keyword takes.
pub const VALUES: &[Case] = &[
    (
        r#"content:"a«\n»";"#,
        Code::BadEscape,
        "a backslash must itself be escaped",
    ),
    (
        r#"content:"|4«|»";"#,
        Code::BadHex,
        "a hexadecimal digit is missing",
    ),
    (
        r#"content:"|4«z»|";"#,
        Code::BadHex,
        "not a hexadecimal digit in `|4z|`",
    ),
    (r#"content:"a«|41»";"#, Code::BadHex, "`|` is not closed"),
    (r#"content:"«||»";"#, Code::BadValue, "the content is empty"),
    (
        "dsize:«<0»;",
        Code::BadValue,
        "`<0` is not a comparison that can match",
    ),
    (
        "ttl:«256»;",
        Code::BadValue,
        "`256` is not a comparison that can match",
    ),
    (
        "itype:«8<>9»;",
        Code::BadValue,
        "`8<>9` is not a comparison that can match",
    ),
    ("flags:«Z»;", Code::BadValue, "`Z` are not TCP flags"),
    ("fragbits:«X»;", Code::BadValue, "`X` is not a fragment bit"),
    ("ipopts:«foo»;", Code::BadValue, "`foo` is not an IP option"),
    (
        "window:«70000»;",
        Code::BadValue,
        "`70000` is not a comparison that can match",
    ),
    ("vlan.id:«5,7»;", Code::BadValue, "`5,7` names no VLAN id"),
    (
        "stream_size:«middle,>,5»;",
        Code::BadValue,
        "`middle` is not a side",
    ),
    (
        "tcpv4-csum:«maybe»;",
        Code::BadValue,
        "`maybe` is neither valid nor invalid",
    ),
    ("flow.pkts:«up,>5»;", Code::BadValue, "`up` is not a side"),
    ("flow.elephant:«up»;", Code::BadValue, "`up` is not a side"),
    (
        "flowvar:«name»;",
        Code::BadValue,
        "`flowvar` takes a name and what its value holds",
    ),
    (
        "flowbits:«sett,x»;",
        Code::BadValue,
        "`sett` is not a command of `flowbits`",
    ),
    (
        "flowbits:«set,a b»;",
        Code::BadValue,
        "the name `a b` has a blank",
    ),
    (
        "flowint:«abc,**,1»;",
        Code::BadValue,
        "`**` is not an operator of flowint",
    ),
    (
        "xbits:«set,abc»;",
        Code::BadValue,
        "`xbits` does not say what it hangs on",
    ),
    (
        "hostbits:«set,abc,up»;",
        Code::BadValue,
        "`up` is not a side",
    ),
    (
        "threshold:«type often, track by_src, count 1, seconds 60»;",
        Code::BadValue,
        "`often` is not a type of threshold",
    ),
    (
        "threshold:«type limit, track by_src, count 1»;",
        Code::BadValue,
        "`threshold` is not complete",
    ),
    (
        "detection_filter:«track by_src, count 0, seconds 60»;",
        Code::BadValue,
        "count and seconds are at least 1",
    ),
    (
        "tag:«session,x,packets»;",
        Code::BadValue,
        "`session,x,packets` is not a tag",
    ),
    (
        r#"content:"a"; offset:«70000»;"#,
        Code::BadValue,
        "`70000` is not a number from 0 to 65535",
    ),
    (
        r#"content:"a"; fast_pattern:«1,5»;"#,
        Code::BadValue,
        "the piece 1..6 is not inside the content of 1 bytes",
    ),
    (
        r#"content:"a"; fast_pattern:«most»;"#,
        Code::BadValue,
        "`most` is no fast pattern",
    ),
    (
        "byte_test:4,«~»,5,0;",
        Code::BadValue,
        "`~` is not an operator",
    ),
    (
        "byte_test:«4,>,5»;",
        Code::BadValue,
        "`byte_test` needs more values",
    ),
    (
        "byte_test:«9,>,5,0»;",
        Code::BadValue,
        "9 bytes cannot be read, at most 8",
    ),
    (
        "byte_jump:2,0,«bitmask 0»;",
        Code::BadValue,
        "`0` is not a number from 1 to 4294967295",
    ),
    (
        "byte_extract:2,0,n,«slice»;",
        Code::BadValue,
        "`slice` is a word of byte_extract that nothing carries out",
    ),
    (
        "detection_filter:«track by_both, count 2, seconds 5»;",
        Code::BadValue,
        "`detection_filter` tracks by_src, by_dst or by_flow",
    ),
    (
        "detection_filter:«track by_src, count 2, seconds 5, unique_on src_ip»;",
        Code::BadValue,
        "unique_on takes src_port or dst_port",
    ),
    (
        "byte_extract:1,0,«1abc»;",
        Code::BadValue,
        "`1abc` is not the name of a variable",
    ),
    (
        "byte_math:bytes 1, offset 0, oper «%», rvalue 1, result v;",
        Code::BadValue,
        "`%` is not an operator",
    ),
    (
        "isdataat:«x»;",
        Code::UnknownVariable,
        "the variable `x` is not set before it is used",
    ),
    (
        r#"content:"a"; depth:«size»;"#,
        Code::UnknownVariable,
        "the variable `size` is not set before it is used",
    ),
    (
        r#"pcre:"«abc»";"#,
        Code::BadValue,
        "`abc` is not an expression between slashes",
    ),
    (
        r#"pcre:"/abc/«j»";"#,
        Code::BadValue,
        "`j` is not a flag of pcre",
    ),
    (
        r#"pcre:"/a«(»b/";"#,
        Code::BadRegex,
        "the expression is not valid: `(` is not closed",
    ),
    ("classtype:«9x»;", Code::BadValue, "`9x` is not a classtype"),
    (
        "reference:«nonsense»;",
        Code::BadValue,
        "`nonsense` is not a reference",
    ),
    ("target:«me»;", Code::BadValue, "`me` is not a target"),
    (
        "priority:«high»;",
        Code::BadValue,
        "`high` is not a priority",
    ),
    ("rev:«x»;", Code::BadValue, "`x` is not a number"),
    (
        "alert tcp any any -> any any (sid:«x»;)",
        Code::BadValue,
        "`x` is not a sid",
    ),
    (
        "requires:«version 7»;",
        Code::BadValue,
        "`7` is not a version expression",
    ),
    (
        "flow:«established,sideways»;",
        Code::BadValue,
        "`sideways` is not a word of `flow`",
    ),
    (
        "decode-event:«a b»;",
        Code::BadValue,
        "`a b` is not an event",
    ),
];

/// Options that contradict each other.
pub const CONFLICTS: &[Case] = &[
    (
        "«nocase»;",
        Code::NoContent,
        "`nocase` stands without a content before it",
    ),
    (
        r#"http.uri; «nocase»; content:"a";"#,
        Code::NoContent,
        "`nocase` stands without a content before it",
    ),
    (
        r#"content:"a"; nocase; «nocase»;"#,
        Code::DuplicateKeyword,
        "`nocase` stands a second time for this content",
    ),
    (
        r#"content:"a"; depth:5; «depth»:6;"#,
        Code::DuplicateKeyword,
        "`depth` stands a second time for this content",
    ),
    (
        "dsize:5; «dsize»:6;",
        Code::DuplicateKeyword,
        "`dsize` stands a second time in this rule",
    ),
    (
        "alert tcp any any -> any any (sid:1; «sid:2»;)",
        Code::DuplicateKeyword,
        "`sid` stands a second time in this rule",
    ),
    (
        r#"content:"abcd"; depth:«3»;"#,
        Code::ImpossibleContent,
        "`depth` is 3, the content has 4 bytes",
    ),
    (
        r#"content:"abcd"; within:«3»;"#,
        Code::ImpossibleContent,
        "`within` is 3, the content has 4 bytes",
    ),
    (
        r#"dsize:<4; content:"«abcd»";"#,
        Code::ImpossibleContent,
        "the contents need 4 bytes, `dsize` allows 3",
    ),
    (
        r#"dsize:6; content:"abcd"; content:"«abcd»"; distance:0;"#,
        Code::ImpossibleContent,
        "the contents need 8 bytes, `dsize` allows 6",
    ),
    (
        r#"dsize:6; content:"«abcd»"; offset:4;"#,
        Code::ImpossibleContent,
        "the contents need 8 bytes, `dsize` allows 6",
    ),
    (
        r#"http.uri; content:"«abcd»"; bsize:2;"#,
        Code::ImpossibleContent,
        "the contents need 4 bytes, `bsize` allows 2",
    ),
    (
        r#"content:"a"; offset:1; «distance»:1;"#,
        Code::ModifierConflict,
        "a position from the start and one from the last match cannot stand at one content",
    ),
    (
        r#"content:"a"; startswith; «offset»:1;"#,
        Code::ModifierConflict,
        "`startswith` and `offset` cannot stand at one content",
    ),
    (
        r#"content:"a"; depth:1; «startswith»;"#,
        Code::ModifierConflict,
        "`startswith` and `depth` cannot stand at one content",
    ),
    (
        r#"content:"a"; fast_pattern:only; content:"b"; «distance»:1;"#,
        Code::FastPatternConflict,
        "nothing can be relative to a content with `fast_pattern:only`",
    ),
    (
        r#"content:"a"; offset:1; «fast_pattern»:only;"#,
        Code::FastPatternConflict,
        "`fast_pattern:only` needs a content without negation and position",
    ),
    (
        r#"content:!"a"; distance:1; «fast_pattern»;"#,
        Code::FastPatternConflict,
        "a negated content with a position cannot be the fast pattern",
    ),
    (
        r#"content:!"a"; fast_pattern; «distance»:1;"#,
        Code::FastPatternConflict,
        "a negated fast pattern has no position",
    ),
    (
        r#"content:"a"; fast_pattern; content:"b"; «fast_pattern»;"#,
        Code::FastPatternConflict,
        "the rule has a second fast pattern",
    ),
    (
        "«http.uri»;",
        Code::EmptyBuffer,
        "nothing looks at the buffer `http.uri`",
    ),
    (
        r#"«http.uri»; http.host; content:"a";"#,
        Code::EmptyBuffer,
        "nothing looks at the buffer `http.uri`",
    ),
    (
        "«bsize»:5;",
        Code::NoBuffer,
        "`bsize` needs a sticky buffer before it",
    ),
    (
        r#"«to_md5»; content:"a";"#,
        Code::NoBuffer,
        "`to_md5` needs a sticky buffer before it",
    ),
    (
        "«base64_data»;",
        Code::NoBuffer,
        "`base64_data` stands without `base64_decode` before it",
    ),
    (
        r#"http.uri; content:"a"; «http_uri»;"#,
        Code::LegacyAfterSticky,
        "`http_uri` follows a sticky buffer",
    ),
    (
        r#"http.host; pcre:"/a/«U»";"#,
        Code::LegacyAfterSticky,
        "the flag names `http.uri`, another sticky buffer is in force",
    ),
    (
        r#"«dsize»:5; http.uri; content:"a";"#,
        Code::BufferConflict,
        "`dsize` looks at packets, `http.uri` at the application layer",
    ),
    (
        "alert tcp any any -> any any (flow:only_stream; «ttl»:5; sid:1;)",
        Code::BufferConflict,
        "`ttl` looks at packets, the rule asks for the stream",
    ),
    (
        r#"alert dns any any -> any any («http.uri»; content:"a"; sid:1;)"#,
        Code::ProtocolConflict,
        "`http.uri` belongs to http, the rule is about dns",
    ),
    (
        r#"dns.query; content:"a"; «tls.sni»; content:"b";"#,
        Code::ProtocolConflict,
        "`tls.sni` belongs to tls, the rule is about dns",
    ),
    (
        "alert tcp any any -> any any («ip_proto»:17; sid:1;)",
        Code::ProtocolConflict,
        "`ip_proto` needs the protocol `ip`",
    ),
    (
        r#"http.uri; content:"a"; «http.stat_code»; content:"200";"#,
        Code::DirectionConflict,
        "the rule has buffers of requests and of responses",
    ),
    (
        r#"flow:to_client; «http.uri»; content:"a";"#,
        Code::DirectionConflict,
        "a buffer of requests, and flow says to_client",
    ),
    (
        "flow:«to_server,to_client»;",
        Code::FlowConflict,
        "`to_client` and `to_server` exclude each other",
    ),
    (
        "flow:«established,not_established»;",
        Code::FlowConflict,
        "`not_established` and `established` exclude each other",
    ),
    (
        r#"pcre:"/a/«R»";"#,
        Code::NoEarlierMatch,
        "flag `R` without an earlier match in this buffer",
    ),
    (
        r#"threshold:type limit,track by_src,count 1,seconds 60; «detection_filter»:track by_src,count 1,seconds 60;"#,
        Code::ThresholdConflict,
        "`threshold` and `detection_filter` stand in one rule",
    ),
    (
        r#"http.host; content:"«Abc»";"#,
        Code::UppercaseHost,
        "upper-case letters in a content of `http.host`",
    ),
    (
        r#"http.method; content:"«GET »";"#,
        Code::TrailingSpace,
        "a blank at the edge of a content of `http.method`",
    ),
    (
        r#"http.uri; content:"a"; «absent»;"#,
        Code::ModifierConflict,
        "`absent` comes first after its buffer",
    ),
    (
        r#"«http.uri»; absent; content:"a";"#,
        Code::ModifierConflict,
        "the buffer is to be absent and to be looked at",
    ),
    (
        "alert tcp any any -> any any (msg:\"x\";«)»",
        Code::MissingSid,
        "the rule has no sid",
    ),
];

/// Warnings and notes.
pub const LINTS: &[Case] = &[
    (
        r#"content:"abc"; classtype:«trojan-activty»;"#,
        Code::UnknownClasstype,
        "unknown classtype `trojan-activty`",
    ),
    (
        r#"content:"abc"; classtype:misc-attack; classtype:«misc-activity»;"#,
        Code::DuplicateClasstype,
        "`classtype` stands a second time in this rule",
    ),
    (
        "content:\"abc\"; config:«logging disable,type tx,scope flow»;",
        Code::NoEffect,
        "`logging disable,type tx,scope flow` changes nothing",
    ),
    (
        "«alert» ip any any -> any any (msg:\"x\"; sid:1;)",
        Code::NoCondition,
        "the rule has no condition",
    ),
    (
        "«drop» ip any any -> any any (msg:\"x\"; sid:1;)",
        Code::DropWithoutCondition,
        "the rule drops everything",
    ),
    (
        "«alert» tcp any any -> any any (content:\"abc\"; sid:1;)",
        Code::MissingMessage,
        "the rule has no msg",
    ),
    (
        r#"pcre:"«/abc/»";"#,
        Code::NoFastPattern,
        "the rule has no content that must be found",
    ),
    (
        r#"content:"«ab»"; content:!"abcdef";"#,
        Code::ShortFastPattern,
        "the longest content has 2 bytes",
    ),
    (
        r#"content:"abc"; pcre:"«/a(?!b)/»";"#,
        Code::Backtracking,
        "`(?!b...` needs the backtracking engine",
    ),
    (
        r#"http.host; content:"«abc»"; nocase;"#,
        Code::NocaseHost,
        "`nocase` changes nothing in `http.host`",
    ),
    (
        r#"content:"abc"; flowbits:«isset,never»;"#,
        Code::FlowbitNeverSet,
        "nothing sets the flowbit `never`",
    ),
    (
        r#"content:"abc"; flowbits:«set,never»;"#,
        Code::FlowbitNeverRead,
        "nothing reads the flowbit `never`",
    ),
    (
        "alert tls any any -> any any (tls.sni; content:\"a.example\"; «tls.store»; sid:1;)",
        Code::NotStored,
        "`tls.store` keeps no certificates here",
    ),
    (
        r#"«uricontent»:"abc";"#,
        Code::Deprecated,
        "`uricontent` is old",
    ),
    (
        r#"http.uri; content:"abc"; fast_pattern; http.host; content:"abc"; «fast_pattern»;"#,
        Code::SecondFastPattern,
        "the rule has a second fast pattern",
    ),
    (
        "content:\"abc\"; threshold:type limit,track by_src,count 1,seconds 9 «reference:url,a.b»;",
        Code::TrailingText,
        "",
    ),
    (
        "alert tcp any any -> any any (msg:\"x\"; content:\"abc\"; sid:1«;»",
        Code::MissingParenthesis,
        "the options are not closed",
    ),
    (
        "content:\"abc\"; requires:«feature teapot»;",
        Code::SkippedRequires,
        "the rule needs the feature `teapot`",
    ),
];

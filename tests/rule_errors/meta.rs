//! What may stand twice in a rule and what may not, and numbers out of bounds; as Suricata's
//! setup functions of these keywords have it.

use super::cases::Case;
use sluice::rules::diagnostic::Code;

pub const META: &[Case] = &[
    ("rev:«0»;", Code::BadValue, "`rev` counts from 1"),
    (
        "alert ip any any -> any any (msg:\"a\"; «msg»:\"b\"; sid:1;)",
        Code::DuplicateKeyword,
        "",
    ),
    (
        "flow:to_server; flow:«to_client»;",
        Code::FlowConflict,
        "this `flow` contradicts the one before",
    ),
    (
        "flow:established; «flow»:to_client;",
        Code::DuplicateKeyword,
        "",
    ),
    (
        "«nfq_set_mark»:1/1;",
        Code::NoEffect,
        "`nfq_set_mark` changes no packet here",
    ),
    (
        r#"pcre:"/(a)/, flow:x, flow:y";"#,
        Code::BadValue,
        "`flow:y` has no group",
    ),
    (
        r#"pcre:"/(a)(b)/, pkt:value, flow:y";"#,
        Code::BadValue,
        "`pkt:value` comes right behind `pkt:key`",
    ),
    (
        r#"pcre:"/(a)(b)/, flow:x, y";"#,
        Code::BadValue,
        "`y` is not a name of a variable",
    ),
    (
        "ipopts:«any»;",
        Code::NoEffect,
        "`any` asks for all options at once: this matches no packet",
    ),
    ("byte_extract:«21»,0,a,string,dec;", Code::BadValue, ""),
];

//! A table of rules and payloads: what matches and what does not, keyword by keyword, with the
//! traps of RULES.md 6.3. Each row is run on a UDP packet, through the whole stage.

use super::{Rig, udp};

/// Options of the rule, payload, whether it matches.
type Case = (&'static str, &'static [u8], bool);

const CONTENT: &[Case] = &[
    (r#"content:"abc";"#, b"xxabcxx", true),
    (r#"content:"abc";"#, b"xxabxcx", false),
    (r#"content:"abc";"#, b"ABC", false),
    (r#"content:"abc"; nocase;"#, b"xAbCx", true),
    (r#"content:"abc";"#, b"abc", true),
    (r#"content:"abc";"#, b"ab", false),
    (r#"content:"|00 01|a|ff|";"#, b"z\x00\x01a\xff", true),
    (r#"content:"|00 01|a|ff|";"#, b"z\x00\x01A\xff", false),
    (r#"content:"a\;b\"c";"#, b"a;b\"c", true),
    (r#"content:"abc"; offset:2;"#, b"xxabc", true),
    (r#"content:"abc"; offset:3;"#, b"xxabc", false),
    (r#"content:"abc"; offset:3;"#, b"abcabc", true),
    (r#"content:"abc"; depth:3;"#, b"abcx", true),
    (r#"content:"abc"; depth:3;"#, b"xabc", false),
    (r#"content:"abc"; depth:4;"#, b"xabc", true),
    (r#"content:"abc"; offset:1; depth:3;"#, b"xabc", true),
    (r#"content:"abc"; offset:1; depth:3;"#, b"xxabc", false),
    (r#"content:"abc"; offset:1; depth:4;"#, b"xxabc", true),
    (r#"content:"abc"; startswith;"#, b"abcx", true),
    (r#"content:"abc"; startswith;"#, b"xabc", false),
    (r#"content:"abc"; endswith;"#, b"xabc", true),
    (r#"content:"abc"; endswith;"#, b"abcx", false),
    (r#"content:"abc"; endswith;"#, b"abcxabc", true),
    (r#"content:"abc"; startswith; endswith;"#, b"abc", true),
    (r#"content:"abc"; startswith; endswith;"#, b"abcabc", false),
    (r#"content:"abc"; nocase; endswith;"#, b"xABC", true),
    (r#"content:"abc"; depth:5; endswith;"#, b"xabc", true),
    (r#"content:"abc"; depth:3; endswith;"#, b"xabc", false),
];

const RELATIVE: &[Case] = &[
    (r#"content:"a"; content:"b"; distance:0;"#, b"ab", true),
    (r#"content:"a"; content:"b"; distance:0;"#, b"ba", false),
    (r#"content:"a"; content:"b";"#, b"ba", true),
    (r#"content:"a"; content:"b"; distance:2;"#, b"axxb", true),
    (r#"content:"a"; content:"b"; distance:2;"#, b"axb", false),
    (
        r#"content:"a"; content:"b"; distance:1; within:1;"#,
        b"axb",
        true,
    ),
    (
        r#"content:"a"; content:"b"; distance:1; within:1;"#,
        b"axxb",
        false,
    ),
    (r#"content:"a"; content:"b"; within:1;"#, b"ab", true),
    (r#"content:"a"; content:"b"; within:1;"#, b"axb", false),
    (r#"content:"a"; content:"bc"; within:3;"#, b"axbc", true),
    (r#"content:"a"; content:"bc"; within:3;"#, b"axxbc", false),
    // The first `a` leads nowhere; the second one does.
    (r#"content:"a"; content:"b"; within:1;"#, b"axxab", true),
    (
        r#"content:"a"; content:"b"; within:1; content:"c"; within:1;"#,
        b"abxabc",
        true,
    ),
    (
        r#"content:"a"; content:"b"; distance:0; content:"c"; within:1;"#,
        b"axbxbc",
        true,
    ),
    (
        r#"content:"abc"; content:"a"; distance:-3; within:1;"#,
        b"xabc",
        true,
    ),
    (
        r#"content:"abc"; content:"x"; distance:-4; within:1;"#,
        b"xabc",
        true,
    ),
    // A distance before the start of the buffer stops at the start.
    (
        r#"content:"abc"; content:"xab"; distance:-9;"#,
        b"xabc",
        true,
    ),
    (
        r#"content:"abc"; content:"b"; distance:-2; within:1;"#,
        b"abc",
        true,
    ),
    (
        r#"content:"b"; content:"a"; distance:0; content:"z";"#,
        b"zba",
        true,
    ),
    // Not relative: nothing before can mend it.
    (
        r#"content:"a"; content:"b"; within:1; content:"z";"#,
        b"ab",
        false,
    ),
    (r#"content:"aa"; content:"a"; within:1;"#, b"aaa", true),
    // Occurrences overlap: the second `aa` begins one byte after the first.
    (r#"content:"aa"; content:"b"; within:1;"#, b"aaab", true),
    (
        r#"content:"ab"; content:"cd"; distance:0; endswith;"#,
        b"abcdxcd",
        true,
    ),
    (
        r#"content:"ab"; content:"cd"; within:2; endswith;"#,
        b"abcdxcd",
        false,
    ),
];

const NEGATED: &[Case] = &[
    (r#"content:"a"; content:!"b";"#, b"axx", true),
    (r#"content:"a"; content:!"b";"#, b"axb", false),
    (r#"content:!"b";"#, b"axx", true),
    (r#"content:!"b";"#, b"axb", false),
    (r#"content:!"b"; depth:1;"#, b"axb", true),
    (r#"content:!"b"; offset:1;"#, b"bxx", true),
    (r#"content:!"b"; offset:1;"#, b"xb", false),
    // An empty window holds nothing, so the negation holds.
    (r#"content:!"b"; offset:9;"#, b"bxx", true),
    (r#"content:"a"; content:!"b"; distance:9;"#, b"axb", true),
    (r#"content:"a"; content:!"b"; within:1;"#, b"axb", true),
    (r#"content:"a"; content:!"b"; within:1;"#, b"abx", false),
    (r#"content:"a"; content:!"b"; within:1;"#, b"abxax", true),
    (
        r#"content:"a"; content:!"b"; distance:1; within:1;"#,
        b"axb",
        false,
    ),
    (
        r#"content:"a"; content:!"b"; distance:1; within:1;"#,
        b"axx",
        true,
    ),
    // A negated match moves nothing: `c` is still counted from `a`.
    (
        r#"content:"a"; content:!"b"; within:1; content:"c"; within:2;"#,
        b"axc",
        true,
    ),
    (r#"content:!"abc"; endswith;"#, b"abcx", true),
    (r#"content:!"abc"; endswith;"#, b"xabc", false),
    (r#"content:!"abc"; endswith;"#, b"abcxabc", false),
    (r#"content:!"a"; content:!"b";"#, b"xyz", true),
    (r#"content:!"a"; content:!"b";"#, b"xbz", false),
    (r#"content:!"abc"; nocase;"#, b"ABC", false),
    (r#"content:!"abc"; startswith;"#, b"xabc", true),
    (r#"content:!"abc"; startswith;"#, b"abcx", false),
];

const IS_DATA_AT: &[Case] = &[
    (r#"content:"a"; isdataat:2;"#, b"abc", true),
    (r#"content:"a"; isdataat:3;"#, b"abc", false),
    (r#"content:"a"; isdataat:!3;"#, b"abc", true),
    (r#"content:"a"; isdataat:!2;"#, b"abc", false),
    // Relative: one more than Snort allows.
    (r#"content:"a"; isdataat:2,relative;"#, b"abc", true),
    (r#"content:"a"; isdataat:3,relative;"#, b"abc", false),
    (r#"content:"c"; isdataat:!1,relative;"#, b"abc", true),
    (r#"content:"b"; isdataat:!1,relative;"#, b"abc", false),
    (r#"content:"b"; isdataat:!1,relative;"#, b"abab", true),
    (
        r#"content:"b"; isdataat:2,relative; content:"c"; within:1;"#,
        b"bxbcx",
        true,
    ),
    (r#"content:"a"; isdataat:0,relative;"#, b"a", true),
    (
        r#"byte_extract:1,0,n; content:"abc"; isdataat:!n;"#,
        b"\x09abc",
        true,
    ),
    (
        r#"byte_extract:1,0,n; content:"abc"; isdataat:n;"#,
        b"\x03abc",
        true,
    ),
];

const BYTES: &[Case] = &[
    (
        r#"content:"a"; byte_test:1,=,5,0,relative;"#,
        b"a\x05",
        true,
    ),
    (
        r#"content:"a"; byte_test:1,=,5,0,relative;"#,
        b"a\x06",
        false,
    ),
    (
        r#"content:"a"; byte_test:1,=,5,0,relative;"#,
        b"a\x06a\x05",
        true,
    ),
    (r#"content:"a"; byte_test:2,>,255,1;"#, b"a\x01\x00", true),
    (
        r#"content:"a"; byte_test:2,>,255,1,little;"#,
        b"a\x01\x00",
        false,
    ),
    (
        r#"content:"a"; byte_test:2,=,1,1,little;"#,
        b"a\x01\x00",
        true,
    ),
    (r#"content:"a"; byte_test:1,!=,5,1;"#, b"a\x05", false),
    (r#"content:"a"; byte_test:1,!=,5,1;"#, b"a\x06", true),
    (r#"content:"a"; byte_test:1,!>,5,1;"#, b"a\x05", true),
    (r#"content:"a"; byte_test:1,>=,5,1;"#, b"a\x05", true),
    (r#"content:"a"; byte_test:1,<=,5,1;"#, b"a\x06", false),
    (r#"content:"a"; byte_test:1,&,4,1;"#, b"a\x06", true),
    (r#"content:"a"; byte_test:1,&,4,1;"#, b"a\x03", false),
    // `^` is "differs", whatever the guide says.
    (r#"content:"a"; byte_test:1,^,5,1;"#, b"a\x05", false),
    (r#"content:"a"; byte_test:1,^,5,1;"#, b"a\x07", true),
    (
        r#"content:"a"; byte_test:4,>,99,1,string,dec;"#,
        b"a0100",
        true,
    ),
    (
        r#"content:"a"; byte_test:2,=,31,1,string,hex;"#,
        b"a1f",
        true,
    ),
    (
        r#"content:"a"; byte_test:2,=,15,1,string,oct;"#,
        b"a17",
        true,
    ),
    (
        r#"content:"a"; byte_test:3,=,1,1,string,dec;"#,
        b"axyz",
        false,
    ),
    // Text without a base says it by its prefix; byte_extract's and byte_math's are decimal.
    (r#"content:"a"; byte_test:4,=,31,1,string;"#, b"a0x1f", true),
    (r#"content:"a"; byte_test:3,=,15,1,string;"#, b"a017", true),
    (r#"content:"a"; byte_test:2,=,17,1,string;"#, b"a17", true),
    (
        r#"content:"a"; byte_jump:3,0,relative,string; content:"z"; within:1;"#,
        b"a010xxxxxxxxz",
        true,
    ),
    (
        r#"byte_extract:3,1,n,string; content:"a"; isdataat:n;"#,
        b"a010xxxx",
        false,
    ),
    // No byte at all is 0, where bytes are.
    (r#"content:"a"; byte_test:0,=,0,1;"#, b"a", true),
    (r#"content:"a"; byte_test:0,=,0,0,relative;"#, b"a", false),
    (r#"content:"a"; byte_test:0,=,0,0,relative;"#, b"ax", true),
    (r#"content:"a"; byte_test:0,=,0,2;"#, b"a", false),
    // byte_math computes with four bytes at most, and with ten digits.
    (
        r#"byte_math:bytes 5, offset 0, oper +, rvalue 0, result n; content:"a"; offset:5;"#,
        b"\x00\x00\x00\x00\x01a",
        false,
    ),
    (
        r#"byte_math:bytes 4, offset 0, oper +, rvalue 0, result n; content:"a"; offset:4;"#,
        b"\x00\x00\x00\x01a",
        true,
    ),
    // Beyond the end there is no number and no match, negated or not.
    (r#"content:"a"; byte_test:4,!=,5,1;"#, b"a\x01\x02", false),
    (
        r#"content:"a"; byte_test:1,=,1,-1,relative;"#,
        b"\x01a",
        false,
    ),
    (
        r#"content:"a"; byte_test:1,=,97,-1,relative;"#,
        b"\x01a",
        true,
    ),
    (
        r#"content:"a"; byte_test:1,=,1,-9,relative;"#,
        b"\x01a",
        false,
    ),
    (
        r#"content:"a"; byte_test:2,=,0xb,1,bitmask 0x0ff0;"#,
        b"a\x00\xb7",
        true,
    ),
    (
        r#"content:"a"; byte_jump:1,0,relative; content:"z"; within:1;"#,
        b"a\x02xxz",
        true,
    ),
    (
        r#"content:"a"; byte_jump:1,0,relative; content:"z"; within:1;"#,
        b"a\x02xz",
        false,
    ),
    (
        r#"content:"a"; byte_jump:1,0,relative; content:"z"; within:1;"#,
        b"a\x09xz",
        false,
    ),
    (
        r#"content:"a"; byte_jump:2,0,relative,little; content:"z"; within:1;"#,
        b"a\x01\x00xz",
        true,
    ),
    (
        r#"content:"a"; byte_jump:1,0,relative,multiplier 2; content:"z"; within:1;"#,
        b"a\x01xxz",
        true,
    ),
    (
        r#"content:"a"; byte_jump:1,0,relative,bitmask 0xf0; content:"z"; within:1;"#,
        b"a\x2fxxz",
        true,
    ),
    (
        r#"content:"a"; byte_jump:1,0,relative,align; content:"z"; within:1;"#,
        b"a\x01xxxxz",
        true,
    ),
    (
        r#"content:"a"; byte_jump:1,0,relative,post_offset -1; content:"z"; within:1;"#,
        b"a\x02xzx",
        true,
    ),
    (
        r#"content:"a"; byte_jump:1,0,relative,from_beginning; content:"z"; within:1;"#,
        b"a\x03xz",
        true,
    ),
    (
        r#"content:"a"; byte_jump:1,0,from_end,post_offset -2; content:"z"; within:1;"#,
        b"\x00aazx",
        true,
    ),
    // A jump before the start stops there.
    (
        r#"content:"a"; byte_jump:1,0,relative,post_offset -99; content:"z"; within:1;"#,
        b"zxa\x01",
        true,
    ),
    (
        r#"content:"a"; byte_jump:2,0,relative,string,dec; content:"z"; within:1;"#,
        b"a02xxz",
        true,
    ),
    (
        r#"content:"a"; byte_jump:1,0,relative; isdataat:!1,relative;"#,
        b"a\x01x",
        true,
    ),
    // The jump is tried again for the next `a`.
    (
        r#"content:"a"; byte_jump:1,0,relative; content:"z"; within:1;"#,
        b"a\x00xa\x01xz",
        true,
    ),
    (
        r#"byte_extract:1,0,n; content:"z"; offset:n; depth:1;"#,
        b"\x03xxz",
        true,
    ),
    (
        r#"byte_extract:1,0,n; content:"z"; offset:n; depth:1;"#,
        b"\x02xxz",
        false,
    ),
    (
        r#"byte_extract:1,0,n; content:"z"; depth:n;"#,
        b"\x04xxz",
        true,
    ),
    (
        r#"byte_extract:1,0,n; content:"z"; depth:n;"#,
        b"\x03xxz",
        false,
    ),
    (
        r#"byte_extract:1,0,n; content:"a"; content:"z"; distance:n; within:1;"#,
        b"\x02axxz",
        true,
    ),
    (
        r#"byte_extract:1,0,n; content:"a"; content:"z"; distance:n; within:1;"#,
        b"\x01axxz",
        false,
    ),
    (
        r#"byte_extract:1,0,n; content:"a"; content:"z"; within:n;"#,
        b"\x03axxz",
        true,
    ),
    (
        r#"byte_extract:1,0,n; content:"a"; content:"z"; within:n;"#,
        b"\x02axxz",
        false,
    ),
    (
        r#"byte_extract:1,0,n; byte_test:1,=,n,1;"#,
        b"\x07\x07",
        true,
    ),
    (
        r#"byte_extract:1,0,n; byte_test:1,>,n,1;"#,
        b"\x07\x07",
        false,
    ),
    (
        r#"byte_extract:1,0,n,multiplier 3; byte_test:1,=,n,1;"#,
        b"\x02\x06",
        true,
    ),
    (
        r#"byte_extract:1,0,n,align 4; byte_test:1,=,n,1;"#,
        b"\x05\x08",
        true,
    ),
    (
        r#"content:"a"; byte_extract:1,0,n,relative; content:"z"; within:1;"#,
        b"a\x01z",
        true,
    ),
    (
        r#"byte_extract:1,0,n; byte_jump:1,n; content:"z"; within:1;"#,
        b"\x02x\x01xz",
        true,
    ),
    (
        r#"byte_math:bytes 1,offset 0,oper +,rvalue 3,result n; byte_test:1,=,n,1;"#,
        b"\x04\x07",
        true,
    ),
    (
        r#"byte_math:bytes 1,offset 0,oper *,rvalue 3,result n; byte_test:1,=,n,1;"#,
        b"\x04\x0c",
        true,
    ),
    (
        r#"byte_math:bytes 1,offset 0,oper -,rvalue 1,result n; byte_test:1,=,n,1;"#,
        b"\x04\x03",
        true,
    ),
    (
        r#"byte_math:bytes 1,offset 0,oper <<,rvalue 2,result n; byte_test:1,=,n,1;"#,
        b"\x04\x10",
        true,
    ),
    (
        r#"byte_extract:1,1,d; byte_math:bytes 1,offset 0,oper /,rvalue d,result n; content:"z";"#,
        b"\x04\x00z",
        false,
    ),
    (
        r#"byte_extract:1,1,d; byte_math:bytes 1,offset 0,oper /,rvalue d,result n; byte_test:1,=,n,2;"#,
        b"\x04\x02\x02",
        true,
    ),
];

const PCRE: &[Case] = &[
    (r#"content:"a"; pcre:"/b+c/";"#, b"a bbc", true),
    (r#"content:"a"; pcre:"/b+c/";"#, b"a bbd", false),
    (r#"content:"a"; pcre:"/B+C/i";"#, b"a bbc", true),
    (r#"content:"a"; pcre:!"/b+c/";"#, b"a bbd", true),
    (r#"content:"a"; pcre:!"/b+c/";"#, b"a bbc", false),
    (r#"content:"a"; pcre:"/^b/";"#, b"ab", false),
    // With R the subject begins at the last match, and ^ is there.
    (r#"content:"a"; pcre:"/^b/R";"#, b"ab", true),
    (r#"content:"a"; pcre:"/^b/R";"#, b"axb", false),
    (r#"content:"a"; pcre:"/^b/R";"#, b"axab", true),
    (
        r#"content:"a"; pcre:"/b/R"; content:"c"; within:1;"#,
        b"abxbc",
        true,
    ),
    (
        r#"content:"a"; pcre:"/b/R"; content:"c"; within:1;"#,
        b"abxbx",
        false,
    ),
    (r#"content:"a"; pcre:"/x.y/";"#, b"ax\ny", false),
    (r#"content:"a"; pcre:"/x.y/s";"#, b"ax\ny", true),
    (r#"content:"a"; pcre:"/^y/m";"#, b"ax\ny", true),
    (r#"content:"a"; pcre:"/b\x3bc/";"#, b"ab;c", true),
    (r#"content:"a"; pcre:"/[^\x00-\x7f]/";"#, b"a\x80", true),
    (r#"pcre:"/^GET \/[a-z]{3}$/";"#, b"GET /abc", true),
    (r#"pcre:"/^GET \/[a-z]{3}$/";"#, b"GET /abc\n", true),
    (r#"pcre:"/^GET \/[a-z]{3}$/E";"#, b"GET /abc\n", false),
    (r#"pcre:"/^GET \/[a-z]{3}$/";"#, b"GET /abc\r\n", false),
    (r#"content:"a"; pcre:"/b(?=c)/";"#, b"abbc", true),
    (r#"content:"a"; pcre:"/b(?!c)/";"#, b"abc", false),
    // What the last match holds lies before the subject of a relative expression.
    (r#"content:"a"; pcre:"/(?<=a)b/R";"#, b"ab", false),
    (r#"content:"a"; pcre:"/(?<=a)b/";"#, b"ab", true),
    (r#"content:"a"; pcre:"/(x|y)(?:=)\1/";"#, b"ax=yx=x", true),
    (r#"content:"a"; pcre:"/(x|y)(?:=)\1/";"#, b"ax=yy=x", false),
    (
        r#"content:"a"; pcre:"/b(?=[cd])/R"; content:"d"; within:1;"#,
        b"abcbd",
        true,
    ),
    (r#"pcre:"/^abc/"; pcre:!"/def/R";"#, b"abcdef", false),
    (
        r#"content:"a"; pcre:!"/^b/R"; content:"c"; within:1;"#,
        b"ac",
        true,
    ),
];

const SIZE_AND_BASE64: &[Case] = &[
    (r#"content:"a"; dsize:3;"#, b"abc", true),
    (r#"content:"a"; dsize:4;"#, b"abc", false),
    (r#"content:"a"; dsize:>2;"#, b"abc", true),
    (r#"content:"a"; dsize:!3;"#, b"abc", false),
    // Ranges exclude both ends.
    (r#"content:"a"; dsize:3<>5;"#, b"abc", false),
    (r#"content:"a"; dsize:3<>5;"#, b"abcd", true),
    (r#"content:"a"; dsize:3<>5;"#, b"abcde", false),
    (r#"dsize:0;"#, b"", true),
    (r#"dsize:0;"#, b"a", false),
    (
        r#"content:"k="; base64_decode:relative; base64_data; content:"foobar";"#,
        b"k=Zm9vYmFy",
        true,
    ),
    (
        r#"content:"k="; base64_decode:relative; base64_data; content:"foobaz";"#,
        b"k=Zm9vYmFy",
        false,
    ),
    (
        r#"base64_decode:bytes 4, offset 2; base64_data; content:"foo"; startswith; endswith;"#,
        b"k=Zm9vYmFy",
        true,
    ),
    (
        r#"content:"k="; base64_decode:offset 1, relative; base64_data; content:"bar"; distance:0;"#,
        b"k=!Zm9vYmFy",
        true,
    ),
];

#[test]
fn every_row_matches_as_it_says() {
    let tables = [
        CONTENT,
        RELATIVE,
        NEGATED,
        IS_DATA_AT,
        BYTES,
        PCRE,
        SIZE_AND_BASE64,
    ];
    let mut wrong = Vec::new();
    let mut rows = 0;
    for (options, payload, expected) in tables.into_iter().flatten() {
        let rule = format!(r#"alert udp any any -> any any (msg:"row"; {options} sid:1; rev:1;)"#);
        let found = !Rig::new(&rule).sids(udp(payload)).is_empty();
        rows += 1;
        if found != *expected {
            wrong.push(format!("{options} on {payload:?} gave {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows >= 150, "{rows} rows");
}

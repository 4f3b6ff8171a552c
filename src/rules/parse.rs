//! A logical line into a `Signature`: header, then the options in their order.
//!
//! parse.rs holds the state of the rule being read (lists of tests, the sticky buffer, the last
//! content); the keyword families have a file each: meta.rs, content.rs, bytes.rs, regex.rs,
//! packet_keywords.rs, state_keywords.rs, transform.rs. The first problem ends a rule.

use hashbrown::HashMap;

use crate::rules::argument::{Argument, argument, unknown};
use crate::rules::class;
use crate::rules::countries::Countries;
use crate::rules::diagnostic::{Code, Problem, Span};
use crate::rules::keyword::{self, BufferRow, Family, Side};
use crate::rules::lex::{self, RawOption, RawRule};
use crate::rules::meta::Classification;
use crate::rules::names::Names;
use crate::rules::reputation::Reputations;
use crate::rules::signature::*;
use crate::rules::support;
use crate::rules::variables::Variables;
use crate::rules::{
    app_keywords, bytes, content, dataset_keywords, entropy, frame_keyword, header, keyword_table,
    lint, meta, packet_keywords, regex, state_keywords, transform, verify,
};

/// What the rules of a load share.
pub struct Context<'a> {
    /// Variables of headers.
    pub variables: &'a Variables,
    /// Classtypes.
    pub classification: &'a Classification,
    /// Code of a decode-event or stream-event (`stream.` prefixed) name.
    pub anomaly: &'a dyn Fn(&str) -> Option<u8>,
    /// Run the lints.
    pub lint: bool,
    /// Features that settings switch off.
    pub missing: &'a [&'a str],
    /// Reputations of addresses, if there are files of them.
    pub reputations: Option<std::sync::Arc<Reputations>>,
    /// Countries of addresses, if there is a database of them.
    pub countries: Option<std::sync::Arc<Countries>>,
    /// Folder of the files of values that rules name, if these are read here.
    pub folder: Option<std::path::PathBuf>,
    /// Names of bits and counters.
    pub names: Names,
    /// Address fields read before.
    pub addresses: HashMap<String, AddressSet>,
    /// Port fields read before.
    pub ports: HashMap<String, PortSet>,
}

impl<'a> Context<'a> {
    /// A context without names.
    pub fn new(
        variables: &'a Variables,
        classification: &'a Classification,
        anomaly: &'a dyn Fn(&str) -> Option<u8>,
    ) -> Context<'a> {
        Context {
            variables,
            classification,
            anomaly,
            lint: false,
            missing: &[],
            reputations: None,
            countries: None,
            folder: None,
            names: Names::default(),
            addresses: HashMap::new(),
            ports: HashMap::new(),
        }
    }
}

/// What became of a line.
#[derive(Debug)]
pub enum Outcome {
    /// A signature, what is odd about it, and the flowbits it sets (true) or reads.
    Signature(Box<Signature>, Vec<Problem>, Vec<(u32, bool, Span)>),
    /// `requires` is not met.
    Skipped(u32, Problem),
    /// It cannot be loaded; the sid if it could be read.
    Failed(u32, Problem),
}

/// A test and the list it stands in.
#[derive(Clone, Debug)]
pub struct Item {
    /// The test.
    pub test: Test,
    /// Index of its list.
    pub list: usize,
    /// The `base64_decode` whose output it looks at.
    pub decoded: Option<usize>,
    /// Where it stands.
    pub span: Span,
    /// `fast_pattern` was written, and where.
    pub fast_pattern: Option<Span>,
}

/// A buffer of the rule.
#[derive(Clone, Debug)]
pub struct List {
    /// Which.
    pub buffer: Buffer,
    /// Its row; `None` is the payload.
    pub row: Option<&'static BufferRow>,
    /// Direction that it belongs to.
    pub side: Side,
    /// Transforms.
    pub transforms: Vec<Transform>,
    /// `absent`.
    pub absent: Option<bool>,
    /// Where it was named.
    pub span: Span,
    /// Something looks at it.
    pub used: bool,
}

/// A rule being read.
pub struct Builder<'a, 'c> {
    /// The logical line.
    pub text: &'a str,
    /// What rules share.
    pub context: &'a mut Context<'c>,
    /// What is known so far; `inspect` is filled at the end.
    pub signature: Signature,
    /// Tests in the order of the rule.
    pub items: Vec<Item>,
    /// Buffers; number 0 is the payload.
    pub lists: Vec<List>,
    /// The sticky buffer in force.
    pub sticky: Option<usize>,
    /// The `base64_data` in force: index of its `base64_decode`.
    pub decoded: Option<usize>,
    /// Byte variables by name; the index is the variable.
    pub variables: Vec<&'a str>,
    /// Warnings.
    pub problems: Vec<Problem>,
    /// Flowbits that are set (true) or read, and where.
    pub bits: Vec<(u32, bool, Span)>,
    /// What the class depends on.
    pub facts: class::Facts,
    /// Application protocol that keywords ask for, `|` between alternatives, and where.
    pub protocol: Option<(&'static str, Span)>,
    /// Keywords that may stand once and were seen.
    pub seen: Vec<&'static str>,
    /// Places that later checks point at.
    pub places: Places,
    /// `priority` was written, so the classtype does not decide.
    pub priority_written: bool,
    /// A keyword that is no buffer asks for the name of a file.
    pub names_files: bool,
}

/// Where some things of the rule stand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Places {
    /// The action.
    pub action: Span,
    /// The protocol.
    pub protocol: Span,
    /// `dsize`.
    pub payload_size: Option<Span>,
    /// First keyword for packets alone.
    pub packet_only: Option<Span>,
    /// First buffer of requests.
    pub to_server: Option<Span>,
    /// First buffer of responses.
    pub to_client: Option<Span>,
    /// `flow`.
    pub flow: Option<Span>,
}

/// Reads one logical line.
pub fn parse(text: &str, source: Source, context: &mut Context<'_>) -> Outcome {
    let raw = match lex::split(text) {
        Ok(raw) => raw,
        Err(problem) => return Outcome::Failed(meta::sid_by_eye(text), problem),
    };
    let sid = match meta::first_pass(text, &raw, context.missing) {
        Ok(meta::FirstPass::Sid(sid)) => sid,
        Ok(meta::FirstPass::Unmet(sid, problem)) => return Outcome::Skipped(sid, problem),
        Err(problem) => return Outcome::Failed(meta::sid_by_eye(text), problem),
    };
    match read(text, &raw, sid, source, context) {
        Ok((signature, problems, bits)) => Outcome::Signature(Box::new(signature), problems, bits),
        Err(problem) => Outcome::Failed(sid, problem),
    }
}

/// A signature, its oddities, its flowbits.
type Finished = (Signature, Vec<Problem>, Vec<(u32, bool, Span)>);

/// Reads the parts of a rule whose sid is known.
fn read(
    text: &str,
    raw: &RawRule,
    sid: u32,
    source: Source,
    context: &mut Context<'_>,
) -> Result<Finished, Problem> {
    let head = header::parse(text, raw, context)?;
    let mut builder = Builder::new(text, context, head, sid, source);
    builder.places.action = raw.action;
    builder.places.protocol = raw.protocol;
    if !raw.closed {
        builder.problems.push(
            Problem::new(
                Code::MissingParenthesis,
                Span::new(text.len().saturating_sub(1), text.len()),
                "the options are not closed",
            )
            .help("end the rule with `)`"),
        );
    }
    for option in &raw.options {
        builder.option(option)?;
    }
    builder.finish()
}

impl<'a, 'c> Builder<'a, 'c> {
    fn new(
        text: &'a str,
        context: &'a mut Context<'c>,
        head: header::Head,
        sid: u32,
        source: Source,
    ) -> Builder<'a, 'c> {
        let facts = class::Facts {
            tcp: class::reaches_tcp(&head.header.protocol),
            require_packet: head.header.protocol == Protocol::TcpPacket,
            require_stream: head.header.protocol == Protocol::TcpStream,
            application: matches!(head.header.protocol, Protocol::App(_)),
            hook: head.hook,
            ..class::Facts::default()
        };
        Builder {
            text,
            context,
            signature: blank(head, sid, source),
            items: Vec::new(),
            lists: vec![List {
                buffer: Buffer::Payload,
                row: None,
                side: Side::Both,
                transforms: Vec::new(),
                absent: None,
                span: Span::default(),
                used: true,
            }],
            sticky: None,
            decoded: None,
            variables: Vec::new(),
            problems: Vec::new(),
            bits: Vec::new(),
            facts,
            protocol: None,
            seen: Vec::new(),
            places: Places::default(),
            priority_written: false,
            names_files: false,
        }
    }

    /// Reads one option.
    fn option(&mut self, option: &RawOption) -> Result<(), Problem> {
        let name = option.name.of(self.text);
        let Some(keyword) = keyword::lookup(name) else {
            return Err(unknown(name, option));
        };
        let argument = argument(self.text, option, keyword)?;
        if keyword.packet_only {
            self.facts.require_packet = true;
            self.places.packet_only.get_or_insert(option.name);
        }
        match keyword.family {
            Family::Meta => meta::parse(self, argument),
            Family::Modifier => content::modifier(self, argument),
            Family::Payload => self.payload(argument),
            Family::Packet => {
                self.executable(keyword.name, support::keyword(keyword.name));
                packet_keywords::parse(self, argument)
            }
            Family::State => {
                self.executable(keyword.name, support::keyword(keyword.name));
                state_keywords::parse(self, argument)
            }
            Family::Transform => {
                self.executable(keyword.name, support::transform(keyword.name));
                transform::parse(self, argument)
            }
            Family::Buffer(row) => self.set_buffer(row, argument),
            Family::Legacy(row) => content::legacy(self, row, argument),
            Family::App(protocol) => self.app_test(protocol, argument),
            Family::Other if keyword.name == "frame" => {
                self.leave_buffer(argument.name)?;
                self.facts.app_buffer = true;
                self.facts.application = true;
                let list = self.new_list(&keyword_table::FRAME, argument.name);
                match frame_keyword::frame(self, argument)? {
                    Some(field) => self.lists[list].buffer = Buffer::App(field.name().into()),
                    None => self.executable(&format!("frame:{}", argument.text), false),
                }
                self.sticky = Some(list);
                Ok(())
            }
            Family::Other if keyword.name == "nfq_set_mark" => meta::no_mark(self, &argument),
            Family::Other => {
                self.executable(keyword.name, support::keyword(keyword.name));
                self.facts.other_match = true;
                Ok(())
            }
        }
    }

    /// Tests within a buffer.
    fn payload(&mut self, argument: Argument<'a>) -> Result<(), Problem> {
        let name = argument.keyword.name;
        self.executable(name, name == "uricontent" || support::keyword(name));
        match name {
            "content" => content::parse(self, argument),
            "uricontent" => content::uricontent(self, argument),
            "pcre" => regex::parse(self, argument),
            "isdataat" => bytes::is_data_at(self, argument),
            "bsize" => bytes::size(self, argument),
            "dataset" => dataset_keywords::parse(self, argument),
            "datarep" => dataset_keywords::parse_ranked(self, argument),
            "entropy" => entropy::parse(self, argument),
            "byte_test" => bytes::test(self, argument),
            "byte_jump" => bytes::jump(self, argument),
            "byte_extract" => bytes::extract(self, argument),
            "byte_math" => bytes::math(self, argument),
            "asn1" => bytes::asn1(self, argument),
            "base64_decode" => bytes::base64_decode(self, argument),
            "base64_data" => bytes::base64_data(self, argument),
            "absent" => bytes::absent(self, argument),
            _ => self.end_buffer(argument),
        }
    }

    /// Notes that the rule cannot be run because of `what`, unless it can.
    pub fn executable(&mut self, what: &str, can: bool) {
        if !can && !self.signature.unsupported.iter().any(|u| **u == *what) {
            self.signature.unsupported.push(what.into());
        }
    }

    /// The keyword may stand once in a rule.
    pub fn once(&mut self, argument: &Argument<'_>) -> Result<(), Problem> {
        let name = argument.keyword.name;
        if self.seen.contains(&name) {
            return Err(argument.problem(
                Code::DuplicateKeyword,
                format!("`{name}` stands a second time in this rule"),
            ));
        }
        self.seen.push(name);
        Ok(())
    }

    /// The keyword asks for an application protocol (`|` between alternatives; "" asks nothing).
    pub fn need_protocol(&mut self, wanted: &'static str, span: Span) -> Result<(), Problem> {
        if wanted.is_empty() {
            return Ok(());
        }
        let fits = |have: &str, want: &str| {
            have == want
                || matches!(
                    (have, want),
                    ("http" | "http1" | "http2", "http")
                        | ("http" | "doh2", "http2")
                        | ("doh2", "http" | "dns")
                        | ("smb", "dcerpc")
                        | ("dcerpc", "smb")
                        | ("mdns", "dns")
                        | ("tcp" | "udp" | "ip", _)
                )
        };
        let mut wanted_any = wanted.split('|');
        let ok = match (&self.signature.header.protocol, self.protocol) {
            (Protocol::App(have), _) => wanted_any.any(|want| fits(have, want)),
            (_, Some((have, _))) => {
                wanted_any.any(|want| have.split('|').any(|h| fits(h, want) || fits(want, h)))
            }
            _ => true,
        };
        if !ok {
            let have = match &self.signature.header.protocol {
                Protocol::App(name) => name.to_string(),
                _ => self.protocol.map(|p| p.0.to_string()).unwrap_or_default(),
            };
            return Err(Problem::new(
                Code::ProtocolConflict,
                span,
                format!(
                    "`{}` belongs to {}, the rule is about {have}",
                    span.of(self.text),
                    wanted.replace('|', " or ")
                ),
            ));
        }
        self.protocol.get_or_insert((wanted, span));
        self.facts.application = true;
        Ok(())
    }

    /// Notes the direction of a buffer.
    pub fn need_side(&mut self, side: Side, span: Span) {
        match side {
            Side::ToServer => drop(self.places.to_server.get_or_insert(span)),
            Side::ToClient => drop(self.places.to_client.get_or_insert(span)),
            Side::Both => {}
        }
    }

    /// A test of an application protocol that is no buffer.
    fn app_test(&mut self, protocol: &'static str, argument: Argument<'a>) -> Result<(), Problem> {
        self.need_protocol(protocol, argument.name)?;
        self.facts.application = true;
        self.facts.app_buffer = true;
        self.names_files |= verify::is_about_names(argument.keyword.name);
        let side = keyword::test_side(argument.keyword.name);
        self.need_side(side, argument.name);
        let before = self.signature.app.len();
        app_keywords::parse(self, argument)?;
        for test in self.signature.app.iter_mut().skip(before) {
            test.side = test.side.or(side.direction());
        }
        Ok(())
    }

    /// `pkt_data`: back to the payload.
    fn end_buffer(&mut self, argument: Argument<'a>) -> Result<(), Problem> {
        self.leave_buffer(argument.name)?;
        self.sticky = None;
        Ok(())
    }

    /// The sticky buffer must have been looked at before another one.
    fn leave_buffer(&mut self, span: Span) -> Result<(), Problem> {
        if self.decoded.is_some() {
            return Err(Problem::new(
                Code::EmptyBuffer,
                span,
                "no other buffer can follow `base64_data`",
            ));
        }
        match self.sticky.map(|index| &self.lists[index]) {
            Some(list) if !list.used => Err(empty_buffer(self.text, list)),
            _ => Ok(()),
        }
    }

    /// A sticky buffer.
    fn set_buffer(
        &mut self,
        row: &'static BufferRow,
        argument: Argument<'a>,
    ) -> Result<(), Problem> {
        self.leave_buffer(argument.name)?;
        self.executable(row.name, support::buffer(row.name));
        self.need_protocol(row.protocol, argument.name)?;
        let side = match argument.text {
            "" => row.side,
            "to_server" => Side::ToServer,
            "to_client" => Side::ToClient,
            _ => return Err(argument.bad("only to_server or to_client can stand here")),
        };
        self.need_side(side, argument.name);
        let index = if argument.text.is_empty() {
            self.list(row, argument.name)
        } else {
            self.new_list(row, argument.name)
        };
        self.lists[index].side = side;
        self.sticky = Some(index);
        Ok(())
    }

    /// The list of a buffer: a new one if it has none or can have several.
    pub fn list(&mut self, row: &'static BufferRow, span: Span) -> usize {
        let known = self.lists.iter().position(|list| {
            list.row.is_some_and(|r| r.name == row.name) && list.transforms.is_empty()
        });
        if let Some(index) = known.filter(|_| !row.multiple) {
            return index;
        }
        self.new_list(row, span)
    }

    /// A list of its own for a buffer.
    pub fn new_list(&mut self, row: &'static BufferRow, span: Span) -> usize {
        self.lists.push(List {
            buffer: Buffer::by_name(row.name),
            row: Some(row),
            side: row.side,
            transforms: Vec::new(),
            absent: None,
            span,
            used: false,
        });
        self.lists.len() - 1
    }

    /// Adds a test to the buffer in force. `relative` tests outside of a sticky buffer follow the
    /// test before them into its buffer.
    pub fn push(&mut self, test: Test, relative: bool, span: Span) -> usize {
        let parent = self.decoded.and_then(|parent| self.items.get(parent));
        let list = match (parent, self.sticky) {
            (Some(parent), _) => parent.list,
            (None, Some(list)) => list,
            (None, None) if relative => self.items.last().map_or(0, |item| item.list),
            (None, None) => 0,
        };
        self.push_to(list, test, span)
    }

    /// Adds a test to a list.
    pub fn push_to(&mut self, list: usize, test: Test, span: Span) -> usize {
        self.lists[list].used = true;
        self.items.push(Item {
            test,
            list,
            decoded: self.decoded,
            span,
            fast_pattern: None,
        });
        self.items.len() - 1
    }

    /// The items of a list before item `index`, last first.
    pub fn before(&self, index: usize) -> impl Iterator<Item = &Item> {
        let (list, decoded) = self
            .items
            .get(index)
            .map_or((0, None), |item| (item.list, item.decoded));
        self.items[..index.min(self.items.len())]
            .iter()
            .rev()
            .filter(move |item| item.list == list && item.decoded == decoded)
    }

    /// The number of a byte variable.
    pub fn variable(&self, name: &str, span: Span) -> Result<u8, Problem> {
        match self.variables.iter().position(|v| *v == name) {
            Some(index) => Ok(index as u8),
            None => Err(Problem::new(
                Code::UnknownVariable,
                span,
                format!("the variable `{name}` is not set before it is used"),
            )),
        }
    }

    /// The number of a byte variable that is set here.
    pub fn set_variable(&mut self, name: &'a str, span: Span) -> Result<u8, Problem> {
        if let Some(index) = self.variables.iter().position(|v| *v == name) {
            return Ok(index as u8);
        }
        if self.variables.len() >= usize::from(u8::MAX) {
            return Err(Problem::new(
                Code::BadValue,
                span,
                "more than 255 variables",
            ));
        }
        self.variables.push(name);
        Ok((self.variables.len() - 1) as u8)
    }

    /// Checks the whole rule and puts the signature together.
    fn finish(mut self) -> Result<Finished, Problem> {
        if let Some(list) = self.lists.iter().find(|list| !list.used) {
            return Err(empty_buffer(self.text, list));
        }
        verify::rule(&mut self)?;
        if self.context.lint {
            lint::rule(&mut self);
        }
        self.mark_relative();
        self.assemble();
        if !self.priority_written {
            let class = self.signature.classtype.as_deref();
            self.signature.priority = class
                .and_then(|name| self.context.classification.get(name))
                .map_or(meta::PRIORITY_DEFAULT, |class| class.priority);
        }
        self.signature.variables = self.variables.len() as u8;
        self.signature.class = class::of(&self.signature, &self.facts);
        Ok((self.signature, self.problems, self.bits))
    }

    /// Marks the tests whose other occurrences are worth trying.
    fn mark_relative(&mut self) {
        for index in 0..self.items.len() {
            if !is_relative(&self.items[index].test) {
                continue;
            }
            let (list, decoded) = (self.items[index].list, self.items[index].decoded);
            for item in self.items[..index].iter_mut().rev() {
                if item.list != list || item.decoded != decoded {
                    continue;
                }
                match &mut item.test {
                    Test::Content(content) => content.relative_next = true,
                    Test::Pcre(pcre) => pcre.relative_next = true,
                    Test::ByteJump(jump) => {
                        jump.relative_next = true;
                        continue;
                    }
                    _ => continue,
                }
                break;
            }
        }
    }

    /// Moves the tests into the signature's buffers.
    fn assemble(&mut self) {
        let mut tests: Vec<Vec<Test>> = vec![Vec::new(); self.lists.len()];
        let mut place = vec![0usize; self.items.len()];
        for (index, item) in self.items.drain(..).enumerate() {
            match item.decoded {
                Some(parent) => {
                    let at = place.get(parent).copied().unwrap_or(0);
                    if let Some(Test::Base64 { then, .. }) = tests[item.list].get_mut(at) {
                        then.push(item.test);
                    }
                }
                None => {
                    place[index] = tests[item.list].len();
                    tests[item.list].push(item.test);
                }
            }
        }
        for (list, mut tests) in self.lists.drain(..).zip(tests) {
            if tests.is_empty() && list.absent.is_none() {
                continue;
            }
            app_keywords::set_letter_case(&list.buffer, &mut tests);
            self.signature.inspect.push(Inspect {
                buffer: list.buffer,
                side: list.side.direction(),
                transforms: list.transforms,
                absent: list.absent,
                tests,
            });
        }
        meta::need_file(&mut self.signature);
    }
}

/// Whether a test starts where the one before it ended.
pub fn is_relative(test: &Test) -> bool {
    match test {
        Test::Content(content) => content.distance.is_some() || content.within.is_some(),
        Test::Pcre(pcre) => pcre.relative,
        Test::IsDataAt(at) => at.relative,
        Test::Asn1(test) => test.relative_offset.is_some(),
        Test::ByteTest(test) => test.relative,
        Test::ByteJump(jump) => jump.relative,
        Test::ByteExtract(extract) => extract.relative,
        Test::ByteMath(math) => math.relative,
        Test::Base64 { decode, .. } => decode.relative,
        Test::Size(_) | Test::Entropy(_) | Test::Dataset(_) => false,
    }
}

fn empty_buffer(text: &str, list: &List) -> Problem {
    Problem::new(
        Code::EmptyBuffer,
        list.span,
        format!("nothing looks at the buffer `{}`", list.span.of(text)),
    )
    .help("add a content or another test after it, or remove it")
}

/// A signature that has a header and nothing else.
fn blank(head: header::Head, sid: u32, source: Source) -> Signature {
    let mut unsupported: Vec<Box<str>> = Vec::new();
    unsupported.extend(head.unsupported.map(Box::from));
    let app = head.state.map(app_keywords::hook);
    let start = head.flow_start.then_some(PacketTest::FlowStart);
    Signature {
        packet: start.into_iter().collect(),
        app: app.into_iter().collect(),
        action: head.action,
        scope: head.scope,
        noalert: head.noalert,
        header: head.header,
        rev: 0,
        msg: "".into(),
        priority: 0,
        source,
        unsupported,
        ..super::ruleset::blank(sid)
    }
}
